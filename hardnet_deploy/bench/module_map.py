"""Which part of a HarDNet an engine's layer belongs to, told by the names it carries.

Nodes and tensors are named after the modules of the original network (:mod:`hardnet_deploy.models.trace`), and engines
keep those names inside the titles that they give their layers: ONNX Runtime appends (``base.0.relu_nchwc``,
``base.0.conv_token_29``), TensorRT joins (``base.0.conv + base.0.relu``, ``loc.0 || conf.0``, ``PWN(base.0.relu)``,
``{ForeignNode[a...b]}``; NVIDIA/TensorRT@v8.6.1:tools/experimental/trt-engine-explorer).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from hardnet_deploy.tensor_names import BOXES, CONF, DETECTION_OUTPUTS, INPUT, LOC, LOGITS, SCORES

STEM: Final = "stem"
BLOCK: Final = "block"
CONCATENATIONS: Final = "concatenations"
TRANSITIONS: Final = "transitions"
BRIDGE: Final = "bridge"
EXTRAS: Final = "extras"
L2NORM: Final = "L2Norm"
HEADS: Final = "heads"
CLASSIFIER: Final = "classifier"
DECODE: Final = "softmax and decode"
NMS: Final = "NMS"
REFORMATS: Final = "reformats"
OTHER: Final = "other"
_ORDER: Final = (
    STEM,
    BLOCK,
    CONCATENATIONS,
    TRANSITIONS,
    BRIDGE,
    EXTRAS,
    L2NORM,
    HEADS,
    CLASSIFIER,
    DECODE,
    NMS,
    REFORMATS,
    OTHER,
)
_STEM_MODULES: Final = 3
"""Items of ``base`` before the first block: two convolutions and a downsampling."""
_SEPARATORS: Final = re.compile(r" \+ | \|\| |, |\.\.\.|PWN\(|ForeignNode\[|[()\[\]{}\x1e]")
_APPENDED: Final = re.compile(r"(_token_\d+|_nchwc|_kernel_time|/.*|_dq|\s+copy|_clone_\d+)+$")
_SECOND_LAYER: Final = re.compile(r"_\d+$")
_CONVERSION: Final = re.compile(r"\.(quantize|dequantize|quantized|dequantized|to_fp16|to_fp32|fp16|fp32)$")
_REFORMAT: Final = re.compile(r"^(Reformatting CopyNode|Reorder(Input|Output)\b|Reorder(Input|Output)_|Reformat)")
_INSERTED: Final = re.compile(r"^(Transpose|Cast|InsertedPrecisionFreeCast|(Q|Deq)uantizeLinear|Reshape)(_|$)")
_REFORMAT_TYPES: Final = frozenset({"Reformat", "ReorderInput", "ReorderOutput", "NoOp"})
UNTOLD: Final = "the engine put it in, and does not tell for which layer"
_OUTSIDE: Final[Mapping[str, str]] = {
    "bridge": BRIDGE,
    "extras": EXTRAS,
    "L2Norm": L2NORM,
    LOC: HEADS,
    CONF: HEADS,
    LOGITS: CLASSIFIER,
    INPUT: REFORMATS,
    **dict.fromkeys(("decode", "priors", BOXES, SCORES), DECODE),
    **dict.fromkeys(("nms", *DETECTION_OUTPUTS), NMS),
}
"""Group of a name that is not in ``base``, by its first part. Of the input itself there is only its conversion."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a layer belongs.

    Args:
        module: Path in the original network, such as ``base.3.layers.1``; empty where nothing tells it.
        group: One of this module's names; of a HarDBlock ``block base.3``.
        reason: Why it is in no better group than ``other``, or has no module; None for the rest.
    """

    module: str
    group: str
    reason: str | None = None


def place(title: str, *, detector: bool, op: str = "", nodes: Collection[str] = ()) -> Place:
    """Where an engine's layer belongs.

    Args:
        title: As the engine calls it.
        detector: Whether the network is one: it decides what the last items of ``base`` are.
        op: The engine's or ONNX's word for what it does.
        nodes: ONNX nodes that it holds, or tensors that it makes, where the engine tells them: for titles without any
            name of the network.
    """
    held = _places(parts(title), detector=detector) or _places(nodes, detector=detector)
    named = [one for one in held if one.group != REFORMATS]
    if title.endswith(" copy") and named:  # TensorRT's concatenation: each part is copied into its place
        return Place(module=named[0].module, group=CONCATENATIONS)
    if _REFORMAT.match(title) or op in _REFORMAT_TYPES or (held and not named):
        module = held[0].module if held else ""
        return Place(module=module, group=REFORMATS, reason=None if module else UNTOLD)
    if named:
        return _joined(named)
    if _INSERTED.match(title):
        return Place(module="", group=REFORMATS, reason=UNTOLD)
    return Place(module="", group=OTHER, reason="the engine's title holds no name of the network")


def parts(title: str) -> tuple[str, ...]:
    """The names inside a title, without what the engine appended; each may be a node or a tensor."""
    if title.startswith("Reformatting CopyNode"):
        title = re.split(r" (?:to|from) ", title, maxsplit=1)[-1]
    found = (_APPENDED.sub("", part.strip()) for part in _SEPARATORS.split(title))
    return tuple(part for part in found if part)


def group_order(group: str) -> tuple[int, int]:
    """Sorts groups as data flow through them."""
    kind, _, path = group.partition(" base.")
    return _ORDER.index(kind if path else group), int(path) if path else 0


def is_float_island(group: str) -> bool:
    """True for what stays FP32 in every engine that hardnet-deploy builds."""
    return group in {L2NORM, DECODE, NMS}


def _joined(named: list[Place]) -> Place:
    groups = dict.fromkeys(one.group for one in named)
    modules = list(dict.fromkeys(one.module for one in named))
    module = modules[0] if len(modules) == 1 else f"{modules[0]} ... {modules[-1]}"
    kernels = [group for group in groups if group != CONCATENATIONS]
    if len(groups) == 1:
        return Place(module=module, group=named[0].group)
    if len(kernels) == 1 and kernels[0].startswith(BLOCK):
        return Place(module=module, group=kernels[0])  # a convolution that writes into, or reads through, a Concat
    return Place(module=module, group=OTHER, reason=f"one layer of the engine holds {', '.join(groups)}")


def _places(names: Collection[str], *, detector: bool) -> list[Place]:
    return [found for found in (_own(name, detector=detector) for name in names) if found]


def _own(name: str, *, detector: bool) -> Place | None:
    """Place of one name of ours; None for a foreign one."""
    conversion = _CONVERSION.search(name)
    plain = _CONVERSION.sub("", name)
    head, _, rest = plain.partition(".")
    found = _base(rest, detector=detector) if head == "base" else _outside(head, rest)
    if found is None and _SECOND_LAYER.search(plain):
        return _own(_SECOND_LAYER.sub("", plain), detector=detector)
    if found is None or not conversion:
        return found
    return Place(module=found.module, group=REFORMATS)


def _base(path: str, *, detector: bool) -> Place | None:
    index, _, rest = path.partition(".")
    index = _SECOND_LAYER.sub("", index)
    if not index.isdecimal():
        return None
    item, kind = f"base.{index}", rest.split(".")[0]
    if kind == "layers":
        return Place(module=f"{item}.layers.{_first_number(rest)}", group=f"{BLOCK} {item}")
    if kind in {"in", "out"} or kind.startswith("out_"):
        return Place(module=f"{item}.{_SECOND_LAYER.sub('', rest)}", group=CONCATENATIONS)
    if int(index) < _STEM_MODULES:
        return Place(module=item, group=STEM)
    if kind.split("_")[0].isdecimal():
        return Place(module=item, group=BRIDGE if detector else CLASSIFIER)
    return Place(module=item, group=TRANSITIONS)


def _outside(head: str, rest: str) -> Place | None:
    """Place of what is not in ``base``."""
    group = _OUTSIDE.get(head)
    if group is None:
        return None
    if group in {BRIDGE, EXTRAS, HEADS}:
        return Place(module=f"{head}.{_first_number(rest)}" if rest else head, group=group)
    if group in {NMS, DECODE} and head not in {"boxes", "scores"}:
        head = "nms" if group == NMS else "decode"
    return Place(module=head, group=group)


def _first_number(path: str) -> str:
    found = re.search(r"\d+", path)
    return found[0] if found else path
