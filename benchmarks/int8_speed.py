"""INT8 on the CPU beside everything a user might run instead: one process for each engine, rounds interleaved.

    pip install -r benchmarks/requirements-peers.txt
    python benchmarks/int8_speed.py --rounds 12 --save benchmarks/results/int8_speed.json

Every side gets the same image and returns boxes and scores before NMS, PyTorch's with softmax and decoding in PyTorch.
Before anything is timed each one's boxes and scores are held against ONNX Runtime's in FP32: what computes in float32
must give the same within its rounding, everything else the same shapes and finite values, or nothing is measured.
A process waits for its turn on its standard input, so no thread of another engine is awake while one is timed. What is
not installed is listed as such. OpenVINO chooses what floats it computes in, and takes bfloat16 where the processor has
it; its FP32 row is told to stay in float32.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from int8_sides import Side, compare, image, load
from machine import conditions
from ort_quantiser import LAYERS, Reader, Settings, quantise
from ort_quantiser import prepare as prepare_peer

from hardnet_deploy.bench.timing import WARM_UP_MS
from hardnet_deploy.data.image_lists import open_images
from hardnet_deploy.models import registry
from hardnet_deploy.runners.ort import OrtRunner
from hardnet_deploy.tensor_names import INPUT
from hardnet_deploy.workflows.build_engine import run_build
from hardnet_deploy.workflows.build_options import BuildRequest
from hardnet_deploy.workflows.environment import Probes, read_cpu
from hardnet_deploy.workflows.export import run_export
from hardnet_deploy.workflows.export_options import ExportRequest

CALIBRATION_IMAGES = 32
PEER_IMAGES = 8
PER_ROUND = 5
OURS, ORT_FP32, EAGER = "ours INT8, ONNX Runtime", "ONNX Runtime FP32", "PyTorch eager"


def sides(folder: Path) -> dict[str, Side]:
    """Every engine by its name in the table."""
    fp32, ours = str(folder / "fp32.onnx"), str(folder / "ours.int8.onnx")
    peers = {"uint8": str(folder / "peer.uint8.onnx"), "uint8 Conv and Relu": str(folder / "peer.layers.onnx")}
    return {
        EAGER: Side(kind="torch", what="eager", exact=True),
        "PyTorch channels-last": Side(kind="torch", what="channels_last", exact=True),
        "PyTorch torch.compile": Side(kind="torch", what="compile", exact=True),
        ORT_FP32: Side(kind="onnxruntime", what=fp32, exact=True),
        OURS: Side(kind="onnxruntime", what=ours),
        "quantize_static, as it comes": Side(kind="onnxruntime", what=str(folder / "peer.default.onnx")),
        **{f"quantize_static, {name}": Side(kind="onnxruntime", what=path) for name, path in peers.items()},
        "OpenVINO FP32": Side(kind="openvino-f32", what=fp32, exact=True),
        "OpenVINO, FP32 graph as it runs it": Side(kind="openvino", what=fp32),
        "OpenVINO, ours INT8": Side(kind="openvino", what=ours),
        **{f"OpenVINO, quantize_static {name}": Side(kind="openvino", what=path) for name, path in peers.items()},
    }


def prepare(model: str, folder: Path) -> dict[str, Any]:
    """Write every graph; what our own engine says of itself."""
    run_export(ExportRequest(model=model, outputs="boxes", output=folder / "fp32.onnx"), lambda *_: None)
    built = run_build(
        BuildRequest(
            source=str(folder / "fp32.onnx"),
            int8=True,
            target="cpu",
            data="demo:calibration",
            count=CALIBRATION_IMAGES,
            output=folder / "ours.int8.onnx",
        ),
        lambda *_: None,
    )
    quantize_static(model, folder)
    return {
        "macs_in_int8": built.macs_int8,
        "bytes": built.size_bytes,
        "operators": dict(built.optimised.operators) if built.optimised else {},
    }


def quantize_static(model: str, folder: Path) -> None:
    """ONNX Runtime's own quantiser: as it comes, with uint8 activations, and with what costs accuracy left out."""
    ready = folder / "peer.ready.onnx"
    prepare_peer(folder / "fp32.onnx", ready)
    for name, settings in (
        ("default", Settings(uint8=False)),
        ("uint8", Settings()),
        ("layers", Settings(operators=LAYERS)),
    ):
        reader = Reader(open_images("demo:calibration", count=PEER_IMAGES).paths, registry.get(model).preprocess)
        quantise(ready, folder / f"peer.{name}.onnx", reader, settings)


def expect(model: str, folder: Path) -> Path:
    """Write what ONNX Runtime computes in FP32 from the image."""
    path = folder / "expected.npz"
    runner = OrtRunner(onnx.load(folder / "fp32.onnx"), threads=1)
    np.savez(path, allow_pickle=False, **runner.infer({INPUT: image(model)}))
    return path


def serve(side: Side, model: str, threads: int, expected: Path) -> None:
    """In a process of its own: say how far the outputs are off, then answer each line with one round's milliseconds."""
    loaded = load(side, model, threads)
    found = loaded.read(loaded.run())
    outputs = compare(found, dict(np.load(expected)), exact=side.exact)
    print(json.dumps({"floats": loaded.floats, "outputs": outputs}), flush=True)
    for _ in sys.stdin:
        ready = time.perf_counter() + 1e-3 * WARM_UP_MS
        while time.perf_counter() < ready:
            loaded.run()
        times = []
        for _ in range(PER_ROUND):
            began = time.perf_counter()
            loaded.run()
            times.append(1e3 * (time.perf_counter() - began))
        print(json.dumps(times), flush=True)


class Process:
    """One engine in its own process."""

    def __init__(self, side: Side, model: str, threads: int, expected: Path) -> None:
        command = [sys.executable, __file__, "--serve", json.dumps(asdict(side)), "--expected", str(expected)]
        command += ["--model", model, "--threads", str(threads)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.times: list[float] = []
        self.problem: str | None = None
        self.said: dict[str, Any] = self._answer() or {}

    @property
    def wrong(self) -> list[str]:
        """Outputs that are not what they must be."""
        return [name for name, one in self.said.get("outputs", {}).items() if not one["ok"]]

    def turn(self) -> None:
        """One round."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        self.times += self._answer() or []

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(("[", "{")):
                return json.loads(line)
        assert self._process.stderr is not None
        self.problem = (self._process.stderr.read().strip().splitlines() or ["it ended"])[-1]
        return None

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


def refuse_wrong(running: dict[str, Process]) -> None:
    """End with an error where a side does not do the work that it is timed for, or one of the main three cannot run."""
    faults = [
        f"{name}: {', '.join(process.wrong)} are not what they must be: {json.dumps(process.said['outputs'])}"
        for name, process in running.items()
        if process.wrong
    ]
    faults += [f"{name}: {running[name].problem}" for name in (EAGER, ORT_FP32, OURS) if running[name].problem]
    if faults:
        for process in running.values():
            process.close()
        raise SystemExit("\n".join(faults))


def row(name: str, process: Process, reference: float, eager: float) -> dict[str, Any]:
    times = process.times
    median = statistics.median(times)
    return {
        "side": name,
        "runs": len(times),
        "median_ms": median,
        "p10_ms": float(np.percentile(times, 10)),
        "p90_ms": float(np.percentile(times, 90)),
        "rounds_ms": [times[first : first + PER_ROUND] for first in range(0, len(times), PER_ROUND)],
        "times_faster_than_onnxruntime_fp32": reference / median,
        "times_faster_than_pytorch_eager": eager / median,
        **process.said,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ssd512-hardnet68-coco")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save", type=Path)
    parser.add_argument("--serve", help="internal: be one side")
    parser.add_argument("--expected", type=Path, help="internal: its outputs in FP32")
    options = parser.parse_args()
    if options.serve:
        serve(Side(**json.loads(options.serve)), options.model, options.threads, options.expected)
        return
    with tempfile.TemporaryDirectory() as folder:
        engine = prepare(options.model, Path(folder))
        expected = expect(options.model, Path(folder))
        running = {
            name: Process(side, options.model, options.threads, expected) for name, side in sides(Path(folder)).items()
        }
        refuse_wrong(running)
        order = [name for name, process in running.items() if process.problem is None]
        shuffle = random.Random(0)
        print("timing", file=sys.stderr)
        for number in range(options.rounds):
            shuffle.shuffle(order)
            for name in order:
                running[name].turn()
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        for process in running.values():
            process.close()
    reference, eager = (statistics.median(running[name].times) for name in (ORT_FP32, EAGER))
    rows = [row(name, process, reference, eager) for name, process in running.items() if process.times]
    rows.sort(key=lambda one: one["median_ms"])
    missing = {name: process.problem for name, process in running.items() if not process.times}
    for one in rows:
        print(
            f"{one['side']:<46} {one['median_ms']:8.1f} ms   {one['times_faster_than_onnxruntime_fp32']:5.2f}x FP32   "
            f"{one['times_faster_than_pytorch_eager']:5.2f}x eager"
        )
    for name, problem in missing.items():
        print(f"{name:<46} not measured: {problem}")
    cpu = read_cpu(Probes())
    result = {
        "what": f"{options.model}, weights drawn from a seed, batch 1, {options.threads} threads, boxes before NMS",
        "command": ["python", "benchmarks/int8_speed.py", *sys.argv[1:]],
        "conditions": {**conditions(), "instruction_sets": cpu.instruction_sets},
        "engine": engine,
        "rounds": options.rounds,
        "per_round": PER_ROUND,
        "warm_up": f"{WARM_UP_MS} ms of untimed runs at the beginning of every turn",
        "work": "image to boxes and scores in every row, softmax and decoding included; NMS in none",
        "outputs": "of each row: against ONNX Runtime in FP32, from the image that is timed",
        "rows": rows,
        "not_measured": missing,
    }
    if options.save:
        options.save.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
