"""What is asked of a timing and what comes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from hardnet_deploy.bench.sides import Side, SideFacts
from hardnet_deploy.bench.stats import Ratio, Rounds, Statistic, Summary, ratio, summarise

WARM_UP_MS: Final = 200
"""Untimed, at the beginning of every turn: trtexec's default."""
USUAL_ROUNDS: Final = 30
"""Many short turns rather than a few long ones: what a machine does to one round, a host that moves its virtual cores
above all, it does not do to the next, and intervals over rounds need many of them."""
USUAL_LOADINGS: Final = 6
"""Where there are rounds enough: two processes of one engine may differ by a tenth for as long as they live, as their
memory happens to lie.
Where loading is quick there are more, which narrows every interval."""
StoppedBy = Literal["done", "budget", "rounds", "interrupted"]


@dataclass(frozen=True, kw_only=True)
class TimingPlan:
    """How long to time.

    Args:
        iterations: Timed runs of each side, at least, unless budget or rounds end first.
        rounds: Exactly so many rounds, of ``iterations / rounds`` runs a turn (rounded up); None: rounds go on until
            every side has its iterations and is stable.
        budget_s: Seconds of all rounds together, warm-up in, loading out; a round that would not fit is not begun.
            None: only the other two end it.
        least_rounds: That run whatever the budget.
        max_rounds: Never more rounds; None: three times what the iterations need.
        warm_up_ms: Untimed at the beginning of every turn, and at least one run; loading makes three.
        seed: Of the order in which sides have their turns; it is another one in each round.
        loadings: Times that each side is loaded, about evenly spread over the rounds; more often where loading all
            takes no longer than timing them in between; 1: all rounds are of one loading.
        reference: Keys of the sides that every other is compared with. Where memory does not hold all sides at once
            they are timed in groups, and each group has these.
    """

    iterations: int
    rounds: int | None = None
    budget_s: float | None = None
    least_rounds: int = 1
    max_rounds: int | None = None
    warm_up_ms: float = WARM_UP_MS
    seed: int = 0
    loadings: int = 1
    reference: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SideTiming(SideFacts):
    """One side's facts and times.

    Args:
        side: What was timed.
        rounds_ms: Milliseconds of every run, by round.
        round_numbers: The run's number of each of these rounds, from 0: what pairs them with another side's.
        loadings: Of which loading each of these rounds was, from 0; all sides are loaded anew at the same time.
        problem: Why it was not timed, or not to the end, in one sentence; else None. Rounds that it finished stay.
        stable: By the rule of :mod:`hardnet_deploy.bench.stability`; False with too few rounds to tell, None where
            nothing was timed.
    """

    side: Side
    rounds_ms: tuple[tuple[float, ...], ...] = ()
    round_numbers: tuple[int, ...] = ()
    loadings: tuple[int, ...] = ()
    problem: str | None = None
    stable: bool | None = None

    @property
    def summary(self) -> Summary | None:
        """Of all runs; None where there are none."""
        return summarise(self.rounds_ms) if self.rounds_ms else None

    def over(self, other: SideTiming, *, statistic: Statistic = "median") -> Ratio | None:
        """This side's time over another's, from the rounds in which both had their turn; None where there are none.

        The gain of a side over eager PyTorch is ``eager.over(side)``.
        """
        common = sorted(set(self.round_numbers) & set(other.round_numbers))
        if not common:
            return None
        loaded = dict(zip(self.round_numbers, self.loadings, strict=False))
        loadings = [loaded[number] for number in common] if self.loadings else None
        return ratio(self.rounds_of(common), other.rounds_of(common), statistic=statistic, loadings=loadings)

    def rounds_of(self, numbers: list[int]) -> Rounds:
        """Milliseconds of these rounds."""
        by_number = dict(zip(self.round_numbers, self.rounds_ms, strict=True))
        return [by_number[number] for number in numbers]


@dataclass(frozen=True, kw_only=True)
class Timings:
    """All sides of a run.

    Args:
        sides: By key, in the order in which they were asked for, those with a problem too.
        rounds: Rounds that were finished, over all groups.
        groups: Keys of the sides that were timed together, for each group.
        elapsed_s: Since the beginning, loading in.
        stopped_by: ``done``: all have their iterations and are stable (or all rounds of a fixed number were timed);
            ``budget``, ``rounds`` (the most were timed and not all is stable), ``interrupted``.
    """

    sides: Mapping[str, SideTiming]
    rounds: int
    groups: tuple[tuple[str, ...], ...]
    elapsed_s: float
    stopped_by: StoppedBy | None


@dataclass(frozen=True, kw_only=True)
class TimingProgress:
    """Where a run stands, told before every turn and every loading.

    Args:
        doing: ``loading`` or ``timing``; a loading in between is told as the timing it is part of.
        key: Of the side that is loaded or timed.
        done: Sides loaded for this group, or rounds finished.
        total: Sides that still wait, or rounds expected by now; may change.
        elapsed_s: Since the run began, loading in.
        left_s: Expected until all groups are timed; None while nothing is known.
    """

    doing: Literal["loading", "timing"]
    key: str
    done: int
    total: int
    elapsed_s: float
    left_s: float | None


Progress = Callable[[TimingProgress], None]
OnRound = Callable[[Timings], None]
