# ruff: noqa: TID253  (this module is onnx code; whoever imports it wants onnx)
"""An fp16-typed graph as a float32 graph that rounds to float16 wherever the original stores float16.

ONNX Runtime's CPU kernels compute most float16 operators in float32 and keep what lies between two of them in float32
(measured: onnxruntime 1.31.1; an L2 norm typed as float16 does not overflow there). A GPU does store it. So each
float16 tensor is made in float32 here, cast to float16 and cast back, which ONNX Runtime leaves alone: sums are
float32's, as tensor cores' are, and every result has float16's 11 bits and its range.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FULL: Final = TensorProto.FLOAT
HALF: Final = TensorProto.FLOAT16
_EXACT: Final = frozenset(
    {"Concat", "Flatten", "Gather", "Identity", "MaxPool", "Relu", "Reshape", "Slice", "Split", "Squeeze", "Transpose"}
    | {"Unsqueeze"}
)
"""Operators whose results are among what they read, or 0: rounded already."""


def is_half_typed(model: onnx.ModelProto) -> bool:
    """True where the main graph stores or declares float16."""
    graph = model.graph
    return any(tensor.data_type == HALF for tensor in graph.initializer) or any(
        info.type.tensor_type.elem_type == HALF for info in (*graph.value_info, *graph.output)
    )


def rounded_to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same computation in float32 operators, rounded to float16 where ``model`` makes float16.

    Names of tensors stay; what was float16 holds the same numbers as float32, outputs too.

    Args:
        model: With float32 inputs and without inner graphs; left as it is.
    """
    graph = model.graph
    declared = {info.name: info for info in (*graph.value_info, *graph.output)}
    if any(name not in declared for node in graph.node for name in node.output if name):
        declared = {
            info.name: info
            for inferred in [onnx.shape_inference.infer_shapes(model).graph]
            for info in (*inferred.value_info, *inferred.output)
        }
    half = {name for name, info in declared.items() if info.type.tensor_type.elem_type == HALF}
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for field, kept in (
        (made.graph.node, [part for node in graph.node for part in _rounding(node, half)]),
        (made.graph.initializer, [_widened(tensor) for tensor in graph.initializer]),
        (made.graph.value_info, []),
    ):
        del field[:]
        field.extend(kept)
    for info in made.graph.output:
        if info.type.tensor_type.elem_type == HALF:
            info.type.tensor_type.elem_type = FULL
    return made


def _rounding(node: onnx.NodeProto, half: set[str]) -> Iterator[onnx.NodeProto]:
    """The node in float32, and behind it the rounding of each output that is float16."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for attribute in copy.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == HALF:
            attribute.i = FULL
        elif attribute.t.data_type == HALF:
            attribute.t.CopyFrom(_widened(attribute.t))
    rounds = [] if node.op_type in _EXACT else [name for name in node.output if name in half]
    copy.output[:] = [f"{name}.exact" if name in rounds else name for name in node.output]
    yield copy
    for name in rounds:
        yield helper.make_node("Cast", [f"{name}.exact"], [f"{name}.stored"], f"{name}.store", to=HALF)
        yield helper.make_node("Cast", [f"{name}.stored"], [name], f"{name}.load", to=FULL)


def _widened(tensor: TensorProto) -> TensorProto:
    if tensor.data_type != HALF:
        return tensor
    values: Any = numpy_helper.to_array(tensor)
    return numpy_helper.from_array(values.astype(np.float32), tensor.name)
