# ruff: noqa: TID253  (this module is onnx code; whoever imports it wants onnx)
"""What each node that carries weights is asked to compute in: by its types in the graph, else by flags and layers."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import onnx
from onnx import TensorProto

from hardnet_deploy.export.graph_patterns import WEIGHTED
from hardnet_deploy.export.graph_view import label
from hardnet_deploy.target_spec import Precision


def requested_precisions(
    model: onnx.ModelProto,
    *,
    flags: Collection[Precision] = (),
    fp32_layers: Collection[str] = (),
    scaled: Collection[str] = (),
) -> dict[str, Precision]:
    """Precision by node, in topological order.

    Args:
        model: As TensorRT gets it.
        flags: Precisions that a weakly typed build may use; empty for a strongly typed one.
        fp32_layers: Nodes that the build is told to keep in FP32.
        scaled: Tensors with an INT8 scale of a calibration; a convolution that reads one is asked to be INT8.
    """
    dequantised = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    half = _half_tensors(model)
    found: dict[str, Precision] = {}
    for node in model.graph.node:
        if node.op_type not in WEIGHTED or len(node.input) < 2:
            continue
        name = label(node)
        if {node.input[0], node.input[1]} <= dequantised:
            found[name] = "int8"
        elif node.input[1] in half:
            found[name] = "fp16"
        elif name in fp32_layers:
            found[name] = "fp32"
        elif "int8" in flags and node.op_type == "Conv" and node.input[0] in scaled:
            found[name] = "int8"
        else:
            found[name] = "fp16" if "fp16" in flags else "fp32"
    return found


def _half_tensors(model: onnx.ModelProto) -> set[str]:
    return set(_float16(model))


def _float16(model: onnx.ModelProto) -> Iterator[str]:
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            yield tensor.name
    for value in model.graph.value_info:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            yield value.name
