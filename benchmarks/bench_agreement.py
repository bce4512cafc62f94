"""Do two runs of ``bench --quick`` agree? Every ratio of both, with its interval, and whether the intervals overlap.

    python benchmarks/bench_agreement.py --protocol nano-320 --threads 1 --save benchmarks/results/bench_agreement.json

The runs follow each other, each a command of its own as a user types it. A ratio counts where both intervals are
narrower than a tenth of it; of those, 95 % must overlap. A run whose times did not settle counts like any other.
On a virtual machine threads share the host's cores by turns: there, ``--threads 1``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hardnet_deploy.bench.conditions import BUSY_LOAD
from hardnet_deploy.bench.document import read_bench

WIDEST = 0.10
"""Of a ratio: a wider interval overlaps with anything and shows nothing."""
BAR = 0.95
MOST_WAITS, WAIT_S = 60, 5
RATIOS = ("gain_over_eager", "ratio_to_reference")


def run(words: list[str], document: Path) -> dict[str, Any]:
    """One ``bench --quick``, in a process of its own."""
    command = [sys.executable, "-m", "hardnet_deploy", "bench", *words, "--allow-unstable"]
    wait_until_idle()
    subprocess.run([*command, "--save", str(document)], check=True, stdout=subprocess.DEVNULL)
    return read_bench(document)


def ratios(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and value of every ratio with an interval."""
    for row in document["rows"]:
        for name in RATIOS:
            found = row[name]
            value = found["measured"] if found and "measured" in found else found
            if value and value["low"] is not None:
                yield f"{row['key']}: {name}", {key: value[key] for key in ("ratio", "low", "high")}


def compare(first: dict[str, Any], second: dict[str, Any]) -> list[dict[str, Any]]:
    """A record for each ratio that both runs have."""
    others = dict(ratios(second))
    compared = []
    for name, one in ratios(first):
        other = others.get(name)
        if other is None:
            continue
        widths = [(side["high"] - side["low"]) / side["ratio"] for side in (one, other)]
        compared.append(
            {
                "ratio": name,
                "runs": [one, other],
                "widths": widths,
                "counts": max(widths) < WIDEST,
                "overlap": one["low"] <= other["high"] and other["low"] <= one["high"],
            }
        )
    return compared


def unsettled(document: dict[str, Any]) -> list[str]:
    """Keys of the rows that a run without ``--allow-unstable`` would have ended with exit 7 for."""
    return [row["key"] for row in document["rows"] if row["measured"] and not row["measured"]["stable"]]


def wait_until_idle() -> None:
    """Until the load average has forgotten the run before, which would be taken for somebody else's work."""
    for _ in range(MOST_WAITS):
        if os.getloadavg()[0] < BUSY_LOAD * (os.cpu_count() or 1) / 2:
            return
        time.sleep(WAIT_S)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--protocol", default="nano-320")
    parser.add_argument("--threads", type=int, help="of each engine on the CPU; default one per core, as of bench")
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    words = ["--quick", "--protocol", options.protocol]
    if options.threads is not None:
        words += ["--threads", str(options.threads)]
    with tempfile.TemporaryDirectory() as name:
        documents = [run(words, Path(name) / f"run{number}.json") for number in (1, 2)]
    compared = compare(*documents)
    counted = [one for one in compared if one["counts"]]
    share = sum(one["overlap"] for one in counted) / len(counted) if counted else None
    for one in compared:
        told = " and ".join(f"{side['ratio']:.3f} ({side['low']:.3f} to {side['high']:.3f})" for side in one["runs"])
        verdict = ("overlap" if one["overlap"] else "APART") + ("" if one["counts"] else ", too wide to count")
        print(f"{one['ratio']:<60} {told}  {verdict}")
    told = "none" if share is None else f"{100 * share:.1f} % of {len(counted)}"
    print(f"{told} ratios that count overlap; {len(compared) - len(counted)} of {len(compared)} are too wide to count")
    passed = share is not None and share >= BAR
    result = {
        "what": f"two runs of bench {' '.join(words)}, one after the other",
        "command": ["python", "benchmarks/bench_agreement.py", *sys.argv[1:]],
        "widest": WIDEST,
        "bar": BAR,
        "share": share,
        "counted": len(counted),
        "too_wide": len(compared) - len(counted),
        "passed": passed,
        "unsettled": [unsettled(document) for document in documents],
        "compared": compared,
        "runs": documents,
    }
    if options.save:
        options.save.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    raise SystemExit(0 if passed else 1)


if __name__ == "__main__":
    main()
