from __future__ import annotations

import onnx
import pytest
from graph_models import CPU, GPU, GTX_1080TI, JETSON_NANO, make_model, make_node, rules
from half_graphs import HALF, l2norm_graph, quantised, without_islands
from onnx import helper
from quantised_graphs import detector
from small_int8 import backbone_graph, detector_graph

from hardnet_deploy.export.graph_checks import check_graph
from hardnet_deploy.export.half import to_half
from hardnet_deploy.targets import TARGETS, Target


def naive(model: onnx.ModelProto) -> onnx.ModelProto:
    with without_islands():
        return to_half(model).model


@pytest.mark.parametrize("target", [CPU, GPU], ids=lambda target: target.name)
@pytest.mark.parametrize("nms", ["efficient", "onnx"])
def test_what_we_type_is_accepted(target: Target, nms: str) -> None:
    assert check_graph(to_half(detector(nms=nms)).model, target).accepted


def test_int8_and_fp16_together_are_accepted() -> None:
    assert check_graph(to_half(quantised(opset=19)).model, GPU).accepted


@pytest.mark.parametrize("target", [CPU, GPU], ids=lambda target: target.name)
def test_a_naive_graph_is_told_by_node(target: Target) -> None:
    report = check_graph(naive(detector()), target)
    found = {(finding.rule, finding.node) for finding in report.errors}
    assert {
        ("half-l2norm", "norm.sum"),
        ("half-softmax", "scores"),
        ("half-decode", "decode.growth"),
        ("half-decode", "boxes"),
        ("half-nms", "nms"),
    } <= found
    assert all(rule.startswith("half-") for rule, _ in found)
    assert not report.accepted


def test_a_naive_l2norm_alone_and_a_naive_backbone() -> None:
    assert set(rules(check_graph(naive(l2norm_graph()), GPU))) == {"half-l2norm"}
    assert check_graph(naive(backbone_graph()), GPU).accepted
    assert check_graph(naive(detector_graph(outputs="raw")), GPU).accepted


def test_casts_and_float32_graphs_are_left_alone() -> None:
    for target in TARGETS.values():
        assert not [one for one in check_graph(detector(), target).findings if one.rule.startswith("half-")]
    model = make_model([make_node("Cast", "x", to=HALF)], output_dtype=HALF)
    assert check_graph(model, GPU).accepted


@pytest.mark.parametrize(("target", "family"), [(JETSON_NANO, "8.2"), (GTX_1080TI, "8.6")])
def test_a_weakly_typed_target_refuses_the_graph_once(target: Target, family: str) -> None:
    report = check_graph(to_half(detector()).model, target)
    assert rules(report) == ["half-typed"]
    assert f"TensorRT {family} takes fp16 as a flag of the build" in report.errors[0].message


def test_float16_made_by_a_cast_alone_counts() -> None:
    nodes = [make_node("Cast", "x", output="h", to=HALF), helper.make_node("Softmax", ["h"], ["y"], "the_softmax")]
    model = make_model(nodes, output_dtype=HALF, value_info=[helper.make_tensor_value_info("h", HALF, [1, 3, 8, 8])])
    report = check_graph(model, GPU)
    assert [(finding.rule, finding.node) for finding in report.errors] == [("half-softmax", "the_softmax")]
