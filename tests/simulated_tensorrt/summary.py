"""Layers of an engine as the inspector tells of them: a convolution and its ReLU are one. Runs on the host's Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx

from simulated_tensorrt.importer import QDQ, WEIGHTED, constants

_WEIGHT_TYPES = {"INT8": "Int8", "HALF": "Half", "FLOAT": "Float"}


def engine_layers(model: onnx.ModelProto, about: Mapping[str, Any], modes: list[str]) -> list[dict[str, Any]]:
    """One record a layer; Q/DQ are part of what they surround, constants of what reads them."""
    graph = model.graph
    readers: dict[str, list[int]] = {}
    for number, node in enumerate(graph.node):
        for name in node.input:
            readers.setdefault(name, []).append(number)
    outputs = {value.name for value in graph.output}
    known = constants(graph)
    layers, fused = [], set[int]()
    for number, node in enumerate(graph.node):
        if node.op_type in (*QDQ, "Constant") or number in fused:
            continue
        group = [number]
        followers = readers.get(node.output[0], [])
        if node.op_type in WEIGHTED and len(followers) == 1 and node.output[0] not in outputs:
            after = followers[0]
            if graph.node[after].op_type == "Relu":
                group.append(after)
                fused.add(after)
        layers.append(_record(graph, group, about, modes[number], known))
    return layers


def _record(
    graph: onnx.GraphProto, group: list[int], about: Mapping[str, Any], mode: str, known: Mapping[str, Any]
) -> dict[str, Any]:
    nodes = [graph.node[number] for number in group]
    names = [node.name or node.output[0] for node in nodes]
    first, last = nodes[0], nodes[-1]
    layer = next(one for one in about["layers"] if one["node"] == group[0])
    plugin = first.op_type if layer["types"][0] == "PLUGIN_V2" else None
    weighted = first.op_type in WEIGHTED
    weight = known.get(first.input[1]) if weighted else None
    return {
        "name": " + ".join(names),
        "nodes": names,
        "precision": mode,
        "layer_type": "PluginV2" if plugin else "CaskConvolution" if weighted else layer["types"][0].title(),
        "parameter_type": "PluginV2" if plugin else layer["types"][0].title(),
        "plugin": plugin,
        "weights": _WEIGHT_TYPES[mode] if weighted else None,
        "weight_count": 0 if weight is None else int(weight.size),
        "inputs": [_io(name, about, mode) for name in first.input if name and name in about["tensors"]],
        "outputs": [_io(name, about, "HALF" if mode == "HALF" else "FLOAT") for name in last.output],
    }


def _io(name: str, about: Mapping[str, Any], mode: str) -> dict[str, Any]:
    tensor = about["tensors"][name]
    dtype = mode if tensor["dtype"] in {"FLOAT", "HALF"} else tensor["dtype"]
    return {"name": name, "dtype": dtype, "shape": tensor["shape"]}
