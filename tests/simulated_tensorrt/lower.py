"""The graph with the roundings that a build asks for written into it. Runs on the host's Python.

INT8: a convolution whose input has a scale and that nobody pinned reads its input through symmetric Q/DQ and has its
weights rounded to 255 levels an output channel; where what leaves it, its ReLU included, has a scale, that is rounded
too. TensorRT may choose so, and nobody can count on that it does not, unless the output's type is pinned to FP32. FP16:
every other float layer that nobody pinned reads rounded
constants, and what it gives is rounded to half, so that overflow and underflow show. A strongly typed graph, and one
with Q/DQ of its own, stays as it is: its types say it all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from simulated_tensorrt.importer import QDQ, WEIGHTED, constants, describe
from simulated_tensorrt.summary import engine_layers

PLUGIN = "EfficientNMS_TRT"
CONSTRAINTS = frozenset({"OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS", "STRICT_TYPES"})
LEVELS = 127
_MISSING = (
    "Missing scale and zero-point for tensor {}, expect fall back to non-int8 implementation for any layer consuming "
    "or producing given tensor"
)


def lower(model: onnx.ModelProto, request: Mapping[str, Any]) -> tuple[dict[str, Any], onnx.ModelProto]:
    """The engine's description with the log, and its graph.

    Args:
        model: With the shapes of its inner tensors; changed.
        request: What the builder collected.
    """
    about = describe(model, request["family"])
    modes = _modes(model, about, request)
    log = _missing(about, request)
    layers = engine_layers(model, about, modes)
    _mark_outputs(model, about, request["outputs"])
    plugins = [node for node in model.graph.node if node.op_type == PLUGIN]
    half_nms = any(modes[number] == "HALF" for number, node in enumerate(model.graph.node) if node.op_type == PLUGIN)
    _drop_late_attributes(plugins, request["family"])
    _complete_qdq(model)
    if not request["typed"]:
        _Rounding(model, about, modes, request).write()
    engine = {
        "inputs": [{"name": name, **about["tensors"][name]} for name in about["inputs"]],
        "outputs": [{"name": name, **about["tensors"][name]} for name in request["outputs"]],
        "layers": layers,
        "plugins": sorted({node.op_type for node in plugins}),
        "candidates": request["candidates"],
        "shifted_scores": half_nms and request["family"] == "8.2",
    }
    return {"log": log, "engine": engine}, model


def _modes(model: onnx.ModelProto, about: Mapping[str, Any], request: Mapping[str, Any]) -> list[str]:
    """FLOAT, HALF or INT8 for every node."""
    flags, graph = set(request["flags"]), model.graph
    makers = {name: node for node in graph.node for name in node.output}
    known = constants(graph)
    pinned = _pinned(about, request, graph) if flags & CONSTRAINTS else set()
    computes_int8 = "INT8" in flags and request["int8_hardware"]
    modes = []
    for number, node in enumerate(graph.node):
        quantised = len(node.input) > 1 and all(
            name in makers and makers[name].op_type == "DequantizeLinear" for name in node.input[:2]
        )
        has_range = not about["qdq"] and bool(node.input) and request["ranges"].get(node.input[0], 0) > 0
        floats = {about["tensors"][name]["dtype"] for name in node.output}
        if request["typed"]:
            modes.append("INT8" if quantised and node.op_type in WEIGHTED else "HALF" if "HALF" in floats else "FLOAT")
        elif number in pinned or node.name in request["float_fallback"]:
            modes.append("FLOAT")
        elif computes_int8 and node.op_type in WEIGHTED and (quantised or (has_range and node.input[1] in known)):
            modes.append("INT8")
        else:
            modes.append("HALF" if "FP16" in flags else "FLOAT")
    return modes


def _pinned(about: Mapping[str, Any], request: Mapping[str, Any], graph: onnx.GraphProto) -> set[int]:
    """Nodes whose layer is held in FP32; the NMS plugin of 8.2 only where its float outputs are held too."""
    found = set()
    for index, pins in request["pins"].items():
        layer = about["layers"][int(index)]
        holds = pins["precision"] == "FLOAT"
        if layer["op"] == PLUGIN and request["family"] == "8.2":
            floats = [
                str(output)
                for output, name in enumerate(layer["outputs"])
                if about["tensors"][name]["dtype"] in {"FLOAT", "HALF"}
            ]
            holds = holds and all(pins["outputs"].get(output) == "FLOAT" for output in floats)
        if holds and layer["node"] >= 0:
            found.add(layer["node"])
    assert all(number < len(graph.node) for number in found)
    return found


def _float_outputs(about: Mapping[str, Any], request: Mapping[str, Any]) -> set[str]:
    """Tensors whose type is pinned to FP32."""
    if request["typed"] or not set(request["flags"]) & CONSTRAINTS:
        return set()
    return {
        about["layers"][int(index)]["outputs"][int(output)]
        for index, pins in request["pins"].items()
        for output, kind in pins["outputs"].items()
        if kind == "FLOAT"
    }


def _missing(about: Mapping[str, Any], request: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Warnings for float tensors without a scale, unless all layers that touch one are held in FP32."""
    if "INT8" not in request["flags"] or request["typed"] or about["qdq"]:
        return []
    obeyed = bool(set(request["flags"]) & CONSTRAINTS)
    wanted: dict[str, None] = {}
    for index, layer in enumerate(about["layers"]):
        pins = request["pins"].get(str(index))
        if not (obeyed and pins and pins["precision"] == "FLOAT"):
            wanted.update(dict.fromkeys((*layer["inputs"], *layer["outputs"])))
    floats = [name for name in wanted if about["tensors"][name]["dtype"] == "FLOAT"]
    return [("WARNING", _MISSING.format(name)) for name in floats if not request["ranges"].get(name, 0) > 0]


def _mark_outputs(model: onnx.ModelProto, about: Mapping[str, Any], outputs: list[str]) -> None:
    graph = model.graph
    if outputs == [value.name for value in graph.output]:
        return
    values = {value.name: value for value in (*graph.value_info, *graph.output)}
    absent = [name for name in outputs if name not in values]
    if absent:
        raise NotImplementedError(f"the simulation lacks outputs whose shape is not known: {absent}")
    kept = [values[name] for name in outputs]
    others = [value for value in graph.output if value.name not in outputs]
    del graph.output[:]
    graph.output.extend(kept)
    graph.value_info.extend(others)


def _drop_late_attributes(plugins: list[onnx.NodeProto], family: str) -> None:
    """``class_agnostic`` came with 8.6; before, the importer reads only the fields it knows."""
    for node in plugins:
        if family == "8.2":
            kept = [entry for entry in node.attribute if entry.name != "class_agnostic"]
            del node.attribute[:]
            node.attribute.extend(kept)


def _complete_qdq(model: onnx.ModelProto) -> None:
    """Q/DQ without a zero point is int8 for TensorRT, uint8 for ONNX: write the zero point."""
    known = constants(model.graph)
    for number, node in enumerate(model.graph.node):
        if node.op_type in QDQ and len([name for name in node.input if name]) == 2:
            name = f"{node.output[0]}__zero_{number}"
            zeros = np.zeros(known[node.input[1]].shape, np.int8)
            model.graph.initializer.append(numpy_helper.from_array(zeros, name))
            node.input[:] = [*node.input[:2], name]
            for value in model.graph.value_info:
                if node.op_type == "QuantizeLinear" and value.name == node.output[0]:
                    value.type.tensor_type.elem_type = TensorProto.INT8


class _Rounding:
    """Writes the roundings of a weakly typed build into a graph."""

    def __init__(
        self, model: onnx.ModelProto, about: Mapping[str, Any], modes: list[str], request: Mapping[str, Any]
    ) -> None:
        self.graph = model.graph
        self.modes, self.ranges, self.explicit = modes, request["ranges"], about["qdq"]
        self.tensors = about["tensors"]
        self.half = "FP16" in request["flags"]
        self.known = constants(model.graph)
        self.shapes = {value.name: value for value in (*model.graph.value_info, *model.graph.input)}
        self.nodes: list[onnx.NodeProto] = []
        self.done: set[str] = set()
        self.pinned = _float_outputs(about, request)
        made = [(name, mode) for node, mode in zip(model.graph.node, modes, strict=True) for name in node.output]
        self.makers = {name: "FLOAT" if name in self.pinned else mode for name, mode in made}
        self.in_int8 = set(self._written_in_int8())

    def write(self) -> None:
        for node, mode in zip(list(self.graph.node), self.modes, strict=True):
            rounds = self.half and mode != "FLOAT" and node.op_type not in (*QDQ, "Constant")
            if mode == "INT8" and not self.explicit:
                node.input[0] = self._through_int8(node.input[0])
                node.input[1] = self._int8_weight(node.input[1], axis=0 if node.op_type == "Conv" else 1)
            elif rounds and mode == "HALF":
                for index, name in enumerate(node.input):
                    node.input[index] = self._half_input(name)
            self.nodes.append(node)
            if node.output[0] in self.in_int8:
                self._integer_output(node)
            elif rounds and node.op_type != PLUGIN:
                self._round_outputs(node)
        read = {name for node in self.nodes for name in node.input}
        kept = [tensor for tensor in self.graph.initializer if tensor.name in read]
        del self.graph.node[:], self.graph.initializer[:]
        self.graph.node.extend(self.nodes)
        self.graph.initializer.extend(kept)

    def _written_in_int8(self) -> Iterator[str]:
        """What leaves a convolution that computes in INT8, behind its ReLU, where it has a scale and no pinned type."""
        outputs = {value.name for value in self.graph.output}
        for node, mode in zip(self.graph.node, self.modes, strict=True):
            if mode != "INT8" or self.explicit:
                continue
            name = node.output[0]
            readers = [other for other in self.graph.node if name in other.input]
            if len(readers) == 1 and readers[0].op_type == "Relu" and name not in outputs:
                name = readers[0].output[0]
            if self.ranges.get(name, 0) > 0 and name not in outputs | self.pinned:
                yield name

    def _is_float(self, name: str) -> bool:
        return name in self.tensors and self.tensors[name]["dtype"] == "FLOAT"

    def _store(self, name: str, array: NDArray[Any]) -> str:
        if name not in self.done:
            self.done.add(name)
            self.graph.initializer.append(
                numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
            )
        return name

    def _half_input(self, name: str) -> str:
        if name in self.known:
            array = self.known[name]
            if array.dtype != np.float32:
                return name
            with np.errstate(over="ignore"):
                return self._store(f"{name}__half", array.astype(np.float16).astype(np.float32))
        if not self._is_float(name) or self.makers.get(name, "FLOAT") != "FLOAT":
            return name
        alias = f"{name}__half"
        if alias not in self.done:
            self.done.add(alias)
            self._casts(name, alias)
            if name in self.shapes:
                value = onnx.ValueInfoProto()
                value.CopyFrom(self.shapes[name])
                value.name = alias
                self.graph.value_info.append(value)
        return alias

    def _round_outputs(self, node: onnx.NodeProto) -> None:
        for index, name in enumerate(node.output):
            if self._is_float(name) and name not in self.pinned:
                node.output[index] = f"{name}__raw"
                self._casts(node.output[index], name)

    def _integer_output(self, node: onnx.NodeProto) -> None:
        name = node.output[0]
        node.output[0] = f"{name}__exact"
        self._rounds(node.output[0], name, scale_of=name)

    def _casts(self, source: str, target: str) -> None:
        middle = f"{target}__fp16"
        self.nodes.append(helper.make_node("Cast", [source], [middle], to=TensorProto.FLOAT16))
        self.nodes.append(helper.make_node("Cast", [middle], [target], to=TensorProto.FLOAT))

    def _through_int8(self, name: str) -> str:
        rounded = f"{name}__int8"
        if rounded not in self.done:
            self.done.add(rounded)
            self._rounds(name, rounded, scale_of=name)
        return rounded

    def _rounds(self, source: str, target: str, *, scale_of: str) -> None:
        """Symmetric int8 and back."""
        scale = self._store(f"{scale_of}__scale", np.array(self.ranges[scale_of], np.float32))
        zero = self._store("int8__zero", np.zeros((), np.int8))
        self.nodes.append(helper.make_node("QuantizeLinear", [source, scale, zero], [f"{target}__integers"]))
        self.nodes.append(helper.make_node("DequantizeLinear", [f"{target}__integers", scale, zero], [target]))

    def _int8_weight(self, name: str, *, axis: int) -> str:
        weight = self.known[name]
        others = tuple(one for one in range(weight.ndim) if one != axis)
        scale = np.abs(weight).max(axis=others, keepdims=True) / LEVELS
        scale[scale == 0] = 1
        return self._store(f"{name}__int8", (np.round(weight / scale).clip(-LEVELS, LEVELS) * scale).astype(np.float32))
