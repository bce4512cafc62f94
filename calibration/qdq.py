# ruff: noqa: TID253  (this module is onnx code; whoever imports it wants onnx)
"""Writing scales into a graph as QuantizeLinear and DequantizeLinear, once for TensorRT and once for ONNX Runtime.

Both write a tensor as ``T`` -> Q -> ``T.quantized`` -> DQ -> ``T.dequantized``; float tensors keep their names, but for
the graph's outputs in the second.

:func:`write_int8` is what TensorRT wants: symmetric int8 on what convolutions read and on their weights (per output
channel), float biases, nothing between a convolution and its ReLU, nothing on what leaves the last convolutions.

:func:`write_uint8` is what ONNX Runtime's CPU kernels want: asymmetric uint8 on what convolutions read *and* make, int8
weights and int32 biases stored. A ReLU whose output starts at 0 is then absorbed by the rounding behind it, and a
convolution between two quantised tensors becomes QLinearConv. An output of the graph that is quantised is made by its
DQ, under its own name; what it is made from is called ``T.exact``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray

from calibration.errors import CalibrationError
from calibration.graph import SAME_SCALE, GraphMap, Unit
from calibration.qdq_writer import QdqWriter
from calibration.ranges import Ranges

INT8_LEVELS: Final = 127
REDUCED_LEVELS: Final = 63
"""Of 7-bit weights: two products of uint8 and such a weight always fit the 16 bits of CPUs without VNNI."""
BIAS_LIMIT: Final = 2**30
"""Of stored biases: it leaves as much of int32 again for the products that are added, of up to 33,000 weights."""
TAKEN_BY_ORT: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MaxPool"})
"""Of the first three, between a DQ and a Q, ONNX Runtime 1.21 and later quantise float weights, with one scale each
(core/optimizer/qdq_transformer/weight_bias_quantization.cc); a DQ they move behind the fourth. They do neither behind
a DQ with a scale per channel."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which units are quantised.

    Args:
        float_units: Names of units that stay float.
        reduced_weights: Weights in 7 bits instead of 8.
    """

    float_units: frozenset[str] = frozenset()
    reduced_weights: bool = False

    def quantised(self, graph: GraphMap) -> tuple[Unit, ...]:
        """The units that become INT8.

        Raises:
            CalibrationError: A name is no unit of the graph, or nothing is left.
        """
        known = {unit.name for unit in graph.units}
        unknown = sorted(self.float_units - known)
        if unknown:
            raise CalibrationError(
                f"the graph has no convolution called {unknown[0]}", wanted=", ".join(sorted(known)[:5]) + ", ..."
            )
        chosen = tuple(unit for unit in graph.units if unit.name not in self.float_units)
        if not chosen:
            raise CalibrationError("every convolution is left in float: there is nothing to quantise")
        return chosen


def quantise_weight(
    weight: NDArray[np.float32], *, levels: int = INT8_LEVELS
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Weights of shape (out, ...) as int8, and the scale of each output channel: largest magnitude / ``levels``.

    Raises:
        CalibrationError: A weight is not finite.
    """
    if not np.isfinite(weight).all():
        raise CalibrationError("a weight is not finite", next_step="look at the checkpoint")
    largest = np.abs(weight).reshape(len(weight), -1).max(axis=1)
    scale = np.where(largest > 0, largest / np.float32(levels), np.float32(1)).astype(np.float32)
    scale = np.maximum(scale, np.finfo(np.float32).tiny)
    return _rounded(weight, scale, levels).astype(np.int8), scale


def _rounded(weight: NDArray[np.float32], scale: NDArray[np.float32], levels: int) -> NDArray[np.float32]:
    by_channel = scale.reshape(-1, *(1,) * (weight.ndim - 1))
    rounded: NDArray[np.float32] = np.clip(np.rint(weight / by_channel), -levels, levels)
    return rounded


def write_int8(graph: GraphMap, ranges: Ranges, choice: Choice) -> onnx.ModelProto:
    """Symmetric int8 for TensorRT 8.x with INT8 hardware, 10 and 11.

    Raises:
        CalibrationError: Opset below 13, or see :meth:`Choice.quantised` and :class:`Ranges`.
    """
    writer = QdqWriter(graph)
    zero = np.int8(0)
    for unit in choice.quantised(graph):
        step = np.float32(ranges.scale(unit.source))
        source = writer.pair(unit.source, step, zero)
        scale = _weight_scale(graph, unit, step, INT8_LEVELS)
        dequantised = writer.pair(unit.weight, scale, np.zeros(len(scale), np.int8), axis=0)
        writer.read(unit.inner, 0, source)
        writer.read(unit.inner, 1, dequantised)
    return writer.model()


def write_uint8(graph: GraphMap, ranges: Ranges, choice: Choice) -> onnx.ModelProto:
    """Asymmetric uint8 activations and int8 weights for ONNX Runtime's CPU kernels.

    Raises:
        CalibrationError: Opset below 13, or see :meth:`Choice.quantised` and :class:`Ranges`.
    """
    writer = QdqWriter(graph)
    chosen = choice.quantised(graph)
    levels = REDUCED_LEVELS if choice.reduced_weights else INT8_LEVELS
    steps = {}
    for name in _integer_tensors(graph, chosen):
        step, zero_point = ranges.scale_and_zero_point(name)
        steps[name] = np.float32(step)
        writer.pair(name, steps[name], np.uint8(zero_point), for_everyone=True)
    for unit in chosen:
        scale = _weight_scale(graph, unit, steps[unit.source], levels)
        weight = _rounded(graph.array(unit.weight), scale, levels).astype(np.int8)
        writer.read(unit.inner, 1, writer.stored(unit.weight, weight, scale))
        if unit.bias is not None:
            bias_scale = (steps[unit.source] * scale).astype(np.float32)
            bias = np.rint(graph.array(unit.bias) / bias_scale).astype(np.int32)
            writer.read(unit.inner, 2, writer.stored(unit.bias, bias, bias_scale))
    integer = {unit.inner for unit in chosen}.union(name for name in steps if graph.moved(name, SAME_SCALE))
    for node in graph.model.graph.node:
        if node.op_type in TAKEN_BY_ORT and node.input[0] in steps and node.output[0] not in integer:
            writer.read(node.output[0], 0, writer.by_channel(node.input[0], graph.shape(node.input[0])))
    return writer.model()


def _weight_scale(graph: GraphMap, unit: Unit, step: np.float32, levels: int) -> NDArray[np.float32]:
    """Scales of a unit's weights with which its biases, in steps of ``step * scale``, are neither too large nor coarse.

    A channel without weights takes the finest scale that its bias allows. Where biases stay float that is of use too:
    ONNX Runtime stores them as int32 wherever it can.

    Raises:
        CalibrationError: A weight or bias is not finite.
    """
    weight = graph.array(unit.weight)
    _, scale = quantise_weight(weight, levels=levels)
    if unit.bias is None:
        return scale
    bias = graph.array(unit.bias)
    if not np.isfinite(bias).all():
        raise CalibrationError("a bias is not finite", next_step="look at the checkpoint")
    finest = np.abs(bias, dtype=np.float64) / (float(step) * BIAS_LIMIT)
    finest = np.maximum(finest, np.finfo(np.float32).tiny / min(float(step), 1.0))
    dead = ~weight.reshape(len(weight), -1).any(axis=1)
    return np.where(dead, finest, np.maximum(scale, finest)).astype(np.float32)


def _integer_tensors(graph: GraphMap, chosen: Iterable[Unit]) -> tuple[str, ...]:
    """Tensors that are integers: what chosen units read and make, and what is only moved on the way to them."""
    pending = [name for unit in chosen for name in (unit.source, unit.output)]
    found: set[str] = set()
    while pending:
        name = pending.pop()
        if name in found:
            continue
        found.add(name)
        pending += graph.moved(name, SAME_SCALE)
    return tuple(name for name in graph.tensors if name in found)


Writing = Callable[[GraphMap, Ranges, Choice], onnx.ModelProto]
WRITINGS: Final[Mapping[str, Writing]] = {"int8": write_int8, "uint8": write_uint8}
