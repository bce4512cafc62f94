# ruff: noqa: TID253  (this module is torch and onnx code; whoever imports it wants both)
"""A registered network as one self-contained ONNX model.

The graph is written directly, from the traced network, at the opset that was asked for. Neither of PyTorch's exporters
is used: see docs/adr/0003-own-onnx-writer.md.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from torch import nn

from hardnet_deploy.errors import ExportError
from hardnet_deploy.export.detection_tail import write_detection_tail
from hardnet_deploy.export.graph_builder import GraphBuilder
from hardnet_deploy.export.network import NetworkWriter
from hardnet_deploy.export.nms import write_efficient_nms, write_onnx_nms
from hardnet_deploy.export.options import GraphOptions, output_names
from hardnet_deploy.export.strict_check import check_strictly
from hardnet_deploy.models.trace import trace
from hardnet_deploy.specs import ModelSpec


def build_graph(
    model: nn.Module, spec: ModelSpec, options: GraphOptions, *, renames: Mapping[str, str], doc: str
) -> onnx.ModelProto:
    """Write ``model`` as ONNX.

    Args:
        model: In eval mode, float32, fused or not.
        spec: What it is.
        options: What the graph looks like.
        renames: Folded convolution to the batch norm it absorbed, so that tensors keep their names.
        doc: Stored as the graph's doc string.

    Returns:
        A model that passed the ONNX checker and strict shape inference, with the opset that was asked for.

    Raises:
        ExportError: A layer has no writer, or the result fails a check.
    """
    builder = GraphBuilder(opset=options.opset, name=spec.name)
    NetworkWriter(builder, trace(model, renames=renames), batch=options.batch, size=spec.preprocess.size).write()
    if spec.head is not None and options.outputs != "raw":
        write_detection_tail(builder, spec.head)
        if options.outputs == "detections":
            assert options.thresholds is not None
            if options.nms == "efficient":
                write_efficient_nms(builder, options.thresholds)
            else:
                write_onnx_nms(builder, spec.head, options.thresholds)
    exported = builder.model(output_names(spec, options), doc=doc)
    _check(exported, options)
    return exported


def _check(model: onnx.ModelProto, options: GraphOptions) -> None:
    written = {entry.domain: entry.version for entry in model.opset_import}
    if written.get("") != options.opset:
        raise ExportError(f"the graph came out with opset {written.get('')}", wanted=f"opset {options.opset}")
    check_strictly(model, what="the exported graph")
