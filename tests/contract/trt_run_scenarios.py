"""Runs of an engine: inference, timing and profiling, with fixed and dynamic batches, and every way they fail."""

from __future__ import annotations

import itertools
from typing import Any, Final

import numpy as np
from trt_build_scenarios import ALL, world_with
from trt_scenarios import Scenario
from trt_world import PLAN, TENSORS


class HostCuda:
    """The device file's ``Cuda`` interface with nothing behind it: handles are numbers, no memory is touched."""

    name = "none"

    def __init__(self) -> None:
        self._handles = itertools.count(1)
        self.held: set[int] = set()

    def malloc(self, _size: int) -> int:
        return self._take()

    def _take(self, *_given: Any) -> int:
        handle = next(self._handles)
        self.held.add(handle)
        return handle

    def _give_back(self, handle: int) -> None:
        self.held.remove(handle)

    def _nothing(self, *_given: Any) -> None:
        """Neither copies nor waits."""

    def elapsed_ms(self, _start: int, _end: int) -> float:
        return 1.0

    def device(self) -> dict[str, Any]:
        return {"name": "no GPU", "compute_capability": [0, 0], "memory_bytes": 1, "free_bytes": 1}

    stream = event = end_capture = _take
    free = destroy_stream = destroy_event = destroy_graph = _give_back
    to_device = to_host = synchronize = record = wait_event = begin_capture = launch = _nothing


def _feeds(batch: int = 1) -> dict[str, np.ndarray[Any, Any]]:
    return {"images": np.zeros((batch, *TENSORS[0].shape[1:]), np.float32)}


def _engine(method: str, manifest: Any = None, **options: Any) -> Any:
    def run(run_engine: Any, trt: Any) -> None:
        cuda = HostCuda()
        try:
            with run_engine.Engine(trt, cuda, PLAN, manifest) as engine:
                assert [entry["name"] for entry in engine.inputs + engine.outputs] == [
                    tensor.name for tensor in TENSORS
                ]
                assert getattr(engine, method)(_feeds(), **options)
        finally:
            assert not cuda.held, "device memory, a stream or an event was not given back"

    return run


_QUICK: Final = {"warm_up_ms": 0, "iterations": 2}

RUNS: Final = (
    Scenario("infer", _engine("infer")),
    Scenario("infer, dynamic batch", _engine("infer"), world=world_with(dynamic=True)),
    Scenario("bench", _engine("bench", **_QUICK)),
    Scenario("bench with a CUDA graph", _engine("bench", cuda_graph=True, **_QUICK)),
    Scenario("bench with transfers", _engine("bench", transfers=True, **_QUICK)),
    Scenario("profile", _engine("profile", iterations=1)),
    Scenario("no runtime", _engine("infer"), refused=ALL, world=world_with("Runtime")),
    Scenario("a plan that does not load", _engine("infer"), refused=ALL, world=world_with("deserialize_cuda_engine")),
    Scenario("no memory for a context", _engine("infer"), refused=ALL, world=world_with("create_execution_context")),
    Scenario(
        "an execution that fails",
        _engine("infer"),
        refused=ALL,
        world=world_with("execute_async_v2", "execute_async_v3"),
    ),
    Scenario(
        "a capture that fails",
        _engine("bench", cuda_graph=True),
        refused=ALL,
        world=world_with("execute_async_v2", "execute_async_v3"),
    ),
    Scenario(
        "a shape outside of the profile",
        _engine("infer"),
        refused=ALL,
        world=world_with("set_binding_shape", "set_input_shape", dynamic=True),
    ),
    Scenario("a plan of another model of GPU", _engine("infer", {"versions": {"gpu": "another"}})),
    Scenario("a plan of another GPU", _engine("infer", {"versions": {"compute_capability": "6.1"}}), refused=ALL),
)
