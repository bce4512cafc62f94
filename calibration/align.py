# ruff: noqa: TID253  (this module is onnx code; whoever imports it wants onnx)
"""Channels filled up with zeros to a multiple that fast INT8 kernels take.

HarDNet's channel counts (14, 34, 58, ...) are rarely multiples of four, and ONNX Runtime's direct convolution kernels
for integers take no others: it copies such an input into columns and multiplies matrices instead
(``MlasConvSymPackWSize`` in onnxruntime/core/mlas/lib/convsym.cpp of microsoft/onnxruntime). What is added is 0 and is
multiplied by 0: every other value stays what it was, to the bit.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from calibration.graph import CONVOLUTION, GraphMap, Unit

MULTIPLE: Final = 4
HANDS_ON: Final = frozenset({"Relu", "Clip", "MaxPool"})
CHANNELS: Final = 1  # axis of a feature map [N, C, H, W]
FIRST_SLICE: Final = 10  # the opset since which Slice takes its bounds as tensors
MOVED: Final = frozenset({"Transpose", "Reshape", "Flatten"})
"""What reads a head's output. Its copy without the zeros is small beside what the direct kernel saves."""
Layout = tuple[tuple[int, int], ...]
"""Runs of a tensor's channels: how many real ones, then how many zeros."""
METADATA: Final = "filled_channels"
"""Key of the model's metadata under which the layout of every filled-up tensor stands, as JSON."""


def align_channels(graph: GraphMap, *, multiple: int = MULTIPLE) -> onnx.ModelProto:
    """The same graph with the outputs of convolutions filled up to a multiple of channels.

    What is read by convolutions alone, directly or through operators that move channels, is filled up and stays so.
    What is only reshaped, as the heads' outputs are, is filled up and cut right behind its convolution. Every output
    of the graph and every other operator sees what it saw before. Names stay.

    Args:
        graph: Left as it is.
        multiple: Of channels.
    """
    return _Alignment(graph, multiple).model()


def real_channels(model: onnx.ModelProto) -> dict[str, NDArray[np.int64]]:
    """Which channels of each filled-up tensor are the original's, in its order."""
    found: dict[str, NDArray[np.int64]] = {}
    for entry in model.metadata_props:
        if entry.key == METADATA:
            for name, layout in json.loads(entry.value).items():
                kept = [np.repeat([True, False], run) for run in layout]
                found[name] = np.flatnonzero(np.concatenate(kept))
    return found


class _Alignment:
    def __init__(self, graph: GraphMap, multiple: int) -> None:
        self._graph = graph
        self._outputs = {value.name for value in graph.model.graph.output}
        self._readers = Counter(name for node in graph.model.graph.node for name in node.input)
        self._initialisers = {tensor.name for tensor in graph.model.graph.initializer}
        self._known: dict[str, bool] = {}
        self._filled = {unit.inner: missing for unit in graph.units if (missing := self._missing(unit, multiple))}
        self._cut = {name for name in self._filled if not self._only_convolutions_read(name)}
        self._layouts: dict[str, Layout] = {}
        self._weights = {unit.inner: unit.weight for unit in graph.units}

    def model(self) -> onnx.ModelProto:
        """The new model."""
        old = self._graph.model
        arrays: dict[str, NDArray[Any]] = {}
        for node in old.graph.node:
            layout = self._layout_behind(node)
            if node.op_type == CONVOLUTION and (_zeros(self._layout(node.input[0])) or node.output[0] in self._filled):
                self._fill(node, arrays)
            if layout is not None and _zeros(layout):
                self._layouts[node.output[0]] = layout
        model = onnx.ModelProto()
        model.CopyFrom(old)
        for tensor in model.graph.initializer:
            if tensor.name in arrays:
                tensor.CopyFrom(numpy_helper.from_array(arrays[tensor.name], tensor.name))
        _cut_behind(model, {name: self._graph.constants[self._weights[name]].dims[0] for name in self._cut})
        if self._layouts:
            model.metadata_props.add(key=METADATA, value=json.dumps(self._layouts))
        for value in model.graph.value_info:
            if value.name in self._layouts:
                dims = value.type.tensor_type.shape.dim
                if len(dims) > CHANNELS:
                    dims[CHANNELS].dim_value = sum(map(sum, self._layouts[value.name]))
        return model

    def _missing(self, unit: Unit, multiple: int) -> int:
        """Channels to add to what a unit makes; 0 where nothing is to be added or nothing may be."""
        weight = self._graph.constants.get(unit.weight)
        if weight is None or not self._own(unit.weight) or not (unit.bias is None or self._own(unit.bias)):
            return 0
        if _groups(self._graph.producers[unit.inner]) != 1:
            return 0
        if not self._only_convolutions_read(unit.inner) and not self._only_moved(unit.inner):
            return 0
        return int(-weight.dims[0] % multiple)

    def _own(self, name: str) -> bool:
        """True for an initialiser that one node alone reads."""
        return name in self._initialisers and self._readers[name] == 1

    def _only_convolutions_read(self, name: str) -> bool:
        if name not in self._known:
            nodes = self._graph.consumers.get(name, ())
            self._known[name] = (
                bool(nodes) and name not in self._outputs and all(self._takes(one, name) for one in nodes)
            )
        return self._known[name]

    def _only_moved(self, name: str) -> bool:
        """True where a copy without the zeros serves every reader."""
        nodes = self._graph.consumers.get(name, ())
        opset = next((one.version for one in self._graph.model.opset_import if one.domain in {"", "ai.onnx"}), 0)
        moved = all(node.op_type in MOVED and not node.domain for node in nodes)
        return bool(nodes) and moved and name not in self._outputs and opset >= FIRST_SLICE

    def _takes(self, node: onnx.NodeProto, name: str) -> bool:
        """True where a node can read a tensor that was filled up."""
        if node.domain:
            return False
        if node.op_type == CONVOLUTION:
            alone = list(node.input).count(name) == 1 and node.input[0] == name
            return alone and _groups(node) == 1 and self._own(node.input[1])
        if node.op_type == "Concat":
            moves = _attribute(node, "axis") == CHANNELS
        else:
            moves = node.op_type in HANDS_ON and node.input[0] == name and len(node.output) == 1
        return moves and self._only_convolutions_read(node.output[0])

    def _layout(self, name: str) -> Layout:
        if name in self._layouts:
            return self._layouts[name]
        shape = self._graph.shape(name)
        return ((shape[CHANNELS], 0),) if shape and len(shape) > CHANNELS else ((0, 0),)

    def _layout_behind(self, node: onnx.NodeProto) -> Layout | None:
        """Of the one output of a node that hands zeros on or adds some."""
        if node.op_type == CONVOLUTION:
            missing = self._filled.get(node.output[0], 0)
            return ((self._graph.constants[node.input[1]].dims[0], missing),) if missing else None
        if node.op_type == "Concat" and _attribute(node, "axis") == CHANNELS:
            return tuple(run for name in node.input for run in self._layout(name))
        if node.op_type in HANDS_ON:
            return self._layout(node.input[0])
        return None

    def _fill(self, node: onnx.NodeProto, arrays: dict[str, NDArray[Any]]) -> None:
        """Zeros in weight and bias: where the input has zeros, and for the outputs to be added."""
        weight = numpy_helper.to_array(self._graph.constants[node.input[1]])
        pieces, begin = [], 0
        for real, zeros in self._layout(node.input[0]):
            pieces.append(weight[:, begin : begin + real])
            pieces.append(np.zeros((len(weight), zeros, *weight.shape[2:]), weight.dtype))
            begin += real
        wide = np.concatenate(pieces, axis=1) if _zeros(self._layout(node.input[0])) else weight
        missing = self._filled.get(node.output[0], 0)
        arrays[node.input[1]] = _longer(wide, missing)
        if missing and len(node.input) > 2 and node.input[2]:
            arrays[node.input[2]] = _longer(numpy_helper.to_array(self._graph.constants[node.input[2]]), missing)


def _cut_behind(model: onnx.ModelProto, real: Mapping[str, int]) -> None:
    """A Slice behind each tensor that keeps so many channels; everything that read the tensor reads the Slice's."""
    if not real:
        return
    taken = {name for node in model.graph.node for name in (*node.input, *node.output)}
    taken.update(tensor.name for tensor in model.graph.initializer)
    nodes: list[onnx.NodeProto] = []
    cut = {name: _unused(f"{name}.real", taken) for name in real}
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = cut.get(name, name)
        nodes.append(node)
        for name in set(cut).intersection(node.output):
            bounds = {"begin": [0], "end": [real[name]], "axis": [CHANNELS]}
            inputs = [name]
            for kind, value in bounds.items():
                inputs.append(_unused(f"{name}.real.{kind}", taken))
                model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), inputs[-1]))
            nodes.append(helper.make_node("Slice", inputs, [cut[name]], cut[name]))
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _unused(name: str, taken: set[str]) -> str:
    while name in taken:
        name = f"{name}.again"
    return name


def _longer(values: NDArray[Any], missing: int) -> NDArray[Any]:
    return np.concatenate((values, np.zeros((missing, *values.shape[1:]), values.dtype)))


def _zeros(layout: Layout) -> bool:
    return any(zeros for _, zeros in layout)


def _groups(node: onnx.NodeProto) -> int:
    return int(_attribute(node, "group") or 1)


def _attribute(node: onnx.NodeProto, name: str) -> Any:
    found: Mapping[str, Any] = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    return found.get(name)
