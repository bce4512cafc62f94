# ruff: noqa: TID253  (this module is onnx code; whoever imports it wants onnx)
"""Another NMS, or none, at the end of an exported graph: the plugin for TensorRT, standard ONNX for ONNX Runtime."""

from __future__ import annotations

import onnx

from hardnet_deploy.errors import ExportError
from hardnet_deploy.export.graph_builder import Dim, GraphBuilder
from hardnet_deploy.export.nms import write_efficient_nms, write_onnx_nms
from hardnet_deploy.specs import DetectorHead, Thresholds
from hardnet_deploy.target_spec import NmsKind
from hardnet_deploy.tensor_names import BOXES, DETECTION_OUTPUTS, SCORES


def without_nms(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph up to ``boxes`` and ``scores``, which become its outputs.

    Raises:
        ExportError: It has no such tensors.
    """
    known = {value.name: value for value in (*model.graph.value_info, *model.graph.output)}
    if not {BOXES, SCORES} <= set(known):
        raise ExportError(
            "the graph has no tensors 'boxes' and 'scores'", next_step="export it with --outputs detections or boxes"
        )
    producers = {name: node for node in model.graph.node for name in node.output}
    pending, needed = [BOXES, SCORES], set()
    while pending:
        name = pending.pop()
        if name not in needed:
            needed.add(name)
            pending += producers[name].input if name in producers else []
    found = onnx.ModelProto()
    found.CopyFrom(model)
    graph = found.graph
    nodes = [node for node in model.graph.node if needed.intersection(node.output)]
    inner = {name for node in nodes for name in node.output} - {BOXES, SCORES}
    del graph.node[:], graph.output[:], graph.value_info[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.output.extend([known[BOXES], known[SCORES]])
    graph.value_info.extend(value for value in model.graph.value_info if value.name in inner)
    graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in needed)
    domains = {node.domain for node in nodes} | {""}
    kept = [one for one in model.opset_import if one.domain in domains or one.domain == "ai.onnx"]
    del found.opset_import[:]
    found.opset_import.extend(kept)
    return found


def with_nms(model: onnx.ModelProto, kind: NmsKind, head: DetectorHead, thresholds: Thresholds) -> onnx.ModelProto:
    """The graph with this NMS at its end, in place of whatever followed ``boxes`` and ``scores``.

    Raises:
        ExportError: It has no such tensors, or the plugin does not honour the thresholds.
    """
    found = without_nms(model)
    opset = next(one.version for one in found.opset_import if one.domain in {"", "ai.onnx"})
    builder = GraphBuilder(opset=opset, name=found.graph.name)
    for value in found.graph.output:
        builder.input(value.name, _dims(value))
    if kind == "efficient":
        write_efficient_nms(builder, thresholds)
    else:
        write_onnx_nms(builder, head, thresholds)
    end = builder.model(DETECTION_OUTPUTS, doc="")
    heads = list(found.graph.output)
    del found.graph.output[:]
    found.graph.value_info.extend([*heads, *end.graph.value_info])
    found.graph.node.extend(end.graph.node)
    found.graph.initializer.extend(end.graph.initializer)
    found.graph.output.extend(end.graph.output)
    found.opset_import.extend(one for one in end.opset_import if one.domain)
    return found


def _dims(value: onnx.ValueInfoProto) -> tuple[Dim, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in dims)
