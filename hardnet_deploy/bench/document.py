"""The bench document: what ``bench --save`` writes and everybody else reads; ``docs/bench-json.md`` has every field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, get_args

from hardnet_deploy.bench.document_figures import SAME, check_figures
from hardnet_deploy.bench.document_published import check_published
from hardnet_deploy.bench.protocols import BOUNDARIES
from hardnet_deploy.bench.sides import NMS_KINDS, Device
from hardnet_deploy.bench.stats import STATISTICS
from hardnet_deploy.errors import InputFileError
from hardnet_deploy.files import atomic_output, write_durably
from hardnet_deploy.kit.json_record import Record, read_json

SCHEMA: Final = 1
KIND: Final = "bench"
MEASURED_HERE: Final = "measured here"
IMPORTED: Final = "imported ("
NOT_HERE: Final = "not reproducible here ("
NOT_MEASURED: Final = "not measured ("
WITHOUT_TIMES: Final = (NOT_HERE, NOT_MEASURED)
"""How the provenance of a row begins that has no times."""
EXPORTED: Final = ", exported for this run"
ENDED_EARLY: Final = "ended early: "
"""How the note of a row begins whose engine did not live to the end of the timing."""
AGAIN: Final = "hardnet-deploy bench --save writes one"
_FIGURES: Final = ("median", "mean", "p90", "p95", "p99", "min", "max", "cov_percent")
_DEVICES: Final[tuple[Device, ...]] = get_args(Device)
_MAY_BE_MISSING: Final = ("p90", "p95", "p99", "cov_percent")


def not_here(why: str) -> str:
    """The provenance of a row that this machine cannot time."""
    return f"{NOT_HERE}{why})"


def not_measured(why: str) -> str:
    """The provenance of a row that this machine could have timed."""
    return f"{NOT_MEASURED}{why})"


def ended_early(row: Mapping[str, Any]) -> str | None:
    """The note that says why a row's engine did not live to the end; None where it did."""
    return next((note for note in row["notes"] if note.startswith(ENDED_EARLY)), None)


def save_bench(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document, whole or not at all.

    Raises:
        OutputFileError: It cannot be written; an older file stays as it was.
    """
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_output(path) as temporary:
        write_durably(temporary, text.encode("utf-8", "backslashreplace"))


def read_bench(path: Path) -> dict[str, Any]:
    """Read a document, every part of it checked.

    Raises:
        InputFileError: It is missing, no bench document, of another schema, or a part is not what it must be.
    """
    document = read_json(path, what="a bench document", hint=AGAIN)
    check_bench(document, source=str(path))
    return dict(document)


def check_bench(document: Any, *, source: str) -> None:
    """Refuse what is no bench document of this schema.

    Args:
        document: As JSON gives it.
        source: Where it comes from, for messages.

    Raises:
        InputFileError: A part is missing, is not what it must be, or does not follow from the times beside it.
    """
    whole = Record.of(document, source, hint=AGAIN)
    if whole.values.get("kind") != KIND:
        raise InputFileError(
            f"{source} is no bench document",
            got=f"kind {json.dumps(whole.values.get('kind'))[:60]}",
            wanted=f"kind {KIND}",
            next_step=AGAIN,
        )
    if whole.values.get("schema") != SCHEMA:
        raise InputFileError(
            f"{source} has another schema",
            got=f"schema {json.dumps(whole.values.get('schema'))[:60]}",
            wanted=f"schema {SCHEMA}",
            next_step="run the bench again with this version",
        )
    whole.line("date")
    whole.text("machine")
    whole.texts("command")
    whole.boolean("finished")
    whole.record("conditions")
    _check_protocol(whole.record("protocol"))
    rows = whole.records("rows")
    for row in rows:
        _check_row(row)
    keys = [row.values["key"] for row in rows]
    if len(set(keys)) != len(keys):
        whole.refuse("rows", "rows that each have a key of their own")
    check_figures(rows, whole.record("protocol"))
    check_published(rows)


def _check_protocol(protocol: Record) -> None:
    for name in ("name", "statistic", "data", "method", "stability"):
        protocol.text(name)
    protocol.count("batch")
    protocol.count("iterations")
    protocol.texts("boundaries")
    protocol.count("rounds")
    for name in ("size", "iterations_published"):
        if protocol.has(name):
            protocol.count(name)
    if protocol.has("budget_s"):
        protocol.number("budget_s")
    if protocol.has("reference"):
        protocol.text("reference")
    if protocol.has("groups"):
        groups = protocol.values["groups"]
        if not isinstance(groups, list):
            protocol.refuse("groups", "a list of lists of keys")
        for one in groups:
            Record({"groups": one}, protocol.where, protocol.source, AGAIN).texts("groups")


def _check_row(row: Record) -> None:
    for name in ("key", "network", "title", "engine", "boundary_text"):
        row.text(name)
    for name in ("runtime", "precision", "input", "device", "source"):
        if row.has(name):
            row.text(name)
    provenance = row.text("provenance")
    measured_here = provenance == MEASURED_HERE
    if not measured_here and not provenance.startswith((IMPORTED, *WITHOUT_TIMES)):
        wanted = " or ".join(f"'{one}...)'" for one in (IMPORTED, *WITHOUT_TIMES))
        row.refuse("provenance", f"'{MEASURED_HERE}' or {wanted}")
    if row.values.get("boundary") not in (*BOUNDARIES, None) or (measured_here and not row.has("boundary")):
        row.refuse("boundary", " or ".join(BOUNDARIES))
    if measured_here and row.values.get("device") not in _DEVICES:
        row.refuse("device", " or ".join(_DEVICES))
    for name in ("size", "batch", "nms_candidates", "parameters", "macs", "peak_rss_bytes"):
        if row.has(name):
            row.count(name)
    if row.has("nms") and row.values["nms"] not in NMS_KINDS:
        row.refuse("nms", " or ".join(NMS_KINDS))
    if row.has("trained"):
        row.boolean("trained")
    row.texts("notes")
    _check_published(row)
    _check_measured(row, measured_here=measured_here)
    _check_ratios(row)
    if row.has("artifact"):
        artifact = row.record("artifact")
        if artifact.has("file"):
            artifact.text("file")
        artifact.digest("sha256")


def _check_published(row: Record) -> None:
    if row.has("published"):
        published = row.record("published")
        _positive(published, "ms")
        for name in ("device", "runtime", "source"):
            published.text(name)


def _check_measured(row: Record, *, measured_here: bool) -> None:
    if not row.has("measured"):
        if measured_here:
            row.refuse("measured", "figures, as it was measured here")
        return
    if row.values["provenance"].startswith(WITHOUT_TIMES):
        row.refuse("measured", "null, as it was not timed here")
    measured = row.record("measured")
    for name in _FIGURES:
        if measured.has(name) or name not in _MAY_BE_MISSING:
            measured.number(name) if name == "cov_percent" else _positive(measured, name)
    if measured.count("runs") < 1:
        measured.refuse("runs", "1 or more")
    for name in ("cov_flagged", "stable"):
        if measured.has(name):
            measured.boolean(name)
    if row.has("rounds_ms"):
        _check_rounds(row, measured.values["runs"])
    elif measured_here:
        row.refuse("rounds_ms", "the milliseconds of every run, by round")


def _check_rounds(row: Record, wanted: int) -> None:
    rounds = row.values["rounds_ms"]
    if not isinstance(rounds, list):
        row.refuse("rounds_ms", "a list of rounds")
    runs = sum(len(Record({"round": one}, row.where, row.source, AGAIN).times("round")) for one in rounds)
    if runs != wanted:
        row.refuse("rounds_ms", f"as many runs as 'measured' has: {wanted}")
    if row.has("loadings"):
        loadings = row.values["loadings"]
        whole = isinstance(loadings, list) and all(type(one) is int and one >= 0 for one in loadings)
        if not whole or len(loadings) != len(rounds):
            row.refuse("loadings", f"{len(rounds)} whole numbers, one for each round")


def _check_ratios(row: Record) -> None:
    if row.has("ratio_to_reference"):
        ratio = row.record("ratio_to_reference")
        ratio.text("reference")
        if ratio.has("statistic") and ratio.values["statistic"] not in STATISTICS:
            ratio.refuse("statistic", " or ".join(STATISTICS))
        if ratio.has("published"):
            _positive(ratio, "published")
        if ratio.has("measured"):
            _check_interval(ratio.record("measured"))
    if row.has("gain_over_eager"):
        gain = row.record("gain_over_eager")
        _check_interval(gain)
        if gain.has("eager"):
            gain.text("eager")


def _check_interval(ratio: Record) -> None:
    value = _positive(ratio, "ratio")
    if ratio.has("low") != ratio.has("high"):
        ratio.refuse("low", "both ends of the interval, or none")
    if ratio.has("low"):
        low, high = _positive(ratio, "low"), _positive(ratio, "high")
        if low > value * (1 + SAME):
            ratio.refuse("low", "no more than 'ratio'")
        if high < value * (1 - SAME):
            ratio.refuse("high", "no less than 'ratio'")
    ratio.count("rounds")


def _positive(record: Record, name: str) -> float:
    value = record.number(name)
    return value if value > 0 else record.refuse(name, "a number above 0")
