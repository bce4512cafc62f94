"""Benches without a clock: made-up timings in the place of processes, and documents made of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hardnet_deploy.bench.engine_columns import Machine
from hardnet_deploy.bench.sides import Side
from hardnet_deploy.bench.timing import SideTiming, StoppedBy, TimingPlan, Timings

LAPTOP = Machine(no_cuda="no NVIDIA GPU that PyTorch can use", no_tensorrt="there is no TensorRT", no_compiler=None)
WORKSTATION = Machine(no_cuda=None, no_tensorrt=None, no_compiler=None, tensorrt_target="gpu")
ROUNDS, RUNS = 6, 2


def made_up_timing(side: Side, ms: float, **changes: Any) -> SideTiming:
    """Times around ``ms`` that vary by a percent from run to run, the same every time.

    What shall not have settled varies by half from round to round.
    """
    step = 0.5 if changes.get("stable") is False else 0.01
    rounds = tuple(
        tuple(ms * (1 + step * (number % 3) + 0.01 * run) for run in range(RUNS)) for number in range(ROUNDS)
    )
    facts: dict[str, Any] = {
        "engine": f"a made-up {side.kind}",
        "source": side.artifact or "a made-up definition",
        "trained": False,
        "artifact_sha256": "0a" * 32,
        "weights_sha256": "0b" * 32,
        "precision_note": "float32",
        "boundary_text": f"made up: {side.boundary}",
        "notes": ("fed with made-up pixels",),
        "parameters": 1000,
        "macs": 10_000,
        "peak_rss_bytes": 2**20,
        "side": side,
        "rounds_ms": rounds,
        "round_numbers": tuple(range(len(rounds))),
        "stable": True,
    }
    return SideTiming(**{**facts, **changes})


class MadeUpTimings:
    """Stands in for ``time_sides``.

    Args:
        ms: Milliseconds by the side's key; any other takes 10.
        changes: Fields of timings by key.
        stopped_by: What ended it.
        during: Called after each round with what is known by then.
    """

    def __init__(
        self,
        ms: Mapping[str, float] | None = None,
        changes: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        stopped_by: StoppedBy = "done",
        during: Callable[[], None] = lambda: None,
    ) -> None:
        self.ms, self.changes, self.stopped_by, self.during = ms or {}, changes or {}, stopped_by, during
        self.sides: tuple[Side, ...] = ()
        self.plan: TimingPlan | None = None

    def __call__(self, sides: Sequence[Side], *, plan: TimingPlan, on_round: Any, **_: Any) -> Timings:
        self.sides, self.plan = tuple(sides), plan
        found = {
            side.key: made_up_timing(side, self.ms.get(side.key, 10.0), **self.changes.get(side.key, {}))
            for side in sides
        }
        together: dict[tuple[int, ...], list[str]] = {}
        for key, one in found.items():
            together.setdefault(one.round_numbers[:1], []).append(key)
        groups = tuple(tuple(keys) for keys in together.values())
        timings = Timings(sides=found, rounds=ROUNDS, groups=groups, elapsed_s=1.0, stopped_by=None)
        on_round(timings)
        self.during()
        return dataclasses.replace(timings, stopped_by=self.stopped_by)


def made_up_row(**changes: Any) -> dict[str, Any]:
    """A row of a document, measured here in two rounds of two runs; one of them was the reference's too."""
    row: dict[str, Any] = {
        "key": "hardnet68/eager",
        "network": "hardnet68",
        "title": "HarDNet68",
        "engine": "eager",
        "runtime": "PyTorch",
        "precision": "float32",
        "boundary": "network",
        "boundary_text": "input tensor to logits",
        "nms": None,
        "nms_candidates": None,
        "size": 1024,
        "batch": 1,
        "input": "made-up pixels",
        "device": "cpu",
        "provenance": "measured here",
        "published": {"ms": 22.5, "device": "GTX 1080 Ti", "runtime": "PyTorch 1.1.0", "source": "https://example.org"},
        "measured": {
            "median": 2.0,
            "mean": 2.0,
            "p90": None,
            "p95": None,
            "p99": None,
            "min": 1.0,
            "max": 3.0,
            "cov_percent": 50 * math.sqrt(0.5),
            "cov_flagged": True,
            "runs": 4,
            "stable": True,
        },
        "rounds_ms": [[1.0, 3.0], [2.0, 2.0]],
        "ratio_to_reference": {
            "reference": "resnet50/eager",
            "statistic": "mean",
            "published": 22.5 / 31.0,
            "measured": {"ratio": 0.8, "low": 0.75, "high": 0.86, "rounds": 1},
        },
        "gain_over_eager": None,
        "artifact": {"file": None, "sha256": "0a" * 32},
        "source": "a made-up definition",
        "trained": False,
        "parameters": 1000,
        "macs": 10_000,
        "peak_rss_bytes": None,
        "notes": [],
    }
    return row | changes


def reference_row(**changes: Any) -> dict[str, Any]:
    """The row that others are divided by."""
    row = made_up_row(key="resnet50/eager", network="resnet50", title="ResNet-50", ratio_to_reference=None)
    return row | {"published": {**row["published"], "ms": 31.0}} | changes


def missing_row(**changes: Any) -> dict[str, Any]:
    """A row of what cannot be timed here."""
    nothing = ("device", "runtime", "precision", "input", "measured", "rounds_ms", "artifact", "source", "trained")
    row = made_up_row(key="hardnet68/trt-fp16", engine="trt-fp16", provenance="not reproducible here (no TensorRT)")
    row |= dict.fromkeys(nothing) | {"ratio_to_reference": None, "parameters": None, "macs": None}
    return row | changes


def imported_row(**changes: Any) -> dict[str, Any]:
    """A row that a device measured."""
    row = made_up_row(key="imported/1", engine="trt-fp16", provenance="imported (Xavier, 2026-11-21)", device="Xavier")
    row |= dict.fromkeys(("boundary", "size", "batch", "published", "rounds_ms", "ratio_to_reference"))
    return row | {"boundary_text": "GPU compute, NMS out"} | changes


def made_up_document(*rows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A document of the published protocol: of these rows, else of one and the reference's."""
    document: dict[str, Any] = {
        "schema": 1,
        "kind": "bench",
        "date": "2026-11-21T12:00:00+00:00",
        "command": ["hardnet-deploy", "bench"],
        "machine": "a made-up machine",
        "protocol": {
            "name": "1080ti-1024",
            "networks": ["hardnet68", "resnet50"],
            "reference": "resnet50",
            "size": 1024,
            "batch": 1,
            "boundaries": ["network"],
            "data": "made-up pixels",
            "statistic": "mean",
            "iterations_published": 300,
            "iterations": 300,
            "rounds": 2,
            "rounds_asked": None,
            "budget_s": 600.0,
            "warm_up_ms": 200.0,
            "threads": 2,
            "method": "made up",
            "stability": "medians close to each other",
            "stopped_by": "done",
            "groups": [],
        },
        "finished": True,
        "conditions": {},
        "rows": list(rows or (made_up_row(), reference_row())),
    }
    return document | changes
