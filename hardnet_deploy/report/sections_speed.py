"""Speed: timings with their provenance, ratios to the reference network, what came back from devices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hardnet_deploy.report import texts
from hardnet_deploy.report.blocks import Absent, Block, Cell, Column, Section, Status, Table, Text
from hardnet_deploy.report.decision import SIGNS
from hardnet_deploy.report.documents import Document, Part
from hardnet_deploy.report.plots import Point, rows_plot
from hardnet_deploy.report.runs import IMPORTED, MEASURED_HERE, Runs, gain, machine
from hardnet_deploy.report.verdicts import State

BENCH = "hardnet-deploy bench --save bench.json"
DEVICE = "hardnet-deploy kit MODEL --target TARGET -o DIR"
OF_DEVICES = "timings of other devices, which import-report reads from what a kit's run has written there"
MOST_CONDITIONS = 60
RATIO_KEY = (("diamond", "published"), ("circle", "measured, with its 95 % interval"))


def timings(runs: Runs) -> Section:
    """Every bench document, then the devices' rows."""
    section = Section(ident="timings", title="Timings")
    for number, document in enumerate(runs.collection.of("bench"), start=1):
        section.blocks += _bench(document, number)
    if not section.blocks:
        section.blocks.append(Absent(what="timings, and ratios to the published ones", command=BENCH))
    rows = [row for document in runs.collection.of("device-results") for row in document.content.parts("rows")]
    section.blocks.append(_devices(rows) if rows else Absent(what=OF_DEVICES, command=DEVICE))
    return section


def _bench(document: Document, number: int) -> Iterator[Block]:
    part, protocol = document.content, document.content.part("protocol")
    yield Text(text=_protocol(part, protocol))
    if part.flag("finished") is False:
        yield Text(text="This run was interrupted: the figures are of the rounds that were finished.", caution=True)
    if _throttled(part.part("conditions")):
        yield Text(text="The device throttled during this run.", caution=True)
    load = part.part("conditions").values.get("load")
    if isinstance(load, str) and load:
        yield Text(text=f"Load: {load}.")
    name = f"protocol {protocol.text('name') or 'not named'}"
    rows = part.parts("rows")
    yield _times(rows, f"Times, {name}, {machine(document)}")
    compared = [row for row in rows if row.part("ratio_to_reference")]
    if compared:
        yield from _ratios(compared, f"ratios-{number}", name, {row.text("key"): _title(row) for row in rows})
    conditions = list(_flat(part.part("conditions").values))
    if conditions:
        yield Table(
            caption=f"Conditions, {name}",
            columns=[Column(title="what"), Column(title="value")],
            rows=[[Cell(text=key), Cell(text=value)] for key, value in conditions[:MOST_CONDITIONS]],
        )


def _throttled(conditions: Part) -> bool:
    return conditions.flag("throttled") is True


def _protocol(part: Part, protocol: Part) -> str:
    numbers = [
        (f"{value:g} {words}")
        for key, words in (("iterations", "iterations"), ("rounds", "rounds"), ("budget_s", "s of timing at most"))
        if (value := protocol.number(key)) is not None
    ]
    published = protocol.number("iterations_published")
    told = f"Protocol {protocol.text('name') or 'not named'}, {(part.text('date') or 'date not recorded')[:16]}: "
    told += ", ".join(numbers)
    told += f" ({published:g} iterations in the published one)" if published else ""
    return told + ". All figures in ms. Compare ratios across devices, never milliseconds."


def _times(rows: tuple[Part, ...], caption: str) -> Table:
    cells = []
    for row in rows:
        measured, published = row.part("measured"), row.part("published")
        stable = measured.flag("stable")
        words, status = _STABLE[stable]
        provenance = row.text("provenance") or "not recorded"
        notes = [note for note in (row.text("runtime"), row.text("source"), *row.texts("notes")) if note]
        weights = {True: "trained", False: "untrained", None: "not known"}[row.flag("trained")]
        cells.append(
            [
                Cell(text=_title(row)),
                Cell(text=texts.milliseconds(published.number("ms"))),
                *(
                    Cell(text=texts.milliseconds(measured.number(one)))
                    for one in ("median", "mean", "p90", "p95", "p99")
                ),
                Cell(
                    text=texts.NONE
                    if measured.number("cov_percent") is None
                    else f"{measured.number('cov_percent'):.1f} %"
                ),
                Cell(text=texts.count(measured.number("runs"))),
                Cell(text=words if measured else texts.NONE, status=status if measured else "none"),
                Cell(text=_ratio(row.part("gain_over_eager"))),
                Cell(text=row.text("boundary_text") or row.text("boundary") or texts.NONE),
                Cell(text=provenance, status=_provenance(provenance)),
                Cell(
                    text=texts.short(row.part("artifact").text("sha256")) if row.part("artifact") else texts.NONE,
                    code=True,
                ),
                Cell(text=weights),
                Cell(text="; ".join(notes) or "none"),
            ]
        )
    titles = (
        "network, engine", "published", "median", "mean", "p90", "p95", "p99", "CoV", "runs", "stable",
        "gain over eager", "what is timed", "provenance", "SHA-256", "weights", "source and notes",
    )  # fmt: skip
    words_columns = {titles[0], "stable", "what is timed", "provenance", "SHA-256", "weights", "source and notes"}
    columns = [Column(title=one, figures=one not in words_columns) for one in titles]
    devices = sorted({row.part("published").text("device") or "" for row in rows} - {""})
    notes = [f"Published: on {', '.join(devices)}, not comparable in milliseconds."] if devices else []
    notes.append("Gains: 95 % interval over rounds. A dash stands for what was not measured, or of too few runs.")
    return Table(caption=caption, columns=columns, rows=cells, notes=notes).without(texts.NONE)


_PASSED: Mapping[bool | None, State] = {True: "passed", False: "failed", None: "not compared"}
_STABLE: Mapping[bool | None, tuple[str, Status]] = {
    True: ("stable", "pass"),
    False: ("unstable", "warn"),
    None: ("not judged", "none"),
}


def _title(row: Part) -> str:
    return (
        f"{row.text('title') or row.text('network') or 'network not named'}, {row.text('engine') or 'engine not named'}"
    )


def _provenance(text: str) -> Status:
    return (
        "pass" if text == MEASURED_HERE else "none" if text.startswith(IMPORTED) and "simulated" not in text else "warn"
    )


def _ratio(part: Part) -> str:
    found = gain(part)
    if found is None:
        return texts.NONE
    interval = texts.between(found[1], found[2])
    return f"{texts.ratio(found[0])} ({interval})" if interval else f"{texts.ratio(found[0])} (no interval)"


def _ratios(rows: list[Part], ident: str, name: str, titles_by_key: Mapping[str | None, str]) -> Iterator[Block]:
    cells, drawn, told = [], [], []
    keys = [text for row in rows if (text := row.part("ratio_to_reference").text("reference"))]
    reference = titles_by_key.get(keys[0], keys[0]) if keys else "the reference"
    for row in rows:
        ratio = row.part("ratio_to_reference")
        published, measured = ratio.number("published"), ratio.part("measured")
        value, low, high = measured.number("ratio"), measured.number("low"), measured.number("high")
        title = _title(row)
        cells.append(
            [
                Cell(text=title),
                Cell(text=texts.ratio(published)),
                Cell(text=texts.ratio(value)),
                Cell(text=texts.between(low, high) or texts.NONE),
                Cell(text=row.text("provenance") or "not recorded"),
            ]
        )
        points = [Point(x=published, y=0, shape="diamond")] if published is not None else []
        if value is not None:
            spread = (low, high) if low is not None and high is not None else None
            points.append(Point(x=value, y=0, shape="circle", x_range=spread))
        if points:
            drawn.append((title, points))
            told.append(f"{title}: published {texts.ratio(published)}, measured {texts.ratio(value)}")
    if drawn:
        yield rows_plot(
            drawn,
            ident=ident,
            title=f"Time as a multiple of {reference}'s, {name}",
            description="; ".join(told),
            x_label=f"time divided by {reference}'s; less is faster",
            key=[one for one in RATIO_KEY if any(point.shape == one[0] for _, points in drawn for point in points)],
        )
    titles = ("network, engine", "published", "measured", "95 % interval", "provenance")
    columns = [Column(title=one, figures=one in titles[1:4]) for one in titles]
    caption = f"Time as a multiple of {reference}'s, {name}"
    yield Table(caption=caption, columns=columns, rows=cells).without(texts.NONE)


def _devices(rows: list[Part]) -> Table:
    cells = []
    for row in rows:
        timing, parity = row.part("timing"), row.part("parity")
        words, status = _STABLE[timing.flag("stable")]
        passed = _PASSED[parity.flag("passed")]
        label = row.text("label") or "imported"
        cells.append(
            [
                Cell(text=", ".join(row.text(name) or f"{name} not recorded" for name in ("model", "precision"))),
                Cell(text=label, status="warn" if row.flag("simulated") else "none"),
                *(Cell(text=texts.milliseconds(timing.number(one))) for one in ("median", "mean", "p99")),
                Cell(text=words, status=status),
                Cell(text=timing.text("boundary") or texts.NONE),
                Cell(text=passed, status=SIGNS[passed]),
                Cell(text={True: "trained", False: "untrained", None: "not known"}[row.flag("trained")]),
                Cell(
                    text=f"TensorRT {row.text('tensorrt')}" + (f", {mode}" if (mode := row.text("power_mode")) else "")
                ),
                Cell(text=texts.short(row.part("sha256").text("engine")), code=True),
            ]
        )
    titles = (
        "engine",
        "provenance",
        "median",
        "mean",
        "p99",
        "stable",
        "what is timed",
        "parity on the device",
        "weights",
        "with",
        "SHA-256",
    )
    columns = [Column(title=one, figures=one in {"median", "mean", "p99"}) for one in titles]
    return Table(caption="Imported from devices, ms", columns=columns, rows=cells)


def _flat(values: Mapping[str, object], before: str = "") -> Iterator[tuple[str, str]]:
    """Leaves with their path; null is left out, as nothing was read."""
    for key, value in values.items():
        name = f"{before}{key}".replace("_", " ")
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}, ")
        elif isinstance(value, list):
            yield name, ", ".join(str(one) for one in value) or "none"
        elif value is not None:
            yield name, {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
