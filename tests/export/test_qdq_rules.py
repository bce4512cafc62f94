"""The lint of quantised graphs for TensorRT: what its parsers refuse, and where Q/DQ may stand."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from graph_models import CPU, GPU, GTX_1080TI, JETSON_NANO, make_model, make_node, rules
from onnx import helper
from quantised_graphs import JOINED, LAYER, NORM, POOLED, STEM, ZERO, detector, with_pair, written

from hardnet_deploy.export.graph_checks import GraphCheckReport, check_graph
from hardnet_deploy.export.parser_table import PARSERS
from hardnet_deploy.targets import TARGETS, Target
from hardnet_deploy.tensor_names import BOXES, CONF, INPUT, SCORES

INT8_TARGETS = pytest.mark.parametrize("target", [GTX_1080TI, GPU], ids=lambda target: target.name)


def told(report: GraphCheckReport) -> list[tuple[str, str]]:
    """Warnings but for the card's own, which stands in every report of a GTX 1080 Ti."""
    return [(one.rule, one.node) for one in report.warnings if one.rule != "qdq-pitfall"]


@INT8_TARGETS
@pytest.mark.parametrize("nms", ["efficient", "onnx"])
def test_the_int8_writing_is_accepted_where_there_is_int8_hardware(target: Target, nms: str) -> None:
    report = check_graph(written("int8", nms=nms, float_units=["stem"]), target)
    assert report.errors == ()
    assert told(report) == []


@INT8_TARGETS
def test_a_quantised_first_convolution_is_a_warning(target: Target) -> None:
    report = check_graph(written("int8"), target)
    assert report.accepted
    assert told(report) == [("qdq-first-conv", "stem")]


def test_the_old_card_is_told_of_the_calibration_cache_once() -> None:
    report = check_graph(written("int8"), GTX_1080TI)
    (finding,) = (one for one in report.warnings if one.rule == "qdq-pitfall")
    assert "the calibration cache is the first choice" in finding.message
    assert finding.source.startswith("https://github.com/NVIDIA/TensorRT/issues/")
    assert "qdq-pitfall" not in {one.rule for one in check_graph(written("int8"), GPU).findings}


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_no_quantised_graph_is_for_the_nano(kind: str) -> None:
    model = written(kind)
    report = check_graph(model, JETSON_NANO)
    refused = {one.node for one in report.errors if one.rule == "qdq-hardware"}
    assert refused == {node.name for node in model.graph.node if node.op_type.endswith("eLinear")}
    assert not any(one.rule.startswith("qdq") and one.rule != "qdq-hardware" for one in report.findings)


@INT8_TARGETS
def test_the_uint8_writing_is_refused_by_tensorrt(target: Target) -> None:
    found = set(rules(check_graph(written("uint8"), target)))
    assert {"qdq-dtype", "conv-bias-quantised", "qdq-head-output", "qdq-l2norm"} <= found


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_float_graphs_have_nothing_to_find(target: Target) -> None:
    assert not any("qdq" in one.rule for one in check_graph(detector(), target).findings)


def test_every_parser_imports_both_operators() -> None:
    assert all({"QuantizeLinear", "DequantizeLinear"} <= row.ops for row in PARSERS.values())


@INT8_TARGETS
@pytest.mark.parametrize(
    ("tensor", "rule"),
    [
        ("layer", "qdq-between-conv-and-relu"),
        ("loc.head", "qdq-head-output"),
        ("conf.head", "qdq-head-output"),
        ("conf.nhwc", "qdq-softmax"),
        (CONF, "qdq-softmax"),
        ("loc.nhwc", "qdq-decode"),
        ("decode.growth", "qdq-decode"),
        (BOXES, "qdq-decode"),
        (SCORES, "qdq-decode"),
        ("exit.relu", "qdq-l2norm"),
        (POOLED, "qdq-l2norm"),
        (f"{NORM}.square", "qdq-l2norm"),
        (f"{NORM}.sum", "qdq-l2norm"),
        (f"{NORM}.root", "qdq-l2norm"),
        (f"{NORM}.norm", "qdq-l2norm"),
        (f"{NORM}.unit", "qdq-l2norm"),
        ("detection_boxes", "qdq-after-nms"),
    ],
)
def test_a_pair_in_the_wrong_place_is_refused_by_name(target: Target, tensor: str, rule: str) -> None:
    report = check_graph(with_pair(detector(), tensor), target)
    assert [(one.rule, one.node) for one in report.errors] == [(rule, f"{tensor}.quantize")]
    assert report.errors[0].message
    assert report.errors[0].source
    assert told(report) == []


@INT8_TARGETS
@pytest.mark.parametrize("tensor", [STEM, LAYER, JOINED, NORM])
def test_a_pair_on_its_way_to_a_convolution_is_fine(target: Target, tensor: str) -> None:
    report = check_graph(with_pair(detector(), tensor), target)
    assert report.errors == ()
    assert told(report) == []


@pytest.mark.parametrize("tensor", ["nms.box", "detection_classes"])
def test_what_onnx_nms_selects_stays_as_it_is(tensor: str) -> None:
    assert rules(check_graph(with_pair(detector(nms="onnx"), tensor), GPU)) == ["qdq-after-nms"]


@pytest.mark.parametrize("op_type", ["LpNormalization", "ReduceL2"])
def test_an_operator_that_is_an_l2_norm_reads_floats(op_type: str) -> None:
    weight = {"w": np.ones((2, 3, 1, 1), np.float32)}
    model = make_model([make_node(op_type, "x", output="n"), make_node("Conv", "n", "w")], constants=weight)
    assert rules(check_graph(with_pair(model, "x"), GPU)) == ["qdq-l2norm"]


def test_a_clip_behind_a_convolution_counts_as_its_relu() -> None:
    constants: dict[str, np.ndarray[Any, Any]] = {
        "w": np.ones((3, 3, 1, 1), np.float32),
        "low": np.array(0, np.float32),
        "high": np.array(6, np.float32),
    }
    nodes = [make_node("Conv", "x", "w", output="c"), make_node("Clip", "c", "low", "high", output="r")]
    end = helper.make_node("Conv", ["r", "w"], ["y"], "end")
    model = make_model([*nodes, end], constants=constants)
    assert rules(check_graph(with_pair(model, "c"), GPU)) == ["qdq-between-conv-and-relu"]
    assert check_graph(with_pair(model, "r"), GPU).findings == ()


@pytest.mark.parametrize(("second", "told_of"), [(0.1, []), (0.25, [("qdq-concat-scales", JOINED)])])
def test_a_concatenation_of_unequal_scales_is_a_warning(second: float, told_of: list[tuple[str, str]]) -> None:
    report = check_graph(with_pair(with_pair(detector(), STEM), LAYER, scale=second), GPU)
    assert report.accepted
    assert told(report) == told_of


def test_the_scale_behind_a_concatenation_counts_too() -> None:
    report = check_graph(with_pair(with_pair(detector(), STEM), JOINED, scale=0.3), GPU)
    assert told(report) == [("qdq-concat-scales", JOINED)]
    assert "0.1 to 0.3" in report.warnings[-1].message


def test_separate_scales_of_the_writing_are_told() -> None:
    report = check_graph(written("int8", scales="separate", float_units=["stem"]), GPU)
    assert report.accepted
    assert told(report) == [("qdq-concat-scales", JOINED)]


def weight_model(*, op_type: str = "Conv", scales: int = 4, axis: int | None = 0, opset: int = 13) -> onnx.ModelProto:
    """x through a convolution with a weight of shape (4, 3, 3, 3), or (3, 4, 3, 3) transposed, and its Q/DQ pair."""
    shape = (3, 4, 3, 3) if op_type == "ConvTranspose" else (4, 3, 3, 3)
    written_axis = {} if axis is None else {"axis": axis}
    pair = [
        make_node("QuantizeLinear", "w", "scale", "zero", output="q", **written_axis),
        make_node("DequantizeLinear", "q", "scale", "zero", output="d", **written_axis),
    ]
    constants: dict[str, np.ndarray[Any, Any]] = {
        "w": np.ones(shape, np.float32),
        "scale": np.full(scales, 0.1, np.float32),
        "zero": np.zeros(scales, np.int8),
    }
    return make_model([*pair, make_node(op_type, "x", "d")], constants=constants, opset=opset)


@INT8_TARGETS
@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"axis": -4}, []),
        ({"op_type": "ConvTranspose", "axis": 1}, []),
        ({"scales": 1}, []),
        ({"axis": 1, "scales": 3}, ["qdq-axis"] * 2),
        ({"axis": None}, ["qdq-axis"] * 2),
        ({"op_type": "ConvTranspose"}, ["qdq-axis"] * 2),
        ({"scales": 3}, ["qdq-channels"] * 2),
        ({"op_type": "Gemm", "axis": 7}, ["qdq-channels"] * 2),
        ({"opset": 12, "axis": None}, ["qdq-opset"] * 2),
    ],
)
def test_weights_have_one_scale_for_each_output_channel(
    target: Target, changes: dict[str, Any], found: list[str]
) -> None:
    assert rules(check_graph(weight_model(**changes), target)) == found


def test_scales_per_channel_before_opset_13_are_refused_on_the_cpu_too() -> None:
    assert rules(check_graph(weight_model(opset=12, axis=None), CPU)) == ["qdq-opset"] * 2
    assert check_graph(weight_model(opset=13), CPU).accepted


@INT8_TARGETS
@pytest.mark.parametrize("scale", [0.0, -0.1, np.inf, np.nan])
def test_scales_are_positive_and_finite(target: Target, scale: float) -> None:
    assert rules(check_graph(with_pair(detector(), LAYER, scale=scale), target)) == ["qdq-scale"] * 2


@INT8_TARGETS
@pytest.mark.parametrize("zero", [np.array(1, np.int8), np.array(-128, np.int8), np.array(0, np.uint8)])
def test_zero_points_are_int8_zeros(target: Target, zero: np.ndarray[Any, Any]) -> None:
    found = set(rules(check_graph(with_pair(detector(), LAYER, zero=zero), target)))
    assert found == ({"qdq-zero-point"} if zero.dtype == np.int8 else {"qdq-dtype", "dtype"})


@INT8_TARGETS
@pytest.mark.parametrize("inputs", [["q", "s"], ["q", "s", ""], ["q", "s", "z", "z"]])
def test_a_node_has_three_inputs(target: Target, inputs: list[str]) -> None:
    constants = {"s": np.array(0.1, np.float32), "z": ZERO, "w": np.ones((2, 3, 1, 1), np.float32)}
    nodes = [
        make_node("QuantizeLinear", "x", "s", "z", output="q"),
        helper.make_node("DequantizeLinear", inputs, ["d"], "wrong"),
        make_node("Conv", "d", "w"),
    ]
    report = check_graph(make_model(nodes, constants=constants), target)
    assert [(one.rule, one.node) for one in report.errors] == [("qdq-inputs", "wrong")]


@INT8_TARGETS
def test_a_computed_scale_is_refused(target: Target) -> None:
    model = with_pair(detector(), LAYER)
    model.graph.initializer.remove(next(one for one in model.graph.initializer if one.name == f"{LAYER}.scale"))
    model.graph.node.insert(0, make_node("ReduceMax", INPUT, output=f"{LAYER}.scale", keepdims=0))
    assert set(rules(check_graph(model, target))) == {"qdq-constant"}


@INT8_TARGETS
def test_a_bias_that_is_quantised_on_the_way_is_refused(target: Target) -> None:
    report = check_graph(with_pair(detector(), "layer.bias"), target)
    assert ("conv-bias-quantised", "layer") in [(one.rule, one.node) for one in report.errors]
