"""Operations and bytes of a graph's layers, against counts by hand and the published figures."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from hardnet_deploy.bench.graph_cost import LayerCost, cost
from hardnet_deploy.bench.module_map import OTHER, place
from hardnet_deploy.export.onnx_export import build_graph
from hardnet_deploy.export.options import GraphOptions
from hardnet_deploy.models import registry
from hardnet_deploy.models.count import count
from hardnet_deploy.models.layers import HarDBlock
from hardnet_deploy.specs import Thresholds

BACKBONES = ("hardnet39ds", "hardnet68ds", "hardnet68", "hardnet85")
DETECTORS = ("ssd300-hardnet-demo", "ssd300-hardnet68-voc", "ssd512-hardnet85-coco")
PUBLISHED = 0.035  # relative: GMACs are published with one or two digits (0.8 for 0.775, 0.44 for 0.4295)


@cache
def graph(name: str, outputs: Any) -> onnx.ModelProto:
    thresholds = Thresholds(score=0.02, iou=0.45, max_detections=200) if outputs == "detections" else None
    options = GraphOptions(outputs=outputs, nms="onnx", thresholds=thresholds, opset=13, batch=1)
    spec = registry.get(name)
    return build_graph(registry.build(spec), spec, options, renames={}, doc="")


def small(
    nodes: list[onnx.NodeProto], shape: tuple[Any, ...], result: tuple[Any, ...], **arrays: Any
) -> onnx.ModelProto:
    made = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, result)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.mark.parametrize("name", [*BACKBONES, *(pytest.param(one, marks=pytest.mark.slow) for one in DETECTORS[1:])])
def test_macs_are_those_of_the_network_and_as_published(name: str) -> None:
    spec = registry.get(name)
    size = spec.preprocess.size  # of the backbones 224, as published
    found = sum(one.macs for one in cost(graph(name, "boxes")))
    assert found == count(spec, [size]).macs[size]
    if spec.published.gmacs is not None:
        assert found / 1e9 == pytest.approx(spec.published.gmacs, rel=PUBLISHED)


@pytest.mark.parametrize("name", ["ssd300-hardnet-demo", *BACKBONES])
def test_every_layer_of_a_model_has_its_place(name: str) -> None:
    is_detector = registry.get(name).is_detector
    layers = cost(graph(name, "detections" if is_detector else "boxes"))
    places = {one.name: place(one.name, detector=is_detector, op=one.op, nodes=one.made) for one in layers}
    assert [title for title, found in places.items() if found.group == OTHER] == []
    assert all(found.module for found in places.values())
    blocks = {found.group for found in places.values() if found.group.startswith("block")}
    modules = registry.build(name, device="meta").named_modules()
    assert blocks == {f"block {path}" for path, module in modules if isinstance(module, HarDBlock)}


def test_a_convolution_by_hand() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv", kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["y"], name="relu"),
    ]
    model = small(nodes, (1, 3, 8, 8), (1, 4, 8, 8), w=np.zeros((4, 3, 3, 3), np.float32), b=np.zeros(4, np.float32))
    (layer,) = cost(model)
    made = 4 * 8 * 8
    assert layer.nodes == ("conv", "relu")
    assert layer.macs == made * 3 * 3 * 3
    assert layer.flops == 2 * layer.macs + made + made  # bias, and activation
    assert layer.bytes == 4 * (3 * 8 * 8 + 4 * 3 * 3 * 3 + 4 + made)
    assert layer.bytes_at(2) == layer.bytes // 2
    assert layer.precision == "fp32"
    assert layer.intensity == layer.flops / layer.bytes


def test_an_activation_whose_input_another_reads_is_a_layer_of_its_own() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Concat", ["c", "r"], ["y"], name="concat", axis=1),
    ]
    conv, relu, concat = cost(small(nodes, (1, 2, 4, 4), (1, 4, 4, 4), w=np.zeros((2, 2, 1, 1), np.float32)))
    assert (conv.nodes, relu.nodes) == (("conv",), ("relu",))
    assert concat.is_concatenation
    assert concat.flops == 0
    assert concat.bytes == 4 * 2 * (4 * 4 * 4)  # read, and written


def test_a_dynamic_batch_scales_activations_and_not_weights() -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], name="conv")]
    model = small(nodes, ("batch", 2, 4, 4), ("batch", 2, 4, 4), w=np.zeros((2, 2, 1, 1), np.float32))
    (one,), (three,) = cost(model), cost(model, batch=3)
    assert three.macs == 3 * one.macs
    assert three.weights == one.weights
    assert three.reads.at() == 3 * one.reads.at()


def quantised() -> tuple[LayerCost, ...]:
    scales = {"s": np.float32(1), "z": np.uint8(0), "ws": np.float32(1), "wz": np.int8(0)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="x.quantize"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], name="x.dequantize"),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], name="w.dequantize"),
        helper.make_node("Conv", ["d", "wd"], ["c"], name="conv"),
        helper.make_node("QuantizeLinear", ["c", "s", "z"], ["cq"], name="c.quantize"),
        helper.make_node("DequantizeLinear", ["cq", "s", "z"], ["cd"], name="c.dequantize"),
        helper.make_node("Softmax", ["cd"], ["y"], name="softmax", axis=1),
    ]
    return cost(small(nodes, (1, 2, 4, 4), (1, 2, 4, 4), w=np.zeros((2, 2, 1, 1), np.int8), **scales))


def test_int8_tensors_count_one_byte_and_dequantising_none() -> None:
    first, conv, softmax = quantised()
    values = 2 * 4 * 4
    assert (first.op, conv.precision, softmax.precision) == ("QuantizeLinear", "int8", "fp32")
    assert conv.nodes == ("conv", "c.quantize")
    assert conv.reads.at() == conv.writes.at() == values
    assert conv.weights.at() == 4 + 4 + 1  # four weights; scale and zero point of what it writes
    assert softmax.reads.at() == values
    assert softmax.flops == 5 * values


def test_folded_and_unfolded_graphs_have_the_same_arithmetic_but_for_the_norms() -> None:
    layers = cost(graph("hardnet39ds", "boxes"))
    convolutions = [one for one in layers if one.op == "Conv"]
    assert all(any(name.endswith("norm") for name in one.nodes) for one in convolutions)
    assert sum(one.macs for one in layers if one.op != "Conv") == 1024 * 1000  # the classifier


def test_nms_is_said_to_depend_on_the_data() -> None:
    found = [one.name for one in cost(graph("ssd300-hardnet-demo", "detections")) if one.data_dependent]
    assert found
    assert all(name.startswith(("nms", "detection")) for name in found)


def test_a_shape_that_is_not_known_is_no_number() -> None:
    nodes = [
        helper.make_node("NonZero", ["x"], ["n"]),
        helper.make_node("Cast", ["n"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["w", "f"], ["y"], name="mm"),
    ]
    with pytest.raises(ValueError, match="'mm' has tensors whose shapes are not known"):
        cost(small(nodes, (2, 2), ("a", "b"), w=np.zeros((3, 2), np.float32)))


def test_the_network_that_torch_counts() -> None:
    """Independent of our counting: FlopCounterMode counts 2 for each multiply-accumulate."""
    from torch.utils.flop_counter import FlopCounterMode

    network = registry.build("hardnet39ds", device="meta")
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 3, 224, 224, device="meta"))
    assert counter.get_total_flops() == 2 * sum(one.macs for one in cost(graph("hardnet39ds", "boxes")))
