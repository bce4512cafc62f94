"""Graphs, inputs and calibrators for the tests of the simulated TensorRT."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from simulated_tensorrt.calibrate import write_scales
from simulated_tensorrt.drive import Arrays, Driver
from small_int8 import detector_graph

from hardnet_deploy.runners.ort import OrtRunner


@cache
def boxes_graph(batch: int | None = 1) -> bytes:
    return bytes(detector_graph(outputs="boxes", batch=batch).SerializeToString())


@cache
def detections_graph() -> bytes:
    return bytes(detector_graph().SerializeToString())


def image(batch: int = 1, seed: int = 0) -> Arrays:
    draw = np.random.default_rng(seed)
    return {"images": draw.uniform(-120, 130, (batch, 3, 32, 32)).astype(np.float32)}


def float_result(graph: bytes, feeds: Arrays) -> Arrays:
    return OrtRunner(onnx.load_model_from_string(graph)).infer(feeds)


@cache
def scales() -> dict[str, float]:
    """Scale of every tensor that a convolution reads, from one image."""
    model = onnx.load_model_from_string(boxes_graph())
    names = [node.input[0] for node in model.graph.node if node.op_type == "Conv"]
    inner = [name for name in names if name != "images"]
    values = {**OrtRunner(model, extra_outputs=inner).infer(image()), **image()}
    return {name: float(np.abs(values[name]).max()) / 127 for name in names}


def calibrator(
    driver: Driver, cache_bytes: bytes | None, batches: int = 0, base: str = "IInt8EntropyCalibrator2"
) -> Any:
    kind: Any = getattr(driver.trt, base)

    class Recorder(kind):  # type: ignore[misc]
        def __init__(self) -> None:
            kind.__init__(self)
            self.calls: list[str] = []
            self.batches = [image(seed=seed)["images"] for seed in range(batches)]
            self.written: bytes | None = None
            self.held: NDArray[Any] | None = None

        def read_calibration_cache(self) -> bytes | None:
            self.calls.append("read")
            return cache_bytes

        def get_batch_size(self) -> int:
            self.calls.append("size")
            return 1

        def get_batch(self, names: list[str]) -> list[int] | None:
            self.calls.append("batch")
            assert names == ["images"]
            if not self.batches:
                return None
            self.held = self.batches.pop()
            return [self.held.ctypes.data]

        def write_calibration_cache(self, cache: bytes) -> None:
            self.calls.append("write")
            self.written = bytes(cache)

    return Recorder()


def int8_plan(cache_bytes: bytes, *, version: str = "8.6.1", **options: Any) -> tuple[Driver, bytes | None]:
    driver = Driver(version, "gtx-1080ti", **options)
    network = driver.network(boxes_graph())
    driver.flags("INT8")
    driver.config.int8_calibrator = calibrator(driver, cache_bytes)
    return driver, driver.build(network)


def int8_scores(cache_bytes: bytes) -> NDArray[Any]:
    driver, plan = int8_plan(cache_bytes)
    assert plan is not None
    return driver.run(driver.load(plan), image())["scores"]


def good_cache(version: int = 8601, algorithm: str = "EntropyCalibration2", **changed: float) -> bytes:
    return write_scales({**scales(), **changed}, f"TRT-{version}-{algorithm}")


def inspected(driver: Driver, engine: Any) -> dict[str, Any]:
    text = engine.create_engine_inspector().get_engine_information(driver.trt.LayerInformationFormat.JSON)
    found: dict[str, Any] = json.loads(text)
    return found


def weight_types(driver: Driver, engine: Any) -> dict[str, str]:
    return {one["Name"]: one["Weights"]["Type"] for one in inspected(driver, engine)["Layers"] if "Weights" in one}
