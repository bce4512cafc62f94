"""The published 1024x1024 table in PyTorch on an NVIDIA GPU, column by column, and SSD512 with and without NMS.

    python benchmarks/gpu.py --save benchmarks/results/gpu.json
    python benchmarks/gpu.py --quick
    python benchmarks/gpu.py --device cpu --size 64 --iterations 4 --networks hardnet39ds     that the code runs at all

It needs torch, numpy and onnx, and takes torchvision where it is installed; ``nms`` of a row says which of torchvision
and NumPy does its NMS. All sides live in this one process, as a GPU has no idle thread pools to keep apart; turns,
rounds, warm-up and stability are those of ``hardnet-deploy bench``, but each side is loaded once, so intervals are over
rounds of one loading: narrower than what two runs may differ by, which ``bench`` has in its own. Inputs are resident on
the GPU and times are of CUDA events. The ratio to ResNet-50 is of means, as the published times are, the gain over
eager of medians.

Ctrl-C keeps what was measured, with exit status 130; before the first round has ended there is nothing to keep, and an
older file stays as it is.

The share of the roofline is the bound over the median. The bound is, summed over convolutions and linear layers,
the larger of 2 MACs / peak and bytes / bandwidth, each input, weight and output moved once at the element size of the
column; everything else (activations, pooling, concatenation, NMS) counts as free. Peaks are measured in the same run: a
square matrix product in the column's arithmetic, and a copy.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from gpu_peaks import bound_ms, peaks

from hardnet_deploy.bench.conditions import ConditionWatch, basic_machine
from hardnet_deploy.bench.interleaved import Run
from hardnet_deploy.bench.loaded import Loaded
from hardnet_deploy.bench.sides import Device, Side, SideError, SideFacts
from hardnet_deploy.bench.stability import rule
from hardnet_deploy.bench.timing import SideTiming, TimingPlan, TimingProgress, Timings
from hardnet_deploy.bench.worker import LOADING_RUNS, in_one_sentence, load
from hardnet_deploy.workflows.bench_worker import PARTS

EAGER = "eager"
REFERENCE = "resnet50"
COLUMNS: dict[str, tuple[str, ...]] = {
    EAGER: (),
    "tf32": ("tf32",),
    "fused": ("fused",),
    "channels-last": ("channels-last",),
    "fp16": ("fp16",),
    "bf16": ("bf16",),
    "compile": ("compile",),
    "cuda-graph": ("cuda-graph",),
    "fp16, channels-last": ("fp16", "channels-last"),
    "fp16, channels-last, fused, cuda-graph": ("fp16", "channels-last", "fused", "cuda-graph"),
    "fp16, channels-last, fused, compile": ("fp16", "channels-last", "fused", "compile"),
}
QUICK = (EAGER, "fused", "fp16, channels-last, fused, cuda-graph")
CPU_COLUMNS = (EAGER, "fused", "channels-last", "bf16")
NETWORKS = ("hardnet68", REFERENCE, "hardnet85", "resnet101", "vgg16")
DETECTOR = "ssd512-hardnet68-coco"
DETECTOR_COLUMNS = (EAGER, "fused", "fp16, channels-last", "fp16, channels-last, fused, cuda-graph")
INTERRUPTED = 130
INTERVALS = "95 %, over rounds of one loading: narrower than what two runs may differ by"


class InThisProcess:
    """A side without a process of its own: :class:`hardnet_deploy.bench.rounds.Timeable`."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        (self.run_ms,) = loaded.turn(1, warm_up_ms=0, least_warm_up=LOADING_RUNS - 1)

    @property
    def facts(self) -> SideFacts:
        """What it says of itself."""
        return self._loaded.facts

    def unload(self) -> None:
        """Never asked for: the plan has one loading."""

    load_again = unload

    def turn(self, runs: int, *, warm_up_ms: float) -> tuple[float, ...]:
        """One turn; what PyTorch raises, memory that does not suffice above all, is this side's problem alone."""
        with as_side_errors():
            return tuple(self._loaded.turn(runs, warm_up_ms=warm_up_ms, least_warm_up=1))


@contextlib.contextmanager
def as_side_errors() -> Iterator[None]:
    try:
        yield
    except SideError:
        raise
    except Exception as error:
        raise SideError(in_one_sentence(error)) from error


@contextlib.contextmanager
def start(side: Side) -> Iterator[InThisProcess]:
    with as_side_errors():
        loaded = InThisProcess(load(side, PARTS))
    try:
        yield loaded
    finally:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def sides(networks: Sequence[str], columns: Sequence[str], *, device: Device, size: int, threads: int) -> list[Side]:
    """The table's, and SSD512's where all of the published networks are asked for."""
    found = [
        Side(
            key=f"{network}/{column}",
            kind="torch",
            network=network,
            options=COLUMNS[column],
            device=device,
            size=size,
            threads=threads,
        )
        for network in networks
        for column in columns
    ]
    if tuple(networks) == NETWORKS and size == 1024:
        found += [
            Side(
                key=f"{DETECTOR}/{boundary}/{column}",
                kind="torch",
                network=DETECTOR,
                options=COLUMNS[column],
                device=device,
                boundary=boundary,
                size=512,
                threads=threads,
            )
            for boundary in ("network", "network+NMS")
            for column in DETECTOR_COLUMNS
            if column in columns
        ]
    return found


def row(one: SideTiming, all_of_them: Timings, measured: dict[str, float] | None) -> dict[str, Any]:
    """One side, for the document; ``measured`` are the peaks, None where they were interrupted."""
    side, summary = one.side, one.summary
    group, _, column = side.key.rpartition("/")
    found: dict[str, Any] = {
        "network": side.network,
        "column": column,
        "boundary": side.boundary,
        "boundary_text": one.boundary_text,
        "nms": one.nms,
        "nms_candidates": one.nms_candidates,
        "size": side.size,
        "problem": one.problem,
        "measured": summary.as_dict() if summary else None,
        "stable": one.stable,
        "engine": one.engine,
        "source": one.source,
        "trained": one.trained,
        "sha256": one.artifact_sha256,
        "precision": one.precision_note,
        "notes": list(one.notes),
        "rounds_ms": one.rounds_ms,
    }
    if summary is None:
        return found
    eager, reference = (all_of_them.sides.get(key) for key in (f"{group}/{EAGER}", f"{REFERENCE}/{column}"))
    gain = eager.over(one) if eager else None
    of_one_size = reference is not None and side.size == reference.side.size
    over_reference = one.over(reference, statistic="mean") if reference and of_one_size else None
    bound = bound_ms(side, measured) if measured else None
    return {
        **found,
        "gain_over_eager": {**gain.as_dict(), "statistic": "median"} if gain else None,
        # the published times are means
        "ratio_to_resnet50": {**over_reference.as_dict(), "statistic": "mean"} if over_reference else None,
        "roofline_ms": bound,
        "share_of_roofline": bound / summary.median if bound else None,
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Everything, as a document."""
    device: Device = options.device
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("there is no NVIDIA GPU that PyTorch can use; --device cpu shows that the code runs")
    columns = QUICK if options.quick else tuple(COLUMNS)
    columns = tuple(name for name in columns if device == "cuda" or name in CPU_COLUMNS)
    watch = ConditionWatch(machine=basic_machine(), threads=options.threads, on_gpu=device == "cuda")
    watch.sample()
    found = Run(
        sides(options.networks, columns, device=device, size=options.size, threads=options.threads),
        TimingPlan(iterations=options.iterations, budget_s=options.budget),
        start=start,
        progress=_told,
        on_round=lambda _: watch.sample(),
        available=lambda: None,
        on_device=lambda: None,  # a side that the GPU's memory does not hold says so itself
    ).go()
    measured, stopped_by = None, found.stopped_by
    try:
        measured = peaks(device) if found.rounds else None
        watch.sample()
    except KeyboardInterrupt:
        stopped_by = "interrupted"
    return {
        "what": f"PyTorch, batch 1, {options.size}x{options.size} (SSD512 at 512), random pixels, untrained weights",
        "command": ["python", "benchmarks/gpu.py", *sys.argv[1:]],
        "conditions": watch.as_dict(),
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "stability": rule(device),
        "intervals": INTERVALS,
        "stopped_by": stopped_by,
        "rounds": found.rounds,
        "peaks": measured,
        "rows": [row(one, found, measured) for one in found.sides.values()],
    }


def _told(now: TimingProgress) -> None:
    left = "" if now.left_s is None else f", {now.left_s:.0f} s left"
    print(f"\r{now.doing} {now.key} ({now.done} of {now.total}{left})\033[K", end="", file=sys.stderr)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--budget", type=float, default=360, help="seconds of all rounds together")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="three columns, fifty iterations, a minute")
    parser.add_argument("--save", type=Path)
    options = parser.parse_args(arguments)
    if options.quick:
        options.iterations, options.budget = min(options.iterations, 50), min(options.budget, 60)
    return options


def main() -> None:
    options = parse()
    result = measure(options)
    print(file=sys.stderr)
    if options.save and result["rounds"]:
        options.save.write_text(json.dumps(result, indent=1) + "\n")
    for one in result["rows"]:
        print(f"{one['network']:24} {one['boundary']:12} {one['column']:40} {in_words(one)}")
    if not result["rounds"]:
        print("no round was finished: there is nothing to save", file=sys.stderr)
    if result["stopped_by"] == "interrupted":
        raise SystemExit(INTERRUPTED)


def in_words(one: dict[str, Any]) -> str:
    """A row's time, how much of the roofline that is, and whether it has settled."""
    if one["measured"] is None:
        return one["problem"] or "not timed"
    share = one.get("share_of_roofline")
    parts = [f"{one['measured']['median']:8.3f} ms"]
    parts += [] if share is None else [f"{100 * share:.0f} % of roofline"]
    parts += ["stable" if one["stable"] else "UNSTABLE"]
    parts += [one["problem"]] if one["problem"] else []
    return ", ".join(parts)


if __name__ == "__main__":
    main()
