# ruff: noqa: TID253  (this module is onnx code; whoever imports it wants onnx)
"""ONNX Runtime's own profiler on the session that :class:`~hardnet_deploy.runners.ort.OrtRunner` runs.

The file holds Chrome trace events: ``model_run`` of each run, and ``<node>_kernel_time`` of each kernel with its
operator (https://onnxruntime.ai/docs/performance/tune-performance/profiling-tools.html). Times are whole microseconds,
cut off.
"""

from __future__ import annotations

import gc
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import onnx

from hardnet_deploy.bench.layer_times import EngineLayer, EngineProfile, Progress, mean_layers
from hardnet_deploy.nms.efficient import PLUGIN_OP
from hardnet_deploy.runners.ort import OrtRunner
from hardnet_deploy.specs import F32

WARM_UP_RUNS: Final = 3
MOST_EVENTS: Final = 1_000_000
"""What the profiler keeps (``max_num_events`` of onnxruntime/core/common/profiler.h); later events are lost."""
_KERNEL: Final = "_kernel_time"


def profile_ort(
    model: onnx.ModelProto,
    batches: list[F32],
    *,
    iterations: int,
    candidate_cap: int,
    threads: int | None = None,
    progress: Progress | None = None,
) -> EngineProfile:
    """Time each kernel of an ONNX model on the CPU.

    As many runs without the profiler come first, so that what profiling costs is known. Their session is closed before
    the profiled one is opened: idle threads of one session spin for a while, and take the cores from the other's.

    Args:
        model: As :class:`~hardnet_deploy.runners.ort.OrtRunner` takes it.
        batches: Inputs [N, 3, S, S], used in turn.
        iterations: Profiled runs.
        candidate_cap: Of the runner's EfficientNMS.
        threads: Of ONNX Runtime; None for one a core.
        progress: Told (runs done, runs), of both kinds together.

    Raises:
        InputFileError: ONNX Runtime refuses the graph.
    """
    iterations = max(1, min(iterations, MOST_EVENTS // (4 * len(model.graph.node)) - WARM_UP_RUNS))
    opened = partial(OrtRunner, model, candidate_cap=candidate_cap, threads=threads)

    def told(begun: int) -> Callable[[int], None]:
        return lambda done: progress(begun + done, 2 * iterations) if progress else None

    plain = _walls(opened(), batches, iterations, told(0))
    gc.collect()  # its threads end with the session
    with tempfile.TemporaryDirectory(prefix="hardnet-deploy-") as folder:
        traced = opened(trace=Path(folder) / "ort")
        profiled = _walls(traced, batches, iterations, told(iterations))
        events = json.loads(traced.end_trace().read_text(encoding="utf-8"))
    kernels, sessions_ms = _events(events, runs=WARM_UP_RUNS + iterations)
    run_ms = statistics.fmean(profiled)
    layers = mean_layers(kernels, iterations)
    notes = ["times of ONNX Runtime's kernels are whole microseconds, cut off"]
    plugin = next((node for node in model.graph.node if node.op_type == PLUGIN_OP), None)
    if plugin is not None:
        outside = max(run_ms - sessions_ms, 0.0)
        layers += (EngineLayer(name=plugin.name or "nms", op=f"{PLUGIN_OP} in NumPy", ms=outside),)
        notes.append(
            "EfficientNMS ran as its NumPy reference: its time is the run's without ONNX Runtime's, and says nothing of"
            " TensorRT"
        )
    return EngineProfile(
        layers=layers,
        source=f"profiler of {traced.name}",
        runs=iterations,
        run_ms=run_ms,
        run_median_ms=statistics.median(profiled),
        plain_median_ms=statistics.median(plain),
        notes=tuple(notes),
    )


def _walls(runner: OrtRunner, batches: list[F32], iterations: int, told: Callable[[int], None]) -> list[float]:
    """Milliseconds of each run after the warm-up."""
    found = []
    for number in range(WARM_UP_RUNS + iterations):
        found.append(_timed(runner, {runner.inputs[0].name: batches[number % len(batches)]}))
        if number >= WARM_UP_RUNS:
            told(number + 1 - WARM_UP_RUNS)
    return found[WARM_UP_RUNS:]


def _timed(runner: OrtRunner, feeds: Mapping[str, F32]) -> float:
    began = time.perf_counter()
    runner.infer(feeds)
    return 1e3 * (time.perf_counter() - began)


def _events(events: list[dict[str, Any]], *, runs: int) -> tuple[list[tuple[str, str, float]], float]:
    """(name, operator, ms) of every kernel after the warm-up, and the mean ms of ONNX Runtime's runs."""
    sessions = sorted((one for one in events if one["name"] == "model_run"), key=lambda one: one["ts"])
    assert len(sessions) == runs, "the profiler lost events"
    timed = sessions[WARM_UP_RUNS:]
    kernels = [
        (one["name"].removesuffix(_KERNEL), str(one["args"].get("op_name", "")), 1e-3 * one["dur"])
        for one in events
        if one["cat"] == "Node" and one["name"].endswith(_KERNEL) and one["ts"] >= timed[0]["ts"]
    ]
    return kernels, 1e-3 * statistics.fmean(one["dur"] for one in timed)
