"""Speed: timings with their provenance, ratios to the reference network, what came back from devices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from hardnet_deploy.bench.document import MEASURED_HERE
from hardnet_deploy.bench.stats import FLAGGED_COV
from hardnet_deploy.report import texts
from hardnet_deploy.report.blocks import Absent, Block, Cell, Column, Section, Status, Table, Text
from hardnet_deploy.report.device_layers import device_engine
from hardnet_deploy.report.documents import Document, Part
from hardnet_deploy.report.lineage import State
from hardnet_deploy.report.next_steps import KIT, free_name
from hardnet_deploy.report.options import SIGNS, gain_cell
from hardnet_deploy.report.ratios import ratios
from hardnet_deploy.report.runs import Runs
from hardnet_deploy.report.suppression import nms_differs, nms_notes, nms_of
from hardnet_deploy.report.timings import IMPORTED, Gain, fed, gain_of, load_of, machine, row_title, run_doubts

OF_DEVICES = "timings of other devices, which import-report reads from what a kit's run has written there"
MOST_CONDITIONS = 60


def timings(runs: Runs) -> Section:
    """Every bench document, then the devices' rows."""
    section = Section(ident="timings", title="Timings")
    for number, document in enumerate(runs.collection.of("bench"), start=1):
        section.blocks += _bench(document, number)
    if not section.blocks:
        save = texts.shell([str(free_name(runs.collection, "bench.json"))])
        command = f"hardnet-deploy bench --save {save}"
        section.blocks.append(Absent(what="timings, and ratios to the published ones", command=command))
    rows = [row for document in runs.collection.of("device-results") for row in document.content.parts("rows")]
    section.blocks += _devices(rows) if rows else [Absent(what=OF_DEVICES, command=KIT)]
    return section


def _bench(document: Document, number: int) -> Iterator[Block]:
    part, protocol = document.content, document.content.part("protocol")
    yield Text(text=_protocol(part, protocol))
    doubts = list(run_doubts(document))
    if doubts:
        yield Text(text=f"Every figure of this run is in doubt: {' and '.join(doubts)}.", caution=True)
    load = load_of(document)
    if load:
        yield Text(text=f"Load: {load}.", caution=True)
    name = f"protocol {protocol.text('name') or 'not named'}"
    rows = part.parts("rows")
    yield _times(document, f"Times, {name}, {machine(document)}")
    compared = [row for row in rows if row.part("ratio_to_reference")]
    if compared:
        yield from ratios(compared, f"ratios-{number}", name, document)
    yield from _conditions(part.part("conditions"), name)


def _conditions(conditions: Part, name: str) -> Iterator[Table]:
    leaves = list(_flat(conditions.values))
    if leaves:
        yield Table(
            caption=f"Conditions, {name}",
            columns=[Column(title="what"), Column(title="value")],
            rows=[[Cell(text=key), Cell(text=value)] for key, value in leaves[:MOST_CONDITIONS]],
        )


def _protocol(part: Part, protocol: Part) -> str:
    numbers = [
        f"{texts.counted(value, noun)}{asked}"
        for key, noun, asked in (("iterations", "iteration", " asked for"), ("rounds", "round", ""))
        if (value := protocol.number(key)) is not None
    ]
    budget, published = protocol.number("budget_s"), protocol.number("iterations_published")
    numbers += [] if budget is None else [f"{budget:g} s of timing at most"]
    told = f"Protocol {protocol.text('name') or 'not named'}, {(part.text('date') or 'date not recorded')[:16]}: "
    told += ", ".join(numbers)
    told += f" ({texts.counted(published, 'iteration')} in the published one)" if published else ""
    told += f". Input: {protocol.text('data') or 'not recorded'}"
    told += f". Method: {method}" if (method := protocol.text("method")) else ""
    return told + ". All figures in ms. Compare ratios across devices, never milliseconds."


def _times(document: Document, caption: str) -> Table:
    cells = []
    rows, protocol = document.content.parts("rows"), document.content.part("protocol")
    gains = {row.text("key"): gain_of(row, document) for row in rows}
    each_nms = nms_differs(rows)
    for row in rows:
        measured, published = row.part("measured"), row.part("published")
        words, status = _STABLE[measured.flag("stable")]
        provenance = row.text("provenance") or "not recorded"
        notes = [note for note in (row.text("runtime"), row.text("source"), *row.texts("notes")) if note]
        weights = {True: "trained", False: "untrained", None: "not known"}[row.flag("trained")]
        cells.append(
            [
                Cell(text=row_title(row)),
                Cell(text=texts.milliseconds(published.number("ms"))),
                *(
                    Cell(text=texts.milliseconds(measured.number(one)))
                    for one in ("median", "mean", "p90", "p95", "p99")
                ),
                _variation(measured),
                Cell(text=texts.count(measured.number("runs"))),
                Cell(text=words if measured else texts.NONE, status=status if measured else "none"),
                gain_cell(gains[row.text("key")]),
                Cell(text=row.text("boundary_text") or row.text("boundary") or texts.NONE),
                Cell(text=nms_of(row) if each_nms else texts.NONE),
                Cell(text=(fed(row, protocol) or "not recorded") if measured else texts.NONE),
                Cell(text=provenance, status=_provenance(provenance)),
                Cell(
                    text=texts.short(row.part("artifact").text("sha256")) if row.part("artifact") else texts.NONE,
                    code=True,
                ),
                Cell(text=weights),
                Cell(text="; ".join(notes) or "none"),
            ]
        )
    against = sorted({gain.against for gain in gains.values() if gain})
    titles = (
        "network, engine", "published", "median", "mean", "p90", "p95", "p99", "CoV", "runs", "stable",
        f"gain against {against[0]}" if len(against) == 1 else "gain",
        "what is timed", "NMS", "input", "provenance", "SHA-256", "weights", "source and notes",
    )  # fmt: skip
    columns = [Column(title=one, figures=0 < place < 11 and one != "stable") for place, one in enumerate(titles)]
    notes = list(_notes(rows, gains, against, protocol.text("stability")))
    return Table(caption=caption, columns=columns, rows=cells, notes=notes).without(texts.NONE)


def _notes(
    rows: Sequence[Part], gains: Mapping[str | None, Gain | None], against: Sequence[str], stability: str | None
) -> Iterator[str]:
    devices = sorted({row.part("published").text("device") or "" for row in rows} - {""})
    if devices:
        yield f"Published: on {', '.join(devices)}, not comparable in milliseconds."
    gained = [row for row in rows if gains[row.text("key")]]
    if gained:
        yield f"Gains: of medians, 95 % interval over {_blocks(gained)}."
    yield "A dash stands for what was not measured, or of too few runs."
    for one in against if len(against) > 1 else ():
        titles = [row_title(row) for row in rows if (gain := gains[row.text("key")]) and gain.against == one]
        yield f"Gain against {one}: {'; '.join(titles)}."
    yield from nms_notes(rows)
    doubts = dict.fromkeys(doubt for gain in gains.values() if gain for doubt in gain.doubts)
    if doubts:
        yield f"Gains are in doubt where {' and '.join(doubts)}."
    if stability:
        yield f"Stable: {stability}."
    flagged = [row for row in rows if _flagged(row.part("measured"))]
    if flagged:
        both = any(row.part("measured").flag("stable") for row in flagged)
        apart = " A row can be both: this is about single runs, stable about all of them." if both else ""
        yield f"Flagged: a coefficient of variation over {FLAGGED_COV} %, from which trtexec warns.{apart}"


def _blocks(rows: Sequence[Part]) -> str:
    """What the intervals of gains are over: loadings where there were several, rounds of a single one."""
    counts = {len(set(row.values.get("loadings") or ())) for row in rows}
    several = sorted(count for count in counts if count > 1)
    if not several:
        return "rounds"
    number = f"{several[0]}" if len(several) == 1 else f"{several[0]} to {several[-1]}"
    return (
        f"{number} loadings"
        if len(several) == len(counts)
        else f"{number} loadings, of what was loaded once over rounds"
    )


def _variation(measured: Part) -> Cell:
    percent = measured.number("cov_percent")
    if percent is None:
        return Cell(text=texts.NONE)
    flagged = _flagged(measured)
    return Cell(text=f"{percent:.1f} %{', flagged' if flagged else ''}", status="warn" if flagged else "none")


def _flagged(measured: Part) -> bool:
    """As the row says, else by the figure."""
    flagged = measured.flag("cov_flagged")
    return (measured.number("cov_percent") or 0) > FLAGGED_COV if flagged is None else flagged


_PASSED: Mapping[bool | None, State] = {True: "passed", False: "failed", None: "not compared"}
_STABLE: Mapping[bool | None, tuple[str, Status]] = {
    True: ("stable", "pass"),
    False: ("unstable", "warn"),
    None: ("not judged", "none"),
}


def _provenance(text: str) -> Status:
    return (
        "pass" if text == MEASURED_HERE else "none" if text.startswith(IMPORTED) and "simulated" not in text else "warn"
    )


def _devices(rows: list[Part]) -> Iterator[Table]:
    """Every row in one table; then the conditions of those that have some."""
    cells = []
    for row in rows:
        timing, parity = row.part("timing"), row.part("parity")
        words, status = _STABLE[timing.flag("stable")]
        passed = _PASSED[parity.flag("passed")]
        label = row.text("label") or "imported"
        cells.append(
            [
                Cell(text=device_engine(row)),
                Cell(text=label, status="warn" if row.flag("simulated") else "none"),
                *(Cell(text=texts.milliseconds(timing.number(one))) for one in ("median", "mean", "p90", "p95", "p99")),
                _variation(timing),
                Cell(text=texts.count(timing.number("runs"))),
                Cell(text=words, status=status),
                Cell(text=timing.text("boundary") or texts.NONE),
                Cell(text=timing.text("inputs") or "not recorded"),
                Cell(text=passed, status=SIGNS[passed]),
                Cell(text={True: "trained", False: "untrained", None: "not known"}[row.flag("trained")]),
                Cell(
                    text=f"TensorRT {row.text('tensorrt')}" + (f", {mode}" if (mode := row.text("power_mode")) else "")
                ),
                Cell(text=texts.short(row.part("sha256").text("engine")), code=True),
            ]
        )
    figures = ("median", "mean", "p90", "p95", "p99", "CoV", "runs")
    titles = (
        "engine", "provenance", *figures, "stable", "what is timed", "input", "parity on the device", "weights", "with",
        "SHA-256",
    )  # fmt: skip
    columns = [Column(title=one, figures=one in figures) for one in titles]
    yield Table(caption="Imported from devices, ms", columns=columns, rows=cells).without(texts.NONE)
    for row in rows:
        yield from _conditions(
            row.part("timing").part("conditions"), f"{device_engine(row)}, {row.text('label') or 'imported'}"
        )


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
