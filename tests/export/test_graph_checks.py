from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hardnet_deploy.export.graph_builder import BATCH_AXIS, GraphBuilder
from hardnet_deploy.export.graph_checks import Finding, GraphCheckReport, check_clean, check_graph
from hardnet_deploy.export.nms import write_efficient_nms, write_onnx_nms
from hardnet_deploy.export.parser_table import PARSERS, PLUGIN_ATTRIBUTES
from hardnet_deploy.specs import DetectorHead, PriorLayer, Thresholds
from hardnet_deploy.targets import TARGETS, Target
from hardnet_deploy.tensor_names import BOXES, DETECTION_OUTPUTS, SCORES

CPU, GTX_1080TI, JETSON_NANO, GPU = (TARGETS[name] for name in ("cpu", "gtx-1080ti", "jetson-nano", "gpu"))
TENSORRT = pytest.mark.parametrize("target", [GTX_1080TI, JETSON_NANO, GPU], ids=lambda target: target.name)
ALL = pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
HEAD = DetectorHead(
    input_size=32,
    num_classes=4,
    layers=(PriorLayer(grid=2, stride=16, min_size=8, max_size=16, aspect_ratios=(2,)),),
)
THRESHOLDS = Thresholds(score=0.02, iou=0.45, max_detections=5)
INT8_WEIGHT = np.ones((4, 3, 3, 3), np.int8)


def _model(
    nodes: Sequence[onnx.NodeProto],
    *,
    constants: dict[str, np.ndarray[Any, Any]] | None = None,
    input_shape: Sequence[int | str] = (1, 3, 8, 8),
    input_dtype: int = TensorProto.FLOAT,
    output_dtype: int = TensorProto.FLOAT,
    opset: int = 13,
    value_info: Sequence[onnx.ValueInfoProto] = (),
) -> onnx.ModelProto:
    """A model whose input is ``x`` and whose output is the last node's first output."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", input_dtype, list(input_shape))],
        [helper.make_tensor_value_info(nodes[-1].output[0], output_dtype, None)],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
        value_info=list(value_info),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def _node(op_type: str, *inputs: str, output: str = "y", **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op_type, list(inputs), [output], name=f"the_{op_type}", **attributes)


def _plugin(**changes: object) -> onnx.ModelProto:
    """EfficientNMS_TRT alone; an attribute of value None is left out."""
    written: dict[str, Any] = {
        "score_threshold": 0.02,
        "iou_threshold": 0.45,
        "max_output_boxes": 5,
        "background_class": 0,
        "score_activation": 0,
        "box_coding": 0,
        **changes,
    }
    attributes = {name: value for name, value in written.items() if value is not None}
    node = helper.make_node(
        "EfficientNMS_TRT", ["x", "scores"], list(DETECTION_OUTPUTS), "nms", domain="TRT", **attributes
    )
    model = _model([node], constants={"scores": np.zeros((1, 6, 4), np.float32)}, input_shape=(1, 6, 4))
    model.opset_import.append(helper.make_opsetid("TRT", 1))
    return model


def _detector(kind: str, batch: int | None = 1) -> onnx.ModelProto:
    """What an exported detector ends with, as the exporter writes it."""
    builder = GraphBuilder(opset=13, name="detector")
    first = BATCH_AXIS if batch is None else batch
    builder.input("boxes_in", (first, HEAD.num_priors, 4))
    builder.input("scores_in", (first, HEAD.num_priors, HEAD.num_classes))
    builder.node("Relu", ["boxes_in"], BOXES, (first, HEAD.num_priors, 4))
    builder.node("Relu", ["scores_in"], SCORES, (first, HEAD.num_priors, HEAD.num_classes))
    if kind == "efficient":
        write_efficient_nms(builder, THRESHOLDS)
    else:
        write_onnx_nms(builder, HEAD, THRESHOLDS)
    return builder.model(DETECTION_OUTPUTS, doc="")


def _rules(report: GraphCheckReport) -> list[str]:
    return [finding.rule for finding in report.errors]


# ---------------------------------------------------------------- whole graphs


@ALL
def test_the_exported_plugin_graph_is_accepted_everywhere(target: Target) -> None:
    report = check_graph(_detector("efficient"), target)
    assert report.errors == ()
    assert report.accepted


@pytest.mark.parametrize("target", [CPU, GTX_1080TI, GPU], ids=lambda target: target.name)
@pytest.mark.parametrize("batch", [1, 3, None])
def test_the_exported_onnx_nms_graph_is_accepted_but_for_the_nano(target: Target, batch: int | None) -> None:
    assert check_graph(_detector("onnx", batch), target).errors == ()


def test_onnx_nms_is_refused_on_the_nano_by_name() -> None:
    report = check_graph(_detector("onnx"), JETSON_NANO)
    assert _rules(report) == ["operator"]
    assert "TensorRT 8.2 does not import NonMaxSuppression" in report.errors[0].message
    assert report.errors[0].node == "nms.selected"
    assert not report.accepted


@pytest.mark.parametrize("batch", [2, None])
def test_a_batch_is_refused_on_the_nano_alone(batch: int | None) -> None:
    model = _detector("efficient", batch)
    assert set(_rules(check_graph(model, JETSON_NANO))) == {"batch"}
    assert check_graph(model, GTX_1080TI).accepted


@TENSORRT
def test_a_dynamic_image_size_is_refused(target: Target) -> None:
    model = _model([_node("Relu", "x")], input_shape=(1, 3, "height", "width"))
    assert _rules(check_graph(model, target)) == ["dynamic-size"]
    assert check_graph(model, CPU).accepted


@ALL
def test_opsets_outside_the_range_are_refused(target: Target) -> None:
    for opset, accepted in (
        (target.min_opset - 1, False),
        (target.min_opset, True),
        (target.max_opset, True),
        (target.max_opset + 1, False),
    ):
        report = check_graph(_model([_node("Relu", "x")], opset=opset), target)
        assert report.accepted is accepted, opset
        assert _rules(report) == ([] if accepted else ["opset-range"])


@pytest.mark.parametrize("versions", [[], [13, 13]])
def test_the_opset_is_declared_exactly_once(versions: list[int]) -> None:
    model = _model([_node("Relu", "x")])
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid("", version) for version in versions)
    assert "opset-declared-once" in _rules(check_graph(model, GTX_1080TI))


@ALL
def test_external_data_are_refused(target: Target) -> None:
    model = _model([_node("Add", "x", "c")], constants={"c": np.ones((1, 3, 8, 8), np.float32)})
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    report = check_graph(model, target)
    assert _rules(report) == ["external-data"]
    assert report.errors[0].node == "c"


# ---------------------------------------------------------------- operators


@TENSORRT
@pytest.mark.parametrize("op_type", ["Det", "Unique", "DynamicQuantizeLinear", "QLinearConv"])
def test_an_operator_that_no_parser_knows_is_refused_by_node(target: Target, op_type: str) -> None:
    report = check_graph(_model([_node(op_type, "x")]), target)
    assert _rules(report)[0] == "operator"
    assert report.errors[0].node == f"the_{op_type}"
    assert op_type in report.errors[0].message


@pytest.mark.parametrize("op_type", ["Reciprocal", "HardSwish", "IsInf", "Xor"])
def test_operators_that_came_after_82_are_refused_on_the_nano_alone(op_type: str) -> None:
    model = _model([_node(op_type, "x")])
    assert _rules(check_graph(model, JETSON_NANO)) == ["operator"]
    assert check_graph(model, GTX_1080TI).accepted
    assert check_graph(model, GPU).accepted


def test_a_foreign_domain_is_refused_everywhere() -> None:
    model = _model([_node("FusedConv", "x", domain="com.microsoft")])
    for target in TARGETS.values():
        assert _rules(check_graph(model, target)) == ["operator"]


def test_an_operator_of_a_later_opset_is_refused_on_the_cpu() -> None:
    assert _rules(check_graph(_model([_node("Gelu", "x")], opset=13), CPU)) == ["operator"]
    assert check_graph(_model([_node("Gelu", "x")], opset=20), CPU).accepted


def test_nodes_of_subgraphs_are_seen() -> None:
    branch = helper.make_graph(
        [_node("Det", "x", output="z")], "branch", [], [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)]
    )
    model = _model([_node("If", "c", then_branch=branch, else_branch=branch)], constants={"c": np.array(True)})
    assert "the_Det" in [finding.node for finding in check_graph(model, GTX_1080TI).errors]


def test_families_are_supersets_of_older_ones_and_name_their_source() -> None:
    rows = [PARSERS[family] for family in ("8.2", "8.6", "10", "11")]
    for older, newer in itertools.pairwise(rows):
        assert older.ops <= newer.ops
        assert older.max_opset < newer.max_opset
    assert all(row.source for row in rows)


def test_a_finding_that_both_families_of_gpu_share_stands_once() -> None:
    report = check_graph(_model([_node("MaxPool", "x", kernel_shape=[2, 2], dilations=[2, 2])]), GPU)
    assert _rules(report) == ["pool-dilations"]


def test_parsers_of_a_target_and_its_row_agree_on_opsets() -> None:
    for target in (GTX_1080TI, JETSON_NANO, GPU):
        rows = [PARSERS[family] for family in target.tensorrt_families]
        assert target.min_opset == max(row.min_opset for row in rows)
        assert target.max_opset == min(row.max_opset for row in rows)


# ---------------------------------------------------------------- the plugin


def test_the_plugin_on_the_cpu_is_a_warning() -> None:
    report = check_graph(_plugin(), CPU)
    assert report.accepted
    assert [finding.rule for finding in report.warnings] == ["plugin-on-cpu"]
    assert "NumPy reference" in report.warnings[0].message


@ALL
@pytest.mark.parametrize("name", PLUGIN_ATTRIBUTES)
def test_every_attribute_of_the_plugin_must_be_written(target: Target, name: str) -> None:
    report = check_graph(_plugin(**{name: None}), target)
    assert _rules(report) == ["plugin-attributes"]
    assert report.errors[0].message.endswith(f"missing: {name}")


@ALL
@pytest.mark.parametrize(("threshold", "accepted"), [(0.0, False), (0.00699, False), (0.007, True), (0.3, True)])
def test_score_thresholds_below_0007_are_refused(target: Target, threshold: float, accepted: bool) -> None:
    report = check_graph(_plugin(score_threshold=threshold), target)
    assert _rules(report) == ([] if accepted else ["plugin-score-threshold"])


@pytest.mark.parametrize("changes", [{"iou_threshold": 0.0}, {"max_output_boxes": 0}])
def test_thresholds_of_the_plugin_are_positive(changes: dict[str, float]) -> None:
    assert _rules(check_graph(_plugin(**changes), GTX_1080TI)) == ["plugin-range"]


@pytest.mark.parametrize(
    ("target", "boxes", "told"), [(JETSON_NANO, 2001, True), (JETSON_NANO, 2000, False), (GPU, 2001, False)]
)
def test_more_boxes_than_candidates_are_told(target: Target, boxes: int, told: bool) -> None:
    report = check_graph(_plugin(max_output_boxes=boxes), target)
    assert report.accepted
    assert [finding.rule for finding in report.warnings] == (["plugin-candidate-cap"] if told else [])


@pytest.mark.parametrize(("agnostic", "accepted"), [(None, True), (0, True), (1, False)])
def test_class_agnostic_means_nothing_to_82(agnostic: int | None, accepted: bool) -> None:
    model = _plugin(class_agnostic=agnostic)
    assert check_graph(model, JETSON_NANO).accepted is accepted
    assert check_graph(model, GTX_1080TI).accepted


# ---------------------------------------------------------------- element types


@TENSORRT
def test_float64_is_a_warning(target: Target) -> None:
    model = _model([_node("Add", "x", "c")], constants={"c": np.ones((1,), np.float64)})
    report = check_graph(model, target)
    assert report.accepted
    assert [(finding.rule, finding.node) for finding in report.warnings] == [("dtype", "c")]


def test_int64_that_int32_cannot_hold_is_a_warning_before_tensorrt_10() -> None:
    constants = {"s": np.array([0], np.int64), "e": np.array([2**40], np.int64), "a": np.array([1], np.int64)}
    model = _model([_node("Slice", "x", "s", "e", "a")], constants=constants)
    for target in (GTX_1080TI, JETSON_NANO):
        assert ["int64" in finding.message for finding in check_graph(model, target).warnings] == [True]
    assert check_graph(model, GPU).findings == ()


def test_small_int64_constants_are_not_worth_a_word() -> None:
    constants = {"s": np.array([0], np.int64), "e": np.array([2], np.int64), "a": np.array([1], np.int64)}
    model = _model([_node("Slice", "x", "s", "e", "a")], constants=constants)
    assert check_graph(model, JETSON_NANO).findings == ()


def test_uint8_inputs_came_with_85() -> None:
    model = _model([_node("Cast", "x", to=TensorProto.FLOAT)], input_dtype=TensorProto.UINT8)
    assert _rules(check_graph(model, JETSON_NANO)) == ["dtype"]
    assert check_graph(model, GTX_1080TI).accepted


def test_float16_weights_are_told_for_82_alone() -> None:
    model = _model([_node("Add", "x", "c")], constants={"c": np.ones((1,), np.float16)})
    assert [finding.rule for finding in check_graph(model, JETSON_NANO).warnings] == ["dtype"]
    assert check_graph(model, GTX_1080TI).findings == ()


def test_bfloat16_came_after_8() -> None:
    model = _model([_node("Cast", "x", to=TensorProto.BFLOAT16)], output_dtype=TensorProto.BFLOAT16)
    assert set(_rules(check_graph(model, GTX_1080TI))) == {"cast-dtype", "dtype"}
    assert check_graph(model, GPU).accepted


@pytest.mark.parametrize(("dtype", "told"), [(TensorProto.INT32, True), (TensorProto.FLOAT, False)])
def test_integer_reductions_are_told_before_tensorrt_10(dtype: int, told: bool) -> None:
    model = _model(
        [_node("Cast", "x", output="c", to=dtype), _node("ReduceSum", "c", "a")],
        constants={"a": np.array([1], np.int64)},
        output_dtype=dtype,
        value_info=[helper.make_tensor_value_info("c", dtype, [1, 3, 8, 8])],
    )
    for target in (GTX_1080TI, JETSON_NANO):
        assert [finding.rule for finding in check_graph(model, target).warnings] == (["float-only"] if told else [])
    assert check_graph(model, GPU).findings == ()


# ---------------------------------------------------------------- quantisation


def _quantised(
    *, zero: np.ndarray[Any, Any] | None = None, scale: np.ndarray[Any, Any] | None = None, on_weight: bool = False
) -> onnx.ModelProto:
    zero = np.zeros((), np.int8) if zero is None else zero
    scale = np.array(0.1, np.float32) if scale is None else scale
    constants = {"scale": scale, "zero": zero, "w": np.ones((4, 3, 3, 3), np.float32)}
    pair = [
        _node("QuantizeLinear", "w" if on_weight else "x", "scale", "zero", output="q", axis=0),
        _node("DequantizeLinear", "q", "scale", "zero", output="d", axis=0),
    ]
    conv = _node("Conv", "x", "d") if on_weight else _node("Conv", "d", "w")
    return _model([*pair, conv], constants=constants)


@pytest.mark.parametrize("target", [GTX_1080TI, GPU], ids=lambda target: target.name)
def test_symmetric_int8_is_accepted(target: Target) -> None:
    assert check_graph(_quantised(), target).accepted
    per_channel = _quantised(scale=np.full(4, 0.1, np.float32), zero=np.zeros(4, np.int8), on_weight=True)
    assert check_graph(per_channel, target).accepted


def test_quantisation_is_refused_where_there_is_no_int8_hardware() -> None:
    report = check_graph(_quantised(), JETSON_NANO)
    assert set(_rules(report)) == {"qdq-hardware"}
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
    assert rule in _rules(check_graph(_quantised(**changes), target))


def test_uint8_quantisation_is_fine_on_the_cpu() -> None:
    assert check_graph(_quantised(zero=np.array(128, np.uint8)), CPU).findings == ()


def test_a_missing_zero_point_is_refused() -> None:
    model = _quantised()
    del model.graph.node[0].input[2:]
    assert "qdq-inputs" in _rules(check_graph(model, GTX_1080TI))


def test_a_quantised_bias_is_refused() -> None:
    constants = {
        "w": np.ones((4, 3, 3, 3), np.float32),
        "b": np.zeros(4, np.int32),
        "scale": np.array(0.1, np.float32),
        "zero": np.zeros((), np.int32),
    }
    nodes = [_node("DequantizeLinear", "b", "scale", "zero", output="bias"), _node("Conv", "x", "w", "bias")]
    assert {"conv-bias-quantised", "qdq-dtype"} <= set(_rules(check_graph(_model(nodes, constants=constants), GPU)))


# ---------------------------------------------------------------- single nodes


_AXES = {"axes": np.array([1], np.int64)}


@TENSORRT
@pytest.mark.parametrize(
    ("node", "rule"),
    [
        (_node("MaxPool", "x", kernel_shape=[2, 2], dilations=[2, 2]), "pool-dilations"),
        (_node("AveragePool", "x", kernel_shape=[2], strides=[2]), "pool-rank"),
        (helper.make_node("MaxPool", ["x"], ["y", "indices"], kernel_shape=[2, 2]), "pool-indices"),
        (_node("Resize", "x", "", "scales", mode="cubic"), "resize-attribute"),
        (_node("Resize", "x", "", "scales", coordinate_transformation_mode="tf_crop_and_resize"), "resize-attribute"),
        (_node("ReduceSum", "x", "computed"), "constant-axes"),
        (_node("Squeeze", "x", "computed"), "constant-axes"),
        (_node("Slice", "x", "axes", "axes", "computed"), "constant-axes"),
        (_node("TopK", "x", "many"), "topk-limit"),
        (_node("TopK", "x", "axes", sorted=0), "topk-sorted"),
        (_node("BatchNormalization", "x", "v", "v", "v", "v", training_mode=1), "training-mode"),
        (_node("Dropout", "x", "", "true"), "training-mode"),
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
    report = check_graph(_model([_node("Shape", "x", output="computed"), node], constants=constants), target)
    assert _rules(report) == [rule]


@TENSORRT
@pytest.mark.parametrize(
    "node",
    [
        _node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, dilations=[1, 1]),
        _node("Conv", "x", "w", dilations=[4, 4], pads=[4, 4, 4, 4]),
        _node("Resize", "x", "", "scales", mode="linear", coordinate_transformation_mode="align_corners"),
        _node("ReduceSum", "x", "axes"),
        _node("ReduceSum", "x"),
        _node("TopK", "x", "many"),
        _node("BatchNormalization", "x", "v", "v", "v", "v"),
        _node("Dropout", "x"),
        _node("Softmax", "x", axis=-1),
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
    assert check_graph(_model([node], constants=constants), target).findings == ()


@pytest.mark.parametrize(
    ("node", "rule"),
    [
        (_node("Conv", "x", "computed"), "conv-weights"),
        (_node("TopK", "x", "computed"), "topk-constant"),
        (_node("Resize", "x", "", "computed"), "resize-constant"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.op_type,
)
def test_what_82_wants_as_initialisers_may_be_computed_later(node: onnx.NodeProto, rule: str) -> None:
    model = _model([_node("Abs", "x", output="computed"), node])
    assert _rules(check_graph(model, JETSON_NANO)) == [rule]
    assert check_graph(model, GTX_1080TI).accepted


def test_filled_shapes_are_float32_before_tensorrt_10() -> None:
    value = helper.make_tensor("value", TensorProto.INT64, [1], [0])
    model = _model([_node("Shape", "x", output="shape"), _node("ConstantOfShape", "shape", value=value)])
    assert _rules(check_graph(model, JETSON_NANO)) == ["constant-of-shape"]
    assert check_graph(model, GPU).accepted


def test_constant_nodes_count_as_initialisers() -> None:
    axes = numpy_helper.from_array(np.array([1], np.int64))
    model = _model([_node("Constant", output="axes", value=axes), _node("ReduceSum", "x", "axes")])
    assert check_graph(model, JETSON_NANO).accepted


def test_ceil_mode_with_padding_is_told() -> None:
    node = _node("MaxPool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1], ceil_mode=1)
    assert [finding.rule for finding in check_graph(_model([node]), GPU).warnings] == ["pool-ceil-padding"]


def test_errors_stand_before_warnings_and_all_have_a_source() -> None:
    model = _model([_node("Det", "x", output="d"), _node("Add", "d", "c")], constants={"c": np.ones((1,), np.float64)})
    findings: tuple[Finding, ...] = check_graph(model, GTX_1080TI).findings
    assert [finding.severity for finding in findings] == ["error", "warning"]
    assert all(finding.source and finding.message for finding in findings)


# ---------------------------------------------------------------- cleanliness


@pytest.mark.parametrize("kind", ["efficient", "onnx"])
@pytest.mark.parametrize("batch", [1, 2, None])
def test_exported_graphs_are_clean(kind: str, batch: int | None) -> None:
    assert check_clean(_detector(kind, batch), fused=True) == []


def _relu() -> onnx.ModelProto:
    return _model([_node("Relu", "x")])


def _with_unused(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), "unused"))


def _with_identity(model: onnx.ModelProto) -> None:
    model.graph.node.insert(0, _node("Identity", "x", output="i"))
    model.graph.value_info.append(helper.make_tensor_value_info("i", TensorProto.FLOAT, [1]))


def _with_shape(model: onnx.ModelProto) -> None:
    model.graph.node.insert(0, _node("Shape", "x", output="s"))
    model.graph.value_info.append(helper.make_tensor_value_info("s", TensorProto.INT64, [4]))


def _with_unknown_output(model: onnx.ModelProto) -> None:
    model.graph.node.insert(0, _node("Abs", "x", output="a"))


def _with_two_opsets(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("", 13))


def _with_float64(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def _with_initialiser_as_input(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), "x"))


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (_with_unused, "initialiser unused is not used"),
        (_with_identity, "Identity is left: the_Identity"),
        (_with_shape, "Shape is left: the_Shape"),
        (_with_unknown_output, "the_Abs: output a has no value_info"),
        (_with_two_opsets, "opset of domain '' is declared 2 times"),
        (_with_float64, "y is float64"),
        (_with_initialiser_as_input, "1 graph inputs are initialisers too"),
    ],
)
def test_each_kind_of_dirt_is_named(spoil: Callable[[onnx.ModelProto], None], fault: str) -> None:
    model = _relu()
    assert check_clean(model, fused=True) == []
    spoil(model)
    assert check_clean(model, fused=True) == [fault]


def test_batch_norms_are_dirt_only_where_they_are_said_to_be_folded() -> None:
    vector = {"v": np.ones(3, np.float32)}
    model = _model([_node("BatchNormalization", "x", "v", "v", "v", "v")], constants=vector)
    assert check_clean(model, fused=False) == []
    assert check_clean(model, fused=True) == ["BatchNormalization is left: the_BatchNormalization"]
