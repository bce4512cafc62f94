"""Times of layers that came back from devices in their results, and the cells that they share with other profiles."""

from __future__ import annotations

from collections.abc import Iterator

from hardnet_deploy.report import texts
from hardnet_deploy.report.blocks import Block, Cell, Column, Table, Text
from hardnet_deploy.report.documents import Part
from hardnet_deploy.report.runs import Runs


def device_profiles(runs: Runs) -> Iterator[Block]:
    """A table for each device's row that has a profile; one that is in two documents counts once."""
    known: set[str | None] = set()
    for document in runs.collection.of("device-results"):
        for row in document.content.parts("rows"):
            ident = row.text("id")
            if row.part("profile").parts("layers") and (ident is None or ident not in known):
                known.add(ident)
                yield from _device_profile(row)


def _device_profile(row: Part) -> Iterator[Block]:
    profile = row.part("profile")
    name = device_engine(row)
    if row.flag("simulated"):
        yield Text(text=f"{name} was profiled on a simulated device.", caution=True)
    if row.flag("trained") is False:
        name += " (untrained)"
    layers = sorted(profile.parts("layers"), key=lambda one: -(one.number("average_ms") or 0))
    longest = layers[0].number("percent")
    rows = [
        [
            Cell(text=one.text("name") or texts.NONE, code=True),
            Cell(text=texts.milliseconds(one.number("average_ms"))),
            Cell(text=texts.milliseconds(one.number("median_ms"))),
            share_cell(one, longest),
        ]
        for one in layers
    ]
    titles = ("layer", "mean, ms", "median, ms", "of the layers' time")
    columns = [Column(title=one, figures=one != "layer") for one in titles]
    about = ", ".join(filter(None, (row.text("label"), row.text("power_mode")))) or "provenance not recorded"
    version, count = row.text("tensorrt") or "not recorded", texts.counted(profile.number("runs"), "run")
    notes = [
        f"{about}; TensorRT {version}, trtexec's profile of {count}, with what profiling adds.",
        f"SHA-256 of the engine: {texts.short(row.part('sha256').text('engine'))}.",
        "Bars: as a share of the longest layer's.",
    ]
    caption = f"Time by layer, {name}, {row.text('label') or 'imported'}"
    yield Table(caption=caption, columns=columns, rows=rows, notes=notes).without(texts.NONE)


def device_engine(row: Part) -> str:
    """Model and precision of a device's row."""
    return ", ".join(row.text(name) or f"{name} not recorded" for name in ("model", "precision"))


def share_cell(part: Part, full: float | None = 100.0) -> Cell:
    """A percentage with its bar, whose full length is ``full`` percent."""
    value = part.number("percent")
    return (
        Cell(text=texts.NONE) if value is None else Cell(text=f"{value:.1f} %", bar=unit_bar(value / (full or 100.0)))
    )


def unit_bar(value: float | None) -> float | None:
    """Within the rail."""
    return None if value is None else max(0.0, min(1.0, value))
