"""The README's table of a saved ``bench`` document.

    python benchmarks/bench_table.py benchmarks/results/bench_1080ti_1024.json

A table for each boundary, in it a row for each network; for each engine the time and its ratio to the reference
network with the interval, both of the statistic that the document's ratios are of. Below it what was run, and what
speaks against the figures.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hardnet_deploy.bench import table_cells as cells
from hardnet_deploy.bench.document import read_bench
from hardnet_deploy.errors import HardnetDeployError

NAMES = {
    "eager": "PyTorch eager",
    "channels-last": "PyTorch channels-last",
    "ort-fp32": "ONNX Runtime FP32",
    "ort-int8": "ONNX Runtime INT8",
}
MARK = "\\*"
Row = dict[str, Any]


def table(document: dict[str, Any]) -> str:
    """Markdown.

    Raises:
        SystemExit: Nothing in it was timed here, or its ratios are of several statistics.
    """
    rows = [row for row in document["rows"] if row["measured"] and row["rounds_ms"]]
    if not rows:
        raise SystemExit("no row of this document was timed here: there is nothing to show")
    statistic = statistic_of(document, rows)
    boundaries = list(dict.fromkeys(row["boundary"] for row in rows))
    lines: list[str] = []
    for boundary in boundaries:
        lines += [f"Timed, {boundary}:", ""] if len(boundaries) > 1 else []
        lines += [*one_table(document, [row for row in rows if row["boundary"] == boundary], statistic), ""]
    return "\n".join([*lines, *sentences(document, rows, statistic)])


def statistic_of(document: dict[str, Any], rows: list[Row]) -> str:
    """What of the runs the ratios divide, and so the times are of; where there are none, the protocol's."""
    ratios = [row["ratio_to_reference"] for row in rows if (row["ratio_to_reference"] or {}).get("measured")]
    told = sorted({ratio.get("statistic") or "median" for ratio in ratios})
    if len(told) > 1:
        raise SystemExit(f"the ratios of this document are of {' and of '.join(told)}s: one table cannot have both")
    return told[0] if told else str(document["protocol"]["statistic"])


def one_table(document: dict[str, Any], rows: list[Row], statistic: str) -> Iterator[str]:
    """Of one boundary."""
    engines = list(dict.fromkeys(row["engine"] for row in rows))
    devices = list(dict.fromkeys(row["published"]["device"] for row in rows if row["published"]))
    titles = ["", *(f"published, {device}" for device in devices), *(NAMES.get(engine, engine) for engine in engines)]
    yield " | ".join(["", *titles, ""]).strip()
    yield "|---" * len(titles) + "|"
    ratios = cells.Ratios(document["rows"])
    for mine in networks(rows):
        first = next(iter(mine.values()))
        told = [published(first, device) for device in devices]
        times = [cell(mine.get(engine), ratios, document, statistic) for engine in engines]
        yield "| " + " | ".join([title(first, rows), *told, *times]) + " |"


def networks(rows: list[Row]) -> list[dict[str, Row]]:
    """Rows by engine, for each network; two of one name, as of two checkpoints, are two."""
    found: list[tuple[tuple[Any, ...], dict[str, Row]]] = []
    for row in rows:
        name = (row["network"], row["title"], row["size"], row["batch"])
        place = next((by for other, by in found if other == name and row["engine"] not in by), None)
        if place is None:
            found.append((name, place := {}))
        place[row["engine"]] = row
    return [by for _, by in found]


def title(row: Row, rows: list[Row]) -> str:
    """The network, with its input where inputs differ, and whether nobody trained it where that differs."""
    mixed = len({one["trained"] is False for one in rows}) > 1
    text = cells.network(row) if mixed else str(row["title"])
    return text if len({(one["size"], one["batch"]) for one in rows}) == 1 else f"{text}, {input_of(row)}"


def input_of(row: Row) -> str:
    """Size and batch."""
    return f"{row['size']} x {row['size']}, batch {row['batch']}"


def published(row: Row, device: str) -> str:
    """The authors' milliseconds, and what they make of them."""
    if not row["published"] or row["published"]["device"] != device:
        return ""
    ratio = (row["ratio_to_reference"] or {}).get("published")
    return f"{row['published']['ms']:g} ms" + ("" if ratio is None else f", {ratio:.2f}")


def cell(row: Row | None, ratios: cells.Ratios, document: dict[str, Any], statistic: str) -> str:
    """A time, and its ratio with the interval."""
    if row is None:
        return ""
    time = f"{cells.ms(row['measured'][statistic])} ms{MARK if cells.is_unstable(row) else ''}"
    ratio = row["ratio_to_reference"]
    if not ratio or not ratio["measured"]:
        return time
    reference = next(one for one in document["rows"] if one["key"] == ratio["reference"])
    by = "" if reference["engine"] == row["engine"] else f", over {NAMES.get(reference['engine'], reference['engine'])}"
    return f"{time}, {ratios.to_reference(row).replace(f' {cells.UNSTABLE}', MARK)}{by}"


def sentences(document: dict[str, Any], rows: list[Row], statistic: str) -> Iterator[str]:
    """What was run where, and what speaks against it."""
    protocol, conditions = document["protocol"], document["conditions"]
    runs = sorted(row["measured"]["runs"] for row in rows)
    counts = f"{runs[0]}" if runs[0] == runs[-1] else f"{runs[0]} to {runs[-1]}"
    rounds = f"{protocol['rounds']} round{'' if protocol['rounds'] == 1 else 's'}"
    if not document["finished"]:
        yield f"**Interrupted after {rounds}.**"
    inputs = {input_of(row) for row in rows}
    size = f"{next(iter(inputs))}, " if len(inputs) == 1 else ""
    weights = ", untrained weights" if all(row["trained"] is False for row in rows) else ""
    where = f"{protocol['data']}{weights}; {document['machine']}; {document['date'][:10]}"
    keys = {row["ratio_to_reference"]["reference"] for row in rows if (row["ratio_to_reference"] or {}).get("measured")}
    names = list(dict.fromkeys(row["title"] for row in document["rows"] if row["key"] in keys))
    to = (
        f" After each time the ratio to {' or '.join(names)}, by the same engine unless it says another."
        if names
        else ""
    )
    yield f"{size}{statistic} of {counts} runs in {rounds}, {where}.{to}"
    if any(cells.is_unstable(row) for row in rows):
        yield f"{MARK} did not settle; beside a ratio, one of its two rows did not. The rule: {protocol['stability']}."
    yield from (f"{line}." for line in cells.Ratios(document["rows"]).legend() if line.startswith(cells.ONE_NUMPY_NMS))
    if isinstance(conditions.get("load"), str):
        yield f"{conditions['load']}."
    if conditions.get("throttled"):
        yield "The clock was held back while times were taken."
    notes: dict[str, list[str]] = {}
    for row in rows:
        for note in row["notes"]:
            notes.setdefault(note, []).append(row["key"])
    yield from (f"{', '.join(of)}: {note}." for note, of in notes.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("document", type=Path)
    try:
        print(table(read_bench(parser.parse_args().document)))
    except HardnetDeployError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
