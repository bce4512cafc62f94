"""Graphs for the tests of fp16 typing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from quantised_graphs import written

from hardnet_deploy.export.graph_builder import IR_VERSION_OF_OPSET, GraphBuilder
from hardnet_deploy.export.graph_view import GraphView

FULL, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
CHANNELS = 320
"""Of the feature map that SSD-HarDNet normalises."""


def l2norm_graph(*, channels: int = CHANNELS, opset: int = 13) -> onnx.ModelProto:
    """A convolution that hands its input on, the exporter's L2Norm, and a convolution that hands that on."""
    shape = (1, channels, 2, 2)
    builder = GraphBuilder(opset=opset, name="l2norm")
    builder.input("images", shape)
    same = builder.constant("same", np.eye(channels, dtype=np.float32)[:, :, None, None])
    source = builder.node("Conv", ["images", same], "source", shape)
    square = builder.node("Mul", [source, source], "norm.square", shape)
    axes = builder.constant("axes", np.array([1], np.int64))
    total = builder.node("ReduceSum", [square, axes], "norm.sum", (1, 1, 2, 2), keepdims=1)
    root = builder.node("Sqrt", [total], "norm.root", (1, 1, 2, 2))
    epsilon = builder.constant("epsilon", np.array(1e-10, np.float32))
    norm = builder.node("Add", [root, epsilon], "norm.norm", (1, 1, 2, 2))
    unit = builder.node("Div", [source, norm], "norm.unit", shape)
    gain = builder.constant("gain", np.full((1, channels, 1, 1), 20, np.float32))
    scaled = builder.node("Mul", [unit, gain], "norm", shape)
    builder.node("Conv", [scaled, same], "logits", shape)
    return builder.model(["logits"], doc="")


def at_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The same nodes at another opset: those of the exporter mean the same from 13 to 21."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    next(one for one in made.opset_import if not one.domain).version = opset
    made.ir_version = IR_VERSION_OF_OPSET[opset]
    return made


def quantised(writing: str = "int8", *, opset: int, nms: str = "efficient") -> onnx.ModelProto:
    """The quantised detector."""
    return at_opset(written(writing, nms=nms), opset)


@contextmanager
def without_islands() -> Iterator[None]:
    """Within it, ``to_half`` types every node as float16, as a naive conversion does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hardnet_deploy.export.half.islands", lambda view: [None] * len(view.graph.node))
        yield


def node_types(model: onnx.ModelProto) -> dict[str, set[int]]:
    """For each node but casts between the two the floating-point types that it reads and makes."""
    view = GraphView(model)
    found = {node.name: _types(view, (*node.input, *node.output)) for node in model.graph.node}
    return {
        name: types
        for name, types in found.items()
        if types != {FULL, HALF} or not name.endswith((".to_fp16", ".to_fp32"))
    }


def casts(model: onnx.ModelProto) -> list[tuple[str, str]]:
    """What goes into each cast between the two and what comes out; an ONNX NMS has others."""
    view = GraphView(model)
    return [
        (node.input[0], node.output[0])
        for node in model.graph.node
        if node.op_type == "Cast" and _types(view, (*node.input, *node.output)) == {FULL, HALF}
    ]


def _types(view: GraphView, names: Iterable[str]) -> set[int]:
    return {view.dtype(name) for name in names} & {FULL, HALF}
