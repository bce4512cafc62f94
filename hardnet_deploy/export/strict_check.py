# ruff: noqa: TID253  (this module is onnx code; whoever imports it wants onnx)
"""The ONNX checker and strict inference of shapes and element types, which nothing that is written may fail."""

from __future__ import annotations

import onnx

from hardnet_deploy.errors import ExportError


def check_strictly(model: onnx.ModelProto, *, what: str) -> None:
    """Refuse a model that is not valid ONNX, or that declares other shapes or element types than it computes.

    Args:
        model: Left as it is.
        what: It, in words, for the message.

    Raises:
        ExportError: It fails.
    """
    try:
        onnx.checker.check_model(model)
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"{what} fails the ONNX checker", got=str(error)) from error
