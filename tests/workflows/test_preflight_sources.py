"""The preflight of TensorRT builds: graphs and calibrations that the TensorRT at hand does not take."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from made_machines import (
    ADA_GPU,
    ELEVEN_MACHINE,
    NANO_GPU,
    PASCAL_GPU,
    TEN_MACHINE,
    machine,
    planned,
    refused,
    tensorrt,
)
from small_int8 import detector_graph, write_detector, write_graph

from hardnet_deploy.errors import ArtifactMismatchError, TargetError, UsageError
from hardnet_deploy.export.half import to_half
from hardnet_deploy.models import registry


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARDNET_DEPLOY_CACHE", str(tmp_path / "cache"))
    write_detector(tmp_path / "float.onnx")


def test_the_plugin_must_be_in_the_registry() -> None:
    without = machine(ADA_GPU, trt=tensorrt("11.4.0", "11", plugins=("ROIAlign_TRT",)))
    error = refused(TargetError, "has no plugin EfficientNMS_TRT", without, target="gpu")
    assert (error.exit_code, error.next_step) == (
        3,
        "hardnet-deploy export MODEL --target gpu --nms onnx -o float.gpu.onnx, then build from it",
    )
    model = planned(without, source=registry.DEMO_MODEL, target="gpu")
    assert model.nms == "onnx"
    assert any("ends in ONNX NonMaxSuppression" in warning for warning in model.warnings)
    nano = machine(NANO_GPU, trt=tensorrt("8.2.1", "8.2", plugins=()))
    assert "JetPack" in (refused(TargetError, "has no plugin", nano, target="jetson-nano").next_step or "")


def test_onnx_nms_is_refused_for_82_alone() -> None:
    write_detector(Path("onnx.onnx"), nms="onnx")
    error = refused(TargetError, "cannot take --nms onnx", source="onnx.onnx", target="jetson-nano")
    assert error.exit_code == 3
    assert "hardnet-deploy export MODEL --target jetson-nano --nms efficient" in (error.next_step or "")
    assert planned(source="onnx.onnx", target="gtx-1080ti").nms == "onnx"


@pytest.mark.parametrize(("target", "opset"), [("jetson-nano", 14), ("gtx-1080ti", 18), ("gpu", 21)])
def test_an_opset_over_the_ceiling_is_refused(target: str, opset: int) -> None:
    graph = detector_graph()
    graph.opset_import[0].version = opset
    write_graph(Path("new.onnx"), graph)
    error = refused(TargetError, f"does not take ONNX opset {opset}", source="new.onnx", target=target)
    assert error.exit_code == 3
    assert "--opset 13" in (error.next_step or "")


def test_the_ceiling_is_that_of_the_installed_tensorrt() -> None:
    graph = detector_graph()
    graph.opset_import[0].version = 21
    write_graph(Path("new.onnx"), graph)
    assert planned(ELEVEN_MACHINE, source="new.onnx", target="gpu").opset == 21
    refused(TargetError, "opset 21", TEN_MACHINE, source="new.onnx", target="gpu")


def test_a_dynamic_batch_needs_a_range_and_a_device_that_takes_one() -> None:
    write_detector(Path("any.onnx"), batch=None)
    error = refused(TargetError, "fixed batch of at most 1", source="any.onnx", target="jetson-nano", batch="1,2,4")
    assert error.exit_code == 3
    refused(UsageError, "has a dynamic batch", source="any.onnx", target="gtx-1080ti")
    plan = planned(source="any.onnx", target="gtx-1080ti", batch="1,2,4")
    assert plan.batch == (1, 2, 4)
    assert any("a profile for batches 1, 2, 4" in step for step in plan.steps)
    refused(UsageError, "fixed batch 1, so --batch would do nothing", target="gtx-1080ti", batch="1,2,4")
    refused(TargetError, "fixed batch", source=registry.DEMO_MODEL, target="jetson-nano", batch="1,2,4")


def quantised() -> None:
    """``qdq.onnx``: the detector with a Q/DQ pair on a convolution's input."""
    graph = detector_graph()
    node = next(one for one in graph.graph.node if one.name == "base.2")
    scale = onnx.helper.make_tensor("scale", onnx.TensorProto.FLOAT, [], [0.1])
    zero = onnx.helper.make_tensor("zero", onnx.TensorProto.INT8, [], [0])
    graph.graph.initializer.extend([scale, zero])
    where = list(graph.graph.node).index(node)
    made = [
        onnx.helper.make_node("QuantizeLinear", [node.input[0], "scale", "zero"], ["q"], name="q"),
        onnx.helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"], name="dq"),
    ]
    node.input[0] = "dq"
    for offset, one in enumerate(made):
        graph.graph.node.insert(where + offset, one)
    write_graph(Path("qdq.onnx"), onnx.shape_inference.infer_shapes(graph))


def test_a_graph_with_qdq_needs_int8_hardware() -> None:
    quantised()
    error = refused(TargetError, "do not build on target 'jetson-nano'", source="qdq.onnx", target="jetson-nano")
    assert error.exit_code == 3
    assert "--fp16" in (error.next_step or "")
    refused(TargetError, "do not build", source="qdq.onnx", target="jetson-nano", fp16=True)
    refused(UsageError, r"INT8 already \(Q/DQ\)", source="qdq.onnx", target="gpu", fp16=True)
    plan = planned(source="qdq.onnx", target="gpu", int8=True, data=None)
    assert (plan.calibration, plan.scales_from, plan.typed) == ("qdq", "graph", True)
    pascal = planned(source="qdq.onnx", target="gtx-1080ti", int8=True, data=None)
    assert (pascal.calibration, pascal.typed, pascal.cache_header) == ("qdq", False, None)
    assert any("no kernel on old cards" in warning for warning in pascal.warnings)
    refused(UsageError, "brings its INT8 scales, so --data", source="qdq.onnx", target="gpu", int8=True, data="demo")
    refused(UsageError, "--calib would do nothing", source="qdq.onnx", target="gpu", int8=True, calib=Path("c"))


def test_an_fp16_typed_graph_is_for_typed_builds() -> None:
    write_graph(Path("half.onnx"), to_half(detector_graph()).model)
    plan = planned(source="half.onnx", target="gpu", fp16=True)
    assert (plan.typed, plan.half_graph) == (True, False)
    assert refused(TargetError, "fp16-typed", source="half.onnx", target="gtx-1080ti", fp16=True).exit_code == 3
    refused(UsageError, "fp16-typed already", source="half.onnx", target="gpu")


def test_a_node_that_the_parser_refuses_is_named() -> None:
    graph = detector_graph()
    next(one for one in graph.graph.node if one.op_type == "Relu").op_type = "Mish"
    graph.opset_import[0].version = 18
    write_graph(Path("odd.onnx"), graph)
    error = refused(TargetError, "TensorRT 10 or 11 would not take odd.onnx", source="odd.onnx", target="gpu")
    assert "Mish" in (error.got or "")


# -------------------------------------------------------------------------------------------------------- INT8 scales


def write_cache(header: str) -> Path:
    Path("c.cache").write_text(f"{header}\nimages: 3c010204\n", encoding="utf-8")
    return Path("c.cache")


def test_a_cache_is_taken_by_the_version_that_it_is_of() -> None:
    cache = write_cache("TRT-8601-EntropyCalibration2")
    plan = planned(target="gtx-1080ti", int8=True, calib=cache)
    assert (plan.scales_from, plan.calibration) == ("cache", "cache+ranges")
    other = machine(PASCAL_GPU, trt=tensorrt("8.5.3.1", "8.6"))
    error = refused(ArtifactMismatchError, "of another TensorRT", other, target="gtx-1080ti", int8=True, calib=cache)
    assert (error.exit_code, error.wanted) == (8, "TRT-8503-EntropyCalibration2")
    minmax = write_cache("TRT-8601-MinMaxCalibration")
    refused(ArtifactMismatchError, "of another TensorRT", target="gtx-1080ti", int8=True, calib=minmax)
    refused(UsageError, "so --method would", target="gtx-1080ti", int8=True, calib=cache, method="mse")


def test_a_typed_build_takes_no_cache() -> None:
    cache = write_cache("TRT-100900-EntropyCalibration2")
    error = refused(TargetError, "takes INT8 scales from the graph", TEN_MACHINE, target="gpu", int8=True, calib=cache)
    assert "--int8 --fp16" in (error.next_step or "")
    eleven = refused(TargetError, "calibration cache", ELEVEN_MACHINE, target="gpu", int8=True, calib=cache)
    assert eleven.got == "TensorRT 11 has no calibrators"
    assert planned(TEN_MACHINE, target="gpu", int8=True, fp16=True, calib=cache).scales_from == "cache"


def test_int8_without_ranges_or_images_is_refused() -> None:
    refused(UsageError, "INT8 needs ranges", target="gtx-1080ti", int8=True, data=None)
