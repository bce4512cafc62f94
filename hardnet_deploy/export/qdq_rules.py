"""What TensorRT asks of a graph with QuantizeLinear and DequantizeLinear (Q/DQ).

Its parser judges the parameters of each node (``check_parameters``); where the nodes stand decides what fuses and what
is rounded without need (``check_places``). ONNX Runtime asks for another layout: ``qdq_fusion``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.export.graph_patterns import WEIGHTED, l2norm_outputs, readers_behind
from hardnet_deploy.export.graph_view import (
    DEQUANTIZE,
    QDQ,
    QUANTIZE,
    Finding,
    GraphView,
    attributes,
    dtype_name,
    node_finding,
)
from hardnet_deploy.export.parser_table import PLUGIN_SOURCE, ParserRow
from hardnet_deploy.nms.efficient import PLUGIN_OP
from hardnet_deploy.targets import Target
from hardnet_deploy.targets_table import QDQ_WITHOUT_KERNELS

if TYPE_CHECKING:
    import onnx

_PARSER: Final = "onnx/onnx-tensorrt@8.6-GA:builtin_op_importers.cpp (QuantDequantLinearHelper)"
_PLACEMENT: Final = (
    "https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/quantized-types-explicit-quantization.html"
)
_MODEL_OPTIMIZER: Final = "NVIDIA/Model-Optimizer:modelopt/onnx/quantization/ort_utils.py"
_FIRST_AND_LAST: Final = "https://github.com/AlexeyAB/yolo2_light/issues/45"
_OPERATOR: Final = "https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html (axis: since opset 13)"

_INPUTS: Final = 3
PER_CHANNEL_OPSET: Final = 13
_ONNX_AXIS: Final = 1
_CHANNEL_AXIS: Final[Mapping[str, int]] = MappingProxyType({"Conv": 0, "ConvTranspose": 1})
FUSED_ACTIVATIONS: Final = frozenset({"Relu", "Clip"})
_NMS: Final = frozenset({PLUGIN_OP, "NonMaxSuppression"})
_SAME_SCALE: Final = frozenset({"Concat", "MaxPool"})
_FEATURE_MAP_RANK: Final = 4

_MISPLACED: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "qdq-after-nms": (
            "nothing behind the NMS may be quantised: boxes and classes lose their values",
            PLUGIN_SOURCE,
        ),
        "qdq-l2norm": ("L2Norm must read and compute floats: sums of squares do not fit 8 bits", _MODEL_OPTIMIZER),
        "qdq-between-conv-and-relu": (
            "between a convolution and its ReLU it keeps the two from fusing; quantise behind the ReLU",
            _PLACEMENT,
        ),
        "qdq-head-output": (
            "the outputs of the heads must stay float: they are sensitive and nothing computes on integers",
            _FIRST_AND_LAST,
        ),
        "qdq-softmax": ("what goes into Softmax must stay float", _MODEL_OPTIMIZER),
        "qdq-decode": ("everything from the last convolutions to the NMS must stay float", PLUGIN_SOURCE),
    }
)


def check_parameters(node: onnx.NodeProto, view: GraphView, _row: ParserRow, target: Target) -> Iterator[Finding]:
    """One QuantizeLinear or DequantizeLinear: symmetric int8 with constant scales, per channel on weights alone."""
    if target.precisions["int8"] == "refused":
        yield node_finding(
            "error",
            node,
            "qdq-hardware",
            f"{target.device} has no int8 hardware, and a network with {node.op_type} does not build without; use fp16",
            "https://github.com/NVIDIA/TensorRT/issues/3157",
        )
        return
    if len(node.input) != _INPUTS or not all(node.input):
        yield node_finding(
            "error",
            node,
            "qdq-inputs",
            "the zero point must be written: TensorRT 8.2 takes exactly three inputs, and ONNX means uint8 without one",
            _PARSER,
        )
        return
    zero_dtype = dtype_name(view.dtype(node.input[2]))
    if zero_dtype != "INT8":
        yield node_finding("error", node, "qdq-dtype", f"the zero point is {zero_dtype}; it must be INT8", _PARSER)
    scale, zero = view.constant(node.input[1]), view.constant(node.input[2])
    if scale is None or zero is None:
        yield node_finding("error", node, "qdq-constant", "scale and zero point must be initialisers", _PARSER)
        return
    if np.any(zero != 0):
        yield node_finding("error", node, "qdq-zero-point", "the zero point must be 0", _PARSER)
    if not (scale.size and np.all((scale > 0) & np.isfinite(scale))):
        yield node_finding("error", node, "qdq-scale", "every scale must be positive and finite", _PARSER)
    if zero.size != scale.size:
        yield node_finding("error", node, "qdq-size", "scale and zero point must be of one size", _PARSER)
    if scale.size > 1:
        yield from _check_channels(node, view, scale)


def per_channel_opset(node: onnx.NodeProto, view: GraphView) -> Iterator[Finding]:
    """A scale per channel in a graph of an opset that has none."""
    scale = view.constant(node.input[1])
    if scale is not None and scale.size > 1 and view.opset < PER_CHANNEL_OPSET:
        message = f"a scale per channel came with opset {PER_CHANNEL_OPSET}; this graph has opset {view.opset}"
        yield node_finding("error", node, "qdq-opset", message, _OPERATOR)


def _check_channels(node: onnx.NodeProto, view: GraphView, scale: NDArray[Any]) -> Iterator[Finding]:
    """A scale per channel: of a weight, along its output channels."""
    if not view.is_weight(node.input[0]):
        message = "activations have one scale for the whole tensor"
        yield node_finding("error", node, "qdq-per-channel", message, _PARSER)
    yield from per_channel_opset(node, view)
    shape = view.weight_shape(node.input[0])
    if shape is None or view.opset < PER_CHANNEL_OPSET:
        return
    axis = attributes(node).get("axis", _ONNX_AXIS)
    axis += len(shape) if axis < 0 else 0
    readers = {reader.op_type for reader in readers_behind(view, node.output[0])}
    wanted = next((_CHANNEL_AXIS[op_type] for op_type in sorted(readers & set(_CHANNEL_AXIS))), axis)
    if axis != wanted:
        message = f"scales along axis {axis} (ONNX means {_ONNX_AXIS} where none is written); it must be {wanted}"
        yield node_finding("error", node, "qdq-axis", message, _PLACEMENT)
    elif shape[axis : axis + 1] != (scale.size,):
        message = f"{scale.size} scales for a weight of shape {list(shape)}: one for each output channel is wanted"
        yield node_finding("error", node, "qdq-channels", message, _PARSER)


def check_places(view: GraphView, target: Target) -> Iterator[Finding]:
    """Where Q/DQ stand in a graph for TensorRT.

    A target without int8 hardware refuses every Q/DQ node by itself, and a graph without any has nothing to find.

    Args:
        view: The graph; its nodes in topological order, as ONNX demands.
        target: For its hardware and its pitfalls.
    """
    nodes = [node for node in view.nodes() if node.op_type in QDQ]
    if not nodes or target.precisions["int8"] == "refused":
        return
    if QDQ_WITHOUT_KERNELS in target.pitfalls:
        message = f"{len(nodes)} Q/DQ nodes: {QDQ_WITHOUT_KERNELS.text}"
        yield node_finding("warning", nodes[0], "qdq-pitfall", message, QDQ_WITHOUT_KERNELS.source)
    flow = _Flow.of(view)
    yield from _check_convolutions(view, flow)
    l2norm = frozenset(l2norm_outputs(view))
    for node in view.graph.node:
        if node.op_type in QDQ and not view.is_weight(node.input[0]) and not view.is_made_by(node.input[0], QDQ):
            rule = _misplaced(node, view, flow, l2norm)
            if rule is not None:
                yield node_finding("error", node, rule, *_MISPLACED[rule])
    yield from _check_concats(view)


@dataclass(frozen=True)
class _Flow:
    """For each tensor, which of the types that matter it is computed from, and which it leads to.

    ``ahead`` ends at the first operator with weights on each way; ``behind`` goes back to the inputs.
    """

    behind: Mapping[str, frozenset[str]]
    ahead: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, view: GraphView) -> _Flow:
        nothing: frozenset[str] = frozenset()
        behind: dict[str, frozenset[str]] = {}
        ahead: dict[str, frozenset[str]] = {}
        for node in view.graph.node:
            own = {node.op_type} & (WEIGHTED | _NMS)
            found = own.union(*(behind.get(name, nothing) for name in node.input))
            behind |= dict.fromkeys(node.output, frozenset(found))
        for node in reversed(view.graph.node):
            own = {node.op_type} & (WEIGHTED | _NMS | {"Softmax"})
            further = () if node.op_type in WEIGHTED else node.output
            found = own.union(*(ahead.get(name, nothing) for name in further))
            ahead |= {name: ahead.get(name, nothing) | found for name in node.input}
        return cls(behind, ahead)


def _misplaced(node: onnx.NodeProto, view: GraphView, flow: _Flow, l2norm: frozenset[str]) -> str | None:
    """The rule that the first Q/DQ on an activation breaks by where it stands."""
    source = node.input[0]
    behind, ahead = flow.behind.get(source, frozenset()), flow.ahead.get(node.output[0], frozenset())
    readers = list(readers_behind(view, node.output[0]))
    feeds_weights = bool(ahead & WEIGHTED)
    only_activations = all(reader.op_type in FUSED_ACTIVATIONS for reader in readers)
    rule = None
    if behind & _NMS:
        rule = "qdq-after-nms"
    elif any(reader.output[0] in l2norm for reader in readers_behind(view, node.output[0], QDQ | _SAME_SCALE)):
        rule = "qdq-l2norm"
    elif readers and only_activations and view.is_made_by(source, _CHANNEL_AXIS):
        rule = "qdq-between-conv-and-relu"
    elif not feeds_weights and view.is_made_by(source, WEIGHTED):
        rule = "qdq-head-output"
    elif "Softmax" in ahead:
        rule = "qdq-softmax"
    elif not feeds_weights and (behind & WEIGHTED or ahead & _NMS):
        rule = "qdq-decode"
    return rule


def _check_convolutions(view: GraphView, flow: _Flow) -> Iterator[Finding]:
    for node in view.graph.node:
        if node.op_type not in _CHANNEL_AXIS:
            continue
        if len(node.input) > 2 and view.is_made_by(node.input[2], {DEQUANTIZE}):
            message = "the bias must stay a float initialiser, outside of Q/DQ"
            yield node_finding("error", node, "conv-bias-quantised", message, _PARSER)
        is_first = not flow.behind.get(node.input[0], frozenset()) & WEIGHTED
        if is_first and view.is_made_by(node.input[0], {DEQUANTIZE}):
            message = "the first convolution reads quantised images; in float it is more accurate and costs little"
            yield node_finding("warning", node, "qdq-first-conv", message, _FIRST_AND_LAST)


def _check_concats(view: GraphView) -> Iterator[Finding]:
    """One scale through each concatenation of feature maps: integers can then be moved as they are."""
    for node in view.graph.node:
        rank = view.rank(node.output[0])
        is_map = rank == _FEATURE_MAP_RANK or (rank is None and attributes(node).get("axis") == 1)
        if node.op_type != "Concat" or not is_map:
            continue
        scales = sorted({scale for name in (*node.input, *node.output) for scale in _scales(view, name)})
        if len(scales) > 1:
            yield node_finding(
                "warning",
                node,
                "qdq-concat-scales",
                f"what it joins has {len(scales)} scales, {scales[0]:.6g} to {scales[-1]:.6g}: integers are scaled"
                " again instead of moved; give all one scale",
                "https://github.com/NVIDIA/TensorRT/issues/3861",
            )


def _scales(view: GraphView, name: str) -> set[float]:
    """Scales that a tensor is quantised with where it is made or read; of what is moved into it where there is none."""
    maker = view.makers.get(name)
    nodes = [node for node in view.readers(name) if node.op_type == QUANTIZE and node.input[0] == name]
    if maker is not None and maker.op_type == DEQUANTIZE:
        nodes.append(maker)
    constants = [view.constant(node.input[1]) for node in nodes if len(node.input) > 1]
    found = {float(scale.reshape(-1)[0]) for scale in constants if scale is not None and scale.size == 1}
    if not nodes and maker is not None and maker.op_type in _SAME_SCALE:
        found = {scale for source in maker.input for scale in _scales(view, source)}
    return found
