"""A model beside a file of the same network is timed with the file's NMS limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hardnet_deploy.bench.sides import NETWORK_NMS
from hardnet_deploy.specs import Thresholds
from hardnet_deploy.workflows.bench_subjects import BenchFile, Subject
from hardnet_deploy.workflows.bench_thresholds import with_files_thresholds

USUAL = Thresholds(score=0.02, iou=0.45, max_detections=200)
DEPLOYED = Thresholds(score=0.3, iou=0.5, max_detections=100)
TINY = Thresholds(score=0.001, iou=0.5, max_detections=100)
DEMO = "ssd300-hardnet-demo"


def model(**changes: Any) -> Subject:
    return Subject(**{"label": DEMO, "network": DEMO, "title": DEMO, "size": 300, "thresholds": USUAL, **changes})


def of_file(label: str, thresholds: Thresholds | None, *, network: str = DEMO) -> Subject:
    file = BenchFile(
        path=Path(label),
        column="ort-fp32",
        boundary=NETWORK_NMS,
        batch=1,
        sha256="0a" * 32,
        trained=True,
        why_not=None,
        notes=(),
    )
    return model(label=label, network=network, thresholds=thresholds, file=file)


def test_the_model_has_the_files_limits_and_the_user_is_told() -> None:
    (first, second), (note,) = with_files_thresholds([of_file("a.onnx", DEPLOYED), model()])
    assert first.thresholds == second.thresholds == DEPLOYED
    assert f"{DEMO} is timed with the NMS limits of a.onnx: score 0.3, IoU 0.5, at most 100" in note


@pytest.mark.parametrize(
    "files",
    [
        [],
        [of_file("a.onnx", USUAL)],
        [of_file("a.onnx", None)],
        [of_file("a.onnx", DEPLOYED, network="another")],
        [of_file("a.onnx", DEPLOYED), of_file("b.onnx", USUAL)],
        [of_file("a.onnx", TINY)],
    ],
    ids=["no file", "the same limits", "no NMS", "another network", "files that differ", "too low for the plugin"],
)
def test_else_it_keeps_its_own(files: list[Subject]) -> None:
    subjects = (*files, model())
    assert with_files_thresholds(subjects) == (subjects, ())


def test_a_backbone_has_no_limits() -> None:
    subjects = (of_file("a.onnx", DEPLOYED), model(thresholds=None))
    assert with_files_thresholds(subjects) == (subjects, ())
