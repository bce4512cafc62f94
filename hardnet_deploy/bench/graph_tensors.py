# ruff: noqa: TID253  (this module is onnx code; whoever imports it wants onnx)
"""Shapes and stored element types of an ONNX graph's tensors, once constants are folded.

``DequantizeLinear`` stores nothing: whoever reads its output reads the integers. Where a tensor so read is only moved
(sliced, transposed, viewed), the result is stored as integers too, as engines do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper

DEQUANTIZE: Final = "DequantizeLinear"
VIEWS: Final = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout"})
_MOVES: Final = frozenset({"Slice", "Transpose", *VIEWS})
INTEGERS: Final = frozenset({TensorProto.INT8, TensorProto.UINT8})
HALVES: Final = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})
NUMBERS: Final = frozenset({TensorProto.FLOAT, *HALVES, *INTEGERS})
"""Element types of activations and weights; any other holds indices, shapes or masks."""


class GraphTensors:
    """The nodes that run, and the tensors between them.

    Args:
        model: With its weights inside; left as it is.
        batch: Takes the place of a dynamic first dimension of the inputs.
    """

    def __init__(self, model: onnx.ModelProto, batch: int) -> None:
        graph = _with_shapes(model).graph
        self._batch = batch
        first_dims = [value.type.tensor_type.shape.dim[:1] for value in graph.input]
        self._batch_names = {dim.dim_param for dims in first_dims for dim in dims if dim.dim_param}
        self._shapes: dict[str, tuple[int, ...] | None] = {}
        self._types: dict[str, int] = {}
        for value in (*graph.value_info, *graph.input, *graph.output):
            kind = value.type.tensor_type
            self._types[value.name] = kind.elem_type
            self._shapes[value.name] = self._sizes(kind.shape.dim) if kind.HasField("shape") else None
        for name, tensor in _constants(graph):
            self._types[name], self._shapes[name] = tensor.data_type, tuple(tensor.dims)
        self.constants = {name for name, _ in _constants(graph)}
        self.outputs = {value.name for value in graph.output}
        self._stored: dict[str, str] = {}
        self.nodes = tuple(node for node in graph.node if node.op_type != "Constant" and not self._settles(node))
        self.makers = {name: index for index, node in enumerate(self.nodes) for name in node.output if name}
        self._readers: dict[str, set[int]] = {}
        for index, node in enumerate(self.nodes):
            for name in self.inputs(node):
                self._readers.setdefault(name, set()).add(index)

    def inputs(self, node: onnx.NodeProto) -> list[str]:
        """What a node reads, as it is stored, each once."""
        return list(dict.fromkeys(self._stored.get(name, name) for name in node.input if name))

    def readers(self, name: str) -> set[int]:
        """Places in :attr:`nodes` of those that read a stored tensor."""
        return self._readers.get(name, set())

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Of a tensor; None where it depends on the data or is not declared."""
        return self._shapes.get(name)

    def kind(self, name: str) -> int:
        """Element type that a tensor is stored in."""
        return self._types.get(self._stored.get(name, name), TensorProto.FLOAT)

    def count(self, name: str) -> int:
        """Elements of a tensor; 0 where its shape depends on the data."""
        shape = self._shapes.get(name)
        return 0 if shape is None else math.prod(shape)

    def size(self, name: str) -> int:
        """Bytes of a stored tensor."""
        return self.count(name) * np.dtype(helper.tensor_dtype_to_np_dtype(self.kind(name))).itemsize

    def _sizes(self, dims: Iterable[onnx.TensorShapeProto.Dimension]) -> tuple[int, ...] | None:
        sizes = []
        for dim in dims:
            if not dim.HasField("dim_value") and dim.dim_param not in self._batch_names:
                return None
            sizes.append(dim.dim_value if dim.HasField("dim_value") else self._batch)
        return tuple(sizes)

    def _settles(self, node: onnx.NodeProto) -> bool:
        """True for a node that never runs: its result is a constant, or its input read through it."""
        given = self.inputs(node)
        is_constant = bool(given) and set(given) <= self.constants
        if is_constant:
            self.constants |= set(node.output)
        if node.op_type == DEQUANTIZE and not set(node.output) & self.outputs:
            self._stored[node.output[0]] = given[0]
            return True
        if is_constant:
            for name in node.output:
                self._shapes.setdefault(name, self._shapes.get(given[0]))
            return True
        if node.op_type in _MOVES and self.kind(given[0]) in INTEGERS and not set(node.output) & self.outputs:
            self._types[node.output[0]] = self.kind(given[0])
        return False


def _with_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    known = {value.name for value in (*model.graph.value_info, *model.graph.output)}
    if all(name in known for node in model.graph.node for name in node.output if name):
        return model
    return onnx.shape_inference.infer_shapes(model)


def _constants(graph: onnx.GraphProto) -> Iterator[tuple[str, TensorProto]]:
    for tensor in graph.initializer:
        yield tensor.name, tensor
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    yield node.output[0], attribute.t
