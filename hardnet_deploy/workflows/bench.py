"""``hardnet-deploy bench``: networks and engines timed beside each other, every figure with what it is of."""

from __future__ import annotations

import datetime as dt
import math
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Protocol

from hardnet_deploy.bench.conditions import ConditionWatch, basic_machine
from hardnet_deploy.bench.document import KIND, SCHEMA, save_bench
from hardnet_deploy.bench.engine_columns import Machine
from hardnet_deploy.bench.gpu_state import GpuReader
from hardnet_deploy.bench.interleaved import time_sides
from hardnet_deploy.bench.protocols import OWN
from hardnet_deploy.bench.sides import Device
from hardnet_deploy.bench.stability import rule
from hardnet_deploy.bench.timing import USUAL_ROUNDS, TimingPlan, TimingProgress, Timings
from hardnet_deploy.errors import OutputFileError
from hardnet_deploy.workflows.bench_data import BenchData, read_bench_data
from hardnet_deploy.workflows.bench_imported import imported_rows, read_imported
from hardnet_deploy.workflows.bench_machine import read_machine
from hardnet_deploy.workflows.bench_options import BenchRequest
from hardnet_deploy.workflows.bench_plan import BenchPlan, plan_bench
from hardnet_deploy.workflows.bench_prepare import prepare
from hardnet_deploy.workflows.bench_result import BenchResult
from hardnet_deploy.workflows.bench_rows import RowMaker
from hardnet_deploy.workflows.bench_worker import WORKER
from hardnet_deploy.workflows.environment import Cpu, Probes, read_cpu

Tell = Callable[[str], None]
SAVE_EVERY_S: Final = 5.0
SAVE_SHARE: Final = 20.0  # times what saving takes, which grows with the rounds, is the least between two
LOADING: Final = "loading"
TIMING: Final = "timing"


class Progress(Protocol):
    """Told how far a bench is."""

    def __call__(self, what: str, done: int, total: int, detail: str = "") -> None:
        """``what`` is being done, ``done`` of ``total`` are; ``detail`` says which row, and how long it may take."""
        ...


def _say_nothing(_line: str) -> None:
    return None


def run_bench(
    request: BenchRequest,
    progress: Progress,
    *,
    tell: Tell = _say_nothing,
    machine: Machine | None = None,
    load_before: Sequence[float] | None = None,
) -> BenchResult:
    """Prepare, time, and put into words what the times are of.

    With ``request.save`` the document is written on the way, every few seconds at most, marked as not finished; the
    last one, and what else the request names, is written by :meth:`BenchResult.write`. Ctrl-C while times are taken
    ends the timing and keeps the rounds that were finished.

    Args:
        request: The options.
        progress: See :class:`Progress`.
        tell: Told, a sentence at a time, what will be done, and what could not be saved on the way.
        machine: What can run here; None looks.
        load_before: Load averages from before the caller itself worked on this machine; None looks.

    Raises:
        UsageError, TargetError, OutputFileError, InputFileError, ArtifactMismatchError: Before anything long runs.
        CheckpointError: A checkpoint that cannot be loaded.
        ParityError: An export does not compute what PyTorch computes.
        KeyboardInterrupt: Before the timing began.
    """
    machine = machine or read_machine()
    plan = plan_bench(request, machine)
    stored = read_imported(request.results)
    for line in (*plan.notes, *_intended(plan)):
        tell(line)
    cpu = read_cpu(Probes())
    watch = ConditionWatch(
        machine={**basic_machine(), "cpu": {**asdict(cpu), "int8_dot_product": cpu.int8_dot_product}},
        threads=plan.threads,
        load_before=load_before,
        on_gpu="cuda" in _devices(plan),
    )
    watch.sample()  # before engines are prepared: their load is none of others
    with tempfile.TemporaryDirectory(prefix="hardnet-deploy-") as name:
        folder = Path(name)
        batch = max(row.batch for row in plan.rows)
        data = read_bench_data(request.data, folder, batch=batch, progress=progress)
        prepared = prepare(plan, machine, data, folder, progress, code_line=request.code_line, trust=request.trust)
        maker = RowMaker(plan.rows, plan.protocol, prepared)
        writer = _Writer(request, plan, data, stored, maker, tell, watch, cpu)
        found: Timings | None = None
        if prepared.sides:
            found = time_sides(
                tuple(prepared.sides.values()),
                plan=TimingPlan(
                    iterations=plan.iterations,
                    rounds=plan.rounds,
                    budget_s=plan.budget_s,
                    least_rounds=plan.least_rounds,
                    warm_up_ms=plan.warm_up_ms,
                    loadings=plan.loadings,
                    reference=maker.references(),
                ),
                worker=WORKER,
                progress=_Steps(progress, plan.budget_s),
                on_round=writer.on_round,
            )
        stopped_by = found.stopped_by if found else None
        return BenchResult(
            document=writer.document(found, finished=stopped_by != "interrupted"),
            stopped_by=stopped_by,
            allow_unstable=request.allow_unstable,
            notes=data.notes,
        )


def _intended(plan: BenchPlan) -> Iterator[str]:
    """What will be done, and how long it may take."""
    rows = len(plan.to_time)
    least = f" or {plan.least_rounds} rounds, whatever takes longer" if plan.least_rounds > 1 else ""
    limit = "" if plan.budget_s is None else f", within {in_words(plan.budget_s)} of timing{least}"
    goal = f"{plan.iterations} runs each" if plan.rounds is None else f"{plan.iterations} runs in {plan.rounds} rounds"
    count = "1 row" if rows == 1 else f"{rows} rows"
    yield f"{count} to time here: {goal}{limit}; engines are prepared and loaded first, which takes its own time"


class _Steps:
    """Where the timing stands, in rounds: within a budget as many as will probably fit."""

    def __init__(self, progress: Progress, budget_s: float | None) -> None:
        self._progress, self._budget_s = progress, budget_s
        self._began = 0.0

    def __call__(self, step: TimingProgress) -> None:
        if step.doing == "loading":
            self._progress(LOADING, step.done, step.total, step.key)
            self._began = step.elapsed_s
            return
        left = "" if step.left_s is None else f", {in_words(step.left_s)} left"
        self._progress(TIMING, step.done, self._rounds(step), f"{step.key}{left}")

    def _rounds(self, step: TimingProgress) -> int:
        total = step.total
        if self._budget_s is not None:
            total = min(total, USUAL_ROUNDS)
            if step.done and step.left_s is not None:
                a_round = (step.elapsed_s - self._began) / step.done
                total = min(step.total, step.done + math.ceil(step.left_s / max(a_round, 1e-9)))
        return max(total, step.done + 1)


def in_words(seconds: float) -> str:
    """``45 s``, ``12 min``, ``1.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


class _Writer:
    """Documents of one run: after each round, and the last one."""

    def __init__(
        self,
        request: BenchRequest,
        plan: BenchPlan,
        data: BenchData,
        stored: Iterable[dict[str, Any]],
        maker: RowMaker,
        tell: Tell,
        watch: ConditionWatch,
        cpu: Cpu,
    ) -> None:
        self._request, self._plan, self._data, self._maker, self._tell = request, plan, data, maker, tell
        self._save_failed = False
        self._next_save_s = 0.0
        own = plan.protocol.name == OWN
        self._imported = imported_rows(stored, None if own else {row.subject.network for row in plan.rows})
        self._watch, self._cpu = watch, cpu

    def on_round(self, found: Timings) -> None:
        """Keep what is known; a disk that is full by now does not end the timing."""
        self._watch.sample()
        began = time.monotonic()
        if self._request.save is None or self._save_failed or began < self._next_save_s:
            return
        try:
            save_bench(self._request.save, self.document(found, finished=False))
            ended = time.monotonic()
            self._next_save_s = ended + max(SAVE_EVERY_S, SAVE_SHARE * (ended - began))
        except OutputFileError as error:
            self._save_failed = True
            self._tell(f"{error.what}: the timing goes on, and it is tried again at the end")

    def document(self, found: Timings | None, *, finished: bool) -> dict[str, Any]:
        """The document."""
        return {
            "schema": SCHEMA,
            "kind": KIND,
            "date": dt.datetime.now().astimezone().isoformat(timespec="seconds"),
            "command": list(self._request.command),
            "machine": self._machine(),
            "protocol": self._protocol(found),
            "finished": finished,
            "conditions": self._watch.as_dict(),
            "rows": [*self._maker.rows(found.sides if found else {}), *self._imported],
        }

    def _machine(self) -> str:
        cpu = self._cpu
        gpu = GpuReader().read() if "cuda" in _devices(self._plan) else None
        on = f"{gpu['name']}, " if gpu and gpu["name"] else ""
        cores = "" if cpu.cores is None else f", {cpu.cores} core{'' if cpu.cores == 1 else 's'}"
        return f"{on}{cpu.model}{cores}, {self._plan.threads} thread{'' if self._plan.threads == 1 else 's'} an engine"

    def _protocol(self, found: Timings | None) -> dict[str, Any]:
        plan, protocol = self._plan, self._plan.protocol
        return {
            "name": protocol.name,
            "networks": list(protocol.networks),
            "reference": protocol.reference,
            "size": protocol.size,
            "batch": protocol.batch,
            "boundaries": list(protocol.boundaries),
            "data": self._data.text,
            "statistic": protocol.statistic,
            "iterations_published": protocol.published_iterations,
            "iterations": plan.iterations,
            "rounds": found.rounds if found else 0,
            "rounds_asked": plan.rounds,
            "budget_s": plan.budget_s,
            "warm_up_ms": plan.warm_up_ms,
            "threads": plan.threads,
            "loadings": max(_loadings(found), default=0),
            "method": f"each engine in a process of its own, in turn, {plan.warm_up_ms:g} ms untimed before each turn"
            + _loaded_anew(_loadings(found)),
            "stability": _stability(plan),
            "stopped_by": found.stopped_by if found else None,
            "groups": [list(group) for group in found.groups] if found else [],
        }


def _devices(plan: BenchPlan) -> list[Device]:
    """That rows are timed on."""
    return sorted({row.device for row in plan.to_time})


def _stability(plan: BenchPlan) -> str:
    """The rule of each device that rows are timed on."""
    rules = {device: rule(device, loadings=plan.loadings) for device in _devices(plan) or ["cpu"]}
    if len(rules) == 1:
        return next(iter(rules.values()))
    return "; ".join(f"on the {'GPU' if device == 'cuda' else 'CPU'}: {text}" for device, text in rules.items())


def _loadings(found: Timings | None) -> list[int]:
    """Of each engine that was timed to the end: how often, within one group where it is in several."""
    if found is None:
        return []
    counts = []
    for group in found.groups:
        sides = [one for key in group if (one := found.sides[key]).rounds_ms and one.problem is None]
        common = [set(one.loadings) for one in sides]
        counts += [len(set.intersection(*common))] if common else []
    return counts


def _loaded_anew(counts: list[int]) -> str:
    """For :func:`_loadings`, in words."""
    if max(counts, default=0) < 2:
        return ""
    anew = sorted({count - 1 for count in counts})
    times = f"{anew[0]}" if len(anew) == 1 else f"{anew[0]} to {anew[-1]}"
    return f", loaded anew {times} time{'' if times == '1' else 's'}"
