from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.testing import assert_array_equal
from simulated_device import ADA, EVERY_FAMILY, NANO, NEWEST, PASCAL, Device, pixels, simulated
from small_int8 import DETECTOR, detector_graph

from hardnet_deploy.device import run_engine
from hardnet_deploy.device.run_engine import Engine, EngineError
from hardnet_deploy.runners.ort import OrtRunner

PREPROCESS = dataclasses.asdict(DETECTOR.preprocess)


@cache
def graph(batch: int | None = 1) -> bytes:
    return bytes(detector_graph(batch=batch).SerializeToString())


def plan(device: Device, batch: int | None = 1) -> bytes:
    settings = {} if batch else {"batch": [1, 2, 3]}
    built = run_engine.build(device.trt, graph(batch), settings)["plan"]
    assert isinstance(built, bytes)
    return built


def feeds(count: int = 1, seed: int = 0) -> dict[str, Any]:
    return {"images": run_engine.to_input(pixels(count, seed=seed), PREPROCESS)}


@EVERY_FAMILY
def test_an_engine_computes_what_the_graph_says_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, device: tuple[str, str]
) -> None:
    with simulated(monkeypatch, *device) as here, Engine(here.trt, here.cuda, plan(here)) as engine:
        assert engine.inputs == [{"name": "images", "dtype": "float32", "shape": (1, 3, 32, 32)}]
        assert [entry["dtype"] for entry in engine.outputs] == ["int32", "float32", "float32", "int32"]
        first, second = engine.infer(feeds(seed=0)), engine.infer(feeds(seed=1))
        runner = OrtRunner(onnx.load_model_from_string(graph()))
        for found, seed in ((first, 0), (second, 1)):  # the first is not overwritten by the second
            for name, value in runner.infer(feeds(seed=seed)).items():
                assert found[name].dtype == value.dtype
                assert_array_equal(found[name], value)


@pytest.mark.parametrize("device", [NANO, PASCAL])
def test_a_dynamic_batch_grows_and_shrinks(monkeypatch: pytest.MonkeyPatch, device: tuple[str, str]) -> None:
    with simulated(monkeypatch, *device) as here, Engine(here.trt, here.cuda, plan(here, batch=None)) as engine:
        assert engine.inputs[0]["shape"] == (-1, 3, 32, 32)
        for count in (1, 3, 2):
            assert engine.infer(feeds(count))["detection_boxes"].shape[0] == count
        with pytest.raises(EngineError, match="outside of the engine's profile") as caught:
            engine.infer(feeds(4))
        assert caught.value.code == 2
        assert engine.infer(feeds(1))["num_detections"].shape == (1, 1)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "inputs are"),
        ({"other": np.zeros((1, 3, 32, 32), np.float32)}, "inputs are"),
        ({"images": np.zeros((1, 3, 32, 32), np.float64)}, "float64"),
        ({"images": np.zeros((1, 3, 32, 31), np.float32)}, "wants float32"),
        ({"images": np.zeros((3, 32, 32), np.float32)}, "wants float32"),
    ],
)
def test_feeds_that_do_not_fit_are_refused_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], why: str
) -> None:
    with simulated(monkeypatch, *NANO) as here, Engine(here.trt, here.cuda, plan(here)) as engine:
        with pytest.raises(EngineError, match=why) as caught:
            engine.infer(given)
        assert caught.value.code == 2
        assert "memory" not in here.watch.live()


@EVERY_FAMILY
@pytest.mark.parametrize("failing", [1, 3, 5])
def test_memory_is_given_back_where_an_allocation_fails(
    monkeypatch: pytest.MonkeyPatch, device: tuple[str, str], failing: int
) -> None:
    with simulated(monkeypatch, *device) as here:
        built = plan(here)
        monkeypatch.setenv("SIMULATED_CUDA_FAIL_MALLOC", str(failing))  # one input, four outputs
        with pytest.raises(EngineError, match="no memory left"), Engine(here.trt, here.cuda, built) as engine:
            engine.infer(feeds())


def test_streams_are_given_back_where_a_plan_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated(monkeypatch, *ADA) as here:
        with pytest.raises(EngineError, match="damaged") as caught:
            Engine(here.trt, here.cuda, plan(here)[:100])
        assert caught.value.code == 8
        assert "magic" not in str(caught.value)


def test_a_closed_engine_is_closed_once_and_runs_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated(monkeypatch, *NANO) as here:
        engine = Engine(here.trt, here.cuda, plan(here))
        engine.infer(feeds())
        engine.close()
        engine.close()
        with pytest.raises(EngineError, match="closed"):
            engine.infer(feeds())


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        (
            {"tensorrt": "8.6.1", "compute_capability": "6.1"},
            "built by TensorRT 8.6.1 for sm_61; this is TensorRT 8.2.1",
        ),
        ({"compute_capability": "6.1"}, "for sm_61"),
        ({"tensorrt": "8.2.0"}, "built by TensorRT 8.2.0"),
    ],
)
def test_a_plan_of_another_device_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], said: str
) -> None:
    with simulated(monkeypatch, *NANO) as here:
        with pytest.raises(EngineError, match=said) as caught:
            Engine(here.trt, here.cuda, b"never looked at", {"versions": versions})
        assert caught.value.code == 3
        assert "Simulated Jetson Nano (sm_53)" in caught.value.what
        assert "build it here" in str(caught.value)


def test_a_plan_of_another_model_of_gpu_runs_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated(monkeypatch, *NANO) as here:
        built = plan(here)
        own = {"compute_capability": "5.3", "gpu": "Simulated Jetson Nano"}
        for versions in (None, {}, own):
            with Engine(here.trt, here.cuda, built, {"versions": versions}) as engine:
                assert engine.warning is None
        with Engine(here.trt, here.cuda, built, {"versions": own | {"gpu": "NVIDIA Tegra X1"}}) as engine:
            assert "built on NVIDIA Tegra X1, this is Simulated Jetson Nano" in str(engine.warning)
            assert engine.infer(feeds())


def test_a_runtime_that_does_not_start_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(logger: Any) -> None:
        logger.log(logger.Severity.ERROR, "CUDA initialization failure with error: 35")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    with simulated(monkeypatch, *NANO) as here:
        built = plan(here)
        monkeypatch.setattr(here.trt, "Runtime", fails)
        with pytest.raises(EngineError, match="TensorRT cannot start: CUDA initialization failure") as caught:
            Engine(here.trt, here.cuda, built)
        assert caught.value.code == 3
        assert "driver" in str(caught.value.next_step)
        with pytest.raises(EngineError, match="cannot start") as caught:
            plan(here)
        assert caught.value.code == 3


def test_without_a_manifest_tensorrt_itself_refuses_the_plan_of_another_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with simulated(monkeypatch, *PASCAL) as here:
        built = plan(here)
    with simulated(monkeypatch, *NANO) as here:
        with pytest.raises(EngineError, match="another TensorRT or another GPU built it") as caught:
            Engine(here.trt, here.cuda, built)
        assert caught.value.code == 8
        assert caught.value.log


@pytest.mark.parametrize("device", [NANO, NEWEST])
@pytest.mark.parametrize("cuda_graph", [False, True])
def test_timing_gives_one_time_a_run_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, device: tuple[str, str], cuda_graph: bool
) -> None:
    with simulated(monkeypatch, *device) as here, Engine(here.trt, here.cuda, plan(here)) as engine:
        times = engine.bench(feeds(), warm_up_ms=0, iterations=4, cuda_graph=cuda_graph)
        assert {name: len(values) for name, values in times.items()} == {"enqueue_ms": 4, "gpu_compute_ms": 4}
        assert min(times["gpu_compute_ms"]) >= 0
        assert (here.watch.launches() > 4) == cuda_graph


def test_timing_with_transfers_times_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated(monkeypatch, *NANO) as here, Engine(here.trt, here.cuda, plan(here)) as engine:
        times = engine.bench(feeds(), warm_up_ms=0, iterations=2, transfers=True)
        assert set(times) == {"enqueue_ms", "h2d_ms", "gpu_compute_ms", "d2h_ms"}
        assert {len(values) for values in times.values()} == {2}


def test_each_layer_is_timed_in_each_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated(monkeypatch, *PASCAL) as here, Engine(here.trt, here.cuda, plan(here)) as engine:
        times = engine.profile(feeds(), iterations=2)
        assert len(times) > 5
        assert {len(values) for values in times.values()} == {2}
