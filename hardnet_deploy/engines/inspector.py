"""What TensorRT made of each ONNX node, from its engine inspector: never guessed, and ``unknown`` where it is not told.

An engine's layers are not the graph's nodes: the builder fuses ``conv`` and ``relu`` into ``conv + relu``, wraps
pointwise operators as ``PWN(relu)``, joins convolutions that read the same as ``a || b``, and hands whole subgraphs to
its compiler as ``{ForeignNode[a...b]}``. From 8.6 on a layer may also list its nodes, as ``[ONNX Layer: conv]``.

Sources: the layer names in NVIDIA/TensorRT@v8.6.1:tools/experimental/trt-engine-explorer, and there
``trex/parser.py``; ``Metadata`` in NVIDIA/TensorRT@v10.0.1:include/NvInfer.h (ILayer::setMetadata).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from hardnet_deploy.device import run_engine

UNKNOWN: Final = "unknown"
RANK: Final[Mapping[str, int]] = {"fp32": 0, "fp16": 1, "int8": 2}
_METADATA: Final = re.compile(r"\[ONNX Layer: (.*?)\]")
_COPY: Final = re.compile(r"Reformatting CopyNode|ForeignNode\[")
_SEPARATORS: Final = re.compile(r" \+ | \|\| |, |PWN\(|[()]")
_SECOND_LAYER: Final = re.compile(r"_\d+$")


def achieved_precisions(text: str | None, nodes: Collection[str]) -> dict[str, str]:
    """What each of these ONNX nodes computes in.

    Args:
        text: The inspector's JSON, in the form of 8.2 to 10 (``Bindings``) or of 11 (``I/O Tensors``); None without.
        nodes: Names of ONNX nodes that carry weights: a layer computes in the type of its weights.

    Returns:
        ``fp32``, ``fp16``, ``int8`` or another of the inspector's words by node; ``unknown`` for a node that no layer
        names, that layers of different precisions name, or that shares a layer with another of ``nodes`` unless they
        were merged side by side.
    """
    names = frozenset(nodes)
    told = run_engine.layer_precisions(text)
    found: dict[str, set[str]] = {}
    for layer in _layers(text):
        title = str(layer.get("Name", "?"))
        held = _nodes_of(title, str(layer.get("Metadata", "")), names)
        mixed = len(held) > 1 and " || " not in title
        for node in held:
            found.setdefault(node, set()).add(UNKNOWN if mixed else told.get(title, UNKNOWN))
    return {node: next(iter(found[node])) if len(found.get(node, ())) == 1 else UNKNOWN for node in nodes}


def fallbacks(requested: Mapping[str, str], achieved: Mapping[str, str]) -> tuple[str, ...]:
    """Nodes that were asked for INT8 or FP16 and run in FP32; an unknown one is none of them."""
    return tuple(name for name, asked in requested.items() if asked != "fp32" and achieved.get(name) == "fp32")


def lower_than_asked(requested: Mapping[str, str], achieved: Mapping[str, str]) -> tuple[str, ...]:
    """Nodes that were asked for INT8 and run in FP16: the builder found that faster."""
    return tuple(name for name, asked in requested.items() if asked == "int8" and achieved.get(name) == "fp16")


def _layers(text: str | None) -> Iterator[Mapping[str, Any]]:
    for layer in json.loads(text).get("Layers", []) if text else ():
        yield layer if isinstance(layer, dict) else {"Name": layer}


def _nodes_of(title: str, metadata: str, names: frozenset[str]) -> set[str]:
    """Which of ``names`` a layer holds."""
    if title.startswith("Reformatting CopyNode"):
        return set()
    listed = set(_METADATA.findall(metadata))
    if listed:
        return listed & names
    if _COPY.search(title):
        return set()
    parts = {part.strip() for part in _SEPARATORS.split(title)} | {title}
    return {part if part in names else _SECOND_LAYER.sub("", part) for part in parts} & names
