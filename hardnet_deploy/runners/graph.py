# ruff: noqa: TID253  (this module is onnx code; whoever imports it wants onnx)
"""Reading an ONNX model and cutting parts out of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import helper, numpy_helper

from hardnet_deploy.errors import InputFileError
from hardnet_deploy.nms.efficient import PLUGIN_OP
from hardnet_deploy.specs import TensorInfo, Thresholds


def parse_model(content: bytes, *, source: str) -> onnx.ModelProto:
    """The model in ``content``, checked.

    Args:
        content: A serialised ModelProto.
        source: Where it came from, for messages.

    Raises:
        InputFileError: Not ONNX, truncated, with external data, or failing the ONNX checker.
    """
    foreign = f"{source} is not an ONNX model, or is cut short"
    again = f"export it again, or check where {source} comes from"
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise InputFileError(foreign, got=f"{len(content)} bytes", next_step=again) from error
    if not model.graph.node:
        raise InputFileError(foreign, got="a graph without nodes", next_step=again)
    if any(isinstance(text, bytes) for text in _texts(model.graph)):
        raise InputFileError(f"{source} is damaged", got="a name that is not text", next_step=again)
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(model.graph)):
        raise InputFileError(
            f"{source} keeps its weights in other files",
            wanted="one self-contained ONNX file",
            next_step="save it with its external data embedded",
        )
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # besides ValidationError whatever the checker meets in a damaged file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputFileError(f"{source} fails the ONNX checker", got=reason, next_step=again) from error
    return model


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every stored tensor, those in attributes and inner graphs too."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def _texts(graph: onnx.GraphProto) -> Iterator[object]:
    """Every name in the graph; protobuf gives bytes instead of str where one is not UTF-8."""
    yield graph.name
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        yield value.name
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)


def tensor_infos(values: Sequence[onnx.ValueInfoProto]) -> tuple[TensorInfo, ...]:
    """Names, element types and shapes (-1 for dynamic dimensions) of graph inputs or outputs.

    Raises:
        InputFileError: One is no tensor, or of an element type that does not exist.
    """
    infos = []
    for value in values:
        kind = value.type.tensor_type
        shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim)
        try:
            dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type).name
        except KeyError:
            raise InputFileError(f"'{value.name}' is no tensor of a known type", got=f"type {kind.elem_type}") from None
        infos.append(TensorInfo(name=value.name, dtype=dtype, shape=shape))
    return tuple(infos)


def tensor_names(model: onnx.ModelProto) -> tuple[str, ...]:
    """Every tensor that a node makes, in topological order."""
    return tuple(name for node in model.graph.node for name in node.output if name)


def cut(model: onnx.ModelProto, outputs: Sequence[str], *, inputs: Sequence[str] = ()) -> onnx.ModelProto:
    """The part of ``model`` that computes ``outputs``, as a model of its own.

    Args:
        model: Left as it is.
        outputs: Tensors of the graph that become its outputs.
        inputs: Tensors of the graph that become inputs instead of being computed.

    Raises:
        InputFileError: A tensor is not in the graph, or its shape is not known.
    """
    graph = model.graph
    known = {value.name: value for value in (*graph.value_info, *graph.input, *graph.output)}
    absent = [name for name in (*outputs, *inputs) if name not in known]
    if absent:
        raise InputFileError(
            f"the graph has no tensor called {', '.join(absent)}", next_step="export the model again with this version"
        )
    producers = {name: node for node in graph.node for name in node.output}
    needed: set[str] = set()
    pending = list(outputs)
    while pending:
        name = pending.pop()
        if name in needed:
            continue
        needed.add(name)
        if name not in inputs and name in producers:
            pending += [source for source in producers[name].input if source]
    computed = [node for node in graph.node if any(name in needed and name not in inputs for name in node.output)]
    read = {name for node in computed for name in node.input}
    part = helper.make_graph(
        computed,
        graph.name,
        [value for value in graph.input if value.name in needed and value.name not in inputs]
        + [known[name] for name in inputs],
        [known[name] for name in outputs],
        initializer=[tensor for tensor in graph.initializer if tensor.name in read],
    )
    return helper.make_model(part, opset_imports=model.opset_import, ir_version=model.ir_version)


def nms_thresholds(model: onnx.ModelProto) -> Thresholds | None:
    """What the graph's own NMS keeps, read from its node; None where there is no NMS or its numbers are computed."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == PLUGIN_OP:
            found = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
            names = ("score_threshold", "iou_threshold", "max_output_boxes")
            if all(name in found for name in names):
                score, iou, kept = (found[name] for name in names)
                return Thresholds(score=_shortest(score), iou=_shortest(iou), max_detections=int(kept))
        if node.op_type == "NonMaxSuppression" and all(name in constants for name in node.input[2:5]):
            values = [numpy_helper.to_array(constants[name]).reshape(-1)[:1] for name in node.input[2:5]]
            if len(values) == 3 and all(value.size for value in values):
                kept, iou, score = (value[0] for value in values)
                return Thresholds(score=_shortest(score), iou=_shortest(iou), max_detections=int(kept))
    return None


def _shortest(value: float) -> float:
    """The float32 ``value`` as the shortest decimal that means it: 0.45, not 0.44999998807907104."""
    return float(str(np.float32(value)))
