# ruff: noqa: TID253  (this module is onnx code; whoever imports it wants onnx)
"""Which nodes of a detector must compute in float32, found from what they compute and where they stand.

- L2Norm: a sum of squares over 320 channels overflows float16 (65504) from a channel RMS of 14.3 upwards, and its
  epsilon 1e-10 is 0 in float16, so that an all-zero pixel becomes 0 / 0.
- Softmax, exponentials, the decoding of boxes, NMS and whatever stands behind them: box corners within a pixel of a
  512-pixel image need more than 11 bits, scores near 1 are ranked by their last ones, and the float16 path of
  EfficientNMS_TRT in TensorRT 8.2 is broken (https://github.com/NVIDIA/TensorRT/issues/1758).

NVIDIA on L2 norms: "tends to overflow in FP16 ... force that layer to FP32"
(https://github.com/NVIDIA/TensorRT/issues/1954).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import onnx
from onnx import TensorProto

from hardnet_deploy.export.graph_patterns import WEIGHTED, l2norm_outputs
from hardnet_deploy.export.graph_view import QDQ, GraphView, label
from hardnet_deploy.nms.efficient import PLUGIN_OP

Island = Literal["l2norm", "softmax", "decode", "nms", "other"]
"""Why a node computes in float32; ``other``: nothing is known of its operator in float16."""

NMS: Final = frozenset({PLUGIN_OP, "NonMaxSuppression"})
FLOATS: Final = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16})
_SOFTMAX: Final = frozenset({"Softmax", "LogSoftmax"})
_NO_LAYERS: Final = frozenset({"Constant", "Shape", "Size"})
_ELEMENTWISE: Final = frozenset({"Add", "Sub", "Mul"})
_MOVES: Final = frozenset({"Concat", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_HALF: Final = (
    WEIGHTED
    | _MOVES
    | QDQ
    | {
        "AveragePool",
        "BatchNormalization",
        "Clip",
        "Dropout",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "LeakyRelu",
        "MaxPool",
        "Relu",
    }
)


def float32_islands(model: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the nodes of a float32 graph that must stay float32 in an engine of lower precision, in order.

    For weakly typed TensorRT (8.x, and 10.x unless asked otherwise), which takes them as layer precisions. Nodes that
    only compute with integers are not among them: their precision cannot be set.

    Args:
        model: As ``export`` writes it; element types that it does not declare are inferred.
    """
    view = GraphView(with_types(model))
    kinds = islands(view)
    return tuple(
        label(node)
        for node, kind in zip(view.graph.node, kinds, strict=True)
        if kind and node.op_type not in _NO_LAYERS
    )


def islands(view: GraphView) -> list[Island | None]:
    """For each node of the main graph why it is float32; None for float16, and for what touches no such numbers.

    What moves the heads' outputs to ``loc`` and ``conf`` is float16: it changes no value, and moves half the bytes.
    """
    l2norm = frozenset(l2norm_outputs(view))
    ahead = _leads_to(view, WEIGHTED)
    in_half: set[str] = set()
    in_island: set[str] = set()
    behind_nms: set[str] = set()
    kinds: list[Island | None] = []
    for node in view.graph.node:
        kind: Island | None = None
        reads = [name for name in node.input if name and view.dtype(name) in FLOATS]
        sources = [name for name in reads if not view.is_constant(name)]
        if node.op_type in NMS or behind_nms.intersection(node.input):
            behind_nms.update(node.output)
        if not reads and not any(view.dtype(name) in FLOATS for name in node.output):
            pass
        elif behind_nms.intersection(node.output):
            kind = "nms"
        elif node.op_type in _SOFTMAX:
            kind = "softmax"
        elif node.output[0] in l2norm:
            kind = "l2norm"
        elif node.op_type == "Exp":
            kind = "decode"
        elif node.op_type in WEIGHTED or ahead.intersection(node.output):
            kind = None if _is_safe(node, sources, in_island) else "other"
        elif node.op_type not in _MOVES or not sources or not in_half.issuperset(sources):
            kind = "decode"
        (in_half if kind is None else in_island).update(node.output)
        kinds.append(kind)
    return kinds


def with_types(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with an element type for every tensor; itself where it declares them all."""
    view = GraphView(model)
    names = (name for node in model.graph.node for name in node.output if name)
    if all(view.dtype(name) != TensorProto.UNDEFINED for name in names):
        return model
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def _is_safe(node: onnx.NodeProto, sources: Sequence[str], in_island: set[str]) -> bool:
    """True for an operator between convolutions that float16 does no harm beyond rounding."""
    if node.op_type in _ELEMENTWISE:  # what follows an island at once still belongs to it; a square overflows
        return not in_island.intersection(sources) and len(set(sources)) == len(sources)
    return node.op_type in _HALF


def _leads_to(view: GraphView, operators: frozenset[str]) -> set[str]:
    """Tensors from which one of these operators is reached."""
    found: set[str] = set()
    for node in reversed(view.graph.node):
        if node.op_type in operators or found.intersection(node.output):
            found.update(name for name in node.input if name)
    return found
