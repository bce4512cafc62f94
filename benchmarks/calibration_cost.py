"""What calibration costs: time an image beside the plain FP32 forward, and memory as images grow in number.

    python benchmarks/calibration_cost.py --save benchmarks/results/calibration_cost.json

Every side is a process of its own and reads the same prepared images from memory, so that decoding is in no figure.
ONNX Runtime's entropy calibrator stands beside ours on as many images as its memory allows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import conditions

from hardnet_deploy.data.image_lists import open_images
from hardnet_deploy.data.images import load_image
from hardnet_deploy.data.preprocess import preprocess_image
from hardnet_deploy.models import registry
from hardnet_deploy.tensor_names import INPUT
from hardnet_deploy.workflows.export import run_export
from hardnet_deploy.workflows.export_options import ExportRequest

FORWARD, OURS, PEER = "FP32 forward", "ours", "ONNX Runtime entropy"
DISTINCT = 8  # images held in memory and fed again and again


def images(model: str) -> list[dict[str, Any]]:
    spec = registry.get(model).preprocess
    return [
        {INPUT: preprocess_image(load_image(path), spec)[None]}
        for path in open_images("demo:calibration", count=DISTINCT).paths
    ]


def forward(graph: Path, feeds: list[dict[str, Any]], count: int, threads: int) -> float:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    session.run(None, feeds[0])
    began = time.perf_counter()
    for number in range(count):
        session.run(None, feeds[number % len(feeds)])
    return time.perf_counter() - began


def ours(graph: Path, feeds: list[dict[str, Any]], count: int, threads: int) -> float:
    """Ranges, histograms, the thresholds of all four methods, and the snapshots on the way."""
    import onnx

    from calibration.collect import RangeCollector
    from calibration.graph import GraphMap
    from calibration.summary import snapshot, statistics, wants_snapshot

    collector = RangeCollector(GraphMap(onnx.load(graph)), threads=threads)
    collector.add(feeds[0])
    began = time.perf_counter()
    for number in range(count):
        collector.add(feeds[number % len(feeds)])
        if wants_snapshot(number + 1):
            snapshot(collector.measured, number + 1)
    assert statistics(collector.measured)
    return time.perf_counter() - began


def peer(graph: Path, feeds: list[dict[str, Any]], count: int, threads: int) -> float:
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, create_calibrator

    del threads  # it takes ONNX Runtime's default: one for each core

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(range(count))

        def get_next(self) -> dict[str, Any] | None:
            number = next(self._left, None)
            return None if number is None else feeds[number % len(feeds)]

    with tempfile.TemporaryDirectory() as folder:
        calibrator = create_calibrator(
            str(graph),
            ["Conv"],
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=CalibrationMethod.Entropy,
        )
        calibrator.set_execution_providers(["CPUExecutionProvider"])
        began = time.perf_counter()
        calibrator.collect_data(Reader())
        calibrator.compute_data()
        return time.perf_counter() - began


def peak_mib() -> float:
    """Of this process alone: getrusage hands the peak of the process that started this one on."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


SIDES = {FORWARD: forward, OURS: ours, PEER: peer}


def measure(side: str, graph: Path, count: int, options: argparse.Namespace) -> dict[str, float]:
    """One run in a process of its own."""
    command = [sys.executable, __file__, "--side", side, "--graph", str(graph), "--count", str(count)]
    command += ["--model", options.model, "--threads", str(options.threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ssd512-hardnet68-coco")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--many", type=int, default=512, help="images of the long run")
    parser.add_argument("--peer-count", type=int, default=8)
    parser.add_argument("--save", type=Path)
    parser.add_argument("--side", choices=tuple(SIDES), help="internal")
    parser.add_argument("--graph", type=Path, help="internal")
    parser.add_argument("--count", type=int, default=32)
    options = parser.parse_args()
    if options.side:
        seconds = SIDES[options.side](options.graph, images(options.model), options.count, options.threads)
        figures = {"ms_per_image": 1e3 * seconds / options.count, "peak_mib": peak_mib(), "images": options.count}
        print(json.dumps(figures))
        return
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "graph.onnx"
        run_export(ExportRequest(model=options.model, outputs="boxes", output=graph), lambda *_: None)
        found: dict[str, list[dict[str, float]]] = {name: [] for name in SIDES}
        for _ in range(options.rounds):
            for side in (FORWARD, OURS):
                found[side].append(measure(side, graph, options.count, options))
                print(side, found[side][-1], file=sys.stderr)
        found[PEER].append(measure(PEER, graph, options.peer_count, options))
        many = measure(OURS, graph, options.many, options)
    medians = {name: statistics.median(run["ms_per_image"] for run in runs) for name, runs in found.items()}
    ratios = {name: value / medians[FORWARD] for name, value in medians.items()}
    few_peak = float(np.median([run["peak_mib"] for run in found[OURS]]))
    result = {
        "what": f"{options.model}, weights drawn from a seed, {options.threads} threads, {options.count} images",
        "command": ["python", "benchmarks/calibration_cost.py", *sys.argv[1:]],
        "conditions": conditions(),
        "runs": found,
        "median_ms_per_image": medians,
        "times_the_forward": ratios,
        "long_run": many,
        "long_run_times_the_forward": many["ms_per_image"] / medians[FORWARD],
        "peak_mib": {"few": few_peak, "many": many["peak_mib"], "growth": many["peak_mib"] - few_peak},
    }
    print(json.dumps({key: result[key] for key in ("median_ms_per_image", "times_the_forward", "peak_mib")}, indent=1))
    if options.save:
        options.save.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
