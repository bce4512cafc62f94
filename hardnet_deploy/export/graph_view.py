# ruff: noqa: TID253  (this module is onnx code; whoever imports it wants onnx)
"""What a check reads of a graph, and what it says about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Severity = Literal["error", "warning"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing a check has to say.

    Args:
        severity: ``error`` where the target would refuse the graph or compute something else.
        node: The node or tensor it is about; empty for the whole graph.
        rule: Short name of the rule.
        message: What is wrong, and what would be accepted.
        source: The public source of the rule.
    """

    severity: Severity
    node: str
    rule: str
    message: str
    source: str


class GraphView:
    """Constants, element types and makers of the tensors of a model's main graph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self.model = model
        self.graph = graph
        self.opset = max((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), default=0)
        self.makers = {output: node for node in graph.node for output in node.output if output}
        self._initialisers = {tensor.name: tensor for tensor in graph.initializer}
        self._dtypes = {
            info.name: info.type.tensor_type.elem_type for info in (*graph.value_info, *graph.input, *graph.output)
        } | {tensor.name: tensor.data_type for tensor in graph.initializer}

    def nodes(self) -> Iterator[onnx.NodeProto]:
        """Every node, those of subgraphs included."""
        yield from _nodes(self.graph)

    def dtype(self, name: str) -> int:
        """ONNX element type of a tensor; ``UNDEFINED`` where the graph does not say."""
        return int(self._dtypes.get(name, TensorProto.UNDEFINED))

    def is_constant(self, name: str) -> bool:
        """True for an initialiser and for the output of a Constant node."""
        return name in self._initialisers or self._made_by(name, "Constant")

    def constant(self, name: str) -> NDArray[Any] | None:
        """Value of a constant tensor; None for anything else, and for data outside the file."""
        if name in self._initialisers:
            tensor = self._initialisers[name]
        elif self._made_by(name, "Constant"):
            value = attributes(self.makers[name]).get("value")
            if not isinstance(value, TensorProto):
                return None
            tensor = value
        else:
            return None
        if tensor.data_location == TensorProto.EXTERNAL:
            return None
        return np.asarray(numpy_helper.to_array(tensor))

    def is_weight(self, name: str) -> bool:
        """True for a constant, also one that passed through QuantizeLinear or DequantizeLinear."""
        while not self.is_constant(name):
            maker = self.makers.get(name)
            if maker is None or maker.op_type not in {"QuantizeLinear", "DequantizeLinear"}:
                return False
            name = maker.input[0]
        return True

    def _made_by(self, name: str, op_type: str) -> bool:
        return name in self.makers and self.makers[name].op_type == op_type


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Attributes of a node by name, strings decoded."""
    values = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


def label(node: onnx.NodeProto) -> str:
    """A node's name, or its type and first output where it has none."""
    return node.name or f"{node.op_type} -> {next(iter(node.output), '')}"


def dtype_name(dtype: int) -> str:
    """ONNX's name of an element type, such as ``FLOAT``."""
    return str(TensorProto.DataType.Name(dtype))


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)
            for subgraph in attribute.graphs:
                yield from _nodes(subgraph)
