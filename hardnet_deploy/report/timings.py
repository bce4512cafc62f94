"""Times: of what, fed with what, in which run, and how far the gain over PyTorch in that run can be relied on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hardnet_deploy.bench.document import MEASURED_HERE, ended_early
from hardnet_deploy.bench.engine_columns import EAGER
from hardnet_deploy.report.documents import Document, Part
from hardnet_deploy.report.texts import between, ratio

IMPORTED: Final = "imported"
SIMULATED: Final = "simulated"
BY_PYTORCH: Final = "PyTorch eager"
BY_NUMPY: Final = "PyTorch with NMS by NumPy"
_PLUGIN_NOTE: Final = "the time is none of TensorRT's"  # of rows that do not say by themselves what has done the NMS


@dataclass(frozen=True, kw_only=True)
class Group:
    """What two times must share to be compared.

    Args:
        run: The document, and of an imported row the device and the day.
        power_mode: Of the device, where it is recorded.
        shape: Size and batch in words; empty where they are not known.
        boundary: What is timed.
        fed: What was fed in, in words; empty where nothing says so.
        here: False for an imported row.
    """

    run: str
    power_mode: str | None
    shape: str
    boundary: str
    fed: str
    here: bool

    @property
    def apart(self) -> tuple[str | None, ...]:
        """What has a decision of its own: of a run here, the boundary is chosen among those that it has."""
        return (self.run, self.power_mode, self.shape, *(() if self.here else (self.fed,)))


@dataclass(frozen=True, kw_only=True)
class Gain:
    """How many times faster than PyTorch in the same run.

    Args:
        value: The ratio.
        low: Of its 95 % interval; None where too few rounds were timed.
        high: Likewise.
        against: What of PyTorch it is over.
        doubts: Why the ratio cannot be relied on, each as half a sentence; empty where nothing speaks against it.
    """

    value: float
    low: float | None
    high: float | None
    against: str
    doubts: tuple[str, ...]

    @property
    def in_words(self) -> str:
        """Ratio and interval, and whether they are in doubt."""
        interval = between(self.low, self.high) or "no interval"
        return f"{ratio(self.value)} ({interval}){', in doubt' if self.doubts else ''}"


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One time of one engine.

    Args:
        group: What it may be compared within.
        where: The machine, for a reader.
        provenance: As the row says.
        date: Of the run; empty where it is not recorded.
        median_ms: Of one run.
        stable: As the row says; None where it says nothing.
        gain: Over PyTorch; None where PyTorch was not timed in the same run.
        plugin_by_numpy: True where NumPy has stood in for a plugin of TensorRT.
        document: Where it is from.
        source: The row.
    """

    group: Group
    where: str
    provenance: str
    date: str
    median_ms: float
    stable: bool | None
    gain: Gain | None
    plugin_by_numpy: bool
    document: Document
    source: Part

    @property
    def simulated(self) -> bool:
        """True where a stand-in for the device was timed."""
        return SIMULATED in self.provenance.lower()

    @property
    def of_what(self) -> str:
        """Boundary, size, batch, input and day."""
        group = self.group
        known = (group.boundary, group.shape, f"input: {group.fed or 'not recorded'}", self.date)
        return ", ".join(text for text in known if text)


def bench_timings(document: Document) -> Iterator[Timing]:
    """The rows of a bench document that have a time."""
    protocol = document.content.part("protocol")
    for row in document.content.parts("rows"):
        median = row.part("measured").number("median")
        provenance = row.text("provenance") or "provenance not recorded"
        if median is None:
            continue
        here = provenance == MEASURED_HERE
        mode = row.text("power_mode")
        yield Timing(
            group=Group(
                run=document.sha256 if here else f"{document.sha256} {provenance}",
                power_mode=mode,
                shape=_shape(row, protocol) if here else "",
                boundary=row.text("boundary") or row.text("boundary_text") or "boundary not recorded",
                fed=fed(row, protocol),
                here=here,
            ),
            where=machine(document) if here else f"{provenance}{f', {mode}' if mode else ''}",
            provenance=provenance,
            date=(document.content.text("date") or "")[:10] if here else "",
            median_ms=median,
            stable=False if ended_early(row.values) else row.part("measured").flag("stable"),
            gain=gain_of(row, document),
            plugin_by_numpy=here and _plugin_by_numpy(row),
            document=document,
            source=row,
        )


def device_timing(row: Part, document: Document) -> Timing | None:
    """The time that a device's own report has; None where it has none. Nothing of PyTorch was timed beside it."""
    timing, mode = row.part("timing"), row.text("power_mode")
    median = timing.number("median")
    if median is None:
        return None
    label = row.text("label") or IMPORTED
    return Timing(
        group=Group(
            run=f"{document.sha256} {label}",
            power_mode=mode,
            shape="",
            boundary=timing.text("boundary") or "boundary not recorded",
            fed=timing.text("inputs") or "",
            here=False,
        ),
        where=f"{row.text('device') or 'a device'}{f', {mode}' if mode else ''}",
        provenance=label,
        date=row.text("date") or "",
        median_ms=median,
        stable=timing.flag("stable"),
        gain=None,
        plugin_by_numpy=False,
        document=document,
        source=row,
    )


def gain_of(row: Part, document: Document) -> Gain | None:
    """The recorded gain of a row, with what speaks against relying on it; None where there is none."""
    recorded = row.part("gain_over_eager")
    value = recorded.number("ratio")
    if value is None:
        return None
    eager = _eager_rows(row, document)
    return Gain(
        value=value,
        low=recorded.number("low"),
        high=recorded.number("high"),
        against=BY_NUMPY if any(_nms_by_numpy(one) for one in eager) else BY_PYTORCH,
        doubts=tuple(_doubts(eager, recorded.text("eager"), document)),
    )


def _eager_rows(row: Part, document: Document) -> list[Part]:
    """The rows that the gain of ``row`` can be over: PyTorch as it is, everything else the same.

    Where the gain names its row, it is over no other.
    """
    same = ("network", "size", "batch", "boundary", "device")
    named = row.part("gain_over_eager").text("eager")
    return [
        one
        for one in document.content.parts("rows")
        if one.text("engine") == EAGER
        and one.part("measured")
        and named in {None, one.text("key")}
        and all(one.values.get(name) == row.values.get(name) for name in same)
    ]


def _doubts(eager: list[Part], named: str | None, document: Document) -> Iterator[str]:
    if not eager:
        yield (
            "PyTorch has no row of its own in the run"
            if named is None
            else f"it is over '{named}', which is no row of PyTorch doing the same in the run"
        )
    if any(one.part("measured").flag("stable") is not True for one in eager):
        yield "PyTorch's own time did not settle"
    yield from run_doubts(document)


def run_doubts(document: Document) -> Iterator[str]:
    """What makes every time of a bench document doubtful."""
    if document.content.part("conditions").flag("throttled") is True:
        yield "the device throttled during the run"
    if document.content.flag("finished") is not True:
        yield "the run was not finished"


def _nms_by_numpy(row: Part) -> bool:
    said = row.text("nms")
    return said == "numpy" if said else "NMS by the NumPy reference" in (row.text("boundary_text") or "")


def _plugin_by_numpy(row: Part) -> bool:
    said = row.text("nms")
    return said == "plugin-by-numpy" if said else any(_PLUGIN_NOTE in note for note in row.texts("notes"))


def row_title(row: Part) -> str:
    """Network and engine, as tables name a row."""
    return (
        f"{row.text('title') or row.text('network') or 'network not named'}, {row.text('engine') or 'engine not named'}"
    )


def fed(row: Part, protocol: Part) -> str:
    """What a row was fed with, in words: random pixels, or which images; empty where nothing says so."""
    here = row.text("provenance") == MEASURED_HERE
    own, of_all = row.text("input"), protocol.text("data") if here else None
    if own and of_all and "random" not in own:
        return f"{own} ({of_all})"
    return own or of_all or ""


def _shape(row: Part, protocol: Part) -> str:
    size, batch = (row.number(name) or protocol.number(name) for name in ("size", "batch"))
    known = (f"{size:g}×{size:g}" if size else "", f"batch {batch:g}" if batch else "")
    return ", ".join(text for text in known if text)


def load_of(document: Document) -> str | None:
    """What else kept the machine busy during the run, in words; None where nothing is recorded."""
    load = document.content.part("conditions").values.get("load")
    return load if isinstance(load, str) and load else None


def machine(document: Document) -> str:
    """The machine that a bench document was made on, in a few words."""
    return document.content.text("machine") or "this machine"
