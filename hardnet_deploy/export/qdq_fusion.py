"""What ONNX Runtime's CPU kernels ask of a graph with QuantizeLinear and DequantizeLinear, to compute on integers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np

from hardnet_deploy.export.graph_view import DEQUANTIZE, QDQ, QUANTIZE, Finding, GraphView, label, node_finding
from hardnet_deploy.export.qdq_rules import FUSED_ACTIVATIONS, per_channel_opset

if TYPE_CHECKING:
    import onnx

_ONNXRUNTIME: Final = "microsoft/onnxruntime:onnxruntime/core/optimizer/qdq_transformer"
_PARAMETERS: Final = 2


def check_onnxruntime_fusion(view: GraphView) -> Iterator[Finding]:
    """Convolutions that ONNX Runtime's CPU kernels compute in float although what they read is quantised.

    A convolution becomes QLinearConv where one QuantizeLinear alone (or equal ones) reads what it makes, perhaps behind
    a ReLU or Clip that this rounding does by itself.
    """
    for node in view.nodes():
        if node.op_type in QDQ and len(node.input) > 1:
            yield from per_channel_opset(node, view)
    for node in view.graph.node:
        if node.op_type == "Conv" and view.is_made_by(node.input[0], {DEQUANTIZE}):
            reason = _why_float(node, view)
            if reason:
                message = f"it stays float in ONNX Runtime, though its input is quantised: {reason}"
                yield node_finding("warning", node, "qdq-stays-float", message, _ONNXRUNTIME)


def _why_float(node: onnx.NodeProto, view: GraphView) -> str | None:
    outputs = {output.name for output in view.graph.output}
    name, activation = node.output[0], None
    readers = view.readers(name)
    if len(readers) == 1 and readers[0].op_type in FUSED_ACTIVATIONS and name not in outputs:
        activation = readers[0]
        name = activation.output[0]
        readers = view.readers(name)
    if not any(reader.op_type == QUANTIZE for reader in readers):
        return f"no QuantizeLinear reads {name}"
    if len({(reader.op_type, *reader.input) for reader in readers}) > 1 or name in outputs:
        return f"one QuantizeLinear is not all that reads {name}"
    if activation is not None and not _rounding_does(activation, readers[0], view):
        return f"the integers of {name} reach beyond what {label(activation)} lets through; uint8 from 0 does not"
    return None


def _rounding_does(activation: onnx.NodeProto, quantize: onnx.NodeProto, view: GraphView) -> bool:
    """True where no integer stands for a value that the activation would cut off."""
    parameters = [view.constant(name) for name in quantize.input[1:]]
    if len(parameters) != _PARAMETERS or any(one is None or one.size != 1 for one in parameters):
        return False
    scale, zero = (one.reshape(-1)[0] for one in parameters if one is not None)
    integers = np.iinfo(zero.dtype)
    if activation.op_type == "Relu":
        return int(zero) == integers.min
    bounds = [view.constant(name) for name in activation.input[1:]]
    if len(bounds) != 2 or any(bound is None for bound in bounds):
        return False
    low, high = (float(bound.reshape(-1)[0]) for bound in bounds if bound is not None)
    reach = [float(scale * np.float32(end - int(zero))) for end in (integers.min, integers.max)]
    tolerance = float(np.finfo(np.float32).eps)
    return low - reach[0] <= tolerance and reach[1] - high <= tolerance
