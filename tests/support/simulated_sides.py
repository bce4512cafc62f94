"""Simulated sides on a simulated clock, for what decides about rounds and loadings."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from hardnet_deploy.bench.interleaved import Run
from hardnet_deploy.bench.memory import wanted_bytes
from hardnet_deploy.bench.sides import Side, SideError, SideFacts
from hardnet_deploy.bench.timing import TimingPlan, Timings

ENOUGH = 10**15


class Machine:
    """A simulated one: its clock moves when a side runs.

    Args:
        run_ms: Of each side's runs, by key.
        noise: Standard deviation of a run, as a share.
        memory: Bytes that are free; each loaded side takes what it wants.
        loading_s: Of one side, anew.
    """

    def __init__(
        self, run_ms: dict[str, float], *, noise: float = 0.0, memory: int = ENOUGH, loading_s: float = 50.0
    ) -> None:
        self.run_ms, self.noise, self.memory, self.loading_s = run_ms, noise, memory, loading_s
        self.now = 0.0
        self.turns: list[tuple[str, int]] = []
        self.open: set[str] = set()
        self.most_open = 0
        self.fail: dict[str, int] = {}  # key -> turn that fails; 0 is loading
        self.unloaded: list[str] = []
        self.in_memory: set[str] = set()
        self.most_left = 0  # in memory after the last unloading
        self.loaded_again: list[str] = []
        self.fail_again: set[str] = set()
        self.interrupt_at: int | None = None
        self._draw = np.random.default_rng(5)

    @contextlib.contextmanager
    def start(self, side: Side) -> Iterator[Simulated]:
        if self.fail.get(side.key) == 0:
            raise SideError("cannot be loaded here")
        self.open.add(side.key)
        self.in_memory.add(side.key)
        self.memory -= wanted_bytes(side, None)
        self.most_open = max(self.most_open, len(self.open))
        self.now += 1.0
        try:
            yield Simulated(self, side.key)
        finally:
            self.open.remove(side.key)
            self.memory += wanted_bytes(side, None)

    def load_again(self, key: str) -> None:
        assert key not in self.in_memory
        self.in_memory.add(key)
        self.loaded_again.append(key)
        self.now += self.loading_s
        if key in self.fail_again:
            raise SideError("cannot be loaded any more")

    def run(self, key: str, runs: int, warm_up_ms: float) -> tuple[float, ...]:
        self.turns.append((key, runs))
        if self.interrupt_at is not None and len(self.turns) > self.interrupt_at:
            raise KeyboardInterrupt
        if self.fail.get(key) == sum(name == key for name, _ in self.turns):
            raise SideError("ended")
        each = self.run_ms[key]
        times = tuple(float(each * (1 + self.noise * value)) for value in self._draw.standard_normal(runs))
        self.now += (max(warm_up_ms, each) + sum(times)) / 1000
        return times


class Simulated:
    def __init__(self, machine: Machine, key: str) -> None:
        self._machine, self._key = machine, key
        self.facts = SideFacts(engine=f"simulated {key}")
        self.run_ms = machine.run_ms[key]

    def unload(self) -> None:
        self._machine.unloaded.append(self._key)
        self._machine.in_memory.discard(self._key)
        self._machine.most_left = len(self._machine.in_memory)

    def load_again(self) -> None:
        self._machine.load_again(self._key)

    def turn(self, runs: int, *, warm_up_ms: float) -> tuple[float, ...]:
        return self._machine.run(self._key, runs, warm_up_ms)


def side(key: str) -> Side:
    return Side(key=key, kind="onnxruntime", artifact="made up", size=1024)


def timed(machine: Machine, *, plan: dict[str, Any], **options: Any) -> Timings:
    run = Run(
        [side(key) for key in machine.run_ms],
        TimingPlan(**plan),
        start=machine.start,
        clock=lambda: machine.now,
        available=lambda: machine.memory,
        **options,
    )
    return run.go()
