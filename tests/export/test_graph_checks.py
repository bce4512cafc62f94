from __future__ import annotations

import itertools

import numpy as np
import pytest
from graph_models import CPU, GPU, GTX_1080TI, JETSON_NANO, detector_model, make_model, make_node, plugin_model, rules
from onnx import TensorProto, helper, numpy_helper

from hardnet_deploy.export.graph_checks import check_graph
from hardnet_deploy.export.parser_table import PARSERS, PLUGIN_ATTRIBUTES
from hardnet_deploy.targets import TARGETS, Target

TENSORRT = pytest.mark.parametrize("target", [GTX_1080TI, JETSON_NANO, GPU], ids=lambda target: target.name)
ALL = pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)


@ALL
def test_the_exported_plugin_graph_is_accepted_everywhere(target: Target) -> None:
    report = check_graph(detector_model("efficient"), target)
    assert report.errors == ()
    assert report.accepted


@pytest.mark.parametrize("target", [CPU, GTX_1080TI, GPU], ids=lambda target: target.name)
@pytest.mark.parametrize("batch", [1, 3, None])
def test_the_exported_onnx_nms_graph_is_accepted_but_for_the_nano(target: Target, batch: int | None) -> None:
    assert check_graph(detector_model("onnx", batch), target).errors == ()


def test_onnx_nms_is_refused_on_the_nano_by_name() -> None:
    report = check_graph(detector_model("onnx"), JETSON_NANO)
    assert rules(report) == ["operator"]
    assert "TensorRT 8.2 does not import NonMaxSuppression" in report.errors[0].message
    assert report.errors[0].node == "nms.selected"
    assert not report.accepted


@pytest.mark.parametrize("batch", [2, None])
def test_a_batch_is_refused_on_the_nano_alone(batch: int | None) -> None:
    model = detector_model("efficient", batch)
    assert set(rules(check_graph(model, JETSON_NANO))) == {"batch"}
    assert check_graph(model, GTX_1080TI).accepted


@TENSORRT
def test_a_dynamic_image_size_is_refused(target: Target) -> None:
    model = make_model([make_node("Relu", "x")], input_shape=(1, 3, "height", "width"))
    assert rules(check_graph(model, target)) == ["dynamic-size"]
    assert check_graph(model, CPU).accepted


@ALL
def test_opsets_outside_the_range_are_refused(target: Target) -> None:
    for opset, accepted in (
        (target.min_opset - 1, False),
        (target.min_opset, True),
        (target.max_opset, True),
        (target.max_opset + 1, False),
    ):
        report = check_graph(make_model([make_node("Relu", "x")], opset=opset), target)
        assert report.accepted is accepted, opset
        assert rules(report) == ([] if accepted else ["opset-range"])


@pytest.mark.parametrize("versions", [[], [13, 13]])
def test_the_opset_is_declared_exactly_once(versions: list[int]) -> None:
    model = make_model([make_node("Relu", "x")])
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid("", version) for version in versions)
    assert "opset-declared-once" in rules(check_graph(model, GTX_1080TI))


@ALL
def test_external_data_are_refused(target: Target) -> None:
    model = make_model([make_node("Add", "x", "c")], constants={"c": np.ones((1, 3, 8, 8), np.float32)})
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    report = check_graph(model, target)
    assert rules(report) == ["external-data"]
    assert report.errors[0].node == "c"


@TENSORRT
@pytest.mark.parametrize("op_type", ["Det", "Unique", "DynamicQuantizeLinear", "QLinearConv"])
def test_an_operator_that_no_parser_knows_is_refused_by_node(target: Target, op_type: str) -> None:
    report = check_graph(make_model([make_node(op_type, "x")]), target)
    assert rules(report)[0] == "operator"
    assert report.errors[0].node == f"the_{op_type}"
    assert op_type in report.errors[0].message


@pytest.mark.parametrize("op_type", ["Reciprocal", "HardSwish", "IsInf", "Xor"])
def test_operators_that_came_after_82_are_refused_on_the_nano_alone(op_type: str) -> None:
    model = make_model([make_node(op_type, "x")])
    assert rules(check_graph(model, JETSON_NANO)) == ["operator"]
    assert check_graph(model, GTX_1080TI).accepted
    assert check_graph(model, GPU).accepted


def test_a_foreign_domain_is_refused_everywhere() -> None:
    model = make_model([make_node("FusedConv", "x", domain="com.microsoft")])
    for target in TARGETS.values():
        assert rules(check_graph(model, target)) == ["operator"]


def test_an_operator_of_a_later_opset_is_refused_on_the_cpu() -> None:
    assert rules(check_graph(make_model([make_node("Gelu", "x")], opset=13), CPU)) == ["operator"]
    assert check_graph(make_model([make_node("Gelu", "x")], opset=20), CPU).accepted


def test_nodes_of_subgraphs_are_seen() -> None:
    branch = helper.make_graph(
        [make_node("Det", "x", output="z")], "branch", [], [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)]
    )
    model = make_model([make_node("If", "c", then_branch=branch, else_branch=branch)], constants={"c": np.array(True)})
    assert "the_Det" in [finding.node for finding in check_graph(model, GTX_1080TI).errors]


def test_families_are_supersets_of_older_ones_and_name_their_source() -> None:
    rows = [PARSERS[family] for family in ("8.2", "8.6", "10", "11")]
    for older, newer in itertools.pairwise(rows):
        assert older.ops <= newer.ops
        assert older.max_opset < newer.max_opset
    assert all(row.source for row in rows)


def test_a_finding_that_both_families_of_gpu_share_stands_once() -> None:
    report = check_graph(make_model([make_node("MaxPool", "x", kernel_shape=[2, 2], dilations=[2, 2])]), GPU)
    assert rules(report) == ["pool-dilations"]


def test_parsers_of_a_target_and_its_row_agree_on_opsets() -> None:
    for target in (GTX_1080TI, JETSON_NANO, GPU):
        rows = [PARSERS[family] for family in target.tensorrt_families]
        assert target.min_opset == max(row.min_opset for row in rows)
        assert target.max_opset == min(row.max_opset for row in rows)


def test_the_plugin_on_the_cpu_is_a_warning() -> None:
    report = check_graph(plugin_model(), CPU)
    assert report.accepted
    assert [finding.rule for finding in report.warnings] == ["plugin-on-cpu"]
    assert "NumPy reference" in report.warnings[0].message


@ALL
@pytest.mark.parametrize("name", PLUGIN_ATTRIBUTES)
def test_every_attribute_of_the_plugin_must_be_written(target: Target, name: str) -> None:
    report = check_graph(plugin_model(**{name: None}), target)
    assert rules(report) == ["plugin-attributes"]
    assert report.errors[0].message.endswith(f"missing: {name}")


@ALL
@pytest.mark.parametrize(("threshold", "accepted"), [(0.0, False), (0.00699, False), (0.007, True), (0.3, True)])
def test_score_thresholds_below_0007_are_refused(target: Target, threshold: float, accepted: bool) -> None:
    report = check_graph(plugin_model(score_threshold=threshold), target)
    assert rules(report) == ([] if accepted else ["plugin-score-threshold"])


@pytest.mark.parametrize("changes", [{"iou_threshold": 0.0}, {"max_output_boxes": 0}])
def test_thresholds_of_the_plugin_are_positive(changes: dict[str, float]) -> None:
    assert rules(check_graph(plugin_model(**changes), GTX_1080TI)) == ["plugin-range"]


@pytest.mark.parametrize(
    ("target", "boxes", "told"), [(JETSON_NANO, 2001, True), (JETSON_NANO, 2000, False), (GPU, 2001, False)]
)
def test_more_boxes_than_candidates_are_told(target: Target, boxes: int, told: bool) -> None:
    report = check_graph(plugin_model(max_output_boxes=boxes), target)
    assert report.accepted
    assert [finding.rule for finding in report.warnings] == (["plugin-candidate-cap"] if told else [])


@pytest.mark.parametrize(("agnostic", "accepted"), [(None, True), (0, True), (1, False)])
def test_class_agnostic_means_nothing_to_82(agnostic: int | None, accepted: bool) -> None:
    model = plugin_model(class_agnostic=agnostic)
    assert check_graph(model, JETSON_NANO).accepted is accepted
    assert check_graph(model, GTX_1080TI).accepted


@pytest.mark.parametrize(("target", "accepted"), [("jetson-nano", False), ("gtx-1080ti", False), ("gpu", True)])
def test_a_one_dimensional_convolution(target: str, accepted: bool) -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], name="c", kernel_shape=[3])]
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 8])]
    results = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 6])]
    weights = numpy_helper.from_array(np.ones((4, 2, 3), np.float32), "w")
    model = helper.make_model(
        helper.make_graph(nodes, "g", values, results, [weights]),
        opset_imports=[helper.make_opsetid("", 13)],
    )
    assert check_graph(model, TARGETS[target]).accepted is accepted
