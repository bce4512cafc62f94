"""A side inside its process: something that can be run, and the loops that time it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any, Protocol

from hardnet_deploy.bench.sides import SideFacts

Run = Callable[[int], Any]
"""Run number i. Everything inside is timed."""


Context = Callable[[], contextlib.AbstractContextManager[Any]]


class Loaded(Protocol):
    """A side that is ready.

    Args:
        facts: What is known of it.
    """

    facts: SideFacts

    def turn(self, runs: int, *, warm_up_ms: float, least_warm_up: int) -> list[float]:
        """Warm up for so long and so often, then the milliseconds of each run."""
        ...


class WallClock:
    """Timed from call to return; for everything that computes before it returns.

    Args:
        facts: What is known of it.
        run: What is timed.
        context: Entered around each turn.
    """

    def __init__(self, facts: SideFacts, run: Run, context: Context = contextlib.nullcontext) -> None:
        self.facts = facts
        self._run, self._context = run, context

    def turn(self, runs: int, *, warm_up_ms: float, least_warm_up: int) -> list[float]:
        """See :class:`Loaded`."""
        run, clock = self._run, time.perf_counter
        with self._context():
            warm_up(run, warm_up_ms, least_warm_up)
            times = []
            for number in range(runs):
                began = clock()
                run(number)
                times.append(clock() - began)
        return [1e3 * value for value in times]


class CudaEvents:
    """Timed by events on the current stream, runs enqueued one behind the other, inputs resident on the device.

    Args:
        facts: What is known of it.
        run: Enqueues what is timed.
        context: Entered around each turn.
        feed: Enqueued before each run, outside of its events.
    """

    def __init__(self, facts: SideFacts, run: Run, context: Context, feed: Run | None = None) -> None:
        self.facts = facts
        self._run, self._context, self._feed = run, context, feed

    def turn(self, runs: int, *, warm_up_ms: float, least_warm_up: int) -> list[float]:
        """See :class:`Loaded`."""
        import torch

        def once(number: int) -> None:
            if self._feed:
                self._feed(number)
            self._run(number)
            torch.cuda.synchronize()

        with self._context():
            warm_up(once, warm_up_ms, least_warm_up)
            marks = []
            for number in range(runs):
                if self._feed:
                    self._feed(number)
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]  # torch has no types for it
                start.record()
                self._run(number)
                end.record()
                marks.append((start, end))
            torch.cuda.synchronize()
        return [start.elapsed_time(end) for start, end in marks]


def warm_up(run: Run, milliseconds: float, least: int) -> None:
    """Run for so long, and so often at least."""
    ready, number = time.perf_counter() + 1e-3 * milliseconds, 0
    while number < least or time.perf_counter() < ready:
        run(number)
        number += 1
