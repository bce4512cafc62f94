# ruff: noqa: TID253  (this module is onnx code; whoever imports it wants onnx)
"""Does the parser of a target accept this graph, and is the graph clean?

``check_graph`` answers for a target without TensorRT being there, from ``parser_table``, ``node_rules``, for FP16
``half_rules``, and for INT8 ``qdq_rules`` and ``qdq_fusion``. It is a lint, not a build: what it accepts can still fail
on the device for want of memory or of a kernel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from hardnet_deploy.export.graph_builder import BATCH_AXIS
from hardnet_deploy.export.graph_view import Finding, GraphView, Severity, dtype_name, label
from hardnet_deploy.export.half_rules import check_half
from hardnet_deploy.export.node_rules import NODE_RULES, check_plugin
from hardnet_deploy.export.parser_table import PARSERS, ParserRow
from hardnet_deploy.export.qdq_fusion import check_onnxruntime_fusion
from hardnet_deploy.export.qdq_rules import check_places
from hardnet_deploy.nms.efficient import PLUGIN_OP
from hardnet_deploy.targets import Target

__all__ = ["Finding", "GraphCheckReport", "check_clean", "check_graph"]

_STANDARD_DOMAINS = frozenset({"", "ai.onnx"})
_ONNX_OPERATORS = "https://onnx.ai/onnx/operators/"
_SHAPE_OPS = frozenset({"Shape", "Size", "ConstantOfShape", "Range", "Expand", "NonZero"})
_NO_OPS = frozenset({"Identity", "Dropout"})


@dataclass(frozen=True, kw_only=True)
class GraphCheckReport:
    """What a target's parser would say of a graph."""

    target: str
    findings: tuple[Finding, ...]

    @property
    def accepted(self) -> bool:
        """True where no finding is an error."""
        return not self.errors

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings for which the target would refuse the graph."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that a user should know and may live with."""
        return tuple(finding for finding in self.findings if finding.severity == "warning")


def check_graph(model: onnx.ModelProto, target: Target) -> GraphCheckReport:
    """Whether every parser that ``target`` may have accepts ``model``.

    Args:
        model: A whole model; its element types are read from ``value_info``, so infer shapes first.
        target: The device and its software.

    Returns:
        The findings, errors first. What several TensorRT generations say of a node stands once, as the oldest says it.
    """
    view = GraphView(model)
    findings = [*_check_whole(view, target), *check_half(view, target)]
    for family in target.tensorrt_families:
        told = {(finding.node, finding.rule) for finding in findings}
        findings += [
            finding
            for finding in _check_parser(view, PARSERS[family], target)
            if (finding.node, finding.rule) not in told
        ]
    if target.uses_tensorrt:
        findings += check_places(view, target)
    else:
        findings += _check_onnxruntime(view, target)
        findings += check_onnxruntime_fusion(view)
    errors_first = sorted(findings, key=lambda finding: finding.severity != "error")
    return GraphCheckReport(target=target.name, findings=tuple(errors_first))


def _check_whole(view: GraphView, target: Target) -> Iterator[Finding]:
    """What holds for any parser: opset, one file, batch."""
    versions = [entry.version for entry in view.model.opset_import if entry.domain in _STANDARD_DOMAINS]
    if len(versions) != 1:
        yield _whole("error", "opset-declared-once", f"the standard opset is declared {len(versions)} times", "onnx IR")
    elif not target.min_opset <= versions[0] <= target.max_opset:
        yield _whole(
            "error",
            "opset-range",
            f"opset {versions[0]}; {target.runtime} takes {target.min_opset} to {target.max_opset}",
            target.sources["max_opset"],
        )
    for tensor in view.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            yield Finding(
                severity="error",
                node=tensor.name,
                rule="external-data",
                message="the values are outside the file; one self-contained file is wanted",
                source="https://onnx.ai/onnx/repo-docs/ExternalData.html",
            )
    for graph_input in _inputs(view):
        dims = graph_input.type.tensor_type.shape.dim
        batch = dims[0].dim_value if dims and dims[0].HasField("dim_value") else None
        asked = "a dynamic batch" if batch is None else f"batch {batch}"
        if target.max_batch is not None and (batch is None or batch > target.max_batch):
            yield Finding(
                severity="error",
                node=graph_input.name,
                rule="batch",
                message=f"{asked}; {target.device} takes a fixed batch of at most {target.max_batch}",
                source=target.sources["max_batch"],
            )
        if any(not dim.HasField("dim_value") for dim in dims[1:]):
            yield Finding(
                severity="error" if target.uses_tensorrt else "warning",
                node=graph_input.name,
                rule="dynamic-size",
                message="only the batch may be dynamic",
                source="the priors of a detector are constants of one input size",
            )


def _check_parser(view: GraphView, row: ParserRow, target: Target) -> Iterator[Finding]:
    """What one generation of TensorRT's parser says."""
    if view.model.functions and row.casts_int64:  # TensorRT 8
        yield _whole(
            "error",
            "local-functions",
            "local functions are imported from TensorRT 9 on",
            "onnx/onnx-tensorrt:docs/Changelog.md (9.0 EA)",
        )
    for node in view.nodes():
        if node.op_type == PLUGIN_OP:  # the parser goes by the type alone and ignores the domain
            yield from check_plugin(node, view, row, target)
        elif node.domain not in _STANDARD_DOMAINS or node.op_type not in row.ops:
            name = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            yield Finding(
                severity="error",
                node=label(node),
                rule="operator",
                message=f"TensorRT {row.family} does not import {name} faithfully",
                source=row.source,
            )
        elif node.op_type in NODE_RULES:
            yield from NODE_RULES[node.op_type](node, view, row, target)
        if node.op_type in row.float_only:
            yield from _check_float_only(node, view, row)
    yield from _check_dtypes(view, row)


def _check_float_only(node: onnx.NodeProto, view: GraphView, row: ParserRow) -> Iterator[Finding]:
    dtype = dtype_name(view.dtype(node.input[0]))
    if dtype in {"INT32", "INT64"}:
        yield Finding(
            severity="warning",
            node=label(node),
            rule="float-only",
            message=f"{node.op_type} of {dtype} is not listed for TensorRT {row.family}; floating point is",
            source=row.source,
        )


def _check_dtypes(view: GraphView, row: ParserRow) -> Iterator[Finding]:
    """Element types of inputs, outputs and initialisers."""
    for info in (*_inputs(view), *view.graph.output):
        dtype = dtype_name(info.type.tensor_type.elem_type)
        if dtype not in row.dtypes and not (dtype == "UINT8" and row.uint8_io):
            yield _dtype(row, info.name, f"inputs and outputs of type {dtype} are not imported")
        elif dtype == "DOUBLE":
            yield _dtype(row, info.name, "float64 becomes float32", "warning")
    wide: list[str] = []
    for tensor in view.graph.initializer:
        dtype = dtype_name(tensor.data_type)
        if dtype not in row.dtypes:
            yield _dtype(row, tensor.name, f"initialisers of type {dtype} are not imported")
        elif dtype == "DOUBLE":
            yield _dtype(row, tensor.name, "float64 becomes float32", "warning")
        elif dtype == "INT64" and row.casts_int64 and _exceeds_int32(tensor):
            wide.append(tensor.name)
    if wide:
        yield _dtype(row, wide[0], f"{len(wide)} int64 tensors become int32, larger values are clamped", "warning")


def _exceeds_int32(tensor: onnx.TensorProto) -> bool:
    """True for an int64 tensor that int32 does not hold; axes, shapes and indices are small."""
    if tensor.data_location == TensorProto.EXTERNAL:
        return False
    values = numpy_helper.to_array(tensor)
    limits = np.iinfo(np.int32)
    return bool(values.size) and (int(values.max()) > limits.max or int(values.min()) < limits.min)


def _check_onnxruntime(view: GraphView, target: Target) -> Iterator[Finding]:
    """Standard operators only; the plugin's node runs in hardnet-deploy alone."""
    for node in view.nodes():
        if node.op_type == PLUGIN_OP:
            yield from check_plugin(node, view, None, target)
            yield Finding(
                severity="warning",
                node=label(node),
                rule="plugin-on-cpu",
                message=f"{PLUGIN_OP} runs through the NumPy reference, in hardnet-deploy only",
                source=target.sources["nms_plugin"],
            )
        elif node.domain not in _STANDARD_DOMAINS or not onnx.defs.has(node.op_type, view.opset, ""):
            yield Finding(
                severity="error",
                node=label(node),
                rule="operator",
                message=f"{node.domain or 'the standard domain'} has no {node.op_type} at opset {view.opset}",
                source=_ONNX_OPERATORS,
            )


def check_clean(model: onnx.ModelProto, *, fused: bool) -> list[str]:
    """What keeps an exported graph from being clean; empty for a clean one.

    Args:
        model: The exported model.
        fused: True where every batch norm is said to be folded.

    Returns:
        One sentence for each fault. The one shape computation that may stand in a graph is the number of images of a
        dynamic batch in front of ONNX NonMaxSuppression.
    """
    view = GraphView(model)
    graph = view.graph
    both = len(graph.input) - len(_inputs(view))
    faults = [f"{both} graph inputs are initialisers too"] if both else []
    versions = Counter(entry.domain for entry in model.opset_import)
    faults += [
        f"opset of domain '{domain}' is declared {count} times" for domain, count in versions.items() if count > 1
    ]
    unwanted = set(_NO_OPS)
    if fused:
        unwanted.add("BatchNormalization")
    if not _counts_images(graph):
        unwanted |= _SHAPE_OPS
    faults += [f"{node.op_type} is left: {label(node)}" for node in view.nodes() if node.op_type in unwanted]
    used = {name for node in view.nodes() for name in node.input} | {output.name for output in graph.output}
    faults += [f"initialiser {tensor.name} is not used" for tensor in graph.initializer if tensor.name not in used]
    known = {info.name for info in (*graph.value_info, *graph.output)}
    for node in graph.node:
        faults += [
            f"{label(node)}: output {name} has no value_info" for name in node.output if name and name not in known
        ]
    doubles = [
        info.name
        for info in (*graph.value_info, *graph.input, *graph.output)
        if info.type.tensor_type.elem_type == TensorProto.DOUBLE
    ]
    doubles += [tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.DOUBLE]
    faults += [f"{name} is float64" for name in doubles]
    return faults


def _counts_images(graph: onnx.GraphProto) -> bool:
    """True where ONNX NMS needs the number of images of a dynamic batch."""
    has_nms = any(node.op_type == "NonMaxSuppression" for node in graph.node)
    dynamic = any(dim.dim_param == BATCH_AXIS for info in graph.input for dim in info.type.tensor_type.shape.dim[:1])
    return has_nms and dynamic


def _inputs(view: GraphView) -> list[onnx.ValueInfoProto]:
    """Graph inputs that are fed: IR versions below 4 list initialisers among them."""
    constants = {tensor.name for tensor in view.graph.initializer}
    return [info for info in view.graph.input if info.name not in constants]


def _whole(severity: Severity, rule: str, message: str, source: str) -> Finding:
    return Finding(severity=severity, node="", rule=rule, message=message, source=source)


def _dtype(row: ParserRow, name: str, message: str, severity: Severity = "error") -> Finding:
    return Finding(severity=severity, node=name, rule="dtype", message=message, source=row.source)
