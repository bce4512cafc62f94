"""What a version's ONNX parser takes and makes of a graph. Runs on the host's Python.

Standard operators are those of ``hardnet_deploy.export.parser_table``. Texts are those of public logs where there are
some (a missing plugin, Q/DQ in onnx-tensorrt's builtin_op_importers.cpp); the others say the same in words of our own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from hardnet_deploy.export.parser_table import PARSERS

QDQ = ("QuantizeLinear", "DequantizeLinear")
WEIGHTED = ("Conv", "ConvTranspose")
TENSORRT_TYPES: dict[int, str] = {
    TensorProto.FLOAT: "FLOAT",
    TensorProto.FLOAT16: "HALF",
    TensorProto.INT8: "INT8",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.BOOL: "BOOL",
    TensorProto.UINT8: "UINT8",
}
_ELEMENTWISE = ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "MatMul", "Concat")
_LAYER_TYPES: dict[str, tuple[str, ...]] = {
    "Conv": ("CONVOLUTION",),
    "ConvTranspose": ("DECONVOLUTION",),
    "Concat": ("CONCATENATION",),
    "Softmax": ("SOFTMAX",),
    "Slice": ("SLICE",),
    "QuantizeLinear": ("QUANTIZE",),
    "DequantizeLinear": ("DEQUANTIZE",),
    "Cast": ("CAST", "IDENTITY"),
    "Gemm": ("MATRIX_MULTIPLY",),
    "MatMul": ("MATRIX_MULTIPLY",),
    "Resize": ("RESIZE",),
    "Gather": ("GATHER",),
    "TopK": ("TOPK",),
    "NonMaxSuppression": ("NMS",),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min"), ("ELEMENTWISE",)),
    **dict.fromkeys(("Relu", "Clip", "Sigmoid", "LeakyRelu"), ("ACTIVATION",)),
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool"), ("POOLING",)),
    **dict.fromkeys(("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze"), ("SHUFFLE",)),
    **dict.fromkeys(("ReduceSum", "ReduceMean", "ReduceMax", "ReduceL2"), ("REDUCE",)),
    **dict.fromkeys(("Sqrt", "Exp", "Neg", "Log", "Floor", "Abs"), ("UNARY",)),
}


@dataclass(frozen=True)
class ImportFailedError(Exception):
    """One parser error; ``node`` is the node's number, -1 where the whole graph is meant."""

    code: str
    desc: str
    func: str
    node: int = -1
    name: str = ""
    op: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "file": "builtin_op_importers.cpp" if self.node >= 0 else "ModelImporter.cpp"}


def constants(graph: onnx.GraphProto) -> dict[str, NDArray[Any]]:
    """Every stored array by name, those of Constant nodes too."""
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    found[node.output[0]] = numpy_helper.to_array(attribute.t)
    return found


def inferred(content: bytes) -> onnx.ModelProto:
    """The model with the shapes of its inner tensors, as far as they can be known."""
    return onnx.shape_inference.infer_shapes(onnx.load_model_from_string(content))


def parse(content: bytes, request: Mapping[str, Any]) -> dict[str, Any]:
    """What :class:`OnnxParser` needs: errors, lines for the log and the network."""
    log: list[tuple[str, str]] = []
    try:
        model = _load(content, request)
        for number, node in enumerate(model.graph.node):
            _check_node(model.graph, number, node, request, log)
        return {"errors": [], "log": log, "graph": describe(model, request["family"])}
    except ImportFailedError as error:
        return {"errors": [error.as_dict()], "log": log, "graph": None}


def _load(content: bytes, request: Mapping[str, Any]) -> onnx.ModelProto:
    try:
        model = inferred(content)
    except (DecodeError, ValueError, onnx.shape_inference.InferenceError) as error:
        raise ImportFailedError(
            "MODEL_DESERIALIZE_FAILED", "Failed to parse ONNX model from buffer.", "parse"
        ) from error
    if not model.graph.node:
        raise ImportFailedError("MODEL_DESERIALIZE_FAILED", "Failed to parse ONNX model from buffer.", "parse")
    if not request["explicit_batch"]:
        desc = (
            "This version of the ONNX parser only supports TensorRT INetworkDefinitions with an explicit batch "
            "dimension. Please ensure the network was created using the EXPLICIT_BATCH NetworkDefinitionCreationFlag."
        )
        raise ImportFailedError("INVALID_VALUE", desc, "importModel")
    opset = next((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), 1)
    if opset > request["opset"]:
        desc = f"the model has opset {opset}; this version of the parser imports up to opset {request['opset']}"
        raise ImportFailedError("UNSUPPORTED_GRAPH", desc, "importModel")
    return model


def _check_node(
    graph: onnx.GraphProto, number: int, node: onnx.NodeProto, request: Mapping[str, Any], log: list[tuple[str, str]]
) -> None:
    def fail(code: str, desc: str, func: str) -> ImportFailedError:
        return ImportFailedError(code, desc, func, node=number, name=node.name, op=node.op_type)

    if node.op_type not in PARSERS[request["family"]].ops:
        log.append(("INFO", f"No importer registered for op: {node.op_type}. Attempting to import as plugin."))
        if node.op_type not in request["plugins"]:
            log.append(("ERROR", f"3: getPluginCreator could not find plugin: {node.op_type} version: 1"))
            desc = (
                'Assertion failed: creator && "Plugin not found, are the plugin name, version, and namespace correct?"'
            )
            raise fail("UNSUPPORTED_NODE", desc, "importFallbackPluginImporter")
        required = {"score_threshold", "iou_threshold", "max_output_boxes", "background_class"}
        missing = sorted(required - {attribute.name for attribute in node.attribute})
        if node.op_type == "EfficientNMS_TRT" and missing and request["family"] != "8.2":
            raise fail("INVALID_NODE", f"required attributes are missing: {missing}", "importFallbackPluginImporter")
    elif node.op_type in QDQ:
        problem = _qdq_problem(node, constants(graph), request["family"])
        if problem:
            raise fail("INVALID_NODE", problem, "QuantDequantLinearHelper")


def _qdq_problem(node: onnx.NodeProto, known: Mapping[str, NDArray[Any]], family: str) -> str | None:
    inputs = [name for name in node.input if name]
    if len(inputs) != 3 and family in {"8.2", "8.6"}:
        return f"This version of TensorRT requires 3 inputs for the {node.op_type} operator."
    source, scale = known.get(inputs[0]), known.get(inputs[1])
    if node.op_type == "DequantizeLinear" and source is not None and source.dtype == np.int32:
        return "INT32 input of DequantizeLinear: TensorRT dequantises INT8 only (a quantised bias must stay FP32)"
    if scale is None or not (scale > 0).all():
        return "Assertion failed: scaleAllPositive && Scale coefficients must be build-time constants and positive"
    return _zero_problem(known.get(inputs[2])) if len(inputs) == 3 else None


def _zero_problem(zero: NDArray[Any] | None) -> str | None:
    if zero is None or zero.dtype == np.uint8:
        return "TensorRT quantises to INT8 only: the zero point has the type UINT8"
    if (zero != 0).any():
        return "Assertion failed: shiftIsAllZeros(zeroPoint) && TRT only supports symmetric quantization"
    return None


def describe(model: onnx.ModelProto, family: str) -> dict[str, Any]:
    """Tensors and layers of a graph that the parser took."""
    graph = model.graph
    tensors = {}
    for value in (*graph.input, *graph.output, *graph.value_info):
        kind = value.type.tensor_type
        shape = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim]
        tensors[value.name] = {"dtype": dtype_name(kind.elem_type, family), "shape": shape}
    stored = {tensor.name for tensor in graph.initializer}
    for name in [name for name in tensors if name in stored]:
        del tensors[name]
    for node in graph.node:
        for name in node.output:
            tensors.setdefault(name, {"dtype": "FLOAT", "shape": []})
    return {
        "inputs": [value.name for value in graph.input if value.name not in stored],
        "outputs": [value.name for value in graph.output],
        "tensors": tensors,
        "layers": list(_layers(graph, tensors, family)),
        "qdq": any(node.op_type in QDQ for node in graph.node),
    }


def dtype_name(element: int, family: str) -> str:
    """TensorRT's name of an ONNX element type; 8.x has no 64-bit integers and makes them 32 bits wide."""
    name = TENSORRT_TYPES.get(element, "FLOAT")
    return "INT32" if name == "INT64" and family in {"8.2", "8.6"} else name


def _layers(graph: onnx.GraphProto, tensors: dict[str, Any], family: Any) -> Iterator[dict[str, Any]]:
    """A layer for each node, and one for each constant that an elementwise node reads, as the parser adds them."""
    known = {tensor.name: tensor for tensor in graph.initializer}
    made: dict[str, str] = {}
    count = 0
    for number, node in enumerate(graph.node):
        inputs = []
        for name in node.input:
            if name in known and node.op_type in _ELEMENTWISE:
                if name not in made:
                    made[name] = f"(Unnamed Layer* {count}) [Constant]_output"
                    about = {"dtype": dtype_name(known[name].data_type, family), "shape": list(known[name].dims)}
                    tensors[made[name]] = about
                    yield _layer(name, ("CONSTANT",), [], [made[name]], -1, "Constant")
                    count += 1
                inputs.append(made[name])
            elif name and name not in known:
                inputs.append(name)
        types = _LAYER_TYPES.get(node.op_type)
        if types is None:
            types = ("PLUGIN_V2",) if node.op_type not in PARSERS[family].ops else ("IDENTITY",)
        name = node.name or f"(Unnamed Layer* {count}) [{types[0].title()}]"
        yield _layer(name, types, inputs, list(node.output), number, node.op_type)
        count += 1


def _layer(
    name: str, types: tuple[str, ...], inputs: list[str], outputs: list[str], node: int, op: str
) -> dict[str, Any]:
    return {"name": name, "types": list(types), "inputs": inputs, "outputs": outputs, "node": node, "op": op}


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes by name."""
    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
