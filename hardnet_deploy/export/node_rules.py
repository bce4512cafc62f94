"""What TensorRT's ONNX parser asks of single nodes, beyond knowing their type.

One function for one kind of node. Each yields findings; what it relies on is named in their ``source``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from hardnet_deploy.export.graph_view import Finding, GraphView, attributes, dtype_name, node_finding
from hardnet_deploy.export.parser_table import (
    MIN_PLUGIN_SCORE_SOURCE,
    PLUGIN_ATTRIBUTES,
    PLUGIN_SOURCE,
    RESIZE_ALLOWED,
    TOPK_LIMIT,
    TOPK_SOURCE,
    ParserRow,
)
from hardnet_deploy.export.qdq_rules import check_parameters
from hardnet_deploy.nms.efficient import PLUGIN_OP, SMALLEST_SCORE_THRESHOLD
from hardnet_deploy.targets import Target

if TYPE_CHECKING:
    import onnx

Rule = Callable[["onnx.NodeProto", GraphView, ParserRow, Target], Iterator[Finding]]

_OPERATORS_10 = "onnx/onnx-tensorrt@10.0-GA:docs/operators.md"
_AXES_INPUT_OF_SLICE = 3
_PLUGIN_INPUTS = (2, 3)
_PLUGIN_OUTPUTS = 4


def check_plugin(node: onnx.NodeProto, _view: GraphView, row: ParserRow | None, target: Target) -> Iterator[Finding]:
    """EfficientNMS_TRT: every attribute written, thresholds in the range where the kernel is right.

    Args:
        node: The plugin's node.
        row: The parser; None where no parser of TensorRT reads the graph.
        target: For its candidate cap.
    """
    values = attributes(node)
    missing = [name for name in PLUGIN_ATTRIBUTES if name not in values]
    if missing:
        yield node_finding(
            "error",
            node,
            "plugin-attributes",
            f"{PLUGIN_OP} must write every attribute; missing: {', '.join(missing)}",
            PLUGIN_SOURCE,
        )
    if len(node.input) not in _PLUGIN_INPUTS or len(node.output) != _PLUGIN_OUTPUTS:
        yield node_finding(
            "error",
            node,
            "plugin-arity",
            f"{PLUGIN_OP} takes boxes, scores and optional anchors and makes 4 outputs; here {len(node.input)} inputs"
            f" and {len(node.output)} outputs",
            PLUGIN_SOURCE,
        )
    if values.get("score_threshold", 1.0) < SMALLEST_SCORE_THRESHOLD:
        yield node_finding(
            "error",
            node,
            "plugin-score-threshold",
            f"score_threshold {values['score_threshold']:g} is below {SMALLEST_SCORE_THRESHOLD}: the kernel's other"
            " path can emit rows of score -32768 as detections",
            MIN_PLUGIN_SCORE_SOURCE,
        )
    if values.get("iou_threshold", 1.0) <= 0 or values.get("max_output_boxes", 1) <= 0:
        yield node_finding(
            "error", node, "plugin-range", "iou_threshold and max_output_boxes must be positive", PLUGIN_SOURCE
        )
    if target.nms_candidate_cap is not None and values.get("max_output_boxes", 1) > target.nms_candidate_cap:
        yield node_finding(
            "warning",
            node,
            "plugin-candidate-cap",
            f"max_output_boxes {values['max_output_boxes']} can never be reached: the plugin looks at"
            f" {target.nms_candidate_cap} candidates an image on {target.device}",
            target.sources["nms_candidate_cap"],
        )
    if row is not None and row.family == "8.2" and values.get("class_agnostic", 0) != 0:
        yield node_finding(
            "error",
            node,
            "plugin-class-agnostic",
            "class_agnostic is unknown to TensorRT 8.2, which ignores it and suppresses per class",
            "NVIDIA/TensorRT@8.2.1:plugin/efficientNMSPlugin",
        )


def _pooling(node: onnx.NodeProto, _view: GraphView, row: ParserRow, _target: Target) -> Iterator[Finding]:
    values = attributes(node)
    if any(dilation != 1 for dilation in values.get("dilations", [])):
        yield node_finding("error", node, "pool-dilations", "pooling dilations must be 1", _OPERATORS_10)
    if len(values.get("kernel_shape", [1, 1])) not in {2, 3}:
        yield node_finding("error", node, "pool-rank", "only 2D and 3D pooling is imported", row.source)
    if len([output for output in node.output if output]) > 1:
        yield node_finding("error", node, "pool-indices", "the output Indices is not imported", row.source)
    if values.get("ceil_mode", 0) and any(values.get("pads", [])):
        yield node_finding(
            "warning",
            node,
            "pool-ceil-padding",
            "runtimes disagree on ceil_mode together with padding",
            "https://github.com/microsoft/onnxruntime/issues/15446",
        )


def _convolution(node: onnx.NodeProto, view: GraphView, row: ParserRow, _target: Target) -> Iterator[Finding]:
    if row.family == "8.2" and not view.is_weight(node.input[1]):
        yield node_finding("error", node, "conv-weights", "weights must be an initialiser", row.source)
    kernel = attributes(node).get("kernel_shape")
    if row.family.startswith("8") and kernel is not None and len(kernel) not in {2, 3}:
        yield node_finding("error", node, "conv-rank", "only 2D and 3D convolutions are imported", row.source)


def _resize(node: onnx.NodeProto, view: GraphView, row: ParserRow, _target: Target) -> Iterator[Finding]:
    values = attributes(node)
    for name, allowed in RESIZE_ALLOWED.items():
        if values.get(name, allowed[0]) not in allowed:
            yield node_finding(
                "error",
                node,
                "resize-attribute",
                f"{name}={values[name]} is not imported; accepted: {', '.join(allowed)}",
                row.source,
            )
    if values.get("antialias", 0):
        yield node_finding("error", node, "resize-antialias", "antialiasing is not imported", row.source)
    if row.family == "8.2" and not all(view.is_constant(name) for name in node.input[2:] if name):
        yield node_finding(
            "error",
            node,
            "resize-constant",
            "scales and sizes must be initialisers",
            "https://github.com/NVIDIA/TensorRT/issues/1346",
        )


def _topk(node: onnx.NodeProto, view: GraphView, row: ParserRow, _target: Target) -> Iterator[Finding]:
    count = view.constant(node.input[1]) if len(node.input) > 1 else None
    if count is None:
        if row.family == "8.2":
            yield node_finding("error", node, "topk-constant", "K must be an initialiser", row.source)
    elif int(count.reshape(-1)[0]) >= TOPK_LIMIT:
        yield node_finding(
            "error", node, "topk-limit", f"K is {int(count.reshape(-1)[0])}, the limit is {TOPK_LIMIT - 1}", TOPK_SOURCE
        )
    if attributes(node).get("sorted", 1) != 1:
        yield node_finding("error", node, "topk-sorted", "sorted must be 1", TOPK_SOURCE)


def _constant_axes(node: onnx.NodeProto, view: GraphView, row: ParserRow, _target: Target) -> Iterator[Finding]:
    axes = node.input[_AXES_INPUT_OF_SLICE if node.op_type == "Slice" else 1 :][:1]
    if axes and axes[0] and not view.is_constant(axes[0]):
        yield node_finding("error", node, "constant-axes", "axes must be an initialiser", row.source)


def _constant_of_shape(node: onnx.NodeProto, _view: GraphView, row: ParserRow, _target: Target) -> Iterator[Finding]:
    value = attributes(node).get("value")
    if value is not None and row.casts_int64 and dtype_name(value.data_type) != "FLOAT":
        yield node_finding("error", node, "constant-of-shape", "only float32 is imported", row.source)


def _inference_only(node: onnx.NodeProto, view: GraphView, row: ParserRow, _target: Target) -> Iterator[Finding]:
    training = attributes(node).get("training_mode", 0)
    if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]:
        mode = view.constant(node.input[2])
        training = mode is None or bool(mode.reshape(-1)[0])
    if training:
        yield node_finding("error", node, "training-mode", "only inference is imported", row.source)


def _cast(node: onnx.NodeProto, _view: GraphView, row: ParserRow, _target: Target) -> Iterator[Finding]:
    dtype = dtype_name(attributes(node)["to"])
    if dtype not in row.dtypes:
        yield node_finding("error", node, "cast-dtype", f"a cast to {dtype} is not imported", row.source)


NODE_RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "MaxPool": _pooling,
        "AveragePool": _pooling,
        "Conv": _convolution,
        "ConvTranspose": _convolution,
        "Resize": _resize,
        "TopK": _topk,
        "Slice": _constant_axes,
        "Squeeze": _constant_axes,
        "Unsqueeze": _constant_axes,
        "ReduceSum": _constant_axes,
        "ReduceMean": _constant_axes,
        "ReduceMax": _constant_axes,
        "ReduceL2": _constant_axes,
        "Cast": _cast,
        "ConstantOfShape": _constant_of_shape,
        "Dropout": _inference_only,
        "BatchNormalization": _inference_only,
        "QuantizeLinear": check_parameters,
        "DequantizeLinear": check_parameters,
    }
)
