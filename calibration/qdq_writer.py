# ruff: noqa: TID253  (this module is onnx code; whoever imports it wants onnx)
"""Putting QuantizeLinear and DequantizeLinear into a copy of a graph; which scales and where is the caller's."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from calibration.errors import CalibrationError
from calibration.graph import GraphMap

FIRST_OPSET: Final = 13  # the first with a scale per channel


class QdqWriter:
    """Puts Q/DQ pairs into a copy of a graph, each right behind what makes its tensor.

    Args:
        graph: Left as it is.

    Raises:
        CalibrationError: Opset below 13; any method: the graph has a tensor with a name that is to be given.
    """

    def __init__(self, graph: GraphMap) -> None:
        self._graph = graph
        opset = next((one.version for one in graph.model.opset_import if one.domain in {"", "ai.onnx"}), 0)
        if opset < FIRST_OPSET:
            raise CalibrationError(
                f"a graph of opset {opset} has no scale per channel", wanted=f"{FIRST_OPSET} or more"
            )
        self._taken = {*graph.tensors, *graph.constants}
        self._outputs = {value.name for value in graph.model.graph.output}.intersection(graph.producers)
        self._behind: dict[str, list[onnx.NodeProto]] = {}
        self._constants: dict[str, onnx.TensorProto] = {}
        self._renamed: dict[str, str] = {}
        self._exact: dict[str, str] = {}
        self._by_channel: dict[str, str] = {}
        self._reads: dict[tuple[str, int], str] = {}
        self._stored: dict[str, tuple[NDArray[Any], NDArray[np.float32]]] = {}

    def pair(
        self, name: str, scale: Any, zero_point: Any, *, axis: int | None = None, for_everyone: bool = False
    ) -> str:
        """Q and DQ of a tensor, once; returns the name of what comes out.

        Args:
            name: The tensor.
            scale: A number, or one for each channel.
            zero_point: Of the same shape; its type is that of the integers.
            axis: Of the channels.
            for_everyone: Every node that reads the tensor, and the graph's output, read what comes out instead.
        """
        if name in self._behind:
            return self._renamed.get(name, f"{name}.dequantized")
        source, out = name, name
        if for_everyone and name in self._outputs:
            source = self._exact[name] = self._new(name, "exact")
        else:
            out = self._new(name, "dequantized")
        parameters = self._parameters(name, scale, zero_point)
        integers = self._new(name, "quantized")
        attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
        self._behind[name] = [
            helper.make_node("QuantizeLinear", [source, *parameters], [integers], f"{name}.quantize", **attributes),
            helper.make_node("DequantizeLinear", [integers, *parameters], [out], f"{name}.dequantize", **attributes),
        ]
        if for_everyone:
            self._renamed[name] = out
        return out

    def by_channel(self, name: str, shape: tuple[int, ...] | None) -> str:
        """Another DQ of a paired tensor, its scale repeated for each channel; the pair's where these are not known."""
        channels = shape[1] if shape and len(shape) > 1 else 0
        if channels < 1:
            return self._renamed[name]
        if name not in self._by_channel:
            parameters = [
                self._constant(
                    name, f"{kind}s", np.full(channels, numpy_helper.to_array(self._constants[f"{name}.{kind}"]))
                )
                for kind in ("scale", "zero_point")
            ]
            out = self._by_channel[name] = self._new(name, "by_channel")
            node = helper.make_node("DequantizeLinear", [f"{name}.quantized", *parameters], [out], out, axis=1)
            self._behind[name].append(node)
        return self._by_channel[name]

    def stored(self, name: str, values: NDArray[Any], scale: NDArray[np.float32]) -> str:
        """A constant as integers with a DQ per channel behind it; returns the name of what comes out.

        Convolutions that share the constant share the integers where they can; else each has its own.
        """
        own = name
        while own in self._stored and not all(map(np.array_equal, self._stored[own], (values, scale))):
            own = f"{own}.again"
        if own not in self._stored:
            self._stored[own] = values, scale
            integers = self._constant(own, "quantized", values)
            parameters = self._parameters(own, scale, np.zeros(len(scale), values.dtype))
            made = [self._new(own, "dequantized")]
            node = helper.make_node("DequantizeLinear", [integers, *parameters], made, f"{own}.dequantize", axis=0)
            self._behind.setdefault(name, []).append(node)
        return f"{own}.dequantized"

    def read(self, inner: str, place: int, name: str) -> None:
        """The node that makes ``inner`` reads ``name`` at that place."""
        self._reads[inner, place] = name

    def _parameters(self, name: str, scale: Any, zero_point: Any) -> tuple[str, str]:
        return self._constant(name, "scale", scale), self._constant(name, "zero_point", zero_point)

    def _constant(self, tensor: str, kind: str, value: Any) -> str:
        name = self._new(tensor, kind)
        self._constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name

    def _new(self, tensor: str, kind: str) -> str:
        name = f"{tensor}.{kind}"
        if name in self._taken:
            raise CalibrationError(f"the graph has a tensor called {name} already", wanted="a graph without it")
        self._taken.add(name)
        return name

    def model(self) -> onnx.ModelProto:
        """The new model; only nodes and constants differ."""
        old = self._graph.model
        inputs = [value.name for value in old.graph.input]
        nodes: list[onnx.NodeProto] = []
        for name in dict.fromkeys((*(tensor.name for tensor in old.graph.initializer), *inputs)):
            nodes += self._behind.get(name, [])
        for node in old.graph.node:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            for place, name in enumerate(node.input):
                copy.input[place] = self._reads.get((node.output[0], place), self._renamed.get(name, name))
            copy.output[:] = [self._exact.get(name, name) for name in node.output]
            nodes.append(copy)
            for name in node.output:
                nodes += self._behind.get(name, [])
        model = onnx.ModelProto()
        model.CopyFrom(old)
        gone = set(self._stored).difference(name for node in nodes for name in node.input)
        for field, kept in (
            (model.graph.node, nodes),
            (model.graph.input, [value for value in old.graph.input if value.name not in gone]),
            (model.graph.initializer, [tensor for tensor in old.graph.initializer if tensor.name not in gone]),
        ):
            del field[:]
            field.extend(kept)
        model.graph.initializer.extend(self._constants.values())
        return model
