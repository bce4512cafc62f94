"""Sides timed beside each other: a process for each, rounds in turn, so that a drift of the machine hits all alike.

A process waits for its turn on its standard input, so no thread of another engine is awake while one is timed: an idle
engine's thread pool spins for a while and slows its neighbour by up to half. In each round the order is another one.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from hardnet_deploy.bench.gpu_state import GpuReader
from hardnet_deploy.bench.memory import Available, available_bytes, fits
from hardnet_deploy.bench.rival_table import RIVALS
from hardnet_deploy.bench.rounds import Clock, Group, Record, Timeable
from hardnet_deploy.bench.side_process import opened
from hardnet_deploy.bench.sides import Side, SideError
from hardnet_deploy.bench.timing import (
    WARM_UP_MS,
    OnRound,
    Progress,
    StoppedBy,
    TimingPlan,
    TimingProgress,
    Timings,
)
from hardnet_deploy.errors import TargetError, UsageError
from hardnet_deploy.models import registry
from hardnet_deploy.specs import F32

BENCH_WORKER: Final = ("-m", "hardnet_deploy.bench.worker")
"""Loads ONNX files that the caller made; for models, manifests and folding there is one in workflows."""
Open = Callable[[Side], contextlib.AbstractContextManager[Timeable]]


def time_sides(
    sides: Sequence[Side],
    *,
    plan: TimingPlan,
    worker: Sequence[str] = BENCH_WORKER,
    progress: Progress | None = None,
    on_round: OnRound | None = None,
) -> Timings:
    """Time sides beside each other, each in a process of its own.

    A side that cannot be loaded, or fails later, has a ``problem`` and does not end the others. Ctrl-C ends the timing
    and returns the rounds that were finished.

    Args:
        sides: With keys of their own. Where memory does not hold all at once they are timed in groups, in this order.
        plan: How long.
        worker: Arguments of Python that start a process for one side.
        progress: Told before every loading and every turn.
        on_round: Given everything that is known after each round.

    Raises:
        UsageError: Two sides with one key, a reference that is none of them, or counts under 1.
    """
    _refuse(sides, plan)
    with tempfile.TemporaryDirectory(prefix="hardnet-deploy-") as folder:
        start = partial(opened, worker=worker, folder=Path(folder))
        return Run(sides, plan, start=start, progress=progress, on_round=on_round).go()


class Run:
    """One call of :func:`time_sides`; a test replaces what starts a side, the clock and the memory.

    Args:
        sides: All.
        plan: How long.
        start: Loads a side; raises SideError.
        progress: See :func:`time_sides`.
        on_round: See :func:`time_sides`.
        clock: Seconds.
        available: Bytes of memory; None where unknown, and then it holds all sides.
        on_device: The same of the GPU's, asked for before a side that runs there; None: nvidia-smi tells.
    """

    def __init__(
        self,
        sides: Sequence[Side],
        plan: TimingPlan,
        *,
        start: Open,
        progress: Progress | None = None,
        on_round: OnRound | None = None,
        clock: Clock = time.monotonic,
        available: Available = available_bytes,
        on_device: Available | None = None,
    ) -> None:
        self._plan, self._start, self._clock, self._available = plan, start, clock, available
        self._on_device = on_device or GpuReader().free_bytes
        self._progress, self._on_round = progress, on_round
        self._records = {side.key: Record(side=side) for side in sides}
        self._groups: list[tuple[str, ...]] = []
        self._rounds, self._loadings, self._timed_s, self._began = 0, 0, 0.0, clock()
        self._waiting: list[str] = []

    def go(self) -> Timings:
        """All groups, one after the other."""
        stops: list[StoppedBy] = []
        self._waiting = [key for key in self._records if key not in self._plan.reference]
        try:
            while not stops or self._waiting:
                stops.append(self._one_group())
        except KeyboardInterrupt:
            return self._so_far("interrupted")
        worst: StoppedBy = next((why for why in ("budget", "rounds") if why in stops), "done")
        return self._so_far(worst)

    def _one_group(self) -> StoppedBy:
        with contextlib.ExitStack() as stack:
            live = self._load(stack)
            self._groups.append(tuple(live))
            share = len(live) / (len(live) + len(self._waiting)) if live else 0.0
            budget = self._plan.budget_s
            group = Group(
                live,
                self._records,
                self._plan,
                budget_s=None if budget is None else share * max(0.0, budget - self._timed_s),
                clock=self._clock,
                first=self._rounds,
                first_loading=self._loadings,
            )
            while (stopped := group.stopped_by()) is None:
                group.round(lambda key: self._tell_timing(group, key, len(live)))
                self._rounds += 1
                if self._on_round:
                    self._on_round(self._so_far(None))
            self._timed_s += group.elapsed_s
            self._loadings = group.loading + 1
            return stopped

    def _load(self, stack: contextlib.ExitStack) -> dict[str, Timeable]:
        """The references, and of the others as many as memory holds, at least one."""
        live: dict[str, Timeable] = {}
        loaded_others = 0
        references = [key for key in self._plan.reference if self._records[key].problem is None]
        asked = [*references, *self._waiting]
        for number, key in enumerate(asked):
            if key not in references and loaded_others and not self._fits(self._records[key].side):
                break
            if self._progress:
                self._progress(self._told("loading", key, number, len(asked), None))
            record = self._records[key]
            try:
                live[key] = stack.enter_context(self._start(record.side))
                record.facts = live[key].facts
            except SideError as error:
                record.problem = str(error)
            if key not in references:
                self._waiting = [other for other in self._waiting if other != key]
                loaded_others += key in live
        return live

    def _fits(self, side: Side) -> bool:
        return fits(side, _parameters(side), available=self._available, on_device=self._on_device)

    def _tell_timing(self, group: Group, key: str, sides: int) -> None:
        if not self._progress:
            return
        left = group.left_s
        if left is not None:
            left += len(self._waiting) * (group.elapsed_s + left) / sides
        self._progress(self._told("timing", key, group.done, group.expected, left))

    def _told(self, doing: str, key: str, done: int, total: int, left_s: float | None) -> TimingProgress:
        return TimingProgress(
            doing="timing" if doing == "timing" else "loading",
            key=key,
            done=done,
            total=total,
            elapsed_s=self._clock() - self._began,
            left_s=left_s,
        )

    def _so_far(self, stopped: StoppedBy | None) -> Timings:
        return Timings(
            sides={key: record.timing() for key, record in self._records.items()},
            rounds=self._rounds,
            groups=tuple(self._groups),
            elapsed_s=self._clock() - self._began,
            stopped_by=stopped,
        )


def _parameters(side: Side) -> int | None:
    if side.kind != "torch":
        return None
    if side.network in RIVALS:
        return RIVALS[side.network].parameters
    published = registry.get(side.network).published.params_m
    return round(1e6 * (published or 40.0))


def _refuse(sides: Sequence[Side], plan: TimingPlan) -> None:
    keys = [side.key for side in sides]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise UsageError(f"these sides are there more than once: {', '.join(twice)}")
    strange = sorted(set(plan.reference) - set(keys))
    if strange:
        raise UsageError(f"no such side: {', '.join(strange)}", wanted=", ".join(keys))
    counts = {"iterations": plan.iterations, "rounds": plan.rounds, "max_rounds": plan.max_rounds}
    counts["loadings"] = plan.loadings
    for name, count in counts.items():
        if count is not None and count < 1:
            raise UsageError(f"{name} is {count}", wanted="at least 1")


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One engine of :func:`time_side_by_side`.

    Args:
        rounds: Milliseconds of every run, by round.
    """

    rounds: tuple[tuple[float, ...], ...]

    @property
    def median_ms(self) -> float:
        """Of all runs."""
        return statistics.median(value for one in self.rounds for value in one)


def time_side_by_side(
    engines: Mapping[str, Path],
    images: F32,
    *,
    threads: int,
    rounds: int,
    per_round: int,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Timing]:
    """Time ONNX files of one's own making in ONNX Runtime on the CPU, from the input array to the output arrays.

    Args:
        engines: Files by name.
        images: float32 [N, 3, S, S], what all of them get.
        threads: Of each.
        rounds: Every engine has one turn in each.
        per_round: Runs a turn.
        progress: Told (rounds done, rounds).

    Raises:
        TargetError: One of them cannot be timed.
        KeyboardInterrupt: As it came.
    """
    with tempfile.TemporaryDirectory(prefix="hardnet-deploy-") as folder:
        file = Path(folder) / "input.npy"
        np.save(file, images)
        sides = [
            Side(
                key=name,
                kind="onnxruntime",
                artifact=str(path),
                boundary="network",
                size=images.shape[-1],
                batch=images.shape[0],
                data=str(file),
                threads=threads,
                made_here=True,
            )
            for name, path in engines.items()
        ]

        def refuse_any(found: Timings) -> None:
            for one in found.sides.values():
                if one.problem:
                    raise TargetError(f"{one.side.artifact} cannot be timed", got=one.problem)
            if progress and found.stopped_by is None:
                progress(found.rounds, rounds)

        plan = TimingPlan(iterations=rounds * per_round, rounds=rounds, warm_up_ms=WARM_UP_MS)
        found = time_sides(sides, plan=plan, on_round=refuse_any)
        refuse_any(found)
    if found.stopped_by == "interrupted":
        raise KeyboardInterrupt
    return {name: Timing(rounds=one.rounds_ms) for name, one in found.sides.items()}
