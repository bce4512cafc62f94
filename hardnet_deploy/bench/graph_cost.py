# ruff: noqa: TID253  (this module is onnx code; whoever imports it wants onnx)
"""Arithmetic and memory traffic of every layer of an ONNX graph.

A **layer** is what an engine runs at once: a node together with the elementwise nodes behind it (batch norm,
activation, addition, quantisation, cast) that have the same shape and are the only reader of what stands before them.
Constants are folded. ``DequantizeLinear`` is no layer: its readers read the integers.

**Operations** (floating-point or integer): 2 for each multiply-accumulate of a convolution, Gemm or MatMul, 1 for each
bias added; 2 a value for batch norm, quantisation and Clip, 5 for softmax (maximum, difference, exponential, sum,
quotient), 1 for any other elementwise operator; kernel size - 1 comparisons for a pooled maximum, 1 for each value that
a sum or mean reads; 0 for whatever only moves or selects (Concat, Transpose, Gather, TopK, NMS).

**Bytes**: a layer reads every tensor and weight that it did not make once and writes every tensor that another layer or
the caller reads once, at the size it is stored with; no cache keeps anything between layers. Views (Reshape, Flatten)
move nothing. A Concat reads all its parts and writes all of its result.

This is the usual traffic of a roofline (Williams, Waterman and Patterson, CACM 52(4), 2009), and for convolutions what
HarDNet's paper calls CIO (arXiv 1909.00948, section 3), here in bytes and with weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import onnx

from hardnet_deploy.bench.graph_tensors import DEQUANTIZE, HALVES, INTEGERS, NUMBERS, VIEWS, GraphTensors

CONCAT: Final = "Concat"
WEIGHTED: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
ELEMENTWISE: Final[Mapping[str, int]] = {
    "BatchNormalization": 2,
    "QuantizeLinear": 2,
    DEQUANTIZE: 2,
    "Clip": 2,
    "Cast": 0,
    **dict.fromkeys(("Relu", "Add", "Sub", "Mul", "Div", "Sqrt", "Exp", "Pow", "Sigmoid", "Neg", "Max", "Min"), 1),
}
"""Operations a value."""
SOFTMAX_OPERATIONS: Final = 5
REDUCTIONS: Final = frozenset({"ReduceSum", "ReduceMean", "ReduceMax", "GlobalAveragePool"})
GATHERS: Final = frozenset({"Slice", "Split", "Gather", "GatherND", "GatherElements"})
"""Operators that read no more of their input than they write."""


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What moves between a layer and memory.

    Args:
        numbers: How many activations or weights.
        number_bytes: Their size as the graph stores them.
        other_bytes: Indices, shapes and masks, which no choice of precision changes.
    """

    numbers: int = 0
    number_bytes: int = 0
    other_bytes: int = 0

    def at(self, item_bytes: int | None = None) -> int:
        """Bytes; with ``item_bytes`` as if every activation and weight had that size."""
        return self.other_bytes + (self.number_bytes if item_bytes is None else item_bytes * self.numbers)

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(
            numbers=self.numbers + other.numbers,
            number_bytes=self.number_bytes + other.number_bytes,
            other_bytes=self.other_bytes + other.other_bytes,
        )


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """One layer of one run.

    Args:
        name: Of its first node; its output's name where the node has none.
        op: Operator of that node.
        nodes: Names of all nodes in it, in order.
        tensor: What it makes in the end.
        made: Every tensor that its nodes make.
        macs: Multiply-accumulates, those of padded channels and of a kernel's part over the edge included.
        flops: Operations, see the module.
        reads: Activations that it reads.
        weights: Constants that it reads.
        writes: What others read of it.
        precision: ``int8``, ``fp16`` or ``fp32``: of the arithmetic, told by its inputs as they are stored.
        data_dependent: Its cost depends on the values; what is counted is the part that does not.
    """

    name: str
    op: str
    nodes: tuple[str, ...]
    tensor: str
    made: tuple[str, ...]
    macs: int
    flops: int
    reads: Traffic
    weights: Traffic
    writes: Traffic
    precision: str
    data_dependent: bool = False

    def bytes_at(self, item_bytes: int | None = None) -> int:
        """Bytes read and written; with ``item_bytes`` as if every activation and weight had that size."""
        return (self.reads + self.weights + self.writes).at(item_bytes)

    @property
    def bytes(self) -> int:
        """Bytes read and written, as the graph stores them."""
        return self.bytes_at()

    @property
    def intensity(self) -> float:
        """Operations a byte; 0 where nothing moves."""
        return self.flops / self.bytes if self.bytes else 0.0

    @property
    def is_concatenation(self) -> bool:
        """True for a copy that an engine could spare by having its parts written side by side."""
        return self.op == CONCAT


def cost(model: onnx.ModelProto, *, batch: int = 1) -> tuple[LayerCost, ...]:
    """Cost of each layer, in the graph's order.

    Args:
        model: With its weights inside; left as it is. Shapes that it does not declare are inferred.
        batch: Takes the place of a dynamic first dimension of the inputs.

    Raises:
        ValueError: The shape of a tensor that a convolution or Gemm reads or makes is not known.
    """
    tensors = GraphTensors(model, batch)
    return tuple(_layer(tensors, group) for group in _groups(tensors))


def _groups(tensors: GraphTensors) -> Iterable[list[int]]:
    """Places of the nodes of each layer."""
    first_of: dict[int, int] = {}
    groups: dict[int, list[int]] = {}
    for index, node in enumerate(tensors.nodes):
        first_of[index] = _joined(tensors, node, first_of, index)
        groups.setdefault(first_of[index], []).append(index)
    return groups.values()


def _joined(tensors: GraphTensors, node: onnx.NodeProto, first_of: Mapping[int, int], alone: int) -> int:
    """First node of the layer that an elementwise node ends, else ``alone``."""
    if node.op_type not in ELEMENTWISE:
        return alone
    shape = tensors.shape(node.output[0])
    for name in tensors.inputs(node):
        maker = tensors.makers.get(name)
        if maker is None or name in tensors.outputs or len(tensors.readers(name)) != 1:
            continue
        if shape is not None and tensors.shape(name) == shape and tensors.nodes[first_of[maker]].op_type not in VIEWS:
            return first_of[maker]
    return alone


def _layer(tensors: GraphTensors, group: Sequence[int]) -> LayerCost:
    nodes = [tensors.nodes[index] for index in group]
    first, last = nodes[0], nodes[-1]
    made = dict.fromkeys(name for node in nodes for name in node.output if name)
    read = dict.fromkeys(name for node in nodes for name in tensors.inputs(node) if name not in made)
    writes = _traffic(tensors, [one for one in made if one in tensors.outputs or tensors.readers(one) - set(group)])
    reads = _traffic(tensors, [one for one in read if one not in tensors.constants])
    weights = _traffic(tensors, [one for one in read if one in tensors.constants])
    if first.op_type in VIEWS:
        reads = weights = writes = Traffic()
    elif first.op_type in GATHERS:
        reads = writes
    macs = sum(_macs(tensors, node) for node in nodes)
    selects = "NMS" in first.op_type or first.op_type == "NonMaxSuppression"
    return LayerCost(
        name=_name(first),
        op=first.op_type,
        nodes=tuple(_name(node) for node in nodes),
        tensor=next(name for name in last.output if name),
        made=tuple(made),
        macs=macs,
        flops=2 * macs + sum(_operations(tensors, node) for node in nodes),
        reads=reads,
        weights=weights,
        writes=writes,
        precision=_precision(tensors, first),
        data_dependent=selects or any(tensors.shape(name) is None for name in (*read, *made)),
    )


def _name(node: onnx.NodeProto) -> str:
    return node.name or next(name for name in node.output if name)


def _traffic(tensors: GraphTensors, names: Iterable[str]) -> Traffic:
    total = Traffic()
    for name in names:
        size = tensors.size(name)
        is_number = tensors.kind(name) in NUMBERS
        total += Traffic(numbers=tensors.count(name), number_bytes=size) if is_number else Traffic(other_bytes=size)
    return total


def _macs(tensors: GraphTensors, node: onnx.NodeProto) -> int:
    if node.op_type not in WEIGHTED:
        return 0
    shapes = [tensors.shape(name) for name in (node.input[0], node.input[1], node.output[0])]
    given, weight, made = (shape or () for shape in shapes)
    if not (given and weight and made):
        raise ValueError(f"'{_name(node)}' has tensors whose shapes are not known")
    if node.op_type == "Conv":
        return math.prod(made) * math.prod(weight[1:])
    if node.op_type == "ConvTranspose":
        return math.prod(given) * math.prod(weight[1:])
    transposed = any(one.name == "transA" and one.i for one in node.attribute)
    return math.prod(made) * (given[0] if transposed else given[-1])


def _operations(tensors: GraphTensors, node: onnx.NodeProto) -> int:
    """Operations beside multiply-accumulates."""
    made = tensors.count(node.output[0])
    if node.op_type in {"Conv", "ConvTranspose", "Gemm"}:
        return made if len(node.input) > 2 and node.input[2] else 0
    if node.op_type in ELEMENTWISE:
        return ELEMENTWISE[node.op_type] * made
    if node.op_type == "Softmax":
        return SOFTMAX_OPERATIONS * made
    if node.op_type in {"MaxPool", "AveragePool"}:
        kernel = next((one.ints for one in node.attribute if one.name == "kernel_shape"), ())
        return made * (math.prod(kernel) - 1)
    return tensors.count(node.input[0]) if node.op_type in REDUCTIONS else 0


def _precision(tensors: GraphTensors, node: onnx.NodeProto) -> str:
    weighted = node.op_type in WEIGHTED
    kinds = {tensors.kind(name) for name in tensors.inputs(node)[: 2 if weighted else 1]}
    if weighted and kinds <= INTEGERS:
        return "int8"
    return "fp16" if kinds & HALVES else "fp32"
