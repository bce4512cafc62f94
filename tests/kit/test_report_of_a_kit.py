"""A report is taken only with its own kit, and only where its target can have run it."""

from __future__ import annotations

import copy
import dataclasses
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from device_reports import report, write
from small_kits import report_of, small_kit

from hardnet_deploy.device import run_engine
from hardnet_deploy.errors import ArtifactMismatchError
from hardnet_deploy.kit.device_report import read_report
from hardnet_deploy.kit.document import KitFolder, read_kit


def read(folder: Path, document: Any, kit: KitFolder | None = None) -> Any:
    return read_report(write(folder / "report.json", document), kit)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small_kit(tmp_path / "kit")
    return tmp_path / "kit"


def test_a_report_of_its_kit_is_taken(folder: Path) -> None:
    row = read(folder, report_of(folder), read_kit(folder))
    assert row.model == "ssd300-hardnet-demo"
    assert not any("no kit was at hand" in note for note in row.notes)


@pytest.mark.parametrize(
    "changes",
    [
        {"onnx": {"sha256": "cd" * 32}},
        {"settings": {"precision": "int8"}},
        {"samples": {"count": 3}},
        {"model": {"name": "ssd512-hardnet68-coco"}},
        {"trained": False},
        {"target": "gtx-1080ti"},
        {"tolerances": {"shown": None}},
        {"protocol": {"warm_up_ms": 200, "iterations": 300}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_report_of_another_kit_is_refused(folder: Path, changes: dict[str, Any]) -> None:
    kit = read_kit(folder)
    other = dataclasses.replace(kit, document={**kit.document, **changes})
    with pytest.raises(ArtifactMismatchError, match="is not of the kit"):
        read(folder, report_of(folder), other)


def test_another_kit_json_is_refused(folder: Path) -> None:
    with pytest.raises(ArtifactMismatchError, match=r"another kit\.json"):
        read(folder, report(), read_kit(folder))


@pytest.mark.parametrize("changes", [{"missing": 0}, {"shown": 0}], ids=["all", "shown"])
def test_detections_that_pytorch_does_not_have_in_the_kit_are_refused(folder: Path, changes: dict[str, int]) -> None:
    document = copy.deepcopy(report_of(folder))
    if "missing" in changes:
        document["parity"]["detections"]["missing"] = document["parity"]["samples"][0]["missing"] = 0
    else:
        document["parity"]["detections"]["shown"] |= {"reference": 0, "matched_reference": 0}
    read_report(write(folder / "report.json", document), None)  # by itself it holds together
    with pytest.raises(ArtifactMismatchError, match="number of reference detections"):
        read(folder, document, read_kit(folder))


def test_a_boundary_that_is_not_the_kit_s_is_refused(folder: Path) -> None:
    document = report_of(folder, timing={"boundary": run_engine.BOUNDARY.replace("NMS in", "NMS out")})
    with pytest.raises(ArtifactMismatchError, match="another boundary"):
        read(folder, document, read_kit(folder))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tensorrt": "10.9.0.34"}, "cannot run TensorRT 10.9"),
        ({"tensorrt": "8.0.1"}, "is no version"),
        ({"tensorrt": "8.6.1"}, "cannot run TensorRT 8.6.1"),
        ({"tensorrt": "newest"}, "is no version"),
        ({"device": {"compute_capability": [8, 9]}}, "compute capability 8.9"),
        ({"device": {"name": "NVIDIA GeForce GTX 1080 Ti"}}, "is target 'gtx-1080ti'"),
        ({"target": "gtx-1080ti"}, "is target 'jetson-nano'"),
        ({"target": "cpu"}, "no target with TensorRT"),
        ({"target": "toaster"}, "no target with TensorRT"),
        ({"target": None, "tensorrt": "10.9", "device": {"name": "x", "compute_capability": [6, 1]}}, "capability 6.1"),
    ],
    ids=str,
)
def test_what_the_target_cannot_have_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ArtifactMismatchError, match="cannot be true; nothing was imported") as caught:
        read(tmp_path, report(**changes))
    assert said in str(caught.value.got)
    assert caught.value.next_step


def test_int8_on_the_nano_is_refused(tmp_path: Path) -> None:
    build = {**report()["build"], "precision": "int8"}
    with pytest.raises(ArtifactMismatchError) as caught:
        read(tmp_path, report(build=build))
    assert caught.value.got == "target 'jetson-nano' has no hardware for int8"


def test_a_day_that_has_not_come_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "report.json", report())
    assert read_report(path, None, latest=date(2024, 5, 17)).date == "2024-05-17"
    with pytest.raises(ArtifactMismatchError, match="has not come"):
        read_report(path, None, latest=date(2024, 5, 16))
    with pytest.raises(ArtifactMismatchError, match="has not come"):
        read(tmp_path, report(date="9999-01-01"))


def test_a_clock_that_was_not_set_is_told(tmp_path: Path) -> None:
    row = read(tmp_path, report(date="1970-01-01T00:00:42+00:00"))
    assert any("clock was not set" in note for note in row.notes)


def test_few_runs_and_a_kit_that_is_not_at_hand_are_told(tmp_path: Path) -> None:
    notes = " ".join(read(tmp_path, report()).notes)
    assert "5 runs were timed; the protocol has 300" in notes
    assert "no kit was at hand" in notes
