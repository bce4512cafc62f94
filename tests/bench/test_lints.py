"""What is said of a HarDNet on TensorRT, before a build and from an engine's layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hardnet_deploy.bench.graph_cost import cost
from hardnet_deploy.bench.layer_times import EngineLayer, EngineProfile, LayerTable, placed
from hardnet_deploy.bench.lints import Lint, lint_engine, lint_graph
from hardnet_deploy.bench.profile_trt import InspectedLayer, inspected


def block(*widths: int, before: int = 32) -> onnx.ModelProto:
    """1x1 convolutions of these widths one after the other, all outputs concatenated."""
    nodes, arrays, source, fed = [], [], "images", before
    for number, width in enumerate(widths):
        path = f"base.3.layers.{number}"
        arrays.append(numpy_helper.from_array(np.zeros((width, fed, 1, 1), np.float32), f"{path}.weight"))
        nodes.append(helper.make_node("Conv", [source, f"{path}.weight"], [f"{path}.norm"], name=f"{path}.conv"))
        source, fed = f"{path}.norm", width
    outputs = [node.output[0] for node in nodes]
    nodes.append(helper.make_node("Concat", outputs, ["base.3.out"], name="base.3.out", axis=1))
    made = helper.make_graph(
        nodes,
        "block",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, (1, before, 4, 4))],
        [helper.make_tensor_value_info("base.3.out", TensorProto.FLOAT, (1, sum(widths), 4, 4))],
        arrays,
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def of_graph(model: onnx.ModelProto) -> dict[str, Lint]:
    return {one.rule: one for one in lint_graph(model, cost(model))}


def test_channels_of_a_vector_are_no_finding() -> None:
    assert set(of_graph(block(32, 64))) == {"concatenations"}


def test_odd_channels_are_named_with_what_their_padding_costs() -> None:
    found = of_graph(block(24, 32))
    assert set(found) == {"channels-16", "channels-32", "concatenations"}
    lint = found["channels-32"]
    assert lint.layers == ("base.3.layers.0.conv", "base.3.layers.1.conv")
    assert "2 of 2 convolutions" in lint.message
    assert f"{100 * (32 / 24 - 1):.1f} % more" in lint.message
    assert lint.source.startswith("https://")


def test_a_first_convolution_reads_three_channels_on_any_network() -> None:
    assert "channels-4" not in of_graph(block(32, before=3))


def test_depthwise_convolutions_have_no_vectors_of_input_channels() -> None:
    model = block(30, before=30)
    model.graph.node[0].attribute.append(helper.make_attribute("group", 30))
    model.graph.initializer[0].CopyFrom(
        numpy_helper.from_array(np.zeros((30, 1, 1, 1), np.float32), "base.3.layers.0.weight")
    )
    assert not [rule for rule in of_graph(model) if rule.startswith("channels")]


def table_of(**ms: float) -> LayerTable:
    layers = tuple(EngineLayer(name=name, op="", ms=value) for name, value in ms.items())
    return placed(EngineProfile(layers=layers, source="", runs=1), detector=True)


def of_engine(table: LayerTable, layers: tuple[InspectedLayer, ...] = (), **precisions: Any) -> dict[str, Lint]:
    settings: dict[str, Any] = {"requested": {}, "achieved": {}} | precisions
    return {one.rule: one for one in lint_engine(table, layers, detector=True, **settings)}


def test_reformats_around_a_concatenation_are_found_by_title_with_their_share() -> None:
    near = "Reformatting CopyNode for Input Tensor 0 to base.3.in.1"
    found = of_engine(
        table_of(**{near: 1.0, "Reformatting CopyNode for Output Tensor 0 to loc.0": 1.0, "base.0.conv": 2.0})
    )
    assert found["reformat-concat"].layers == (near,)
    assert found["reformat-concat"].percent == pytest.approx(25)
    assert "2 layers" in found["reformat-concat"].message


@pytest.mark.parametrize("key", ["Bindings", "I/O Tensors"])
def test_reformats_are_found_by_the_tensors_that_the_inspector_names(key: str) -> None:
    title = "Reformatting CopyNode for Input Tensor 0 to base.3.layers.1.conv"
    document = {
        "Layers": [
            {"Name": title, "LayerType": "Reformat", "Inputs": [{"Name": "base.3.in.1"}], "Outputs": []},
            "other",
        ],
        key: [],
    }
    found = of_engine(table_of(), inspected(document))
    assert found["reformat-concat"].layers == (title,)
    assert found["reformat-concat"].percent is None


def test_copies_into_a_concatenation_are_counted() -> None:
    found = of_engine(table_of(**{"base.3.layers.0.relu copy": 1.0, "base.2 copy": 1.0, "base.4.conv": 2.0}))
    assert found["concat-copies"].percent == pytest.approx(50)


def test_an_engine_without_any_of_it_has_no_finding() -> None:
    assert not of_engine(table_of(**{"base.0.conv + base.0.relu": 1.0}))


def test_convolutions_that_fell_back_are_named() -> None:
    found = of_engine(
        table_of(**{"base.0.conv + base.0.relu": 1.0, "base.1.conv": 3.0}),
        requested={"base.0.conv": "int8", "base.1.conv": "int8", "loc.0": "fp32"},
        achieved={"base.0.conv": "fp32", "base.1.conv": "int8", "loc.0": "fp32"},
    )
    lint = found["precision-fallback"]
    assert lint.layers == ("base.0.conv",)
    assert lint.percent == pytest.approx(25)


def test_an_unknown_precision_is_no_fallback() -> None:
    assert not of_engine(table_of(), requested={"base.0.conv": "int8"}, achieved={"base.0.conv": "unknown"})
    assert not of_engine(table_of(), requested={"base.0.conv": "int8"}, achieved={})


def test_the_inspector_in_both_forms() -> None:
    detailed = {
        "Name": "base.0.conv",
        "LayerType": "CaskConvolution",
        "Metadata": "[ONNX Layer: base.0.conv]\x1e[ONNX Layer: b]",
    }
    one, two = inspected({"Layers": [detailed, "nms"]})
    assert one.nodes == ("base.0.conv", "b")
    assert (two.name, two.kind, two.nodes, two.reads) == ("nms", "", (), ())
