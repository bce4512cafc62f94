"""The roofline's bound of each layer's time on a device, and how much of it a measured time reaches.

For a layer of F operations that moves B bytes (:mod:`~hardnet_deploy.bench.graph_cost`), on a device whose nominal
peaks are P operations and W bytes a second:

    bound = max(F / P, B / W)

and the layer is bound by memory where B / W is the larger. The network's bound is the sum, because layers run one
after the other.

It is the bound of a model: direct convolution, every tensor once through DRAM, peaks at the nominal boost clock. What
leaves the model can be faster than it: Winograd's algorithm needs fewer products (Lavin and Gray, arXiv 1509.09308), a
cache keeps tensors from one layer to the next, a card clocks above its nominal boost clock.

Source of the model: Williams, Waterman and Patterson, CACM 52(4), 2009.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from hardnet_deploy.bench.graph_precision import typed_as
from hardnet_deploy.bench.module_map import is_float_island, parts, place
from hardnet_deploy.bench.peaks import Device, Peak

if TYPE_CHECKING:
    from hardnet_deploy.bench.graph_cost import LayerCost

ITEM_BYTES: Final[Mapping[str, int]] = {"fp32": 4, "fp16": 2, "int8": 1}
BoundBy = Literal["memory", "arithmetic"]
ShareOf = Literal["run", "timed layers"]
_WHOLE_SUBGRAPH: Final = "ForeignNode["


@dataclass(frozen=True, kw_only=True)
class LayerBound:
    """One layer on one device; several that an engine runs as one stand together once times are given.

    Args:
        name: Of the layer; joined by `` + `` where there are several.
        module: Path in the original network.
        group: See :mod:`~hardnet_deploy.bench.module_map`.
        precision: Of its arithmetic; ``several`` where that of layers that stand together differs.
        flops: Operations.
        bytes: Bytes moved.
        arithmetic_ms: Operations at the peak rate.
        memory_ms: Bytes at the peak bandwidth.
        is_concatenation: It only copies its inputs side by side.
        measured_ms: Time that an engine took for it; None where none is known.
    """

    name: str
    module: str
    group: str
    precision: str
    flops: int
    bytes: int
    arithmetic_ms: float
    memory_ms: float
    is_concatenation: bool
    measured_ms: float | None = None

    @property
    def bound_ms(self) -> float:
        """The larger of the two."""
        return max(self.arithmetic_ms, self.memory_ms)

    @property
    def bound_by(self) -> BoundBy:
        """Which of the two that is."""
        return "memory" if self.memory_ms >= self.arithmetic_ms else "arithmetic"

    @property
    def share(self) -> float | None:
        """Bound by measured time; None without a measured time."""
        return self.bound_ms / self.measured_ms if self.measured_ms else None

    @property
    def intensity(self) -> float:
        """Operations a byte."""
        return self.flops / self.bytes if self.bytes else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "module": self.module,
            "group": self.group,
            "precision": self.precision,
            "flops": self.flops,
            "bytes": self.bytes,
            "intensity": self.intensity,
            "bound_ms": self.bound_ms,
            "bound_by": self.bound_by,
            "measured_ms": self.measured_ms,
            "share": self.share,
        }


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """Every layer of a network on one device in one precision.

    Args:
        device: The device.
        precision: That was asked for, what stays FP32 in every engine apart; of a graph typed below FP32 its own, with
            its share where that is not all: ``as typed: 44 % int8``.
        kinds: Precisions of the layers with weights, the lowest first.
        layers: In order, without those that move and compute nothing.
        unplaced_ms: Measured time of engine layers that are in none of these: layout changes and the like; None without
            measured times.
        run_ms: Time of a whole run without a profiler; None where it is not known.
    """

    device: Device
    precision: str
    kinds: tuple[str, ...]
    layers: tuple[LayerBound, ...]
    unplaced_ms: float | None = None
    run_ms: float | None = None

    @property
    def peak(self) -> Peak:
        """The highest roof: of the lowest precision."""
        return self.peaks[self.kinds[0]]

    @property
    def peaks(self) -> dict[str, Peak]:
        """Of each precision of the layers with weights."""
        return {kind: self.device.by_precision[kind] for kind in self.kinds}

    @property
    def bound_ms(self) -> float:
        """Of all layers, one after the other."""
        return sum(one.bound_ms for one in self.layers)

    @property
    def bound_ms_free_concatenation(self) -> float:
        """The same where no concatenation copies anything."""
        return sum(one.bound_ms for one in self.layers if not one.is_concatenation)

    @property
    def memory_percent(self) -> float:
        """Share of the bound that layers bound by memory make up."""
        return 100 * sum(one.bound_ms for one in self.layers if one.bound_by == "memory") / (self.bound_ms or 1.0)

    @property
    def measured_ms(self) -> float | None:
        """All measured time of layers, that in none of these included; None without measured times."""
        if self.unplaced_ms is None:
            return None
        return self.unplaced_ms + sum(one.measured_ms or 0.0 for one in self.layers)

    @property
    def untimed(self) -> tuple[str, ...]:
        """Layers without a measured time; none without any measured times."""
        return () if self.unplaced_ms is None else tuple(one.name for one in self.layers if one.measured_ms is None)

    @property
    def whole_ms(self) -> float | None:
        """The time that :attr:`share` is of: the run's where it is known, else that of the layers."""
        return self.run_ms or self.measured_ms

    @property
    def share_of(self) -> ShareOf | None:
        """What :attr:`share` is of; None without measured times, or where none is of a layer here."""
        if self.unplaced_ms is None or len(self.untimed) == len(self.layers) or not self.whole_ms:
            return None
        return "run" if self.run_ms else "timed layers"

    @property
    def share(self) -> float | None:
        """Bound by measured time: of all layers by the run's, or of those that have a time by the layers'."""
        if self.share_of is None or self.whole_ms is None:
            return None
        untimed = set(self.untimed) if self.share_of == "timed layers" else set()
        return sum(one.bound_ms for one in self.layers if one.name not in untimed) / self.whole_ms

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "target": self.device.name,
            "title": self.device.title,
            "precision": self.precision,
            "peak": self.peak.as_dict(),
            "peaks": {kind: peak.as_dict() for kind, peak in self.peaks.items()},
            "flops": sum(one.flops for one in self.layers),
            "bytes": sum(one.bytes for one in self.layers),
            "bound_ms": self.bound_ms,
            "bound_ms_free_concatenation": self.bound_ms_free_concatenation,
            "memory_bound_percent": self.memory_percent,
            "measured_ms": self.measured_ms,
            "unplaced_ms": self.unplaced_ms,
            "untimed": list(self.untimed),
            "run_ms": self.run_ms,
            "share": self.share,
            "share_of": self.share_of,
            "layers": [one.as_dict() for one in self.layers],
        }


def roofline(costs: Sequence[LayerCost], device: Device, precision: str, *, detector: bool) -> Roofline:
    """Bound of each layer on ``device``.

    Args:
        costs: Of the graph's layers.
        device: With a peak for ``precision``, and of a graph typed below FP32 for each of its precisions.
        precision: Of a graph in FP32, what it is to be built in: then L2Norm, softmax, decoding and NMS stay FP32 and
            everything else is stored and computed in it. A graph with any layer typed lower has the lowest of its
            own: each layer counts as it is typed.
        detector: Whether the network is one.

    Raises:
        ValueError: Another precision than that of a graph typed below FP32, whose cost in it is not known.
    """
    typed = typed_as(costs)
    if typed.lowered and precision != typed.name:
        raise ValueError(f"the graph is typed in {typed.words}: its cost in {precision} is not known")
    layers = []
    for cost in costs:
        where = place(cost.name, detector=detector, op=cost.op, nodes=cost.made)
        as_typed = precision == typed.name or is_float_island(where.group)
        computed = cost.precision if as_typed else precision
        moved = cost.bytes_at(None if as_typed else ITEM_BYTES[precision])
        peak = device.by_precision.get(computed) or device.by_precision["fp32"]
        if not moved and not cost.flops:
            continue
        layers.append(
            LayerBound(
                name=cost.name,
                module=where.module,
                group=where.group,
                precision=computed,
                flops=cost.flops,
                bytes=moved,
                arithmetic_ms=1e3 * cost.flops / peak.flops,
                memory_ms=1e3 * moved / peak.bandwidth,
                is_concatenation=cost.is_concatenation,
            )
        )
    label, kinds = (typed.label, tuple(typed.macs)) if typed.lowered else (precision, (precision,))
    return Roofline(device=device, precision=label, kinds=kinds, layers=tuple(layers))


def with_times(
    found: Roofline, costs: Sequence[LayerCost], times: Iterable[tuple[str, float]], *, run_ms: float | None = None
) -> Roofline:
    """``found`` with the times of an engine's layers beside the bounds.

    Layers that the engine runs as one are taken together: their operations and bytes add up. A layer that the engine
    has no time for keeps none.

    Args:
        found: Of the same costs.
        costs: Whose names the engine's titles hold.
        times: (title, ms) of the engine's layers.
        run_ms: Of a whole run without a profiler; None where it is not known.
    """
    kept = [one for one in costs if one.name in {layer.name for layer in found.layers}]
    index = {name: number for number, one in enumerate(kept) for name in (one.name, *one.nodes, *one.made)}
    group = list(range(len(kept)))
    sums: dict[int, float] = {}
    unplaced = 0.0
    for title, ms in times:
        named = parts(title)
        hits = sorted({index[part] for part in named if part in index})
        if not hits:
            unplaced += ms
            continue
        if _WHOLE_SUBGRAPH in title:
            hits = list(range(hits[0], hits[-1] + 1))
        first = min(group[hit] for hit in hits)
        joined = {group[hit] for hit in hits}
        group = [first if one in joined else one for one in group]
        sums[first] = sum(sums.pop(one, 0.0) for one in joined) + ms
    layers = []
    for first in dict.fromkeys(group):
        members = [found.layers[number] for number, one in enumerate(group) if one == first]
        layers.append(_together(members, sums.get(first)))
    return replace(found, layers=tuple(layers), unplaced_ms=unplaced, run_ms=run_ms)


def _together(members: Sequence[LayerBound], measured_ms: float | None) -> LayerBound:
    first = members[0]
    return LayerBound(
        name=" + ".join(one.name for one in members),
        module=first.module if len(members) == 1 else f"{first.module} ... {members[-1].module}",
        group=first.group if len({one.group for one in members}) == 1 else "several",
        precision=first.precision if len({one.precision for one in members}) == 1 else "several",
        flops=sum(one.flops for one in members),
        bytes=sum(one.bytes for one in members),
        arithmetic_ms=sum(one.arithmetic_ms for one in members),
        memory_ms=sum(one.memory_ms for one in members),
        is_concatenation=all(one.is_concatenation for one in members),
        measured_ms=measured_ms,
    )
