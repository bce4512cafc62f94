"""INT8 on the CPU beside everything a user might run instead: one process for each engine, rounds interleaved.

    pip install -r benchmarks/requirements-peers.txt
    python benchmarks/int8_speed.py --rounds 12 --save benchmarks/results/int8_speed.json

Every side gets the same image and returns boxes and scores before NMS; PyTorch's stop earlier, at the heads' outputs.
A process waits for its turn on its standard
input, so no thread of another engine is awake while one is timed. What is not installed is listed as such.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from machine import conditions

from hardnet_deploy.data.image_lists import open_images
from hardnet_deploy.data.images import load_image
from hardnet_deploy.data.preprocess import preprocess_image
from hardnet_deploy.models import registry
from hardnet_deploy.tensor_names import INPUT
from hardnet_deploy.workflows.build_engine import run_build
from hardnet_deploy.workflows.build_options import BuildRequest
from hardnet_deploy.workflows.environment import Probes, read_cpu
from hardnet_deploy.workflows.export import run_export
from hardnet_deploy.workflows.export_options import ExportRequest

CALIBRATION_IMAGES = 32
WARM_UP = 5
PER_ROUND = 5
OURS, ORT_FP32, EAGER = "ours INT8, ONNX Runtime", "ONNX Runtime FP32", "PyTorch eager"
Run = Callable[[], Any]


def image(model: str) -> np.ndarray[Any, Any]:
    """One demo scene as the network's input."""
    path = open_images("demo:calibration", count=1).paths[0]
    return preprocess_image(load_image(path), registry.get(model).preprocess)[None]


def onnxruntime_run(path: Path, model: str, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feeds = {INPUT: image(model)}
    return lambda: session.run(None, feeds)


def openvino_run(path: Path, model: str, threads: int) -> Run:
    import openvino  # type: ignore[import-not-found, import-untyped, unused-ignore]  # of requirements-peers.txt

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    request = core.compile_model(str(path), "CPU", settings).create_infer_request()
    feeds = {INPUT: image(model)}
    return lambda: request.infer(feeds)


def torch_run(kind: str, model: str, threads: int) -> Run:
    import torch

    from hardnet_deploy.workflows.export import load_model

    torch.set_num_threads(threads)
    network, _ = load_model(registry.get(model), None, code_line=registry.CODE_LINES[0])
    network.eval()
    pixels = torch.from_numpy(image(model))
    call: Callable[[Any], Any] = network
    if kind != "eager":
        call = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        pixels = pixels.to(memory_format=torch.channels_last)
    if kind == "compile":
        call = torch.compile(call)

    def run() -> Any:
        with torch.inference_mode():
            return call(pixels)

    return run


def sides(folder: Path) -> dict[str, tuple[str, str]]:
    """Name of each side: kind of runner, and its file or mode."""
    return {
        EAGER: ("torch", "eager"),
        "PyTorch channels-last": ("torch", "channels_last"),
        "PyTorch torch.compile": ("torch", "compile"),
        ORT_FP32: ("onnxruntime", str(folder / "fp32.onnx")),
        OURS: ("onnxruntime", str(folder / "ours.int8.onnx")),
        "quantize_static, as it comes": ("onnxruntime", str(folder / "peer.default.onnx")),
        "quantize_static, uint8": ("onnxruntime", str(folder / "peer.uint8.onnx")),
        "OpenVINO FP32": ("openvino", str(folder / "fp32.onnx")),
        "OpenVINO, ours INT8": ("openvino", str(folder / "ours.int8.onnx")),
        "OpenVINO, quantize_static uint8": ("openvino", str(folder / "peer.uint8.onnx")),
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
    """ONNX Runtime's own quantiser, as it comes and with uint8 activations and weights per channel."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    spec = registry.get(model).preprocess
    paths = open_images("demo:calibration", count=8).paths

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(paths)

        def get_next(self) -> dict[str, Any] | None:
            path = next(self._left, None)
            return None if path is None else {INPUT: preprocess_image(load_image(path), spec)[None]}

    ready = folder / "peer.ready.onnx"
    quant_pre_process(str(folder / "fp32.onnx"), str(ready), skip_symbolic_shape=True)
    quantize_static(str(ready), str(folder / "peer.default.onnx"), Reader())
    quantize_static(
        str(ready),
        str(folder / "peer.uint8.onnx"),
        Reader(),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


def serve(kind: str, what: str, model: str, threads: int) -> None:
    """In a process of its own: answer each line on standard input with the milliseconds of one round."""
    makers: dict[str, Callable[[], Run]] = {
        "torch": lambda: torch_run(what, model, threads),
        "onnxruntime": lambda: onnxruntime_run(Path(what), model, threads),
        "openvino": lambda: openvino_run(Path(what), model, threads),
    }
    run = makers[kind]()
    for _ in range(WARM_UP):
        run()
    print(json.dumps("ready"), flush=True)
    for _ in sys.stdin:
        times = []
        for _ in range(PER_ROUND):
            began = time.perf_counter()
            run()
            times.append(1e3 * (time.perf_counter() - began))
        print(json.dumps(times), flush=True)


class Side:
    """One engine in its own process."""

    def __init__(self, kind: str, what: str, model: str, threads: int) -> None:
        command = [sys.executable, __file__, "--serve", kind, what, "--model", model, "--threads", str(threads)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.times: list[float] = []
        self.problem: str | None = None
        self._answer()

    def turn(self) -> None:
        """One round."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        self.times += self._answer() or []

    def _answer(self) -> list[float] | None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(("[", '"')):
                found = json.loads(line)
                return found if isinstance(found, list) else None
        assert self._process.stderr is not None
        self.problem = (self._process.stderr.read().strip().splitlines() or ["it ended"])[-1]
        return None

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


def row(name: str, side: Side, reference: float, eager: float) -> dict[str, Any]:
    times = side.times
    median = statistics.median(times)
    return {
        "side": name,
        "runs": len(times),
        "median_ms": median,
        "p10_ms": float(np.percentile(times, 10)),
        "p90_ms": float(np.percentile(times, 90)),
        "times_faster_than_onnxruntime_fp32": reference / median,
        "times_faster_than_pytorch_eager": eager / median,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ssd512-hardnet68-coco")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save", type=Path)
    parser.add_argument("--serve", nargs=2, help="internal: be one side")
    options = parser.parse_args()
    if options.serve:
        kind, what = options.serve
        serve(kind, what, options.model, options.threads)
        return
    with tempfile.TemporaryDirectory() as folder:
        engine = prepare(options.model, Path(folder))
        running = {name: Side(*how, options.model, options.threads) for name, how in sides(Path(folder)).items()}
        order = [name for name, side in running.items() if side.problem is None]
        shuffle = random.Random(0)
        for number in range(options.rounds):
            shuffle.shuffle(order)
            for name in order:
                running[name].turn()
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        for side in running.values():
            side.close()
    reference, eager = (statistics.median(running[name].times) for name in (ORT_FP32, EAGER))
    rows = [row(name, side, reference, eager) for name, side in running.items() if side.times]
    rows.sort(key=lambda one: one["median_ms"])
    missing = {name: side.problem for name, side in running.items() if not side.times}
    for one in rows:
        print(
            f"{one['side']:<34} {one['median_ms']:8.1f} ms   {one['times_faster_than_onnxruntime_fp32']:5.2f}x FP32   "
            f"{one['times_faster_than_pytorch_eager']:5.2f}x eager"
        )
    for name, problem in missing.items():
        print(f"{name:<34} not measured: {problem}")
    cpu = read_cpu(Probes())
    result = {
        "what": f"{options.model}, weights drawn from a seed, batch 1, {options.threads} threads, boxes before NMS",
        "command": ["python", "benchmarks/int8_speed.py", *sys.argv[1:]],
        "conditions": {**conditions(), "instruction_sets": cpu.instruction_sets},
        "engine": engine,
        "rounds": options.rounds,
        "per_round": PER_ROUND,
        "rows": rows,
        "not_measured": missing,
    }
    if options.save:
        options.save.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
