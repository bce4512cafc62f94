# ruff: noqa: TID253  (this module is onnx code; whoever imports it wants onnx)
"""What a check reads of a graph, and what it says about it."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Severity = Literal["error", "warning"]

QUANTIZE: Final = "QuantizeLinear"
DEQUANTIZE: Final = "DequantizeLinear"
QDQ: Final = frozenset({QUANTIZE, DEQUANTIZE})


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


def node_finding(severity: Severity, node: onnx.NodeProto, rule: str, message: str, source: str) -> Finding:
    """A finding about one node."""
    return Finding(severity=severity, node=label(node), rule=rule, message=message, source=source)


class GraphView:
    """Constants, element types, makers and readers of the tensors of a model's main graph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self.model = model
        self.graph = graph
        self.opset = max((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), default=0)
        self.makers = {output: node for node in graph.node for output in node.output if output}
        self._initialisers: dict[str, TensorProto] = {tensor.name: tensor for tensor in graph.initializer}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in dict.fromkeys(node.input):
                self._readers.setdefault(name, []).append(node)
        kinds = {info.name: info.type.tensor_type for info in (*graph.value_info, *graph.input, *graph.output)}
        self._dtypes = {name: kind.elem_type for name, kind in kinds.items()} | {
            tensor.name: tensor.data_type for tensor in graph.initializer
        }
        self._ranks = {name: len(kind.shape.dim) for name, kind in kinds.items() if kind.HasField("shape")}

    def nodes(self) -> Iterator[onnx.NodeProto]:
        """Every node, those of subgraphs included."""
        yield from _nodes(self.graph)

    def dtype(self, name: str) -> int:
        """ONNX element type of a tensor; ``UNDEFINED`` where the graph does not say."""
        return int(self._dtypes.get(name, TensorProto.UNDEFINED))

    def is_constant(self, name: str) -> bool:
        """True for an initialiser and for the output of a Constant node."""
        return name in self._initialisers or self.is_made_by(name, {"Constant"})

    def readers(self, name: str) -> tuple[onnx.NodeProto, ...]:
        """Nodes of the main graph that read a tensor."""
        return tuple(self._readers.get(name, ()))

    def is_made_by(self, name: str, op_types: Container[str]) -> bool:
        """True where a node of one of these types makes the tensor."""
        return name in self.makers and self.makers[name].op_type in op_types

    def rank(self, name: str) -> int | None:
        """How many dimensions a tensor is declared with; None where the graph does not say."""
        return self._ranks.get(name)

    def constant(self, name: str) -> NDArray[Any] | None:
        """Value of a constant tensor; None for anything else, and for data outside the file."""
        tensor = self._tensor(name)
        if tensor is None or tensor.data_location == TensorProto.EXTERNAL:
            return None
        return np.asarray(numpy_helper.to_array(tensor))

    def weight_shape(self, name: str) -> tuple[int, ...] | None:
        """Shape of the constant that a tensor is, looking through Q/DQ; None for anything else."""
        tensor = self._tensor(self.before_quantisation(name))
        return None if tensor is None else tuple(tensor.dims)

    def is_weight(self, name: str) -> bool:
        """True for a constant, also one that passed through QuantizeLinear or DequantizeLinear."""
        return self.is_constant(self.before_quantisation(name))

    def before_quantisation(self, name: str) -> str:
        """The tensor itself, or what went into the QuantizeLinear and DequantizeLinear that it passed through."""
        while not self.is_constant(name):
            maker = self.makers.get(name)
            if maker is None or maker.op_type not in QDQ:
                break
            name = maker.input[0]
        return name

    def _tensor(self, name: str) -> TensorProto | None:
        if name in self._initialisers:
            return self._initialisers[name]
        if not self.is_made_by(name, {"Constant"}):
            return None
        value: TensorProto | None = attributes(self.makers[name]).get("value")
        return value


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
