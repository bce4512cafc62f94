"""What a user typed becomes what is exported; everything that cannot be is refused before anything runs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from hardnet_deploy.errors import TargetError, UsageError
from hardnet_deploy.models import registry
from hardnet_deploy.specs import Thresholds
from hardnet_deploy.workflows.export_options import ExportPlan, ExportRequest, parse_batch, plan_export

COCO, VOC, BACKBONE = "ssd512-hardnet68-coco", "ssd300-hardnet85-voc", "hardnet68ds"


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def plan(**options: Any) -> ExportPlan:
    return plan_export(ExportRequest(**options))


def thresholds(**options: Any) -> Thresholds:
    found = plan(**options).graph.thresholds
    assert found is not None
    return found


def refused(said: str, **options: Any) -> str:
    with pytest.raises(UsageError) as caught:
        plan(**options)
    assert said in str(caught.value)
    assert list(Path().glob("*.onnx*")) == []
    return str(caught.value)


def test_the_bare_command_is_the_published_default() -> None:
    found = plan()
    assert found.spec == registry.get(COCO)
    assert found.weights is None
    assert found.code_line == "pingolh"
    assert found.fuse_bn
    assert found.target is None
    assert found.output == Path("ssd512-hardnet68-coco.onnx")
    graph = found.graph
    assert (graph.outputs, graph.nms, graph.opset, graph.batch) == ("detections", "efficient", 13, 1)
    assert graph.thresholds == Thresholds(score=0.02, iou=0.45, max_detections=200)
    assert list(Path().iterdir()) == []


def test_options_that_were_typed_come_through() -> None:
    found = plan(
        model=VOC, fuse_bn=False, code_line="lzx1413", opset=17, batch="4", output=Path("x/y.onnx"), command=("a", "b")
    )
    assert (found.spec.name, found.fuse_bn, found.code_line) == (VOC, False, "lzx1413")
    assert (found.graph.opset, found.graph.batch) == (17, 4)
    assert (found.output, found.command) == (Path("x/y.onnx"), ("a", "b"))
    assert not Path("x").exists()


# Precedence: what was typed, then the target's, then the project's.


@pytest.mark.parametrize(
    ("target", "nms", "wanted"),
    [
        (None, None, "efficient"),
        ("cpu", None, "onnx"),
        ("gtx-1080ti", None, "efficient"),
        ("jetson-nano", None, "efficient"),
        ("gpu", None, "efficient"),
        (None, "onnx", "onnx"),
        ("cpu", "efficient", "efficient"),
        ("gtx-1080ti", "onnx", "onnx"),
    ],
)
def test_the_kind_of_nms(target: str | None, nms: Any, wanted: str) -> None:
    assert plan(target=target, nms=nms).graph.nms == wanted


@pytest.mark.parametrize("target", [None, "cpu", "gtx-1080ti", "jetson-nano", "gpu"])
def test_the_opset_is_13_for_every_target_unless_typed(target: str | None) -> None:
    assert plan(target=target).graph.opset == 13
    assert plan(target=target, opset=13).graph.opset == 13


@pytest.mark.parametrize(("target", "opset"), [("cpu", 21), ("gtx-1080ti", 17), ("jetson-nano", 13)])
def test_a_typed_opset_up_to_the_targets_ceiling_is_taken(target: str, opset: int) -> None:
    assert plan(target=target, opset=opset).graph.opset == opset


# Refusals by the target: exit 3.


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "jetson-nano", "nms": "onnx"}, "--nms onnx"),
        ({"target": "jetson-nano", "batch": "2"}, "batch"),
        ({"target": "jetson-nano", "batch": "dynamic"}, "dynamic batch"),
        ({"target": "jetson-nano", "opset": 14}, "opset 14"),
        ({"target": "gtx-1080ti", "opset": 18}, "opset 18"),
        ({"target": "jetson-nano", "batch": "2", "model": BACKBONE}, "batch"),
    ],
    ids=str,
)
def test_what_the_target_cannot_do_is_refused_with_the_way_out(options: dict[str, Any], said: str) -> None:
    with pytest.raises(TargetError) as caught:
        plan(**options)
    assert caught.value.exit_code == 3
    assert said in str(caught.value)
    assert options["target"] in caught.value.what
    assert caught.value.next_step


@pytest.mark.parametrize("target", ["jetson-nano", "gtx-1080ti"])
def test_fp16_is_a_flag_of_the_build_where_typing_is_weak(target: str) -> None:
    with pytest.raises(TargetError, match="takes fp16 as a flag of the build") as caught:
        plan(target=target, precision="fp16")
    assert caught.value.exit_code == 3
    assert f"build-engine --fp16 --target {target}" in (caught.value.next_step or "")
    assert ("not faster" in (caught.value.got or "")) == (target == "gtx-1080ti")
    assert plan(target=target).precision == "fp32"


@pytest.mark.parametrize(("target", "warned"), [(None, False), ("gpu", False), ("cpu", True)])
def test_fp16_elsewhere_with_a_warning_where_it_is_not_faster(target: str | None, warned: bool) -> None:
    found = plan(target=target, precision="fp16")
    assert found.precision == "fp16"
    assert ("not faster" in (found.warning or "")) == warned
    assert plan(target=target).warning is None


def test_a_target_does_not_refuse_an_nms_that_is_not_written() -> None:
    assert plan(target="jetson-nano", outputs="boxes").graph.thresholds is None
    assert plan(target="jetson-nano", model=BACKBONE).graph.thresholds is None


@pytest.mark.parametrize("target", ["jetson", "JETSON-NANO", "tpu", ""])
def test_an_unknown_target_is_a_usage_error(target: str) -> None:
    """An empty one too: that is a script's variable without a value, not a wish for the default."""
    assert "hardnet-deploy targets" in refused("unknown target", target=target)


# Refusals of values: exit 2.


@pytest.mark.parametrize("opset", [-1, 0, 12, 22, 10**9])
@pytest.mark.parametrize("target", [None, "gtx-1080ti"])
def test_an_opset_that_cannot_be_written_is_a_usage_error(opset: int, target: str | None) -> None:
    refused(f"--opset {opset} is out of range", opset=opset, target=target)


@pytest.mark.parametrize("opset", [13, 21])
def test_the_first_and_the_last_opset_are_written(opset: int) -> None:
    assert plan(opset=opset).graph.opset == opset


@pytest.mark.parametrize(("text", "batch"), [("1", 1), ("2", 2), ("64", 64), ("08", 8), ("dynamic", None)])
def test_batches(text: str, batch: int | None) -> None:
    assert parse_batch(text) == batch


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "1.5", "1025", "two", "Dynamic", "1_0", "+1", " 1", "١", "²", "0x2", "9" * 5000]
)
def test_what_is_no_batch_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="is not a batch"):
        parse_batch(text)


@pytest.mark.parametrize(
    ("model", "preset", "wanted"),
    [
        (COCO, "eval", Thresholds(score=0.02, iou=0.45, max_detections=200)),
        (COCO, "deploy", Thresholds(score=0.3, iou=0.45, max_detections=200)),
        (VOC, "eval", Thresholds(score=0.03, iou=0.45, max_detections=300)),
        (VOC, "deploy", Thresholds(score=0.3, iou=0.45, max_detections=300)),
    ],
)
def test_the_presets(model: str, preset: Any, wanted: Thresholds) -> None:
    assert thresholds(model=model, preset=preset) == wanted


def test_a_typed_number_overrides_its_part_of_the_preset() -> None:
    assert thresholds(score_threshold=0.5) == Thresholds(score=0.5, iou=0.45, max_detections=200)
    assert thresholds(preset="deploy", iou_threshold=0.6) == Thresholds(score=0.3, iou=0.6, max_detections=200)
    assert thresholds(model=VOC, max_detections=7) == Thresholds(score=0.03, iou=0.45, max_detections=7)
    assert thresholds(score_threshold=0.007).score == 0.007
    assert thresholds(nms="onnx", score_threshold=0.0).score == 0.0
    assert thresholds(iou_threshold=1.0, max_detections=1).max_detections == 1


NO_NUMBERS = (math.nan, math.inf, -math.inf)


@pytest.mark.parametrize("nms", ["efficient", "onnx"])
@pytest.mark.parametrize("value", [-0.1, 1.0, 1.5, *NO_NUMBERS])
def test_a_score_threshold_out_of_range_is_a_usage_error(value: float, nms: Any) -> None:
    refused("--score-threshold", score_threshold=value, nms=nms)


@pytest.mark.parametrize("nms", ["efficient", "onnx"])
@pytest.mark.parametrize("value", [-0.1, 0.0, 1e-50, 1.01, *NO_NUMBERS])
def test_an_iou_threshold_out_of_range_is_a_usage_error(value: float, nms: Any) -> None:
    refused("--iou-threshold", iou_threshold=value, nms=nms)


@pytest.mark.parametrize("value", [-1, 0, 10**9])
def test_a_number_of_detections_out_of_range_is_a_usage_error(value: int) -> None:
    refused("--max-detections", max_detections=value)


def test_no_more_detections_than_boxes() -> None:
    head = registry.get(VOC).head
    assert head is not None
    assert thresholds(model=VOC, max_detections=head.num_priors).max_detections == head.num_priors
    refused(str(head.num_priors), model=VOC, max_detections=head.num_priors + 1)


@pytest.mark.parametrize("value", [0.0, 0.001, 0.00699])
@pytest.mark.parametrize("target", [None, "gtx-1080ti"])
def test_a_low_threshold_with_the_plugin_is_refused_with_the_reason(value: float, target: str | None) -> None:
    text = refused("EfficientNMS_TRT", score_threshold=value, target=target)
    assert "-32768" in text
    assert "0.007" in text
    assert "--nms onnx" in text
    assert thresholds(score_threshold=value, target="cpu").score == value


# Options that would silently do nothing.


@pytest.mark.parametrize(
    ("option", "value", "spelling"),
    [
        ("score_threshold", 0.1, "--score-threshold"),
        ("iou_threshold", 0.5, "--iou-threshold"),
        ("max_detections", 5, "--max-detections"),
        ("nms", "onnx", "--nms"),
        ("nms", "efficient", "--nms"),
        ("preset", "deploy", "--thresholds"),
    ],
)
@pytest.mark.parametrize("place", [{"outputs": "raw"}, {"outputs": "boxes"}, {"model": BACKBONE}], ids=str)
def test_options_of_the_nms_without_an_nms_are_refused(
    option: str, value: Any, spelling: str, place: dict[str, Any]
) -> None:
    refused(spelling, **{option: value}, **place)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": BACKBONE, "outputs": "raw"}, "--outputs"),
        ({"model": BACKBONE, "outputs": "detections"}, "--outputs"),
        ({"model": BACKBONE, "code_line": "lzx1413"}, "--code-line"),
        ({"model": COCO, "code_line": "caffe"}, "code line 'caffe'"),
        ({"model": COCO, "size": 300}, "--size"),
        ({"model": BACKBONE, "size": 31}, "31 is too small"),
        ({"model": BACKBONE, "size": -224}, "too small"),
        ({"model": "hardnet68sd"}, "no model called"),
        ({"model": ""}, "no model called"),
    ],
    ids=str,
)
def test_other_options_that_cannot_be_meant(options: dict[str, Any], said: str) -> None:
    refused(said, **options)


def test_a_backbones_plan_has_its_size_and_no_nms() -> None:
    found = plan(model=BACKBONE, size=96)
    assert found.spec.preprocess.size == 96
    assert found.graph.thresholds is None
    assert found.output == Path("hardnet68ds.onnx")


def test_raw_and_boxes_have_no_thresholds() -> None:
    assert plan(outputs="raw").graph.thresholds is None
    assert plan(outputs="boxes", batch="dynamic").graph.batch is None
