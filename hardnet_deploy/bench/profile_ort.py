# ruff: noqa: TID253  (this module is onnx code; whoever imports it wants onnx)
"""ONNX Runtime's own profiler on the session that :class:`~hardnet_deploy.runners.ort.OrtRunner` runs.

The file holds Chrome trace events: ``model_run`` of each run, and ``<node>_kernel_time`` of each kernel with its
operator (https://onnxruntime.ai/docs/performance/tune-performance/profiling-tools.html). Times are whole microseconds,
cut off.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Mapping
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

    Runs with the profiler and runs without it take turns, each in a session of its own, so that what profiling costs
    is known.

    Args:
        model: As :class:`~hardnet_deploy.runners.ort.OrtRunner` takes it.
        batches: Inputs [N, 3, S, S], used in turn.
        iterations: Profiled runs.
        candidate_cap: Of the runner's EfficientNMS.
        threads: Of ONNX Runtime; None for one a core.
        progress: Told (runs done, runs).

    Raises:
        InputFileError: ONNX Runtime refuses the graph.
    """
    iterations = max(1, min(iterations, MOST_EVENTS // (4 * len(model.graph.node)) - WARM_UP_RUNS))
    with tempfile.TemporaryDirectory(prefix="hardnet-deploy-") as folder:
        plain = OrtRunner(model, candidate_cap=candidate_cap, threads=threads)
        traced = OrtRunner(model, candidate_cap=candidate_cap, threads=threads, trace=Path(folder) / "ort")
        walls: dict[OrtRunner, list[float]] = {plain: [], traced: []}
        for number in range(WARM_UP_RUNS + iterations):
            feeds = {traced.inputs[0].name: batches[number % len(batches)]}
            for runner, found in walls.items():
                found.append(_timed(runner, feeds))
            if progress and number >= WARM_UP_RUNS:
                progress(number + 1 - WARM_UP_RUNS, iterations)
        events = json.loads(traced.end_trace().read_text(encoding="utf-8"))
    kernels, sessions_ms = _events(events, runs=WARM_UP_RUNS + iterations)
    run_ms = statistics.fmean(walls[traced][WARM_UP_RUNS:])
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
        run_median_ms=statistics.median(walls[traced][WARM_UP_RUNS:]),
        plain_median_ms=statistics.median(walls[plain][WARM_UP_RUNS:]),
        notes=tuple(notes),
    )


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
