# ruff: noqa: TID253  (this module is onnx code; whoever imports it wants onnx)
"""What INT8 needs to know of an ONNX graph: convolutions with their ReLU, tensors to measure, concat families.

A *unit* is a convolution and the activation that every backend fuses into it. Ranges are measured where a unit ends;
through operators that only move values (Concat, MaxPool, ...) a range is handed on instead of being measured again.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper, shape_inference

from calibration.errors import CalibrationError

CONVOLUTION: Final = "Conv"
UNBOUNDED: Final = (-math.inf, math.inf)
SAME_SCALE: Final = frozenset({"Concat", "MaxPool"})
"""Operators that are computed on the integers themselves, and whose output holds only values of their inputs."""
MOVES: Final = SAME_SCALE | {"Identity", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze"}
IMAGE_AXES: Final = 4  # a feature map is [N, C, H, W]


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A convolution with the activation that is fused into it.

    Args:
        name: Of the convolution's node.
        source: Tensor that it reads.
        weight: Constant, shape (out, in / groups, kernel...).
        bias: Constant, shape (out,), or None.
        inner: What the convolution itself makes; equal to ``output`` where no activation follows.
        output: What leaves the unit.
        macs: Multiply-accumulates for one image; 0 where the output's shape is not known.
    """

    name: str
    source: str
    weight: str
    bias: str | None
    inner: str
    output: str
    macs: int


@dataclass(frozen=True)
class GraphMap:
    """A graph as INT8 sees it.

    Args:
        model: Left as it is. A convolution counts where weight and bias are stored in it, in float32. Shapes that it
            does not declare are inferred.

    Raises:
        CalibrationError: The graph has no such convolution, two of them have one name, or it is quantised already.
    """

    model: onnx.ModelProto
    units: tuple[Unit, ...] = field(init=False)
    constants: Mapping[str, onnx.TensorProto] = field(init=False, repr=False)
    producers: Mapping[str, onnx.NodeProto] = field(init=False, repr=False)
    consumers: Mapping[str, tuple[onnx.NodeProto, ...]] = field(init=False, repr=False)
    _shapes: Mapping[str, tuple[int, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        graph = self.model.graph
        if any(node.op_type in {"QuantizeLinear", "DequantizeLinear", "QLinearConv"} for node in graph.node):
            raise CalibrationError(
                "the graph is quantised already", wanted="a float graph", next_step="start from the exported ONNX file"
            )
        consumers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in dict.fromkeys(node.input):
                consumers.setdefault(name, []).append(node)
        for name, value in (
            ("constants", {tensor.name: tensor for tensor in _constants(graph)}),
            ("producers", {name: node for node in graph.node for name in node.output}),
            ("consumers", {name: tuple(nodes) for name, nodes in consumers.items()}),
            ("_shapes", _shapes(self.model)),
        ):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "units", tuple(self._units()))
        if not self.units:
            raise CalibrationError(
                "the graph has no convolution whose weights are stored in float32", wanted="a convolutional net"
            )
        names = [unit.name for unit in self.units]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise CalibrationError(f"two convolutions are called {twice}", wanted="names that tell them apart")

    def _units(self) -> Iterable[Unit]:
        kept = {value.name for value in self.model.graph.output}
        for node in self.model.graph.node:
            stored = [name for name in node.input[1:] if name]
            if node.op_type != CONVOLUTION or node.domain or not all(map(self._is_float32, stored)):
                continue
            inner = output = node.output[0]
            after = self.consumers.get(inner, ())
            if len(after) == 1 and inner not in kept and self._activation(after[0])[0] == 0:
                output = after[0].output[0]
            yield Unit(
                name=node.name or inner,
                source=node.input[0],
                weight=stored[0],
                bias=stored[1] if len(stored) > 1 else None,
                inner=inner,
                output=output,
                macs=self._macs(node.input[1], inner),
            )

    def _macs(self, weight: str, output: str) -> int:
        shape = self._shapes.get(output, ())
        if len(shape) != IMAGE_AXES or min(shape[1:]) < 1:
            return 0
        return int(np.prod(self.constants[weight].dims, dtype=np.int64) * shape[2] * shape[3])

    def _is_float32(self, name: str) -> bool:
        return name in self.constants and self.constants[name].data_type == TensorProto.FLOAT

    def _activation(self, node: onnx.NodeProto | None) -> tuple[float, float]:
        """Smallest and largest value that a Relu, or a Clip between constants, lets through."""
        if node is None or node.op_type not in {"Relu", "Clip"}:
            return UNBOUNDED
        if node.op_type == "Relu":
            return 0.0, math.inf
        ends = (*node.input, "", "")[1:3]
        if not all(name in self.constants or not name for name in ends):
            return UNBOUNDED
        low, high = (float(self.array(name)) if name else end for name, end in zip(ends, UNBOUNDED, strict=True))
        return low, high

    def bounds(self, name: str) -> tuple[float, float]:
        """What no value of a tensor can leave: 0 and infinity behind a ReLU, 0 and 6 behind a ReLU6.

        Through what only moves values, the widest of the tensors moved.
        """
        pairs = [self._activation(self.producers.get(origin)) for origin in self.origins(name)]
        return min(low for low, _ in pairs), max(high for _, high in pairs)

    def array(self, name: str) -> NDArray[np.float32]:
        """A constant as float32."""
        return numpy_helper.to_array(self.constants[name]).astype(np.float32)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Declared or inferred shape; -1 for a dimension that is not fixed; None where it is not known."""
        return self._shapes.get(name)

    @property
    def measured(self) -> tuple[str, ...]:
        """Tensors whose ranges have to be measured, in topological order: what units read and make.

        Where a unit reads what only moves values, the tensors moved are measured instead.
        """
        wanted: dict[str, None] = {}
        for unit in self.units:
            for name in (*self.origins(unit.source), unit.output):
                wanted[name] = None
        order = {name: place for place, name in enumerate(self.tensors)}
        return tuple(sorted(wanted, key=order.__getitem__))

    @property
    def tensors(self) -> tuple[str, ...]:
        """Inputs, then every tensor that a node makes, in topological order."""
        inputs = tuple(value.name for value in self.model.graph.input if value.name not in self.constants)
        return inputs + tuple(name for node in self.model.graph.node for name in node.output if name)

    def origins(self, name: str) -> tuple[str, ...]:
        """The measured tensors whose values ``name`` holds: itself, unless it only moves others'."""
        pending, seen, found = [name], set[str](), []
        while pending:
            one = pending.pop()
            if one in seen:
                continue
            seen.add(one)
            moved = self.moved(one)
            pending += reversed(moved)
            if not moved:
                found.append(one)
        return tuple(found)

    def moved(self, name: str, operators: frozenset[str] = MOVES) -> tuple[str, ...]:
        """The tensors whose values ``operators`` put into ``name`` as they are; none where it is computed."""
        node = self.producers.get(name)
        if node is None or node.op_type not in operators:
            return ()
        sources = tuple(node.input if node.op_type == "Concat" else node.input[:1])
        return () if any(source in self.constants for source in sources) else sources

    def leading_to(self, names: Iterable[str]) -> set[str]:
        """Every tensor that ``names`` are computed from, and themselves."""
        pending, found = list(names), set()
        while pending:
            name = pending.pop()
            if name not in found:
                found.add(name)
                pending += self.producers[name].input if name in self.producers else []
        return found

    def families(self) -> dict[str, tuple[str, ...]]:
        """Measured tensors that meet in concatenations of feature maps, each with all members of its family.

        Tensors that meet nowhere are families of one. Members stand in topological order; a family's name is its
        first member.
        """
        leader = {name: name for name in self.measured}

        def root(name: str) -> str:
            while leader[name] != name:
                name = leader[name]
            return name

        for node in self.model.graph.node:
            if node.op_type == "Concat" and len(self._shapes.get(node.output[0], ())) == IMAGE_AXES:
                members = [origin for origin in self.origins(node.output[0]) if origin in leader]
                for one in members[1:]:
                    leader[root(one)] = root(members[0])
        groups: dict[str, list[str]] = {}
        for name in self.measured:
            groups.setdefault(root(name), []).append(name)
        return {name: tuple(members) for members in groups.values() for name in members}

    def fingerprint(self) -> tuple[str, str]:
        """SHA-256 of the graph's structure and of its initialisers.

        Structure is nodes with attributes and connections, and inputs; documentation, producer and initialisers' values
        are not part of it, and neither is what follows the last convolution: ranges do not depend on it.
        """
        structure, weights = hashlib.sha256(), hashlib.sha256()
        used = self.leading_to(unit.output for unit in self.units)
        nodes = [node for node in self.model.graph.node if used.intersection(node.output)]
        for node in nodes:
            structure.update(_undocumented(node).SerializeToString(deterministic=True))
        for value in self.model.graph.input:
            if value.name not in self.constants:
                structure.update(f"{value.name} {_shape(value)[1:]}\n".encode())  # any number of images at once
        read = {name for node in nodes for name in node.input}
        for tensor in sorted(self.model.graph.initializer, key=lambda one: one.name):
            if tensor.name in read:
                weights.update(f"{tensor.name} {tensor.data_type} {list(tensor.dims)}\n".encode())
                weights.update(numpy_helper.to_array(tensor).tobytes())
        return structure.hexdigest(), weights.hexdigest()


def _undocumented(node: onnx.NodeProto) -> onnx.NodeProto:
    bare = onnx.NodeProto()
    bare.CopyFrom(node)
    bare.ClearField("doc_string")
    bare.ClearField("metadata_props")
    for attribute in bare.attribute:
        attribute.ClearField("doc_string")
    return bare


def _constants(graph: onnx.GraphProto) -> Iterable[onnx.TensorProto]:
    """Initialisers, and what Constant nodes make, called as the tensor."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.name == "value":
                tensor = onnx.TensorProto()
                tensor.CopyFrom(attribute.t)
                tensor.name = node.output[0]
                yield tensor


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Shapes of all float tensors, inferred where convolutions' and concatenations' are not declared."""
    declared = _values(model.graph)
    asked = [node.output[0] for node in model.graph.node if node.op_type in {CONVOLUTION, "Concat"}]
    if not all(name in declared for name in asked):
        declared = _values(shape_inference.infer_shapes(model).graph) | declared
    return {name: shape for name, value in declared.items() if (shape := _shape(value))}


def _values(graph: onnx.GraphProto) -> dict[str, onnx.ValueInfoProto]:
    return {value.name: value for value in (*graph.input, *graph.output, *graph.value_info)}


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    kind = value.type.tensor_type
    if kind.elem_type != TensorProto.FLOAT:
        return ()
    return tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim)
