"""Reports and trtexec files as devices would write them, with figures that follow from their raw times."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hardnet_deploy.device import run_engine

DIGEST = "ab" * 32
TIMES = [10.0, 10.1, 10.2, 10.1, 10.0]
SHARE = {"iou": 0.5, "score": 0.05, "share": 0.9, "why": "of a test"}


def report(**changes: Any) -> dict[str, Any]:
    """A report that passed and is stable; ``changes`` to its parts, ``parity`` and ``timing`` merged."""
    samples = [
        {"index": 0, "matched": 9, "missing": 1, "extra": 0, "outputs": {}, "worst_iou": 0.9},
        {"index": 1, "matched": 10, "missing": 0, "extra": 1, "outputs": {}, "worst_score_difference": 0.01},
    ]
    shown = {"reference": 5, "matched_reference": 5, "candidate": 5, "matched_candidate": 5, "least_score": 0.3}
    document: dict[str, Any] = {
        "schema": 2,
        "kind": "device-report",
        "kit_sha256": DIGEST,
        "onnx_sha256": DIGEST,
        "engine_sha256": DIGEST,
        "model": {"name": "ssd300-hardnet-demo"},
        "trained": True,
        "target": "jetson-nano",
        "device": {"name": "NVIDIA Tegra X1", "compute_capability": [5, 3], "memory_bytes": 4 << 30},
        "tensorrt": "8.2.1.8",
        "cuda_layer": "pycuda",
        "date": "2024-05-17T10:00:00+00:00",
        "build": {
            "seconds": 400.0,
            "precision": "fp16",
            "layers": {"a": "fp16", "b": "fp32"},
            "notes": [],
            "requested": {"a": "fp16", "b": "fp32"},
            "achieved": {"a": "fp16", "b": "fp32"},
            "may_stay_float": [],
            "fell_back": [],
            "allow_fallback": False,
        },
        "parity": {
            "passed": True,
            "failures": [],
            "samples": samples,
            "detections": {
                "matched": 19,
                "missing": 1,
                "extra": 1,
                "worst_iou": 0.9,
                "worst_score_difference": 0.01,
                "shown": shown,
            },
            "tolerances": {"outputs": None, "detections": None, "shown": SHARE, "shown_score": 0.3},
        },
        "timing": {
            "protocol": {"warm_up_ms": 200, "iterations": 5, "duration_ms": 0, "cuda_graph": False},
            "inputs": "sample 0 of the kit",
            "boundary": run_engine.BOUNDARY,
            "gpu_compute_ms": TIMES,
            "enqueue_ms": [0.1] * 5,
            **run_engine.summarise(TIMES),
        },
    }
    for name, value in changes.items():
        document[name] = {**document[name], **value} if name in {"parity", "timing", "device"} else value
    return document


def write(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def times(count: int = 20, *, end_to_end: bool = False, step: float = 50.0, ms: float = 4.0) -> list[dict[str, float]]:
    """``--exportTimes`` of runs that begin every ``step`` ms; the first four are slow, as warm-ups are."""
    runs = []
    for number in range(count):
        start, took = number * step, ms * (10 if number < 4 else 1)
        run = {
            "startEnqMs": start - 1,
            "endEnqMs": start,
            "startH2dMs": start - 0.5,
            "endH2dMs": start,
            "startComputeMs": start,
            "endComputeMs": start + took,
            "startD2hMs": start + took,
            "endD2hMs": start + took + 0.25,
            "h2dMs": 0.5,
            "computeMs": took,
            "d2hMs": 0.25,
            "latencyMs": took + 0.75,
        }
        runs.append({**run, "endToEndMs": took + 1} if end_to_end else run)
    return [{name: float(f"{value:.6g}") for name, value in run.items()} for run in runs]


def profile(*, medians: bool = True) -> list[dict[str, Any]]:
    """``--exportProfile`` of two layers."""
    layers = [("conv", 3.0), ("nms", 1.0)]
    entries: list[dict[str, Any]] = [{"count": 10}]
    for name, average in layers:
        entry = {"name": name, "timeMs": 10 * average, "averageMs": average, "percentage": 25 * average}
        entries.append({**entry, "medianMs": average} if medians else entry)
    return entries


def layer_info(*, tensors: str = "Bindings") -> dict[str, Any]:
    """``--exportLayerInfo``, detailed."""
    half: dict[str, Any] = {"Name": "x", "Dimensions": [1, 3, 8, 8]}
    if tensors == "Bindings":
        half["Format/Datatype"] = "Two wide channel vectorized row major FP16 format"
        return {"Layers": [{"Name": "conv", "Inputs": [half], "Outputs": [half]}], "Bindings": ["images"]}
    half |= {"Format": "Row major linear", "Datatype": "Half"}
    return {"Layers": [{"Name": "conv", "Inputs": [half], "Outputs": [half]}], "I/O Tensors": {"images": {}}}
