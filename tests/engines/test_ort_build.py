"""What ONNX Runtime makes of a graph, read from what it would execute."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import pytest
from calibration_graphs import Net, chain, detector, ranges_of
from onnx import TensorProto, helper

from calibration import qdq
from calibration.graph import GraphMap
from calibration.qdq import Choice, write_uint8
from hardnet_deploy.engines.ort_build import OptimisedGraph, fallbacks, inspect, optimise
from hardnet_deploy.errors import ExportError


def weights(graph: GraphMap, *left: str) -> dict[str, str]:
    """Of each convolution as it is written: integers, but for those left in float."""
    return {unit.name: unit.weight if unit.name in left else f"{unit.weight}.quantized" for unit in graph.units}


@pytest.fixture(scope="module")
def graph() -> GraphMap:
    return GraphMap(detector())


def quantised(graph: GraphMap, *left: str) -> OptimisedGraph:
    written = write_uint8(graph, ranges_of(graph), Choice(float_units=frozenset(left)))
    return inspect(optimise(written), weights(graph, *left))


def test_every_convolution_of_a_quantised_graph_is_an_integer_one(graph: GraphMap) -> None:
    found = quantised(graph)
    assert set(found.achieved.values()) == {"int8"}
    assert list(found.achieved) == [unit.name for unit in graph.units]
    assert found.integer_convolutions == len(graph.units)
    assert found.float_convolutions == found.float_relus == found.unasked == ()
    assert found.operators["QLinearConv"] == len(graph.units)
    assert "Conv" not in found.operators


def test_layers_left_in_float_are_told_by_name(graph: GraphMap) -> None:
    found = quantised(graph, "stem", "conf.1")
    assert {name for name, kind in found.achieved.items() if kind == "fp32"} == {"stem", "conf.1"}
    assert found.integer_convolutions == len(graph.units) - 2
    assert len(found.float_convolutions) == 2
    assert found.unasked == ()


def test_a_float_graph_has_no_integer_convolution(graph: GraphMap) -> None:
    found = inspect(optimise(graph.model), weights(graph))
    assert set(found.achieved.values()) == {"fp32"}
    assert found.integer_convolutions == 0
    assert len(found.float_convolutions) == len(graph.units)
    assert found.float_relus == ()  # each is fused into its convolution


def test_what_was_to_be_int8_and_is_not_fell_back(graph: GraphMap) -> None:
    found = quantised(graph, "stem")
    names = [unit.name for unit in graph.units]
    assert fallbacks(found, names) == ("stem",)
    assert fallbacks(found, [name for name in names if name != "stem"]) == ()
    assert fallbacks(found, ["no such layer"]) == ("no such layer",)
    assert fallbacks(found, []) == ()


def test_a_graph_that_was_not_optimised_has_fallen_back(graph: GraphMap) -> None:
    found = inspect(write_uint8(graph, ranges_of(graph), Choice()), weights(graph))
    assert fallbacks(found, weights(graph)) == tuple(unit.name for unit in graph.units)
    assert found.float_relus


@pytest.mark.parametrize(
    ("behind", "named"),
    [
        (["Neg", "Q"], ("alone",)),
        (["Q"], ("alone",)),
        (["Neg"], ()),  # nothing but floats follow
        ([], ()),
    ],
)
def test_a_relu_behind_no_convolution_is_named_where_its_values_are_rounded_later(
    behind: list[str], named: tuple[str, ...]
) -> None:
    net = chain()
    last = net.node("Relu", [net.node("Add", ["last.out", "last.out"], "twice")], "alone")
    for operator in behind:
        last = rounded(net, last) if operator == "Q" else net.node(operator, [last], f"{last}.{operator}")
    assert inspect(optimise(net.model([last])), {}).float_relus == named


def rounded(net: Net, source: str) -> str:
    """Its values through uint8 that does not begin at 0, so that no ReLU is absorbed."""
    net.constants |= {"step": np.array(0.1, np.float32), "half": np.array(128, np.uint8)}
    net.node("QuantizeLinear", [source, "step", "half"], f"{source}.Q")
    return net.node("DequantizeLinear", [f"{source}.Q", "step", "half"], f"{source}.DQ")


def test_the_model_itself_is_left_as_it_is(graph: GraphMap) -> None:
    before = graph.model.SerializeToString()
    optimise(graph.model)
    assert graph.model.SerializeToString() == before


def _unknown_operator() -> onnx.ModelProto:
    node = helper.make_node("NoSuchOperator", ["x"], ["y"])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    model = helper.make_model(helper.make_graph([node], "g", values[:1], values[1:]), ir_version=8)
    model.opset_import[0].version = 13
    return model


def test_what_onnx_runtime_refuses_is_an_export_error() -> None:
    with pytest.raises(ExportError, match="does not take the engine's graph") as caught:
        optimise(_unknown_operator())
    assert "NoSuchOperator" in (caught.value.got or "")


def test_achieved_is_asked_of_the_weight_not_of_the_node() -> None:
    def model(weight: str) -> onnx.ModelProto:
        node = helper.make_node("QLinearConv", ["x", "s", "z", weight, "s", "z", "s", "z"], ["y"], "renamed")
        return helper.make_model(helper.make_graph([node], "g", [], []))

    asked: Mapping[str, str] = {"conv": "w.quantized"}
    assert inspect(model("w.quantized"), asked).achieved == {"conv": "int8"}
    assert inspect(model("w.quantized"), asked).unasked == ()
    assert inspect(model("v.quantized"), asked).achieved == {"conv": "fp32"}
    assert inspect(model("v.quantized"), asked).unasked == ("renamed",)


def test_a_convolution_that_onnx_runtime_quantises_by_itself_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qdq, "TAKEN_BY_ORT", frozenset())  # so that nothing keeps it from that
    found = quantised(GraphMap(chain().model(["last.out"])), "second")
    assert found.integer_convolutions == 3
    assert found.unasked == ("second",)
    assert found.achieved == {"first": "int8", "second": "fp32", "last": "int8"}
