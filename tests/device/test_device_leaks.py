"""Whatever fails, wherever: the fault that came first is told, and the device has back all it lent."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from simulated_device import ADA, EVERY_FAMILY, NANO, Device, pixels, simulated
from small_int8 import DETECTOR, detector_graph

from hardnet_deploy.device import run_engine
from hardnet_deploy.device.run_engine import Engine, EngineError

OPTIONS: dict[str, Any] = {"warm_up_ms": 0, "iterations": 3, "cuda_graph": True, "transfers": True}
EVENTS, INFER_COPIES = 8, 5
"""Of a run with transfers: four events for each of two slots; one input and four outputs."""
FAULTS = [
    ("cudaMemGetInfo", 1),
    ("cudaStreamCreate", 1),
    *(("cudaMemcpyAsync", place) for place in (1, 2, INFER_COPIES, INFER_COPIES + 1, INFER_COPIES + 2, 20)),
    *(("cudaStreamSynchronize", place) for place in (1, 2, 3)),
    *(("cudaEventCreate", place) for place in (1, 2, EVENTS)),
    *(("cudaEventRecord", place) for place in (1, 4, 9)),
    ("cudaEventSynchronize", 1),
    ("cudaEventElapsedTime", 2),
    ("cudaStreamBeginCapture", 1),
    ("cudaStreamEndCapture", 1),
    ("cudaGraphInstantiate", 1),
    ("cudaGraphLaunch", 1),
    ("cudaGraphLaunch", 3),
]


@cache
def graph() -> bytes:
    return bytes(detector_graph().SerializeToString())


def feeds() -> dict[str, Any]:
    preprocess = {"divisor": 1.0, "mean": list(DETECTOR.preprocess.mean), "std": list(DETECTOR.preprocess.std)}
    return {"images": run_engine.to_input(pixels(1), preprocess)}


def plan(device: Device) -> bytes:
    built = run_engine.build(device.trt, graph(), {})["plan"]
    assert isinstance(built, bytes)
    return built


def use(here: Device, built: bytes, **options: Any) -> None:
    """Load, run and time."""
    with Engine(here.trt, here.cuda, built) as engine:
        engine.infer(feeds())
        engine.bench(feeds(), **{**OPTIONS, **options})


@pytest.mark.parametrize(("function", "place"), FAULTS, ids=str)
def test_all_is_given_back_and_the_first_fault_is_told(
    monkeypatch: pytest.MonkeyPatch, function: str, place: int
) -> None:
    with simulated(monkeypatch, *NANO) as here:
        built = plan(here)
        monkeypatch.setenv("SIMULATED_CUDA_FAIL", f"{function},{place}")
        with pytest.raises(EngineError, match=rf"{function}\w*: unspecified launch failure") as caught:
            use(here, built)
        assert caught.value.code == 3


@EVERY_FAMILY
@pytest.mark.parametrize("successes", range(4), ids=["infer", "before the capture", "in the capture", "in the timing"])
def test_all_is_given_back_where_tensorrt_refuses_to_run(
    monkeypatch: pytest.MonkeyPatch, device: tuple[str, str], successes: int
) -> None:
    with simulated(monkeypatch, *device) as here:
        built, left = plan(here), [successes]

        def enqueue(_api: Any, _stream: int) -> bool:
            left[0] -= 1
            return left[0] >= 0

        for api in (run_engine._ByName, run_engine._ByBinding):
            monkeypatch.setattr(api, "enqueue", enqueue)
        with pytest.raises(EngineError, match="could not run the engine") as caught:
            use(here, built, cuda_graph=successes < 3)
        assert caught.value.code == 4


def test_an_engine_goes_on_after_a_run_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated(monkeypatch, *ADA) as here, Engine(here.trt, here.cuda, plan(here)) as engine:
        wanted = engine.infer(feeds())
        monkeypatch.setenv("SIMULATED_CUDA_FAIL", "cudaGraphLaunch,2")
        with pytest.raises(EngineError):
            engine.bench(feeds(), **OPTIONS)
        found = engine.infer(feeds())
        for name, value in wanted.items():
            np.testing.assert_array_equal(found[name], value)


def test_what_cannot_be_given_back_is_told_and_the_rest_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated(monkeypatch, *NANO) as here:
        engine = Engine(here.trt, here.cuda, plan(here))
        engine.infer(feeds())
        name, (pointer, size) = next(iter(engine._buffers.items()))
        here.cuda.free(pointer)
        engine._buffers[name] = (12345, size)
        with pytest.raises(EngineError, match="cudaFree: invalid argument"):
            engine.close()


@pytest.mark.parametrize("missing", ["create_execution_context", "deserialize_cuda_engine"])
def test_nothing_is_taken_where_the_plan_does_not_load(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    with simulated(monkeypatch, *NANO) as here:
        built = plan(here)
        owner = here.trt.ICudaEngine if missing == "create_execution_context" else here.trt.Runtime
        monkeypatch.setattr(owner, missing, lambda *_given: None)
        with pytest.raises(EngineError):
            Engine(here.trt, here.cuda, built)


def test_the_gpu_is_given_back_where_the_work_on_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    class Fails(run_engine.Cuda):
        def close(self) -> None:
            closed.append(self)
            raise EngineError("of the end", 3)

    monkeypatch.setattr(run_engine, "open_tensorrt", lambda: None)
    monkeypatch.setattr(run_engine, "open_cuda", Fails)
    with pytest.raises(ZeroDivisionError), run_engine.opened():
        raise ZeroDivisionError
    with pytest.raises(EngineError, match="of the end"), run_engine.opened():
        pass
    assert len(closed) == 2
