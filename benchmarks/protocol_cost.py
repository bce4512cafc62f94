"""What the protocol itself costs: its timing code against a bare loop, on the same session, in one process.

    python benchmarks/protocol_cost.py --save benchmarks/results/protocol_cost.json

Both run the same ONNX Runtime session with the same input: the bare side is nothing but ``session.run`` between two
readings of the clock, the other the code that ``hardnet-deploy bench`` times with (the runner's checks, the choice of
the input, the loop). Turns alternate, their order changes at random, so a drift hits both alike. The same bare loop
measured against itself in the same rounds shows what difference this machine makes out of nothing.

What a call costs is also measured without the machine's noise: both loops around a session that does nothing, in
microseconds a run, divided by the time of one real run. The bar is 1 %.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from machine import conditions

from hardnet_deploy.bench.inputs import normalised, random_pixels
from hardnet_deploy.bench.loaded import WallClock, warm_up
from hardnet_deploy.bench.sides import SideFacts
from hardnet_deploy.bench.stats import ratio, summarise
from hardnet_deploy.bench.timing import WARM_UP_MS
from hardnet_deploy.models import registry
from hardnet_deploy.runners.ort import OrtRunner
from hardnet_deploy.tensor_names import INPUT
from hardnet_deploy.workflows.export import run_export
from hardnet_deploy.workflows.export_options import ExportRequest

SHOWN = (
    "protocol_over_bare",
    "bare_over_bare",
    "microseconds_a_run_around_nothing",
    "share_added",
    "directly",
    "passed",
)
BELOW, ABOVE = "below the bar", "above the bar"
BAR = 0.01
PROTOCOL, BARE, AGAIN = "protocol", "bare loop", "bare loop, again"
EMPTY_RUNS = 20_000
Turn = Callable[[int, float], list[float]]


class Nothing:
    """A session that returns at once."""

    def run(self, _names: list[str], _feeds: dict[str, Any]) -> list[Any]:
        """Two outputs of nothing."""
        return [None, None]


def bare(session: Any, names: list[str], feeds: dict[str, Any]) -> Turn:
    """``session.run`` between two readings of the clock."""

    def turn(runs: int, warm_up_ms: float) -> list[float]:
        warm_up(lambda _: session.run(names, feeds), warm_up_ms, 1)
        times = []
        for _ in range(runs):
            began = time.perf_counter()
            session.run(names, feeds)
            times.append(1e3 * (time.perf_counter() - began))
        return times

    return turn


def with_protocol(runner: OrtRunner, feeds: list[dict[str, Any]]) -> Turn:
    """As ``hardnet-deploy bench`` times an ONNX file."""
    clock = WallClock(SideFacts(), lambda number: runner.infer(feeds[number % len(feeds)]))
    return lambda runs, warm_up_ms: clock.turn(runs, warm_up_ms=warm_up_ms, least_warm_up=1)


def microseconds(turn: Turn) -> float:
    """Of a whole run, the clock's readings in; the best of five turns."""

    def once() -> float:
        began = time.perf_counter()
        turn(EMPTY_RUNS, 0)
        return 1e6 * (time.perf_counter() - began) / EMPTY_RUNS

    return min(once() for _ in range(5))


def measure(model: str, *, threads: int, rounds: int, runs: int) -> dict[str, Any]:
    """Both loops beside each other."""
    import onnx

    spec = registry.get(model)
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "graph.onnx"
        run_export(ExportRequest(model=model, outputs="raw" if spec.head else None, output=graph), lambda *_: None)
        runner = OrtRunner(onnx.load(graph), threads=threads)
    feeds = {INPUT: normalised(random_pixels(1, spec.preprocess.size), spec.preprocess)}
    names = list(runner.outputs)
    session = runner._session
    turns = {
        PROTOCOL: with_protocol(runner, [feeds]),
        BARE: bare(session, names, feeds),
        AGAIN: bare(session, names, feeds),
    }
    found: dict[str, list[list[float]]] = {name: [] for name in turns}
    order = list(turns)
    draw = random.Random(0)
    for _ in range(rounds):
        draw.shuffle(order)
        for name in order:
            found[name].append(turns[name](runs, WARM_UP_MS))
    run_us = 1e3 * summarise(found[BARE]).min
    runner._session = Nothing()
    empty = {
        PROTOCOL: microseconds(with_protocol(runner, [feeds])),
        BARE: microseconds(bare(Nothing(), names, feeds)),
    }
    return {
        "protocol_over_bare": ratio(found[PROTOCOL], found[BARE]).as_dict(),
        "bare_over_bare": ratio(found[AGAIN], found[BARE]).as_dict(),
        "microseconds_a_run_around_nothing": empty,
        "fastest_run_us": run_us,
        "share_added": (empty[PROTOCOL] - empty[BARE]) / run_us,
        "summaries": {name: summarise(one).as_dict() for name, one in found.items()},
        "rounds_ms": found,
    }


def against_bar(direct: dict[str, Any]) -> str:
    """Where the interval of the direct ratio lies."""
    if direct["high"] < 1 + BAR:
        return BELOW
    return ABOVE if direct["low"] > 1 + BAR else "not told apart from the bar"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=registry.DEMO_MODEL)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--runs", type=int, default=10, help="a turn")
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    found = measure(options.model, threads=options.threads, rounds=options.rounds, runs=options.runs)
    directly = against_bar(found["protocol_over_bare"])
    result = {
        "what": f"{options.model} in ONNX Runtime, batch 1, {options.threads} threads: protocol against a bare loop",
        "command": ["python", "benchmarks/protocol_cost.py", *sys.argv[1:]],
        "conditions": conditions(),
        "bar": BAR,
        "passed": found["share_added"] < BAR and directly != ABOVE,
        "passed_means": "the share added around nothing is below the bar, and the direct ratio does not contradict it",
        "directly": directly,
        **found,
    }
    print(json.dumps({key: result[key] for key in SHOWN}, indent=1))
    if options.save:
        options.save.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
