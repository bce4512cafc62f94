from __future__ import annotations

import ctypes.util
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from simulated_cuda import Watch
from simulated_device import set_variables

from hardnet_deploy.device import run_engine
from hardnet_deploy.device.run_engine import Cuda, Cudart, EngineError, PyCuda

DATA = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


@pytest.fixture(params=["10.2", "12"])
def watch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    watch = set_variables(monkeypatch, "jetson-nano", request.param)
    before = watch.live()
    yield watch
    assert watch.live() == before


@pytest.fixture
def cuda(watch: Watch) -> Cuda:
    return run_engine.open_cuda()


def round_trip(cuda: Cuda) -> None:
    stream, pointer, back = cuda.stream(), cuda.malloc(DATA.nbytes), np.empty_like(DATA)
    cuda.to_device(pointer, DATA, stream)
    cuda.to_host(back, pointer, stream)
    cuda.synchronize(stream)
    cuda.free(pointer)
    cuda.destroy_stream(stream)
    assert_array_equal(back, DATA)


def timed(cuda: Cuda) -> float:
    stream, events = cuda.stream(), [cuda.event(), cuda.event()]
    for event in events:
        cuda.record(event, stream)
    cuda.wait_event(events[1])
    elapsed = cuda.elapsed_ms(*events)
    for event in events:
        cuda.destroy_event(event)
    cuda.destroy_stream(stream)
    return elapsed


def test_what_goes_to_the_device_comes_back(cuda: Cuda) -> None:
    assert cuda.name == "ctypes libcudart"
    round_trip(cuda)


def test_events_measure_milliseconds(cuda: Cuda) -> None:
    assert 0 <= timed(cuda) < 10_000


def test_a_graph_is_captured_launched_and_given_back(cuda: Cuda, watch: Watch) -> None:
    stream = cuda.stream()
    cuda.begin_capture(stream)
    graph = cuda.end_capture(stream)
    cuda.launch(graph, stream)
    cuda.launch(graph, stream)
    assert watch.launches() == 2
    assert watch.live() == {"streams": 1, "launchable graphs": 1}
    cuda.destroy_graph(graph)
    cuda.destroy_stream(stream)


def test_the_gpu_is_described(cuda: Cuda) -> None:
    found = cuda.device()
    assert found["name"] == "Simulated Jetson Nano"
    assert found["compute_capability"] == [5, 3]
    assert 0 < found["free_bytes"] <= found["memory_bytes"]


def test_nothing_can_be_allocated_and_freed(cuda: Cuda) -> None:
    cuda.free(cuda.malloc(0))


def test_no_memory_left_says_so(cuda: Cuda) -> None:
    with pytest.raises(EngineError, match="no memory left") as caught:
        cuda.malloc(1 << 40)
    assert caught.value.code == 3
    assert caught.value.next_step


def test_a_fault_names_the_function_and_is_not_told_twice(cuda: Cuda) -> None:
    with pytest.raises(EngineError, match=r"cudaFree: invalid argument \(error 1\)"):
        cuda.free(12345)
    round_trip(cuda)


def test_a_copy_beyond_the_allocation_fails(cuda: Cuda) -> None:
    stream, pointer = cuda.stream(), cuda.malloc(DATA.nbytes - 4)
    with pytest.raises(EngineError, match="cudaMemcpyAsync"):
        cuda.to_device(pointer, DATA, stream)
    cuda.free(pointer)
    cuda.destroy_stream(stream)


def test_a_library_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARDNET_DEPLOY_CUDART", "/nowhere/libcudart.so")
    with pytest.raises(EngineError, match=r"HARDNET_DEPLOY_CUDART names /nowhere/libcudart\.so") as caught:
        run_engine.open_cuda()
    assert caught.value.code == 3
    assert "unset it" in str(caught.value.next_step)


def test_a_library_that_is_another_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARDNET_DEPLOY_CUDART", str(ctypes.util.find_library("c")))
    with pytest.raises(EngineError, match=r"no CUDA runtime library that can be loaded: .*cudaGetErrorString"):
        run_engine.open_cuda()


def test_with_neither_pycuda_nor_libcudart_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARDNET_DEPLOY_CUDART", raising=False)
    monkeypatch.setitem(sys.modules, "pycuda", None)
    monkeypatch.setattr(run_engine, "_cudart_names", lambda: iter(["/nowhere/libcudart.so"]))
    with pytest.raises(EngineError, match="neither pycuda nor CUDA's runtime library") as caught:
        run_engine.open_cuda()
    assert caught.value.code == 3


def test_every_method_of_the_interface_has_two_implementations() -> None:
    names = {name for name in vars(Cuda) if not name.startswith("_")} - {"close", "name"}
    assert names <= set(vars(Cudart))
    assert names - set(vars(PyCuda)) == {"end_capture", "launch", "destroy_graph"}  # begin_capture refuses


@pytest.mark.needs_cuda
def test_memory_events_and_graphs_of_a_real_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARDNET_DEPLOY_CUDART", raising=False)
    cuda = run_engine.open_cuda()
    round_trip(cuda)
    assert timed(cuda) >= 0
    assert cuda.device()["memory_bytes"] > 0
    cuda.close()
