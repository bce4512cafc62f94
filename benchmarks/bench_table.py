"""The README's table of a saved ``bench`` document.

    python benchmarks/bench_table.py benchmarks/results/bench_1080ti_1024.json

A row for each network; for each engine the time and its ratio to the reference network by the same engine, with the
interval. Below it one sentence of what was run, and one of what did not settle.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hardnet_deploy.bench.document import read_bench

NAMES = {"eager": "PyTorch eager", "ort-fp32": "ONNX Runtime FP32", "ort-int8": "ONNX Runtime INT8"}
MARK = "\\*"


def table(document: dict[str, Any]) -> str:
    """Markdown."""
    rows = [row for row in document["rows"] if row["measured"] and row["rounds_ms"]]
    engines = list(dict.fromkeys(row["engine"] for row in rows))
    networks = list(dict.fromkeys(row["network"] for row in rows))
    by_key = {(row["network"], row["engine"]): row for row in rows}
    reference = next(row["title"] for row in rows if row["ratio_to_reference"] is None)
    device = next(row["published"]["device"] for row in rows if row["published"])
    titles = ["", f"published, {device}", *(NAMES.get(engine, engine) for engine in engines)]
    lines = [" | ".join(["", *titles, ""]).strip(), "|---" * len(titles) + "|"]
    for network in networks:
        mine = [by_key.get((network, engine)) for engine in engines]
        first = next(row for row in mine if row)
        cells = [first["title"], published(first), *(cell(row, document["protocol"]["statistic"]) for row in mine)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *sentences(document, rows, reference)])


def published(row: dict[str, Any]) -> str:
    """The authors' milliseconds, and what they make of them."""
    if not row["published"]:
        return ""
    ratio = (row["ratio_to_reference"] or {}).get("published")
    return f"{row['published']['ms']:g} ms" + ("" if ratio is None else f", {ratio:.2f}")


def cell(row: dict[str, Any] | None, statistic: str) -> str:
    """A time, and its ratio with the interval."""
    if row is None:
        return ""
    mark = "" if row["measured"]["stable"] else MARK
    time = f"{row['measured'][statistic]:.0f} ms{mark}"
    ratio = (row["ratio_to_reference"] or {}).get("measured")
    if not ratio:
        return time
    interval = "" if ratio["low"] is None else f" ({ratio['low']:.2f} to {ratio['high']:.2f})"
    return f"{time}, {ratio['ratio']:.2f}{interval}"


def sentences(document: dict[str, Any], rows: list[dict[str, Any]], reference: str) -> list[str]:
    """What was run where."""
    protocol = document["protocol"]
    runs = sorted(row["measured"]["runs"] for row in rows)
    counts = f"{runs[0]}" if runs[0] == runs[-1] else f"{runs[0]} to {runs[-1]}"
    size, batch, statistic = protocol["size"], protocol["batch"], protocol["statistic"]
    weights = "" if any(row["trained"] is not False for row in rows) else ", untrained weights"
    what = f"{size} x {size}, batch {batch}, {statistic} of {counts} runs in {protocol['rounds']} rounds"
    where = f"{protocol['data']}{weights}; {document['machine']}; {document['date'][:10]}"
    told = [f"{what}, {where}. After each time the ratio to {reference} by the same engine."]
    if any(not row["measured"]["stable"] for row in rows):
        told.append(f"{MARK} did not settle: {protocol['stability']}.")
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("document", type=Path)
    print(table(read_bench(parser.parse_args().document)))


if __name__ == "__main__":
    main()
