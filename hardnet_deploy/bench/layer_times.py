"""Time of each layer of an engine, and of each part of the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from hardnet_deploy.bench.module_map import Place, group_order, place

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class EngineLayer:
    """One layer as the engine's own profiler reports it.

    Args:
        name: Its title there.
        op: What it does, in the engine's word; empty where it does not tell.
        ms: Mean time of a run, all calls together.
        calls: Times a run.
        nodes: ONNX nodes or tensors in it, where the engine tells them.
    """

    name: str
    op: str
    ms: float
    calls: float = 1
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class EngineProfile:
    """What a profiler measured.

    Args:
        layers: In the order they ran.
        source: Which profiler, and over what.
        runs: How many runs the times are means of.
        run_ms: Mean of the whole run, with the profiler on unless a note says otherwise; None where that was not
            measured.
        run_median_ms: Median with the profiler on; None where that was not measured.
        plain_median_ms: Median of the whole run without the profiler; None where that was not measured.
        notes: What a reader must know of these times.
    """

    layers: tuple[EngineLayer, ...]
    source: str
    runs: int
    run_ms: float | None = None
    run_median_ms: float | None = None
    plain_median_ms: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def overhead_percent(self) -> float | None:
        """What profiling added to a run; None where that was not measured. Negative where it drowned in noise."""
        if not self.run_median_ms or not self.plain_median_ms:
            return None
        return 100 * (self.run_median_ms / self.plain_median_ms - 1)


@dataclass(frozen=True, kw_only=True)
class LayerTime:
    """One layer and where it belongs.

    Args:
        layer: As measured.
        place: Module and group.
        percent: Of the time of all layers.
    """

    layer: EngineLayer
    place: Place
    percent: float

    @property
    def label(self) -> str:
        """The module's path, or where there is none the engine's title."""
        return self.place.module or self.layer.name

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.layer.name,
            "module": self.place.module,
            "group": self.place.group,
            "op": self.layer.op,
            "ms": self.layer.ms,
            "percent": self.percent,
            "calls": self.layer.calls,
            **({"reason": self.place.reason} if self.place.reason else {}),
        }


@dataclass(frozen=True, kw_only=True)
class GroupTime:
    """Layers of one part of the network together."""

    group: str
    ms: float
    percent: float
    layers: int


@dataclass(frozen=True, kw_only=True)
class LayerTable:
    """Every layer of a profile in its place.

    Args:
        profile: As measured.
        layers: In the order they ran.
    """

    profile: EngineProfile
    layers: tuple[LayerTime, ...]

    @property
    def layers_ms(self) -> float:
        """Time of all layers."""
        return sum(one.layer.ms for one in self.layers)

    @property
    def accounted_percent(self) -> float | None:
        """Share of the whole run that the layers make up; None where the whole was not measured."""
        return 100 * self.layers_ms / self.profile.run_ms if self.profile.run_ms else None

    def slowest(self) -> tuple[LayerTime, ...]:
        """The layers, the slowest first."""
        return tuple(sorted(self.layers, key=lambda one: -one.layer.ms))

    def groups(self) -> tuple[GroupTime, ...]:
        """The parts of the network in the order that data flow through them."""
        names = sorted({one.place.group for one in self.layers}, key=group_order)
        members = {name: [one for one in self.layers if one.place.group == name] for name in names}
        return tuple(
            GroupTime(
                group=name,
                ms=sum(one.layer.ms for one in found),
                percent=sum(one.percent for one in found),
                layers=len(found),
            )
            for name, found in members.items()
        )


def overhead_told(percent: float) -> str:
    """What profiling adds to a run, in words.

    Args:
        percent: Of the run without the profiler.
    """
    if percent < 0:
        return f"what the profiler adds to a run drowns in noise ({percent:+.1f} %)"
    return f"a run is {percent:.1f} % longer for being profiled"


def placed(profile: EngineProfile, *, detector: bool) -> LayerTable:
    """Give every layer of ``profile`` its place."""
    total = sum(layer.ms for layer in profile.layers) or 1.0
    return LayerTable(
        profile=profile,
        layers=tuple(
            LayerTime(
                layer=layer,
                place=place(layer.name, detector=detector, op=layer.op, nodes=layer.nodes),
                percent=100 * layer.ms / total,
            )
            for layer in profile.layers
        ),
    )


def mean_layers(events: Iterable[tuple[str, str, float]], runs: int) -> tuple[EngineLayer, ...]:
    """Layers from (name, op, ms) of every call in ``runs`` runs, in the order of their first call."""
    totals: dict[tuple[str, str], list[float]] = {}
    for name, op, ms in events:
        totals.setdefault((name, op), []).append(ms)
    return tuple(
        EngineLayer(name=name, op=op, ms=sum(found) / runs, calls=len(found) / runs)
        for (name, op), found in totals.items()
    )
