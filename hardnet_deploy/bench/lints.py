"""What makes a HarDNet slow on TensorRT: told from its graph before anything is built, and from an engine's layers.

HarDNet's blocks concatenate what their layers make, with widths that are even and little else. TensorRT computes INT8
and FP16 on vectors of channels: a width that is no multiple of the vector is padded, and a concatenation of such widths
is no plain side by side, so parts are copied into place or reformatted before and after.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from hardnet_deploy.bench.layer_times import LayerTable
from hardnet_deploy.bench.module_map import CONCATENATIONS, REFORMATS, parts, place

if TYPE_CHECKING:
    import onnx

    from hardnet_deploy.bench.graph_cost import LayerCost
    from hardnet_deploy.bench.profile_trt import InspectedLayer

MULTIPLES: Final[Mapping[int, str]] = {
    4: "INT8 by dp4a, on a GTX 1080 Ti (TensorFormat CHW4)",
    8: "FP16 on tensor cores (HWC8)",
    16: "INT8 on tensor cores, at the least (CHW16 and 128-bit loads)",
    32: "INT8 on tensor cores (CHW32)",
}
"""Channels in a vector, and what computes on it."""
_FORMATS: Final = "NVIDIA/TensorRT@v10.0.1:include/NvInferRuntimeBase.h (TensorFormat)"
_PRACTICES: Final = (
    "https://docs.nvidia.com/deeplearning/tensorrt/latest/performance/best-practices.html"
    " (channels a multiple of 8 for FP16, of 32 for INT8)"
)
_CONCATS: Final = (
    "https://github.com/PingoLH/CenterNet-HarDNet/issues/14 (TensorRT does not do away with HarDNet's concatenations);"
    " https://github.com/NVIDIA/TensorRT/issues/3861"
)
_PRECISIONS: Final = (
    "https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/advanced.html (engine inspector)"
)


@dataclass(frozen=True, kw_only=True)
class Lint:
    """One finding.

    Args:
        rule: Short name.
        layers: What it is about, in order.
        message: What was found, with figures.
        action: What to do about it.
        source: Public source of the rule.
        percent: Of the time of all layers that these take; None where no time was measured.
    """

    rule: str
    layers: tuple[str, ...]
    message: str
    action: str
    source: str
    percent: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "layers": list(self.layers)}


def lint_graph(model: onnx.ModelProto, costs: Sequence[LayerCost]) -> tuple[Lint, ...]:
    """What can be said before a build.

    Args:
        model: The graph.
        costs: Of its layers.
    """
    return (*_channels(model, costs), *_concatenations(costs))


def _channels(model: onnx.ModelProto, costs: Sequence[LayerCost]) -> Iterator[Lint]:
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    through = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type in _TO_WEIGHTS}
    macs = {one.name: one.macs for one in costs}
    widths: dict[str, tuple[int, int]] = {}
    for node in model.graph.node:
        if node.op_type != "Conv" or any(one.name == "group" and one.i > 1 for one in node.attribute):
            continue
        source = node.input[1]
        while source in through:
            source = through[source]
        if source in weights and weights[source][1] > _IMAGE_CHANNELS:
            widths[node.name or node.output[0]] = (weights[source][1], weights[source][0])
    for multiple, user in MULTIPLES.items():
        odd = tuple(name for name, pair in widths.items() if any(width % multiple for width in pair))
        if not odd:
            continue
        before = sum(macs.get(name, 0) for name in widths)
        after = sum(macs.get(name, 0) * _padding(pair, multiple) for name, pair in widths.items())
        yield Lint(
            rule=f"channels-{multiple}",
            layers=odd,
            message=(
                f"{len(odd)} of {len(widths)} convolutions read or make channels that are no multiple of {multiple}:"
                f" padded, they cost {100 * (after / max(before, 1) - 1):.1f} % more arithmetic. Matters to {user}"
            ),
            action=(
                "published weights fix the widths, so expect the padding; for a network of your own choose a growth and"
                f" multiplier whose widths are multiples of {multiple}"
            ),
            source=f"{_PRACTICES}; {_FORMATS}",
        )


_TO_WEIGHTS: Final = frozenset({"QuantizeLinear", "DequantizeLinear", "Cast"})
_IMAGE_CHANNELS: Final = 4
"""A first convolution reads three channels on any network; engines have kernels of their own for it."""


def _padding(widths: tuple[int, int], multiple: int) -> float:
    """How much more arithmetic (1 for none) channels rounded up to a multiple are."""
    return math.prod(math.ceil(width / multiple) * multiple / width for width in widths)


def _concatenations(costs: Sequence[LayerCost]) -> Iterator[Lint]:
    found = [one for one in costs if one.is_concatenation and place(one.name, detector=True).group == CONCATENATIONS]
    if not found:
        return
    moved, total = sum(one.bytes for one in found), sum(one.bytes for one in costs)
    yield Lint(
        rule="concatenations",
        layers=tuple(one.name for one in found),
        message=(
            f"{len(found)} concatenations in HarDBlocks copy {moved / 1e6:.1f} MB a run,"
            f" {100 * moved / max(total, 1):.0f} % of all traffic, unless their parts are written side by side at once"
        ),
        action="keep one scale through each of them in INT8 (--concat-scales unified, the default), and look for copies"
        " and reformats in the engine's profile",
        source=_CONCATS,
    )


def lint_engine(
    table: LayerTable,
    layers: Sequence[InspectedLayer],
    *,
    detector: bool,
    requested: Mapping[str, str],
    achieved: Mapping[str, str],
) -> tuple[Lint, ...]:
    """What an engine's layers tell.

    Args:
        table: Its profile; without layers where none was measured.
        layers: What its inspector says; may be empty.
        detector: Whether the network is one.
        requested: Precision asked for, by convolution.
        achieved: What it runs in, by convolution; ``unknown`` where that was not told.
    """
    shares = {one.layer.name: one.percent for one in table.layers}
    titles = {one.name: one for one in layers}
    names = tuple(dict.fromkeys((*shares, *titles)))
    return (
        *_copies(names, titles, shares, detector=detector),
        *_fallen(names, shares, requested, achieved),
    )


def _copies(
    names: Iterable[str], titles: Mapping[str, InspectedLayer], shares: Mapping[str, float], *, detector: bool
) -> Iterator[Lint]:
    reformats, copies = [], []
    for name in names:
        told = titles.get(name)
        found = place(name, detector=detector, op=told.kind if told else "", nodes=told.makes if told else ())
        if found.group == REFORMATS:
            tensors = (*told.reads, *told.makes) if told else ()
            modules = [place(one, detector=detector).group for one in (*parts(name), *tensors)]
            reformats.append((name, CONCATENATIONS in modules))
        elif found.group == CONCATENATIONS and name.endswith(" copy"):
            copies.append(name)
    if reformats:
        near = [name for name, is_near in reformats if is_near]
        chosen = tuple(near or (name for name, _ in reformats))
        yield Lint(
            rule="reformat-concat" if near else "reformat",
            layers=chosen,
            message=f"{len(reformats)} layers only change a tensor's layout, {len(near)} of them at a concatenation",
            action="build all of a block in one precision, so that neighbours share a format; channels that are"
            " multiples of the vector (see channels-8, channels-32) need fewer",
            source=f"{_FORMATS}; {_CONCATS}",
            percent=_share(chosen, shares),
        )
    if copies:
        yield Lint(
            rule="concat-copies",
            layers=tuple(copies),
            message=f"{len(copies)} copies put the parts of concatenations into place",
            action="a part that several concatenations read is copied for each; in INT8 one scale through them"
            " (--concat-scales unified) spares the requantisation, not the copy",
            source=_CONCATS,
            percent=_share(copies, shares),
        )


def _fallen(
    names: Iterable[str], shares: Mapping[str, float], requested: Mapping[str, str], achieved: Mapping[str, str]
) -> Iterator[Lint]:
    rank = {"fp32": 0, "fp16": 1, "int8": 2}
    fallen = [
        node
        for node, asked in requested.items()
        if achieved.get(node) in rank and rank[achieved[node]] < rank.get(asked, 0)
    ]
    if not fallen:
        return
    holders = tuple(name for name in names if set(parts(name)) & set(fallen))
    into = ", ".join(sorted({achieved[node] for node in fallen}))
    yield Lint(
        rule="precision-fallback",
        layers=tuple(fallen),
        message=f"{len(fallen)} of {len(requested)} convolutions run in a higher precision than was asked for: {into}",
        action="the builder found no kernel, or none that is faster: check channels and scales of these layers, or ask"
        " for that precision with --layer-precisions so that the manifest says what runs",
        source=_PRECISIONS,
        percent=_share(holders, shares),
    )


def _share(names: Iterable[str], shares: Mapping[str, float]) -> float | None:
    return sum(shares.get(name, 0.0) for name in names) if shares else None
