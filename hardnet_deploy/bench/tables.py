"""A bench document as tables: for a terminal, as Markdown, as CSV. Nothing is computed here that is not in it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from hardnet_deploy.bench import table_cells as cells
from hardnet_deploy.bench.document import EXPORTED, IMPORTED, MEASURED_HERE, WITHOUT_TIMES
from hardnet_deploy.bench.protocols import OWN, title_of

Document = Mapping[str, Any]
Row = Mapping[str, Any]

LABEL_WIDTH: Final = 11
TIMES: Final = ("median", "mean", "p90", "p95", "p99", "min", "max")
OTHERS: Final = ("cov_percent", "cov_flagged", "runs", "stable")
OF_NMS: Final = ("nms", "nms_candidates")
"""Missing in documents of before they were recorded."""


def text_table(document: Document) -> Iterator[str]:
    """The document for a terminal, line by line."""
    yield headline(document)
    for name, text in facts(document):
        yield f"{name:<{LABEL_WIDTH}} {text}"
    heads, rows = _columns(document), _shown(document)
    for texts, group in _by_boundary(rows):
        yield ""
        for number, text in enumerate(texts):
            yield f"{'' if number else 'timed':<{LABEL_WIDTH}} {text}"
        cells = [tuple(cell(row) for _, cell in heads) for row in group]
        yield from _aligned([tuple(head for head, _ in heads), *cells])
    absent = list(_absent(document))
    if absent:
        yield ""
        yield from absent
    noted = list(_notes(document))
    if noted:
        yield ""
        yield from noted


def markdown_table(document: Document) -> Iterator[str]:
    """The document as Markdown, line by line: every row, those that could not be timed too."""
    yield f"## {headline(document)}"
    yield ""
    for name, text in facts(document):
        yield f"- {name}: {_escaped(text)}"
    heads = _columns(document)
    for texts, group in _by_boundary(list(document["rows"])):
        yield ""
        for number, text in enumerate(texts):
            yield f"- {_escaped(text)}" if number else f"Timed, {_escaped(text)}"
        yield ""
        yield "| " + " | ".join(head for head, _ in heads) + " |"
        yield "|" + "---|" * len(heads)
        for row in group:
            yield "| " + " | ".join(_escaped(cell(row)) for _, cell in heads) + " |"
    noted = list(_notes(document))
    if noted:
        yield ""
        yield from (f"- {_escaped(line)}" for line in noted)


def csv_table(document: Document) -> str:
    """Every row with every figure, as CSV with one line of names."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    plain = ("key", "network", "engine", "runtime", "precision", "boundary", "boundary_text", "size", "batch", "device")
    published = ("published_ms", "published_device", "published_source")
    ratios = ("reference", "ratio_statistic", "ratio_published", "ratio", "ratio_low", "ratio_high")
    gains = ("gain", "gain_low", "gain_high")
    last = ("sha256", "source", "trained", "parameters", "macs", "notes")
    figures = (*(f"ms_{name}" for name in TIMES), *OTHERS)
    writer.writerow([*plain, *OF_NMS, "provenance", *published, *figures, *ratios, *gains, *last])
    for row in document["rows"]:
        measured, to = row["measured"] or {}, row["ratio_to_reference"] or {}
        writer.writerow(
            [
                *(row[name] for name in plain),
                *(row.get(name) for name in OF_NMS),
                row["provenance"],
                *((row["published"] or {}).get(name) for name in ("ms", "device", "source")),
                *(measured.get(name) for name in (*TIMES, *OTHERS)),
                to.get("reference"),
                to.get("statistic"),
                to.get("published"),
                *_ends(to.get("measured")),
                *_ends(row["gain_over_eager"]),
                (row["artifact"] or {}).get("sha256"),
                *(row[name] for name in ("source", "trained", "parameters", "macs")),
                "; ".join(row["notes"]),
            ]
        )
    return out.getvalue()


def headline(document: Document) -> str:
    """Protocol, input and state in one line."""
    protocol = document["protocol"]
    what = "Bench" if protocol["name"] == OWN else f"Protocol {protocol['name']}"
    sizes = {row["size"] for row in document["rows"] if row["size"]}
    size = "".join(f", {one} x {one}" for one in sizes) if len(sizes) == 1 else ""
    rounds = protocol["rounds"]
    done = "" if document["finished"] else f": interrupted after {rounds} round{'' if rounds == 1 else 's'}"
    batches = {row["batch"] for row in document["rows"] if row["batch"]}
    batch = "".join(f", batch {one}" for one in batches) if len(batches) == 1 else ""
    return f"{what}{size}{batch}{done}"


def facts(document: Document) -> Iterator[tuple[str, str]]:
    """What every figure of the document shares: name and text of each line."""
    protocol = document["protocol"]
    yield "input", protocol["data"]
    runs = sorted({row["measured"]["runs"] for row in _here(document)})
    if runs:
        many = f"{runs[0]}" if len(runs) == 1 else f"{runs[0]} to {runs[-1]}"
        asked = "" if runs[0] >= protocol["iterations"] else f" (asked for: {protocol['iterations']})"
        budget = f", budget {protocol['budget_s']:g} s" if protocol["budget_s"] else ""
        yield "runs", f"{many} of each row in {protocol['rounds']} rounds{asked}{budget}; {protocol['method']}"
    if any(row["published"] for row in document["rows"]):
        known = {
            (row["published"]["device"], row["published"]["runtime"]) for row in document["rows"] if row["published"]
        }
        where = "; ".join(f"{device}, {runtime}" for device, runtime in sorted(known))
        of = f"{protocol['statistic']} of {protocol['iterations_published']} runs"
        yield "published", f"{where}, {of}; milliseconds of another device are never compared with those from here"
    for source, titles in _sources(document).items():
        yield "source", f"{source}: {', '.join(titles)}"
    yield "machine", document["machine"]
    if document["conditions"].get("load"):
        yield "load", document["conditions"]["load"]
    if document["conditions"].get("throttled"):
        yield "throttled", "the clock was held back while times were taken"
    yield "date", document["date"]


def _columns(document: Document) -> list[tuple[str, Any]]:
    rows, protocol = document["rows"], document["protocol"]
    columns: list[tuple[str, Any]] = [("network", cells.network)]
    for name in ("size", "batch"):
        if len({row[name] for row in rows if row[name]}) > 1:
            columns.append((name, lambda row, name=name: str(row[name] or cells.NOTHING)))
    columns.append(("engine", lambda row: row["engine"]))
    if any(row["published"] for row in rows):
        columns.append(("published ms", lambda row: cells.ms((row["published"] or {}).get("ms"))))
    columns += [
        ("median ms", lambda row: cells.ms((row["measured"] or {}).get("median"))),
        ("mean", lambda row: cells.ms((row["measured"] or {}).get("mean"))),
        ("p95", lambda row: cells.ms((row["measured"] or {}).get("p95"))),
        ("CoV %", cells.cov),
    ]
    to = title_of(protocol["reference"]) if protocol["reference"] else ""
    ratios = cells.Ratios(rows)
    if any((row["ratio_to_reference"] or {}).get("published") for row in rows):
        columns.append((f"published ratio ({protocol['statistic']}s)", cells.published_ratio))
    if any((row["ratio_to_reference"] or {}).get("measured") for row in rows):
        columns.append((f"ratio to {to} ({ratios.statistics()})", ratios.to_reference))
    if any(row["gain_over_eager"] for row in rows):
        columns.append(("gain over eager (medians)", ratios.over_eager))
    columns += [("SHA-256", cells.digest), ("origin", lambda row: row["provenance"])]
    return columns


def _ends(found: Mapping[str, Any] | None) -> tuple[Any, Any, Any]:
    return (found["ratio"], found["low"], found["high"]) if found else (None, None, None)


def _sources(document: Document) -> dict[str, list[str]]:
    """Where networks come from, with those that come from there; files say it by their names."""
    found: dict[str, list[str]] = {}
    for row in _here(document):
        if row["source"] and not (row["artifact"] or {}).get("file"):
            titles = found.setdefault(row["source"].removesuffix(EXPORTED), [])
            titles += [] if row["title"] in titles else [row["title"]]
    return found


def _here(document: Document) -> list[Row]:
    return [row for row in document["rows"] if row["provenance"] == MEASURED_HERE]


def _shown(document: Document) -> list[Row]:
    """Rows for a terminal: what was timed and imported, and of a published network with no such row its first one."""
    rows = document["rows"]
    timed = {row["network"] for row in rows if row["provenance"] == MEASURED_HERE}
    shown: list[Row] = []
    told: set[str] = set()
    for row in rows:
        if not row["provenance"].startswith(WITHOUT_TIMES):
            shown.append(row)
        elif row["published"] and row["network"] not in timed | told:
            told.add(row["network"])
            shown.append(row)
    return shown


def _by_boundary(rows: Sequence[Row]) -> Iterator[tuple[list[str], list[Row]]]:
    """Rows that count the same in, apart from those that count something else; and in words what that is."""
    for boundary in dict.fromkeys(row["boundary"] for row in rows):
        group = [row for row in rows if row["boundary"] == boundary]
        told = [row for row in group if row["measured"]] or group
        texts: dict[str, list[Row]] = {}
        for row in told:
            texts.setdefault(row["boundary_text"], []).append(row)
        first = boundary or "as the devices' reports say"
        if len(texts) == 1:
            yield [f"{first}: {next(iter(texts))}"], group
            continue
        engines = {row["engine"] for row in told}
        apart = all(len({row["boundary_text"] for row in told if row["engine"] == one}) == 1 for one in engines)
        names = {
            text: dict.fromkeys(row["engine"] if apart else f"{row['title']} {row['engine']}" for row in of)
            for text, of in texts.items()
        }
        yield [f"{first}:", *(f"{', '.join(names[text])}: {text}" for text in texts)], group


def _aligned(lines: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns side by side: names to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    numeric = [any(line[place][:1].isdigit() for line in lines[1:]) for place in range(len(widths))]
    for place, head in enumerate(lines[0]):
        numeric[place] = numeric[place] and head not in {"network", "engine", "SHA-256", "origin"}
    for line in lines:
        cells = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        )
        yield "  ".join(cells).rstrip()


def _absent(document: Document) -> Iterator[str]:
    """What could not be timed here: one line for each reason and engine."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for row in document["rows"]:
        if row["provenance"].startswith(WITHOUT_TIMES):
            reasons.setdefault((row["provenance"], row["engine"]), []).append(row["title"])
    engines: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (why, engine), titles in reasons.items():
        engines.setdefault((why, tuple(dict.fromkeys(titles))), []).append(engine)
    every = {row["title"] for row in document["rows"] if not row["provenance"].startswith(IMPORTED)}
    for (why, titled), names in engines.items():
        of = "" if set(titled) == every else f" of {', '.join(titled)}"
        yield f"{', '.join(names)}{of}: {why}"


def _notes(document: Document) -> Iterator[str]:
    """What belongs beside some rows: one line for each sentence, with the rows that it is about."""
    yield from (f"note: {line}" for line in cells.Ratios(document["rows"]).legend())
    rows_of: dict[str, list[str]] = {}
    for row in document["rows"]:
        for text in row["notes"]:
            rows_of.setdefault(text, []).append(row["key"])
    timed = [row["key"] for row in _here(document)]
    for text, keys in rows_of.items():
        where = "every row" if len(keys) > 1 and keys == timed else ", ".join(keys[:4])
        more = f" and {len(keys) - 4} more" if where != "every row" and len(keys) > 4 else ""
        yield f"note: {where}{more}: {text}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|")
