"""A report is taken only where its figures follow from what it measured."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from device_reports import DIGEST, TIMES, report, write

from hardnet_deploy.device import run_engine
from hardnet_deploy.errors import ArtifactMismatchError, InputFileError
from hardnet_deploy.kit.device_report import read_report
from hardnet_deploy.kit.document import KitFolder


def read(folder: Path, document: Any, kit: KitFolder | None = None) -> Any:
    return read_report(write(folder / "report.json", document), kit)


def test_a_whole_report_becomes_a_row(tmp_path: Path) -> None:
    row = read(tmp_path, report()).as_dict()
    assert row["label"] == "imported (NVIDIA Tegra X1, 2024-05-17)"
    assert not row["simulated"]
    assert row["timing"]["median"] == 10.1
    assert row["timing"]["runs"] == 5
    assert row["layers"] == {"fp16": 1, "fp32": 1}
    assert row["parity"]["matched"] == 19
    assert row["sha256"]["engine"] == DIGEST
    assert (row["model"], row["trained"], row["target"]) == ("ssd300-hardnet-demo", True, "jetson-nano")
    assert row["not_in_file"] == []


def test_untrained_weights_stay_untrained_without_the_kit(tmp_path: Path) -> None:
    assert read(tmp_path, report(trained=False)).trained is False


def test_what_the_kit_did_not_know_is_said_to_be_missing(tmp_path: Path) -> None:
    row = read(tmp_path, report(model=None, trained=None, target=None))
    assert (row.model, row.trained, row.target) == (None, None, None)
    assert row.not_in_file == ("model", "trained", "target")


@pytest.mark.parametrize("changes", [{"model": "a"}, {"model": {}}, {"trained": "yes"}, {"target": 1}], ids=str)
def test_a_model_that_is_none_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(InputFileError):
        read(tmp_path, report(**changes))


@pytest.mark.parametrize(
    "changes",
    [{"tensorrt": "8.2.1+simulated"}, {"device": {"name": "Simulated Jetson Nano"}}],
    ids=["version", "device"],
)
def test_what_a_stand_in_ran_stays_labelled(tmp_path: Path, changes: dict[str, Any]) -> None:
    row = read(tmp_path, report(**changes))
    assert row.simulated
    assert row.label.endswith(", simulated")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("median", 9.0),
        ("mean", 10.0),
        ("p90", 10.1),
        ("p95", 10.1),
        ("p99", 10.1),
        ("min", 9.9),
        ("cov_percent", 0.1),
        ("stable", False),
        ("gpu_compute_ms", [*TIMES[:4], 99.0]),
        ("gpu_compute_ms", TIMES[:3]),
    ],
    ids=str,
)
def test_figures_that_do_not_follow_from_the_raw_times_are_refused(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(ArtifactMismatchError, match="does not hold together") as caught:
        read(tmp_path, report(timing={name: value}))
    assert caught.value.exit_code == 8
    assert caught.value.got


def test_rounding_of_another_python_is_let_pass(tmp_path: Path) -> None:
    mean = run_engine.summarise(TIMES)["mean"] * (1 + 1e-14)
    assert read(tmp_path, report(timing={"mean": mean})).timing["runs"] == 5


def _matched(document: dict[str, Any]) -> None:
    document["parity"]["detections"]["matched"] = 20


def _passed(document: dict[str, Any]) -> None:
    document["parity"]["failures"] = ["one"]


def _share(document: dict[str, Any]) -> None:
    document["parity"]["detections"]["shown"]["matched_candidate"] = 2


def _all_share(document: dict[str, Any]) -> None:
    document["parity"]["tolerances"]["detections"] = {"share": 0.99}


def _output(document: dict[str, Any]) -> None:
    document["parity"]["samples"][0]["outputs"] = {"logits": {"passed": False, "max_error": 1.0}}


@pytest.mark.parametrize("spoil", [_matched, _passed, _share, _all_share, _output])
def test_a_verdict_that_does_not_follow_from_the_counts_is_refused(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], None]
) -> None:
    document = copy.deepcopy(report())
    spoil(document)
    with pytest.raises(ArtifactMismatchError):
        read(tmp_path, document)


def test_a_failed_parity_is_imported_and_told(tmp_path: Path) -> None:
    row = read(tmp_path, report(parity={"passed": False, "failures": ["sample 0: off"]}))
    assert row.parity["passed"] is False
    assert "parity FAILED on the device: sample 0: off" in row.notes


def test_an_unstable_timing_is_imported_and_told(tmp_path: Path) -> None:
    wild = [10.0, 20.0, 10.0, 20.0, 10.0]
    row = read(tmp_path, report(timing={"gpu_compute_ms": wild, **run_engine.summarise(wild)}))
    assert row.timing["stable"] is False
    assert "did not settle" in row.notes[0]
    assert (row.timing["p90"], row.timing["p95"]) == (20.0, 20.0)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '{"kind": "kit"}',
        '{"kind": "device-report", "schema": 2}',
        "NaN",
        "\udcff",
        "[" * 100_000,
    ],
    ids=["empty", "cut", "list", "null", "foreign", "bare", "nan", "bytes", "deep"],
)
def test_what_is_no_report_is_one_sentence(tmp_path: Path, content: str) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputFileError) as caught:
        read_report(path, None)
    assert str(path) in caught.value.what


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="cannot be read"):
        read_report(tmp_path / "none.json", None)


@pytest.mark.parametrize("bad", [None, True, "10", -1.0, 0.0, float("inf"), [], {}], ids=str)
def test_raw_times_that_are_no_times_are_refused(tmp_path: Path, bad: Any) -> None:
    with pytest.raises(InputFileError):
        read(tmp_path, report(timing={"gpu_compute_ms": [10.0, bad]}))


@pytest.mark.parametrize("digest", ["", "ab" * 31, "AB" * 32, 5, None], ids=str)
def test_a_hash_has_its_form(tmp_path: Path, digest: Any) -> None:
    with pytest.raises(InputFileError, match="engine_sha256"):
        read(tmp_path, report(engine_sha256=digest))


def test_another_schema_is_a_mismatch(tmp_path: Path) -> None:
    with pytest.raises(ArtifactMismatchError, match="another schema"):
        read(tmp_path, report(schema=1))


def test_nothing_compared_is_no_pass(tmp_path: Path) -> None:
    none = dict.fromkeys(("reference", "matched_reference", "candidate", "matched_candidate"), 0)
    detections = {"matched": 0, "missing": 0, "extra": 0, "shown": none}
    with pytest.raises(ArtifactMismatchError, match="does not hold together"):
        read(tmp_path, report(parity={"samples": [], "detections": detections}))


def test_quantiles_are_numpy_s_of_the_raw_times(tmp_path: Path) -> None:
    timing = read(tmp_path, report()).timing
    for name, share in (("median", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)):
        assert timing[name] == pytest.approx(np.quantile(TIMES, share), rel=1e-12)
    assert timing["cov_percent"] == pytest.approx(100 * np.std(TIMES) / np.mean(TIMES), rel=1e-12)


@pytest.mark.parametrize(
    "changes",
    [
        {"gpu_compute_ms": [1e308] * 5},
        {"gpu_compute_ms": [1.01e7] * 5},  # 10.1 ms in nanoseconds
        {"boundary": "end to end"},
        {"protocol": {**report()["timing"]["protocol"], "warm_up_ms": "long"}},
        {"conditions": "cold"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_units_and_boundaries_that_are_none_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(InputFileError) as caught:
        read(tmp_path, report(timing=changes))
    assert caught.value.next_step


def test_conditions_of_the_device_are_kept(tmp_path: Path) -> None:
    conditions = {"before": {"gpu_mhz": 921.6}, "after": {"gpu_mhz": 921.6}}
    assert read(tmp_path, report(timing={"conditions": conditions})).timing["conditions"] == conditions
    assert read(tmp_path, report()).timing["conditions"] is None


def test_the_worst_pair_is_that_of_the_samples(tmp_path: Path) -> None:
    document = copy.deepcopy(report())
    document["parity"]["detections"]["worst_iou"] = 0.99
    with pytest.raises(ArtifactMismatchError, match="does not hold together"):
        read(tmp_path, document)


def test_layers_in_another_precision_than_asked_for_are_told(tmp_path: Path) -> None:
    build = {**report()["build"], "layers": {"a": "fp32"}}
    assert "no layer computes in fp16, which was asked for: fp32" in read(tmp_path, report(build=build)).notes
    with pytest.raises(InputFileError):
        read(tmp_path, report(build={**build, "layers": {"a": None}}))
