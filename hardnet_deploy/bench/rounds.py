"""Rounds of turns: in what order, of how many runs, and when they end. Knows no process and no real clock."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from hardnet_deploy.bench.sides import Side, SideError, SideFacts
from hardnet_deploy.bench.stability import is_stable
from hardnet_deploy.bench.stats import LEAST_LOADINGS
from hardnet_deploy.bench.timing import USUAL_ROUNDS, SideTiming, StoppedBy, TimingPlan

LONGEST_TURN_MS: Final = 1000
"""Timed part of a turn, where one run does not take longer: drift within a turn hits one side alone."""
ROUNDS_BEYOND: Final = 3
"""The most rounds are this many times what the iterations need."""
Clock = Callable[[], float]


class Timeable(Protocol):
    """A loaded side."""

    def unload(self) -> None:
        """Give all memory back; :meth:`load_again` comes next.

        Raises:
            SideError: It has ended.
        """
        ...

    def load_again(self) -> None:
        """In a process of its own again, with memory of its own again.

        Raises:
            SideError: It cannot be loaded any more.
        """
        ...

    @property
    def facts(self) -> SideFacts:
        """What it says of itself; its peak memory grows."""
        ...

    @property
    def run_ms(self) -> float:
        """One run, as loading saw it."""
        ...

    def turn(self, runs: int, *, warm_up_ms: float) -> tuple[float, ...]:
        """Warm up for so long, with one run at least; then the milliseconds of each run.

        Raises:
            SideError: It cannot run any more.
        """
        ...


@dataclass
class Record:
    """What is known of one side by now.

    Args:
        side: Which.
        facts: Once it was loaded.
        rounds_ms: Of the rounds that were finished.
        numbers: Theirs.
        loadings: Of which loading each of them was.
        problem: Why it ended.
    """

    side: Side
    facts: SideFacts = field(default_factory=SideFacts)
    rounds_ms: list[tuple[float, ...]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    loadings: list[int] = field(default_factory=list)
    problem: str | None = None

    @property
    def stable(self) -> bool:
        """It has settled."""
        return is_stable(self.rounds_ms, self.side.device, self.loadings)

    def timing(self) -> SideTiming:
        """As it is now."""
        return SideTiming(
            **vars(self.facts),
            side=self.side,
            rounds_ms=tuple(self.rounds_ms),
            round_numbers=tuple(self.numbers),
            loadings=tuple(self.loadings),
            problem=self.problem,
            stable=self.stable if self.rounds_ms else None,
        )


def runs_a_turn(run_ms: float, plan: TimingPlan, *, sides: int, budget_s: float | None) -> int:
    """Timed runs in each turn of a side.

    Args:
        run_ms: One of its runs.
        plan: Iterations, rounds and warm-up.
        sides: With a turn in each round.
        budget_s: Of all of them together.
    """
    if plan.rounds is not None:
        return math.ceil(plan.iterations / plan.rounds)
    timed_ms = float(LONGEST_TURN_MS)
    if budget_s is not None:
        timed_ms = min(timed_ms, 1000 * budget_s / (USUAL_ROUNDS * sides) - plan.warm_up_ms)
    most = math.ceil(plan.iterations / USUAL_ROUNDS)
    return max(1, min(most, int(timed_ms / max(run_ms, 1e-6))))


class Group:
    """Sides that are timed in the same rounds.

    Args:
        live: Loaded sides by key.
        records: Of all sides; those of ``live`` are written.
        plan: How long.
        budget_s: Of this group; None for no end.
        clock: Seconds.
        first: Number of its first round.
        first_loading: Number of the loading that it begins with.
    """

    def __init__(
        self,
        live: Mapping[str, Timeable],
        records: Mapping[str, Record],
        plan: TimingPlan,
        *,
        budget_s: float | None,
        clock: Clock,
        first: int,
        first_loading: int = 0,
    ) -> None:
        self._live = dict(live)
        self._records, self._plan, self._budget_s, self._clock, self._first = records, plan, budget_s, clock, first
        self._runs = {
            key: runs_a_turn(one.run_ms, plan, sides=len(live), budget_s=budget_s) for key, one in live.items()
        }
        needed = max((math.ceil(plan.iterations / runs) for runs in self._runs.values()), default=0)
        self._needed = plan.rounds or needed
        least = LEAST_LOADINGS if plan.loadings > 1 else 0
        self._most = plan.rounds or plan.max_rounds or max(ROUNDS_BEYOND * needed, least)
        self._own: dict[str, list[tuple[float, ...]]] = {key: [] for key in live}
        self._own_loadings: dict[str, list[int]] = {key: [] for key in live}
        self._began = clock()
        self._longest = self._finished_s = 0.0
        self._loaded_at, self._loading_s = 0, 0.0
        self.done, self.loading = 0, first_loading

    @property
    def elapsed_s(self) -> float:
        """Since the first round began, without what loading in between took."""
        return self._clock() - self._began

    @property
    def expected(self) -> int:
        """Rounds, as it looks now."""
        return max(self.done + 1, min(self._needed, self._most))

    @property
    def left_s(self) -> float | None:
        """Seconds, as it looks now; None before the first round has ended."""
        if not self.done:
            return self._budget_s
        a_round = self._finished_s / self.done
        left = max(0.0, self._expected_rounds() * a_round - self.elapsed_s)
        return left + math.floor(left / (self._rounds_a_loading() * a_round)) * self._loading_s

    def stopped_by(self) -> StoppedBy | None:
        """Why no other round is begun; None where one is."""
        if not self._live:
            return "done"
        if not self.done:
            return None
        if self.done >= self._most:
            return "done" if self._plan.rounds or self._settled() else "rounds"
        if self._plan.rounds is None and self._settled():
            return "done"
        if self._budget_s is None or self.done < self._plan.least_rounds:
            return None
        return "budget" if self.elapsed_s + self._longest > self._budget_s else None

    def round(self, told: Callable[[str], None]) -> None:
        """Give every side its turn, in an order of this round's own; ``told`` the key before each."""
        number = self._first + self.done
        if self.done and self.done - self._loaded_at >= self._rounds_a_loading():
            self._load_again(told)
        order = list(self._live)
        random.Random(f"{self._plan.seed} {number}").shuffle(order)  # noqa: S311 - an order, not a secret
        began, found = self._clock(), {}
        for key in order:
            told(key)
            try:
                found[key] = self._live[key].turn(self._runs[key], warm_up_ms=self._plan.warm_up_ms)
            except SideError as error:
                self._records[key].problem = str(error)
                del self._live[key]
        for key, times in found.items():
            record = self._records[key]
            record.rounds_ms.append(times)
            record.numbers.append(number)
            record.loadings.append(self.loading)
            record.facts = self._live[key].facts
            self._own[key].append(times)
            self._own_loadings[key].append(self.loading)
        self._longest = max(self._longest, self._clock() - began)
        self._finished_s = self.elapsed_s
        self.done += 1

    def _rounds_a_loading(self) -> float:
        """So many that all loadings together take no longer than the rounds; fewer where too few loadings would fit.

        What a loading takes is known after the first that is no beginning, so that comes after a single round.
        """
        if self._plan.loadings == 1:
            return math.inf
        cheap = math.ceil(self._loading_s * self.done / self._finished_s)
        return max(1.0, min(cheap, math.floor(self._expected_rounds() / self._plan.loadings)))

    def _expected_rounds(self) -> float:
        """That the iterations need, or as many as the budget probably holds; once one has ended."""
        if self._budget_s is None:
            return self.expected
        held = self._budget_s * self.done / self._finished_s
        return min(self.expected, max(held, self._plan.least_rounds))

    def _load_again(self, told: Callable[[str], None]) -> None:
        """All sides, in another order; what it takes is no part of the budget.

        All are unloaded first: who loads right behind its own end gets the very memory that it gave back.
        """
        began = self._clock()
        for key in list(self._live):
            self._attempt(key, self._live[key].unload)
        order = list(self._live)
        random.Random(f"{self._plan.seed} loading {self.loading}").shuffle(order)  # noqa: S311 - as above
        for key in order:
            told(key)
            self._attempt(key, self._live[key].load_again)
        self._loaded_at = self.done
        self.loading += 1
        self._loading_s = self._clock() - began
        self._began += self._loading_s

    def _attempt(self, key: str, what: Callable[[], None]) -> None:
        try:
            what()
        except SideError as error:
            self._records[key].problem = str(error)
            del self._live[key]

    def _settled(self) -> bool:
        return all(
            sum(map(len, self._own[key])) >= self._plan.iterations
            and is_stable(self._own[key], self._records[key].side.device, self._own_loadings[key])
            for key in self._live
        )
