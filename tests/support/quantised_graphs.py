"""A small detector with what INT8 has to go round, as ``calibration`` writes it, and single Q/DQ pairs in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from graph_models import HEAD, THRESHOLDS
from made_up_table import statistics, table
from onnx import helper, numpy_helper

from calibration.graph import GraphMap
from calibration.qdq import WRITINGS, Choice
from calibration.ranges import ConcatScales, Ranges
from hardnet_deploy.export.detection_tail import write_detection_tail
from hardnet_deploy.export.graph_builder import GraphBuilder
from hardnet_deploy.export.nms import write_efficient_nms, write_onnx_nms
from hardnet_deploy.tensor_names import CONF, DETECTION_OUTPUTS, INPUT, LOC

CHANNELS, SIDE, GRID = 4, 32, 2
ZERO: np.ndarray[Any, Any] = np.zeros((), np.int8)
STEM, LAYER, JOINED, POOLED, NORM = "stem.relu", "layer.relu", "joined", "pooled", "norm"


def detector(*, nms: str = "efficient") -> onnx.ModelProto:
    """A detector of a stem, a layer, their concatenation, pooling, L2Norm and two heads, as the exporter writes it."""
    draw = np.random.default_rng(3)
    builder = GraphBuilder(opset=13, name="detector")
    builder.input(INPUT, (1, 3, SIDE, SIDE))

    def conv(name: str, source: str, inputs: int, outputs: int, side: int) -> str:
        weight = draw.normal(0, 0.2, (outputs, inputs, 3, 3)).astype(np.float32)
        names = [source, builder.constant(f"{name}.weight", weight)]
        names.append(builder.constant(f"{name}.bias", draw.normal(0, 0.2, outputs).astype(np.float32)))
        return builder.node("Conv", names, name, (1, outputs, side, side), pads=[1, 1, 1, 1])

    shape = (1, CHANNELS, SIDE, SIDE)
    builder.node("Relu", [conv("stem", INPUT, 3, CHANNELS, SIDE)], STEM, shape)
    builder.node("Relu", [conv("layer", STEM, CHANNELS, CHANNELS, SIDE)], LAYER, shape)
    channels = 2 * CHANNELS
    builder.node("Concat", [STEM, LAYER], JOINED, (1, channels, SIDE, SIDE), axis=1)
    builder.node("Relu", [conv("exit", JOINED, channels, channels, SIDE)], "exit.relu", (1, channels, SIDE, SIDE))
    small = (1, channels, GRID, GRID)
    step = SIDE // GRID
    builder.node("MaxPool", ["exit.relu"], POOLED, small, kernel_shape=[step, step], strides=[step, step])
    single = (1, 1, GRID, GRID)
    builder.node("Mul", [POOLED, POOLED], f"{NORM}.square", small)
    axes = builder.constant(f"{NORM}.axes", np.array([1], np.int64))
    builder.node("ReduceSum", [f"{NORM}.square", axes], f"{NORM}.sum", single, keepdims=1)
    builder.node("Sqrt", [f"{NORM}.sum"], f"{NORM}.root", single)
    epsilon = builder.constant(f"{NORM}.epsilon", np.array(1e-10, np.float32))
    builder.node("Add", [f"{NORM}.root", epsilon], f"{NORM}.norm", single)
    builder.node("Div", [POOLED, f"{NORM}.norm"], f"{NORM}.unit", small)
    gain = builder.constant(f"{NORM}.weight", np.full((1, channels, 1, 1), 20, np.float32))
    builder.node("Mul", [f"{NORM}.unit", gain], NORM, small)
    for output, row in ((LOC, 4), (CONF, HEAD.num_classes)):
        width = HEAD.num_priors // GRID**2 * row
        head = conv(f"{output}.head", NORM, channels, width, GRID)
        builder.node("Transpose", [head], f"{output}.nhwc", (1, GRID, GRID, width), perm=[0, 2, 3, 1])
        rows = builder.constant(f"{output}.shape", np.array([0, -1, row], np.int64))
        builder.node("Reshape", [f"{output}.nhwc", rows], output, (1, HEAD.num_priors, row))
    write_detection_tail(builder, HEAD)
    if nms == "efficient":
        write_efficient_nms(builder, THRESHOLDS)
    else:
        write_onnx_nms(builder, HEAD, THRESHOLDS)
    return builder.model(DETECTION_OUTPUTS, doc="")


def written(
    kind: str, *, nms: str = "efficient", float_units: Sequence[str] = (), scales: ConcatScales = "unified"
) -> onnx.ModelProto:
    """The detector as ``calibration`` writes it; every measured tensor has a range of its own."""
    graph = GraphMap(detector(nms=nms))
    ranges = {
        name: statistics(0.0 if name.endswith("relu") else -1.0 - index, 2.0 + index)
        for index, name in enumerate(graph.measured)
    }
    choice = Choice(float_units=frozenset(float_units))
    return WRITINGS[kind](graph, Ranges(graph, table(tensors=ranges, snapshots={}), scales), choice)


def with_pair(
    model: onnx.ModelProto, tensor: str, *, scale: float = 0.1, zero: np.ndarray[Any, Any] = ZERO
) -> onnx.ModelProto:
    """``tensor`` passes through QuantizeLinear and DequantizeLinear on its way to every node that reads it."""
    parameters = [f"{tensor}.scale", f"{tensor}.zero"]
    pair = [
        helper.make_node("QuantizeLinear", [tensor, *parameters], [f"{tensor}.q"], f"{tensor}.quantize"),
        helper.make_node("DequantizeLinear", [f"{tensor}.q", *parameters], [f"{tensor}.dq"], f"{tensor}.dequantize"),
    ]
    made = onnx.ModelProto()
    made.CopyFrom(model)
    nodes = list(made.graph.node)
    place = next((index for index, node in enumerate(nodes, 1) if tensor in node.output), 0)
    for node in nodes:
        for index, name in enumerate(node.input):
            if name == tensor:
                node.input[index] = f"{tensor}.dq"
    ordered = [*nodes[:place], *pair, *nodes[place:]]
    del made.graph.node[:]
    made.graph.node.extend(ordered)
    for name, value in zip(parameters, (np.array(scale, np.float32), zero), strict=True):
        made.graph.initializer.append(numpy_helper.from_array(value, name))
    return made
