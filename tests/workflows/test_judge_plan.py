"""evaluate, detect and parity take plans like any other engine, and say that TensorRT was simulated."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from simulated_device import ADA, EVERY_FAMILY, PASCAL
from simulated_host import LABELS, build_plan_file, simulated_host
from small_int8 import DETECTOR, detector_graph, fill_folder, write_detector, write_graph

from hardnet_deploy.errors import InputFileError, UsageError
from hardnet_deploy.workflows.detect import ImageDetections, detect
from hardnet_deploy.workflows.evaluate import EvaluateRequest, Evaluation, run_evaluate
from hardnet_deploy.workflows.open_engine import open_engine
from hardnet_deploy.workflows.parity import run_parity
from hardnet_deploy.workflows.parity_options import ParityRequest
from hardnet_deploy.workflows.parity_result import ParityResult

DATA = "coco:coco:val2017"
CLIPPED = 0.02
"""Of every range: what is left is noise."""
INT8_MAP = 0.05
"""Of a detector of 16 boxes on 4 pictures, where one box is a percent or more."""


@pytest.fixture(autouse=True)
def in_a_folder_with_a_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARDNET_DEPLOY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    fill_folder(Path())


def evaluate(engine: str, **options: Any) -> Evaluation:
    settings: dict[str, Any] = {"data": DATA, "workers": 1, "resume": False} | options
    return run_evaluate(EvaluateRequest(engine=engine, **settings), lambda *_: None)


def compare(reference: str, candidate: str, **options: Any) -> ParityResult:
    settings: dict[str, Any] = {"data": DATA, "resamples": 50} | options
    return run_parity(ParityRequest(reference=reference, candidate=candidate, **settings), lambda *_: None)


@EVERY_FAMILY
def test_the_map_is_that_of_the_onnx_engine(device: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = evaluate("float.onnx").mean_ap
    with simulated_host(monkeypatch, device):
        build_plan_file(device)
        build_plan_file(device, "fp16")
        found = evaluate("fp32.engine")
        half = evaluate("fp16.engine").mean_ap
    assert wanted > 0.5
    assert found.mean_ap == wanted
    assert half == pytest.approx(wanted, abs=1e-3)
    assert found.as_dict()["engine"]["runner"] == LABELS[device]
    assert LABELS[device] in found.as_dict()["postprocess"]["made_by"]


@pytest.mark.parametrize("device", [PASCAL, ADA], ids=["8.6", "10"])
def test_int8_is_judged_like_any_other(device: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, device):
        build_plan_file(device, "int8")
        assert evaluate("int8.engine").mean_ap == pytest.approx(evaluate("float.onnx").mean_ap, abs=INT8_MAP)
        build_plan_file(device, "int8", calib=None, data="coco/val2017", output=Path("own.engine"))
        with pytest.raises(UsageError, match="cannot be judged on the same images"):
            evaluate("own.engine")


def test_the_authors_post_processing_needs_what_a_plan_does_not_give(monkeypatch: pytest.MonkeyPatch) -> None:
    write_detector(Path("boxes.onnx"), outputs="boxes")
    with simulated_host(monkeypatch, PASCAL):
        build_plan_file(PASCAL)
        with pytest.raises(InputFileError, match="boxes and scores before its NMS"):
            evaluate("fp32.engine", postprocess="upstream")
        build_plan_file(PASCAL, source="boxes.onnx", output=Path("boxes.engine"))
        found = evaluate("boxes.engine", postprocess="upstream").mean_ap
    assert found == evaluate("boxes.onnx", postprocess="upstream").mean_ap


def test_detect_gives_the_same_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    images = sorted(Path("pictures").iterdir())
    with simulated_host(monkeypatch, PASCAL):
        build_plan_file(PASCAL)
        both = [list(detect(open_engine(name), images)) for name in ("fp32.engine", "float.onnx")]
    ours, theirs = ([one.detections for one in side if isinstance(one, ImageDetections)] for side in both)
    assert ours == theirs
    assert any(ours)


def test_parity_says_what_a_plan_does_not_show_and_judges_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, PASCAL):
        build_plan_file(PASCAL, "fp16")
        for sides in (("float.onnx", "fp16.engine"), ("fp16.engine", "float.onnx")):
            result = compare(*sides)
            assert result.passed, [failure.what for failure in result.failures]
            document = result.as_dict()
            assert "not available" in document["tensors"]["not_available"]
            assert "not available" in document["tensors"]["layers"]["not_available"]
            assert result.detections is not None
            assert result.detections.everything.shares == (1.0, 1.0)
            assert LABELS[PASCAL] in {document[side]["runner"] for side in ("reference", "candidate")}
        assert compare("float.onnx", "fp16.engine").candidate.precision == "fp16"


def test_parity_finds_a_plan_whose_calibration_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    table = json.loads(Path("float.calib.json").read_text())
    for tensor in table["tensors"].values():
        tensor["thresholds"] = {name: value * CLIPPED for name, value in tensor["thresholds"].items()}
    Path("clipped.calib.json").write_text(json.dumps(table))
    with simulated_host(monkeypatch, PASCAL):
        build_plan_file(PASCAL, "int8", calib=Path("clipped.calib.json"))
        result = compare("float.onnx", "int8.engine")
    assert result.candidate.precision == "int8"
    assert {failure.part for failure in result.failures} == {"detections", "metric"}
    assert result.metric is not None
    assert result.metric.drop is not None
    assert result.metric.drop.drop > 0.1


def test_a_plan_with_raw_outputs_is_compared_by_them(monkeypatch: pytest.MonkeyPatch) -> None:
    write_detector(Path("raw.onnx"), outputs="raw")
    with simulated_host(monkeypatch, ADA):
        build_plan_file(ADA, source="raw.onnx", output=Path("raw.engine"))
        result = compare("float.onnx", "raw.engine", allow_other_thresholds=True)
        assert result.passed, [failure.what for failure in result.failures]
    assert {"loc", "conf"} <= {one.name for one in result.tensors.outputs}
    assert all(one.ok for one in result.tensors.outputs)


def test_a_plan_of_another_pre_processing_fails_parity(monkeypatch: pytest.MonkeyPatch) -> None:
    other = {**dataclasses.asdict(DETECTOR.preprocess), "channel_order": "rgb"}
    write_graph(Path("other.onnx"), detector_graph(), preprocess=other)
    with simulated_host(monkeypatch, PASCAL):
        build_plan_file(PASCAL, source="other.onnx")
        result = compare("float.onnx", "fp32.engine")
    assert not result.passed
    assert any("'images'" in failure.what for failure in result.failures)
