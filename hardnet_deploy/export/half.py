# ruff: noqa: TID253  (this module is onnx code; whoever imports it wants onnx)
"""A float32 graph typed as float16, for strongly typed TensorRT (11, and 10 where it is asked for).

Which nodes stay float32 says ``islands``. Inputs and outputs stay float32, as do the names of all tensors; casts are

- one behind the input: ``images`` -> ``images.fp16``;
- one for each tensor that both kinds of nodes need, shared by all readers: into an L2Norm (``T`` -> ``T.fp32``) and out
  of it (``T`` -> ``T.fp16``);
- one in front of each of ``loc`` and ``conf``, which stay float32 (``loc.fp16`` -> ``loc``): behind the concatenation
  of the heads' rows, where it takes two casts in all instead of two for each feature map.

Weights are cast once, here; a constant that both kinds read has a copy of its own for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import onnx
from onnx import TensorProto, helper, numpy_helper

from hardnet_deploy.errors import ExportError
from hardnet_deploy.export.graph_patterns import WEIGHTED
from hardnet_deploy.export.graph_view import QDQ, GraphView, label
from hardnet_deploy.export.half_constants import scale_to_float16, to_float16
from hardnet_deploy.export.islands import islands, with_types
from hardnet_deploy.export.strict_check import check_strictly

FULL: Final = int(TensorProto.FLOAT)
HALF: Final = int(TensorProto.FLOAT16)
QDQ_OPSET: Final = 19
"""The first whose QuantizeLinear and DequantizeLinear take float16: https://onnx.ai/onnx/operators/ (since 19)."""
_SUFFIX: Final = {FULL: "fp32", HALF: "fp16"}
_SCALE: Final = 1  # which input of a quantiser
_QDQ_INPUTS: Final = 3


@dataclass(frozen=True, kw_only=True)
class HalfGraph:
    """An fp16-typed graph.

    Args:
        model: It; the float32 graph is left as it was.
        fp16_nodes: Names of the nodes that compute in float16, in order.
        fp32_nodes: Names of those that compute in float32; the casts that were put in are in neither.
        casts: How many casts were put in.
        underflowed: For each constant how many of its values became 0 or lost bits in float16; those with none are
            left out.
    """

    model: onnx.ModelProto
    fp16_nodes: tuple[str, ...]
    fp32_nodes: tuple[str, ...]
    casts: int
    underflowed: Mapping[str, int]


def to_half(model: onnx.ModelProto) -> HalfGraph:
    """Type a float32 graph as float16, with float32 islands.

    The same graph gives the same bytes. A graph with QuantizeLinear and DequantizeLinear becomes INT8 + FP16: its
    scales are float16 then, rounded up.

    Args:
        model: As ``export`` writes it, or with symmetric int8 Q/DQ of opset 19 or later; left as it is.

    Returns:
        A model of the same opset that passed the ONNX checker and strict inference of shapes and element types.

    Raises:
        ExportError: The graph holds float16 already, has no convolution, inner graphs, or Q/DQ that float16 cannot
            express; a weight overflows float16.
    """
    typed = with_types(model)
    _refuse(typed)
    writer = _Writer(typed)
    made = writer.model()
    check_strictly(made, what="the fp16-typed graph")
    return HalfGraph(
        model=made,
        fp16_nodes=tuple(writer.names[HALF]),
        fp32_nodes=tuple(writer.names[FULL]),
        casts=len(writer.casts),
        underflowed=writer.underflowed,
    )


def _refuse(model: onnx.ModelProto) -> None:
    """What the pass does not know how to type."""
    view = GraphView(model)
    nodes = list(model.graph.node)
    if len(nodes) != len(list(view.nodes())) or model.functions:
        raise ExportError("a graph with inner graphs cannot be typed as fp16", wanted="plain operators")
    if any(view.dtype(name) == HALF for name in (*view.makers, *(tensor.name for tensor in model.graph.initializer))):
        raise ExportError("the graph is fp16-typed already", wanted="a float32 graph")
    if not any(node.op_type in WEIGHTED for node in nodes):
        raise ExportError("the graph has no convolution: there is nothing to compute in fp16")
    quantisers = [node for node in nodes if node.op_type in QDQ]
    if quantisers and view.opset < QDQ_OPSET:
        raise ExportError(
            "a graph with QuantizeLinear and DequantizeLinear cannot be typed as fp16 at its opset",
            got=f"opset {view.opset}, where both take float32 alone",
            wanted=f"opset {QDQ_OPSET} or more",
            next_step=f"export the float graph with --opset {QDQ_OPSET} and quantise it again",
        )
    if any(len(node.input) != _QDQ_INPUTS or view.dtype(node.input[-1]) != TensorProto.INT8 for node in quantisers):
        raise ExportError(
            "only symmetric int8 Q/DQ can be typed as fp16",
            got="a zero point of another type than int8, or none",
            next_step="quantise the graph for TensorRT instead of for the CPU",
        )


class _Writer:
    """Collects the parts of the new graph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._old = model
        self._view = GraphView(model)
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._infos = {info.name: info for info in (*model.graph.value_info, *model.graph.input, *model.graph.output)}
        self._outputs = {info.name for info in model.graph.output}
        self._taken = {*self._constants, *self._view.makers, *self._infos}
        self._scales = {
            node.input[_SCALE] for node in model.graph.node if node.op_type in QDQ and len(node.input) > _SCALE
        }
        kinds = islands(self._view)
        self._types = [FULL if kind else HALF for kind in kinds]
        self._readers = self._types_of_readers()
        self.names: dict[int, list[str]] = {FULL: [], HALF: []}
        self.casts: list[str] = []
        self.underflowed: dict[str, int] = {}
        self._new_infos: dict[str, onnx.ValueInfoProto] = {}
        self._renamed: dict[tuple[str, int], str] = {}
        """What a float tensor is called, by its name in the old graph and the type wanted; else as before."""

    def _types_of_readers(self) -> dict[str, set[int]]:
        found: dict[str, set[int]] = {name: {FULL} for name in self._outputs}
        for node, kind in zip(self._view.graph.node, self._types, strict=True):
            for name in node.input:
                if self._is_float(name):
                    found.setdefault(name, set()).add(kind)
        return found

    def _is_float(self, name: str) -> bool:
        return bool(name) and self._view.dtype(name) == FULL

    def model(self) -> onnx.ModelProto:
        initialisers = self._initialisers()
        nodes: list[onnx.NodeProto] = []
        for info in self._old.graph.input:
            if info.name not in self._constants and self._is_float(info.name):
                nodes += self._casts(info.name, FULL)
        for node, kind in zip(self._old.graph.node, self._types, strict=True):
            nodes += self._converted(node, kind)
        made = onnx.ModelProto()
        made.CopyFrom(self._old)
        declared = [self._new_infos.pop(info.name, info) for info in self._old.graph.value_info]
        for field, kept in (
            (made.graph.node, nodes),
            (made.graph.initializer, initialisers),
            (made.graph.value_info, [*declared, *self._new_infos.values()]),
        ):
            del field[:]
            field.extend(kept)
        return made

    def _initialisers(self) -> list[onnx.TensorProto]:
        """Every constant in each type that it is read in."""
        found = []
        for tensor in self._old.graph.initializer:
            wanted = self._readers.get(tensor.name, set())
            if HALF not in wanted:
                found.append(tensor)
                continue
            if FULL in wanted:
                found.append(tensor)
                self._renamed[tensor.name, HALF] = self._new(tensor.name, HALF)
            values = numpy_helper.to_array(tensor)
            name = self._renamed.get((tensor.name, HALF), tensor.name)
            if tensor.name in self._scales:
                half = scale_to_float16(values, name=tensor.name)
            else:
                half, underflowed = to_float16(values, name=tensor.name)
                if underflowed:
                    self.underflowed[tensor.name] = underflowed
            found.append(numpy_helper.from_array(half, name))
        return found

    def _converted(self, node: onnx.NodeProto, kind: int) -> list[onnx.NodeProto]:
        """A node that reads and makes tensors of its type, and the casts right behind it."""
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        behind = [cast for name in node.output if self._is_float(name) for cast in self._casts(name, kind)]
        for names, field in ((node.input, copy.input), (node.output, copy.output)):
            field[:] = [self._renamed.get((name, kind), name) for name in names]
        if any(map(self._is_float, (*node.input, *node.output))):
            self.names[kind].append(label(node))
        return [copy, *behind]

    def _casts(self, name: str, kind: int) -> list[onnx.NodeProto]:
        """The cast of a tensor that is made in type ``kind``, where the other type is read too.

        float32 keeps the tensor's name, but where float16 both makes and reads it.
        """
        other = FULL if kind == HALF else HALF
        wanted = self._readers.get(name, set())
        if other not in wanted:
            self._declare(name, name, kind)
            return []
        keeps = HALF if kind == HALF and HALF in wanted and name not in self._outputs else FULL
        minor = FULL if keeps == HALF else HALF
        names = {keeps: name, minor: self._new(name, minor)}
        for one, called in names.items():
            self._renamed[name, one] = called
            self._declare(called, name, one)
        self.casts.append(names[other])
        return [helper.make_node("Cast", [names[kind]], [names[other]], self._new(name, other, "to_"), to=other)]

    def _declare(self, name: str, like: str, kind: int) -> None:
        """A tensor of this type and of the shape of the old graph's tensor ``like``; what stays is declared already."""
        if like not in self._infos or (name == like and kind == FULL):
            return
        info = onnx.ValueInfoProto()
        info.CopyFrom(self._infos[like])
        info.name = name
        info.type.tensor_type.elem_type = kind
        self._new_infos[name] = info

    def _new(self, tensor: str, kind: int, verb: str = "") -> str:
        name = f"{tensor}.{verb}{_SUFFIX[kind]}"
        if name in self._taken:
            raise ExportError(f"the graph has a tensor called {name} already", wanted="a graph without it")
        self._taken.add(name)
        return name
