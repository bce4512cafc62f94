"""What a fold asks about an ONNX graph (who reads a tensor, who makes it, is it constant) and how it changes one."""
# ruff: noqa: TID253 - this file is ONNX code and is imported only by those who need onnx

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import onnx
from onnx import numpy_helper

from fusion.conv_bn import Array
from fusion.errors import FusionModelError

_FLOATS = (onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16)
_FIRST_IR_WITH_CONSTANT_INITIALIZERS = 4  # before, every initializer had to be listed among the graph's inputs

_INPUTS = {"BatchNormalization": 5, "Conv": 2, "ConvTranspose": 2, "Gemm": 2, "Identity": 1}
"""Inputs that may not be left out, in every version that is read (onnx/onnx, docs/Changelog.md)."""


class GraphIndex:
    """Names of one model's main graph, as it is when the index is made."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self._lists_initializers = model.ir_version < _FIRST_IR_WITH_CONSTANT_INITIALIZERS
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._node_names = Counter(node.name for node in graph.node)
        self.inputs = {value.name for value in graph.input}
        self.outputs = {value.name for value in graph.output}
        self.reads = count_reads(graph)
        self.producers = {name: node for node in graph.node for name in node.output if name}

    def names(self) -> set[str]:
        """Every name that a tensor of the main graph has, and those that bodies read."""
        return {*self.reads, *self.producers, *self._initializers, *self.inputs}

    def label(self, node: onnx.NodeProto) -> str:
        """A name that is this node's alone: its own, or that of its first output."""
        return node.name if node.name and self._node_names[node.name] == 1 else first_name(node.output)

    def constant(self, name: str) -> onnx.TensorProto | None:
        """The tensor that ``name`` always holds: an initializer or a Constant node, also behind Identity nodes.

        None for everything that can change at run time; so for an initializer that is only the default of an input.
        """
        node = self.producers.get(name)
        if node is None:
            overridable = name in self.inputs and not self._lists_initializers
            return None if overridable else self._initializers.get(name)
        if is_standard(node, "Identity"):
            return self.constant(node.input[0])
        return _value(node) if is_standard(node, "Constant") else None

    def sources(self, name: str) -> Iterator[str]:
        """``name`` and the names behind it through Identity nodes."""
        yield name
        node = self.producers.get(name)
        if node is not None and is_standard(node, "Identity"):
            yield from self.sources(node.input[0])


def check_nodes(graph: onnx.GraphProto) -> None:
    """Look for the inputs and outputs that a fold reads by their position.

    Raises:
        FusionModelError: A node lacks an input or output that ONNX demands.
    """
    for node in graph.node:
        wanted = _INPUTS.get(node.op_type, 0) if node.domain in ("", "ai.onnx") else 0
        given = sum(map(bool, node.input[:wanted]))
        if given < wanted or (wanted and not first_name(node.output)):
            name = node.name or first_name(node.output) or "without a name"
            what = f"{given} of its {wanted} inputs" if given < wanted else "no output"
            raise FusionModelError(
                f"the graph is not valid: {node.op_type} {name} has {what}; onnx.checker.check_model(model) says more"
            )


def first_name(names: Iterable[str]) -> str:
    """The first of a node's inputs or outputs; empty where there is none."""
    return next(iter(names), "")


def is_standard(node: onnx.NodeProto, *operators: str) -> bool:
    """True for an operator of ONNX's own domain."""
    return node.op_type in operators and node.domain in ("", "ai.onnx")


def attribute(node: onnx.NodeProto, name: str, default: float) -> float:
    """Value of a numeric attribute."""
    for one in node.attribute:
        if one.name == name:
            return float(one.f) if one.type == onnx.AttributeProto.FLOAT else int(one.i)
    return default


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The bodies of a control-flow node."""
    for one in node.attribute:
        if one.type == onnx.AttributeProto.GRAPH:
            yield one.g
        yield from one.graphs


def count_reads(graph: onnx.GraphProto) -> Counter[str]:
    """How often each tensor is read: by nodes, by nodes of bodies (which see the outer tensors) and as an output."""
    reads = Counter(value.name for value in graph.output)
    for node in graph.node:
        reads.update(name for name in node.input if name)
        for body in subgraphs(node):
            reads.update(count_reads(body))
    return reads


def float_array(tensor: onnx.TensorProto | None) -> Array | None:
    """Values of a floating tensor; None for other types and for data in a file that was not loaded."""
    if tensor is None or tensor.data_type not in _FLOATS or tensor.data_location == onnx.TensorProto.EXTERNAL:
        return None
    try:
        array: Array = numpy_helper.to_array(tensor)
    except ValueError as error:
        raise FusionModelError(
            f"the graph is not valid: {tensor.name} does not fill {list(tensor.dims)}: {error}"
        ) from error
    return array


def set_initializer(model: onnx.ModelProto, name: str, values: Array) -> None:
    """Make ``name`` an initializer with ``values``, in place of whatever made it before."""
    drop_names(model, {name})
    tensor = numpy_helper.from_array(np.ascontiguousarray(values), name)
    model.graph.initializer.append(tensor)
    if model.ir_version < _FIRST_IR_WITH_CONSTANT_INITIALIZERS:
        model.graph.input.append(onnx.helper.make_tensor_value_info(name, tensor.data_type, tensor.dims))


def drop_names(model: onnx.ModelProto, names: set[str]) -> set[str]:
    """Remove what makes these tensors: initializers, Constant and Identity nodes. Returns what the nodes had read."""
    graph = model.graph
    freed: set[str] = set()
    for position in reversed(range(len(graph.node))):
        node = graph.node[position]
        if node.output and names.issuperset(node.output):
            freed.update(name for name in node.input if name)
            del graph.node[position]
    listed = (graph.input,) if model.ir_version < _FIRST_IR_WITH_CONSTANT_INITIALIZERS else ()
    for values in (graph.initializer, graph.value_info, *listed):
        for position in reversed(range(len(values))):
            if values[position].name in names:
                del values[position]
    return freed


def drop_unread(model: onnx.ModelProto, names: set[str]) -> None:
    """Remove those of these constants that nothing reads, and then what only they had read."""
    while names:
        reads = count_reads(model.graph)
        names = drop_names(model, {name for name in names if not reads[name]})


def _value(node: onnx.NodeProto) -> onnx.TensorProto | None:
    for one in node.attribute:
        if one.name == "value":
            tensor: onnx.TensorProto = one.t
            return tensor
        if one.name in ("value_float", "value_floats"):
            values = one.f if one.name == "value_float" else one.floats
            return numpy_helper.from_array(np.array(values, dtype=np.float32))
    return None
