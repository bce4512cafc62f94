"""The published 1024x1024 table in PyTorch on an NVIDIA GPU, column by column, and SSD512 with and without NMS.

    python benchmarks/gpu.py --save benchmarks/results/gpu.json
    python benchmarks/gpu.py --quick
    python benchmarks/gpu.py --device cpu --size 64 --iterations 4 --networks hardnet39ds     that the code runs at all

It needs torch, numpy and onnx, and takes torchvision where it is installed; ``nms`` of a row says which of torchvision
and NumPy does its NMS. All sides live in this one process, as a GPU has no idle thread pools to keep apart; turns,
rounds, warm-up, stability and intervals are those of ``hardnet-deploy bench``. Inputs are resident on the GPU and times
are of CUDA events.

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
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from hardnet_deploy.bench.conditions import ConditionWatch, basic_machine
from hardnet_deploy.bench.interleaved import Run
from hardnet_deploy.bench.loaded import Loaded
from hardnet_deploy.bench.network_size import layer_work
from hardnet_deploy.bench.rival_table import is_rival
from hardnet_deploy.bench.rivals import own_network
from hardnet_deploy.bench.sides import BF16, FP16, TF32, Device, Side, SideError, SideFacts
from hardnet_deploy.bench.stability import rule
from hardnet_deploy.bench.timing import SideTiming, TimingPlan, TimingProgress, Timings
from hardnet_deploy.bench.torch_precision import float32_mode
from hardnet_deploy.bench.worker import LOADING_RUNS, in_one_sentence, load
from hardnet_deploy.models import registry
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
MATRIX = {"cuda": 8192, "cpu": 512}
COPY_BYTES = {"cuda": 2**30, "cpu": 2**24}
ARITHMETIC: dict[str, tuple[torch.dtype, bool]] = {"fp32": (torch.float32, False), "tf32": (torch.float32, True)}
ARITHMETIC |= {"fp16": (torch.float16, False), "bf16": (torch.bfloat16, False)}
PEAK_RUNS = 5


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


def peaks(device: Device) -> dict[str, float]:
    """Operations a second by arithmetic, and ``bandwidth`` in bytes a second, read and written; best of five runs."""
    count = MATRIX[device]
    found = {}
    for name, (dtype, tf32) in ARITHMETIC.items():
        a, b = (torch.randn(count, count, device=device).to(dtype) for _ in range(2))
        with float32_mode(tf32=tf32):
            found[name] = 2 * count**3 / _seconds(partial(torch.matmul, a, b), device)
    source = torch.empty(COPY_BYTES[device], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    found["bandwidth"] = 2 * COPY_BYTES[device] / _seconds(partial(target.copy_, source), device)
    return found


def _seconds(run: Callable[[], Any], device: Device) -> float:
    def synchronise() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    times = []
    for _ in range(PEAK_RUNS + 3):
        synchronise()
        began = time.perf_counter()
        run()
        synchronise()
        times.append(time.perf_counter() - began)
    return min(times[3:])


def bound_ms(side: Side, measured: dict[str, float]) -> float:
    """The roofline's bound for a side's convolutions and linear layers, in milliseconds."""
    with torch.device("meta"):  # shapes alone count
        network = own_network(side.network) if is_rival(side.network) else registry.build(side.network, device="meta")
    network.eval()
    arithmetic = next((name for name in (FP16, BF16, TF32) if name in side.options), "fp32")
    bytes_each = 2 if arithmetic in {FP16, BF16} else 4
    peak, bandwidth = measured[arithmetic], measured["bandwidth"]
    return 1e3 * sum(
        max(2 * layer.macs * side.batch / peak, layer.elements * bytes_each / bandwidth)
        for layer in layer_work(network, side.size)
    )


def row(one: SideTiming, all_of_them: Timings, measured: dict[str, float]) -> dict[str, Any]:
    """One side, for the document."""
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
    over_reference = one.over(reference) if reference and side.size == reference.side.size else None
    bound = bound_ms(side, measured)
    return {
        **found,
        "gain_over_eager": gain.as_dict() if gain else None,
        "ratio_to_resnet50": over_reference.as_dict() if over_reference else None,
        "roofline_ms": bound,
        "share_of_roofline": bound / summary.median,
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Everything, as a document."""
    device: Device = options.device
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("there is no NVIDIA GPU that PyTorch can use; --device cpu shows that the code runs")
    columns = QUICK if options.quick else tuple(COLUMNS)
    columns = tuple(name for name in columns if device == "cuda" or name in CPU_COLUMNS)
    watch = ConditionWatch(machine=basic_machine(), threads=options.threads)
    watch.sample()
    found = Run(
        sides(options.networks, columns, device=device, size=options.size, threads=options.threads),
        TimingPlan(iterations=options.iterations, budget_s=options.budget),
        start=start,
        progress=_told,
        on_round=lambda _: watch.sample(),
        available=lambda: None,  # a side that the GPU's memory does not hold says so itself
    ).go()
    measured = peaks(device)
    watch.sample()
    return {
        "what": f"PyTorch, batch 1, {options.size}x{options.size} (SSD512 at 512), random pixels, untrained weights",
        "command": ["python", "benchmarks/gpu.py", *sys.argv[1:]],
        "conditions": watch.as_dict(),
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "stability": rule(device),
        "stopped_by": found.stopped_by,
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
    for one in result["rows"]:
        share = "" if one["problem"] else f"{100 * one['share_of_roofline']:.0f} % of roofline"
        told = one["problem"] or f"{one['measured']['median']:8.3f} ms, {share}"
        print(f"{one['network']:24} {one['boundary']:12} {one['column']:40} {told}")
    if options.save:
        options.save.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
