"""ONNX graphs built by hand for the fold's tests, and two ways to run them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

Array = NDArray[Any]
IR_VERSION = 8  # read by every ONNX Runtime since 1.10


def arrays(**shapes: tuple[int, ...]) -> dict[str, Array]:
    rng = np.random.default_rng(11)
    return {name: rng.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes.items()}


def batchnorm_arrays(channels: int, prefix: str = "bn") -> dict[str, Array]:
    rng = np.random.default_rng(7)
    ranges = {"scale": (-2, 2), "shift": (-1, 1), "mean": (-1, 1), "var": (0.2, 3)}
    return {f"{prefix}.{name}": rng.uniform(*ends, channels).astype(np.float32) for name, ends in ranges.items()}


def batchnorm(source: str, output: str = "out", prefix: str = "bn", **attributes: Any) -> onnx.NodeProto:
    inputs = [source, *(f"{prefix}.{name}" for name in ("scale", "shift", "mean", "var"))]
    return helper.make_node("BatchNormalization", inputs, [output], name=prefix, **attributes)


def conv(
    inputs: Sequence[str], output: str = "y", *, name: str = "conv", op: str = "Conv", **attributes: Any
) -> onnx.NodeProto:
    return helper.make_node(op, list(inputs), [output], name=name, **attributes)


def model(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, Array],
    *,
    outputs: Sequence[str] = ("out",),
    rank: int = 4,
    opset: int = 13,
    ir_version: int = IR_VERSION,
    more_inputs: Sequence[str] = (),
    value_info: Sequence[str] = (),
    checked: bool = True,
) -> onnx.ModelProto:
    """Input ``x``; every output of ``rank`` unknown dimensions; the element type is that of the first constant."""
    kind = helper.np_dtype_to_tensor_dtype(next(iter(constants.values())).dtype) if constants else TensorProto.FLOAT

    def value(name: str, dimensions: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, [None] * dimensions)

    inputs = [value("x", rank), *(value(name, constants[name].ndim) for name in more_inputs)]
    if ir_version < 4:
        inputs += [helper.make_tensor_value_info(name, kind, array.shape) for name, array in constants.items()]
    graph = helper.make_graph(
        list(nodes),
        "graph",
        inputs,
        [value(name, rank) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
        value_info=[value(name, rank) for name in value_info],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    if checked:
        onnx.checker.check_model(made, full_check=True)
    return made


def run(model: onnx.ModelProto, x: Array) -> list[Array]:
    """In ONNX Runtime, with its own Conv-BN fusion switched off."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, {"x": x}))


def run_reference(model: onnx.ModelProto, x: Array) -> list[Array]:
    """In ONNX's own evaluator, which knows every type."""
    return list(ReferenceEvaluator(model).run(None, {"x": x}))


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def initializers(model: onnx.ModelProto) -> set[str]:
    return {tensor.name for tensor in model.graph.initializer}
