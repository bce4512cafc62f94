"""How many values of feature maps a graph keeps alive at once."""

from __future__ import annotations

from math import prod

import onnx
from onnx import TensorProto


def live_values(model: onnx.ModelProto) -> int:
    """Where most live: each from the node that makes it to the last that reads it. Integers are not counted."""
    graph = model.graph
    sizes = {
        info.name: prod(max(1, dimension.dim_value) for dimension in info.type.tensor_type.shape.dim)
        for info in (*graph.value_info, *graph.input, *graph.output)
        if info.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    last = {name: number for number, node in enumerate(graph.node) for name in node.input}
    last |= {info.name: len(graph.node) for info in graph.output}
    alive = {info.name for info in graph.input}
    most = 0
    for number, node in enumerate(graph.node):
        alive |= set(node.output)
        most = max(most, sum(sizes.get(name, 0) for name in alive))
        alive = {name for name in alive if last.get(name, -1) > number}
    return most
