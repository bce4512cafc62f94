from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from graph_models import CPU, GPU, GTX_1080TI, JETSON_NANO, make_model, make_node, rules
from onnx import TensorProto, helper, numpy_helper

from hardnet_deploy.export.graph_checks import Finding, check_graph
from hardnet_deploy.targets import TARGETS, Target

TENSORRT = pytest.mark.parametrize("target", [GTX_1080TI, JETSON_NANO, GPU], ids=lambda target: target.name)
ALL = pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)


@TENSORRT
def test_float64_is_a_warning(target: Target) -> None:
    model = make_model([make_node("Add", "x", "c")], constants={"c": np.ones((1,), np.float64)})
    report = check_graph(model, target)
    assert report.accepted
    assert [(finding.rule, finding.node) for finding in report.warnings] == [("dtype", "c")]


def test_int64_that_int32_cannot_hold_is_a_warning_before_tensorrt_10() -> None:
    constants = {"s": np.array([0], np.int64), "e": np.array([2**40], np.int64), "a": np.array([1], np.int64)}
    model = make_model([make_node("Slice", "x", "s", "e", "a")], constants=constants)
    for target in (GTX_1080TI, JETSON_NANO):
        assert ["int64" in finding.message for finding in check_graph(model, target).warnings] == [True]
    assert check_graph(model, GPU).findings == ()


def test_small_int64_constants_are_not_worth_a_word() -> None:
    constants = {"s": np.array([0], np.int64), "e": np.array([2], np.int64), "a": np.array([1], np.int64)}
    model = make_model([make_node("Slice", "x", "s", "e", "a")], constants=constants)
    assert check_graph(model, JETSON_NANO).findings == ()


def test_uint8_inputs_came_with_85() -> None:
    model = make_model([make_node("Cast", "x", to=TensorProto.FLOAT)], input_dtype=TensorProto.UINT8)
    assert rules(check_graph(model, JETSON_NANO)) == ["dtype"]
    assert check_graph(model, GTX_1080TI).accepted


def test_float16_weights_are_refused_once_where_fp16_is_a_flag() -> None:
    weights = {"c": np.ones((1,), np.float16), "d": np.ones((1,), np.float16)}
    model = make_model([make_node("Add", "x", "c", output="z"), make_node("Add", "z", "d")], constants=weights)
    for target in (JETSON_NANO, GTX_1080TI):
        assert rules(check_graph(model, target)) == ["half-typed"]
    assert check_graph(model, GPU).findings == ()


def test_bfloat16_came_after_8() -> None:
    model = make_model([make_node("Cast", "x", to=TensorProto.BFLOAT16)], output_dtype=TensorProto.BFLOAT16)
    assert set(rules(check_graph(model, GTX_1080TI))) == {"cast-dtype", "dtype"}
    assert check_graph(model, GPU).accepted


@pytest.mark.parametrize(("dtype", "told"), [(TensorProto.INT32, True), (TensorProto.FLOAT, False)])
def test_integer_reductions_are_told_before_tensorrt_10(dtype: int, told: bool) -> None:
    model = make_model(
        [make_node("Cast", "x", output="c", to=dtype), make_node("ReduceSum", "c", "a")],
        constants={"a": np.array([1], np.int64)},
        output_dtype=dtype,
        value_info=[helper.make_tensor_value_info("c", dtype, [1, 3, 8, 8])],
    )
    for target in (GTX_1080TI, JETSON_NANO):
        assert [finding.rule for finding in check_graph(model, target).warnings] == (["float-only"] if told else [])
    assert check_graph(model, GPU).findings == ()


def _quantised(
    *, zero: np.ndarray[Any, Any] | None = None, scale: np.ndarray[Any, Any] | None = None, on_weight: bool = False
) -> onnx.ModelProto:
    zero = np.zeros((), np.int8) if zero is None else zero
    scale = np.array(0.1, np.float32) if scale is None else scale
    constants = {"scale": scale, "zero": zero, "w": np.ones((4, 3, 3, 3), np.float32)}
    pair = [
        make_node("QuantizeLinear", "w" if on_weight else "x", "scale", "zero", output="q", axis=0),
        make_node("DequantizeLinear", "q", "scale", "zero", output="d", axis=0),
    ]
    conv = make_node("Conv", "x", "d") if on_weight else make_node("Conv", "d", "w")
    return make_model([*pair, conv], constants=constants)


@pytest.mark.parametrize("target", [GTX_1080TI, GPU], ids=lambda target: target.name)
def test_symmetric_int8_is_accepted(target: Target) -> None:
    assert check_graph(_quantised(), target).accepted
    per_channel = _quantised(scale=np.full(4, 0.1, np.float32), zero=np.zeros(4, np.int8), on_weight=True)
    assert check_graph(per_channel, target).accepted


def test_quantisation_is_refused_where_there_is_no_int8_hardware() -> None:
    report = check_graph(_quantised(), JETSON_NANO)
    assert set(rules(report)) == {"qdq-hardware"}
    assert "use fp16" in report.errors[0].message


@pytest.mark.parametrize("target", [GTX_1080TI, GPU], ids=lambda target: target.name)
@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"zero": np.zeros((), np.uint8)}, "qdq-dtype"),
        ({"zero": np.array(3, np.int8)}, "qdq-zero-point"),
        ({"scale": np.array(0.0, np.float32)}, "qdq-scale"),
        ({"scale": np.array(np.nan, np.float32)}, "qdq-scale"),
        ({"scale": np.full(4, 0.1, np.float32)}, "qdq-size"),
        ({"scale": np.full(3, 0.1, np.float32), "zero": np.zeros(3, np.int8)}, "qdq-per-channel"),
    ],
)
def test_other_quantisation_is_refused(target: Target, changes: dict[str, Any], rule: str) -> None:
    assert rule in rules(check_graph(_quantised(**changes), target))


def test_uint8_quantisation_is_fine_on_the_cpu() -> None:
    assert check_graph(_quantised(zero=np.array(128, np.uint8)), CPU).accepted


def test_a_missing_zero_point_is_refused() -> None:
    model = _quantised()
    del model.graph.node[0].input[2:]
    assert "qdq-inputs" in rules(check_graph(model, GTX_1080TI))


def test_a_quantised_bias_is_refused() -> None:
    constants = {
        "w": np.ones((4, 3, 3, 3), np.float32),
        "b": np.zeros(4, np.int32),
        "scale": np.array(0.1, np.float32),
        "zero": np.zeros((), np.int32),
    }
    nodes = [make_node("DequantizeLinear", "b", "scale", "zero", output="bias"), make_node("Conv", "x", "w", "bias")]
    assert {"conv-bias-quantised", "qdq-dtype"} <= set(rules(check_graph(make_model(nodes, constants=constants), GPU)))


_AXES = {"axes": np.array([1], np.int64)}


@TENSORRT
@pytest.mark.parametrize(
    ("node", "rule"),
    [
        (make_node("MaxPool", "x", kernel_shape=[2, 2], dilations=[2, 2]), "pool-dilations"),
        (make_node("AveragePool", "x", kernel_shape=[2], strides=[2]), "pool-rank"),
        (helper.make_node("MaxPool", ["x"], ["y", "indices"], kernel_shape=[2, 2]), "pool-indices"),
        (make_node("Resize", "x", "", "scales", mode="cubic"), "resize-attribute"),
        (
            make_node("Resize", "x", "", "scales", coordinate_transformation_mode="tf_crop_and_resize"),
            "resize-attribute",
        ),
        (make_node("ReduceSum", "x", "computed"), "constant-axes"),
        (make_node("Squeeze", "x", "computed"), "constant-axes"),
        (make_node("Slice", "x", "axes", "axes", "computed"), "constant-axes"),
        (make_node("TopK", "x", "many"), "topk-limit"),
        (make_node("TopK", "x", "axes", sorted=0), "topk-sorted"),
        (make_node("BatchNormalization", "x", "v", "v", "v", "v", training_mode=1), "training-mode"),
        (make_node("Dropout", "x", "", "true"), "training-mode"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.op_type,
)
def test_attributes_that_no_parser_takes_are_refused(target: Target, node: onnx.NodeProto, rule: str) -> None:
    constants = {
        **_AXES,
        "many": np.array([3840], np.int64),
        "scales": np.ones(4, np.float32),
        "v": np.ones(3, np.float32),
        "true": np.array(True),
    }
    report = check_graph(make_model([make_node("Shape", "x", output="computed"), node], constants=constants), target)
    assert rules(report) == [rule]


@TENSORRT
@pytest.mark.parametrize(
    "node",
    [
        make_node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, dilations=[1, 1]),
        make_node("Conv", "x", "w", dilations=[4, 4], pads=[4, 4, 4, 4]),
        make_node("Resize", "x", "", "scales", mode="linear", coordinate_transformation_mode="align_corners"),
        make_node("ReduceSum", "x", "axes"),
        make_node("ReduceSum", "x"),
        make_node("TopK", "x", "many"),
        make_node("BatchNormalization", "x", "v", "v", "v", "v"),
        make_node("Dropout", "x"),
        make_node("Softmax", "x", axis=-1),
    ],
    ids=lambda node: node.op_type,
)
def test_what_hardnets_are_made_of_is_accepted(target: Target, node: onnx.NodeProto) -> None:
    constants = {
        **_AXES,
        "many": np.array([3839], np.int64),
        "scales": np.ones(4, np.float32),
        "v": np.ones(3, np.float32),
        "w": np.ones((4, 3, 3, 3), np.float32),
    }
    assert check_graph(make_model([node], constants=constants), target).findings == ()


@pytest.mark.parametrize(
    ("node", "rule"),
    [
        (make_node("Conv", "x", "computed"), "conv-weights"),
        (make_node("TopK", "x", "computed"), "topk-constant"),
        (make_node("Resize", "x", "", "computed"), "resize-constant"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.op_type,
)
def test_what_82_wants_as_initialisers_may_be_computed_later(node: onnx.NodeProto, rule: str) -> None:
    model = make_model([make_node("Abs", "x", output="computed"), node])
    assert rules(check_graph(model, JETSON_NANO)) == [rule]
    assert check_graph(model, GTX_1080TI).accepted


def test_filled_shapes_are_float32_before_tensorrt_10() -> None:
    value = helper.make_tensor("value", TensorProto.INT64, [1], [0])
    model = make_model([make_node("Shape", "x", output="shape"), make_node("ConstantOfShape", "shape", value=value)])
    assert rules(check_graph(model, JETSON_NANO)) == ["constant-of-shape"]
    assert check_graph(model, GPU).accepted


def test_constant_nodes_count_as_initialisers() -> None:
    axes = numpy_helper.from_array(np.array([1], np.int64))
    model = make_model([make_node("Constant", output="axes", value=axes), make_node("ReduceSum", "x", "axes")])
    assert check_graph(model, JETSON_NANO).accepted


def test_ceil_mode_with_padding_is_told() -> None:
    node = make_node("MaxPool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1], ceil_mode=1)
    assert [finding.rule for finding in check_graph(make_model([node]), GPU).warnings] == ["pool-ceil-padding"]


def test_errors_stand_before_warnings_and_all_have_a_source() -> None:
    model = make_model(
        [make_node("Det", "x", output="d"), make_node("Add", "d", "c")], constants={"c": np.ones((1,), np.float64)}
    )
    findings: tuple[Finding, ...] = check_graph(model, GTX_1080TI).findings
    assert [finding.severity for finding in findings] == ["error", "warning"]
    assert all(finding.source and finding.message for finding in findings)
