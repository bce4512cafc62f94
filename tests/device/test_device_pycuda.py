"""The layer over pycuda, on a stand-in for pycuda.driver that counts what lives and fails where it is told to."""

from __future__ import annotations

import ctypes
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hardnet_deploy.device import run_engine
from hardnet_deploy.device.run_engine import EngineError, PyCuda

DATA = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


class FakeDriver(ModuleType):
    """pycuda.driver as far as it is used: host memory, a stack of contexts, and a fault where ``failing`` says so."""

    class Error(Exception):
        """Base of all."""

    class MemoryError(Error):  # noqa: A001 - pycuda's name
        """cuMemAlloc found none."""

    class LaunchError(Error):
        """Of an asynchronous fault."""

    def __init__(self, *, primary: bool) -> None:
        super().__init__("pycuda.driver")
        self.failing = ""
        self.stack: list[str] = []
        self.contexts: list[str] = []
        self.memory: list[object] = []
        names = ("name", "compute_capability", "retain_primary_context" if primary else "make_context")
        self._gpu = SimpleNamespace(**{name: getattr(self, name) for name in names})

    def may_fail(self, what: str) -> None:
        if what == self.failing:
            raise FakeDriver.LaunchError(f"{what} failed: unspecified launch failure")

    def init(self) -> None:
        self.may_fail("init")

    def Device(self, _number: int) -> Any:
        return self._gpu

    def name(self) -> str:
        self.may_fail("name")
        return "Fake GPU"

    def compute_capability(self) -> tuple[int, int]:
        return 6, 1

    def _context(self) -> Any:
        self.contexts.append("context")
        return SimpleNamespace(push=self.push, pop=self.pop, detach=self.detach)

    def retain_primary_context(self) -> Any:
        self.may_fail("retain_primary_context")
        return self._context()

    def make_context(self) -> Any:
        self.may_fail("make_context")
        self.stack.append("context")
        return self._context()

    def push(self) -> None:
        self.may_fail("push")
        self.stack.append("context")

    def pop(self) -> None:
        self.stack.pop()
        self.may_fail("pop")

    def detach(self) -> None:
        self.contexts.pop()
        self.may_fail("detach")

    def mem_alloc(self, size: int) -> Any:
        self.may_fail("mem_alloc")
        if size > 1 << 30:
            raise FakeDriver.MemoryError("cuMemAlloc failed: out of memory")
        return _Allocation(self, size)

    def mem_get_info(self) -> tuple[int, int]:
        self.may_fail("mem_get_info")
        return 1, 2

    def memcpy_htod_async(self, to: int, array: Any, _stream: Any) -> None:
        self.may_fail("memcpy_htod_async")
        ctypes.memmove(to, array.ctypes.data, array.nbytes)

    def memcpy_dtoh_async(self, array: Any, of: int, _stream: Any) -> None:
        self.may_fail("memcpy_dtoh_async")
        ctypes.memmove(array.ctypes.data, of, array.nbytes)

    def Stream(self) -> Any:
        self.may_fail("Stream")
        return SimpleNamespace(handle=77, synchronize=lambda: self.may_fail("synchronize"))

    def Event(self) -> Any:
        self.may_fail("Event")

        def time_till(_other: Any) -> float:
            self.may_fail("time_till")
            return 1.5

        return SimpleNamespace(
            record=lambda _stream: self.may_fail("record"),
            synchronize=lambda: self.may_fail("wait"),
            time_till=time_till,
        )


class _Allocation:
    """Freed by ``free`` or with the object, as pycuda's DeviceAllocation is."""

    def __init__(self, driver: FakeDriver, size: int) -> None:
        self.bytes, self._driver = ctypes.create_string_buffer(size), driver
        self.token = object()
        driver.memory.append(self.token)

    def __int__(self) -> int:
        return ctypes.addressof(self.bytes)

    def free(self) -> None:
        self._driver.memory.remove(self.token)
        self._driver.may_fail("free")

    def __del__(self) -> None:
        if self.token in self._driver.memory:
            assert self._driver.stack, "a destructor of pycuda needs the context"
            self._driver.memory.remove(self.token)


@pytest.fixture(params=[True, False], ids=["primary context", "own context"])
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    """What ``import pycuda.driver`` gives."""
    package: Any = ModuleType("pycuda")
    package.driver = FakeDriver(primary=request.param)
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", package.driver)
    monkeypatch.delenv("HARDNET_DEPLOY_CUDART", raising=False)
    return package.driver  # type: ignore[no-any-return]  # an attribute of a module made above


def use(cuda: run_engine.Cuda) -> Any:
    """Everything once."""
    stream, pointer, back = cuda.stream(), cuda.malloc(DATA.nbytes), np.empty_like(DATA)
    first, second = cuda.event(), cuda.event()
    cuda.to_device(pointer, DATA, stream)
    cuda.record(first, stream)
    cuda.to_host(back, pointer, stream)
    cuda.record(second, stream)
    cuda.wait_event(second)
    cuda.synchronize(stream)
    assert cuda.elapsed_ms(first, second) == 1.5
    cuda.device()
    cuda.free(pointer)
    for event in (first, second):
        cuda.destroy_event(event)
    cuda.destroy_stream(stream)
    return back


def test_pycuda_is_taken_where_it_is_and_does_the_same(driver: FakeDriver) -> None:
    cuda = run_engine.open_cuda()
    assert isinstance(cuda, PyCuda)
    assert_array_equal(use(cuda), DATA)
    assert cuda.device() == {"name": "Fake GPU", "compute_capability": [6, 1], "memory_bytes": 2, "free_bytes": 1}
    with pytest.raises(EngineError, match="CUDA graphs"):
        cuda.begin_capture(77)
    assert len(driver.stack) == 1
    cuda.close()
    cuda.close()
    assert (driver.stack, driver.contexts, driver.memory) == ([], [], [])


def test_no_memory_left_says_so(driver: FakeDriver) -> None:
    cuda = run_engine.open_cuda()
    with pytest.raises(EngineError, match="no memory left") as caught:
        cuda.malloc(1 << 40)
    assert caught.value.code == 3
    assert caught.value.next_step
    cuda.close()
    assert driver.contexts == []


@pytest.mark.parametrize(
    "failing",
    ["mem_alloc", "free", "memcpy_htod_async", "memcpy_dtoh_async", "Stream", "synchronize", "Event", "record", "wait",
     "time_till", "mem_get_info", "name"],
)  # fmt: skip
def test_every_fault_of_the_driver_is_a_sentence_and_the_gpu_is_given_back(driver: FakeDriver, failing: str) -> None:
    cuda = run_engine.open_cuda()
    driver.failing = failing
    with pytest.raises(EngineError, match=r"CUDA failed in .*unspecified launch failure") as caught:
        use(cuda)
    cuda.close()
    assert caught.value.code == 3
    assert (driver.stack, driver.contexts, driver.memory) == ([], [], [])


@pytest.mark.parametrize("failing", ["init", "retain_primary_context", "make_context", "push"])
def test_a_gpu_that_cannot_be_taken_is_a_sentence_and_leaves_nothing(driver: FakeDriver, failing: str) -> None:
    driver.failing = failing
    primary = hasattr(driver.Device(0), "retain_primary_context")
    if failing != "init" and primary == (failing == "make_context"):
        run_engine.open_cuda().close()  # never called on this driver
    else:
        with pytest.raises(EngineError, match="unspecified launch failure") as caught:
            run_engine.open_cuda()
        assert caught.value.code == 3
    assert (driver.stack, driver.contexts) == ([], [])


@pytest.mark.parametrize("failing", ["pop", "detach"])
def test_a_gpu_that_cannot_be_given_back_is_a_sentence_once(driver: FakeDriver, failing: str) -> None:
    cuda = run_engine.open_cuda()
    driver.failing = failing
    with pytest.raises(EngineError, match="giving the GPU back"):
        cuda.close()
    cuda.close()
    assert (driver.stack, driver.contexts) == ([], [])


def test_a_handle_that_was_given_back_is_a_sentence(driver: FakeDriver) -> None:
    cuda = run_engine.open_cuda()
    stream, pointer = cuda.stream(), cuda.malloc(4)
    cuda.free(pointer)
    cuda.destroy_stream(stream)
    for method, arguments in (
        ("free", (pointer,)),
        ("synchronize", (stream,)),
        ("destroy_stream", (stream,)),
        ("to_device", (pointer, DATA, stream)),
    ):
        with pytest.raises(EngineError, match="given back, or never made"):
            getattr(cuda, method)(*arguments)
    cuda.close()
    assert driver.contexts == []


def test_what_is_left_is_freed_while_the_context_is_there(driver: FakeDriver) -> None:
    cuda = run_engine.open_cuda()
    cuda.malloc(4)
    assert len(driver.memory) == 1
    cuda.close()
    assert (driver.stack, driver.contexts, driver.memory) == ([], [], [])
