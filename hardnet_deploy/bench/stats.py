"""Numbers of timed runs: a summary of one side, and the ratio of two with its interval.

A ratio's interval is the bootstrap over blocks, in which all sides had their turns: a drift of the machine hits both
sides of a block alike, so blocks are drawn in pairs. Runs within a turn are not independent of each other, rounds
nearly are; but where in memory a process happens to lie holds for all of its rounds, so where sides were loaded several
times the blocks are *loadings*, else *rounds*. Few blocks make percentile intervals too narrow; they are expanded as T.
Hesterberg does it ("What Teachers Should Know About the Bootstrap", The American Statistician 69(4), 2015, section
4.3.3: the expanded percentile interval): quantiles are taken at Phi(-sqrt(n / (n - 1)) t) with Student's t of n - 1
degrees of freedom.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal, get_args

import numpy as np

from hardnet_deploy.errors import UsageError
from hardnet_deploy.specs import F64

Statistic = Literal["median", "mean"]
STATISTICS: Final[tuple[Statistic, ...]] = get_args(Statistic)
Rounds = Sequence[Sequence[float]]

RESAMPLES: Final = 2000
CONFIDENCE: Final = 0.95
SEED: Final = 0
VALUES_AT_ONCE: Final = 2**22
"""Drawn values held in memory at once, which bounds it whatever the number of runs."""
LEAST_ROUNDS: Final = 4
"""Fewer paired rounds than this have no interval."""
LEAST_LOADINGS: Final = 5
"""Fewer have none either: all that so few can show is their range, which holds the truth in 88 % of the cases with four
and in 94 % with five."""
LEAST_RUNS: Final[dict[str, int]] = {"p90": 10, "p95": 20, "p99": 100}
"""Of fewer runs a percentile is None: the 99th of eight would be their maximum under another name."""
FLAGGED_COV: Final = 2.5
"""Percent of variation from which trtexec calls a measurement unstable."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """All runs of one side, in milliseconds.

    Args:
        median: Of all runs; likewise ``mean``, ``min`` and ``max``.
        p90: None of fewer runs than :data:`LEAST_RUNS`; likewise ``p95`` and ``p99``.
        cov_percent: Standard deviation over mean, in percent.
        runs: How many.
    """

    median: float
    mean: float
    p90: float | None
    p95: float | None
    p99: float | None
    min: float
    max: float
    cov_percent: float
    runs: int

    @property
    def cov_flagged(self) -> bool:
        """More than 2.5 % of variation, which trtexec warns of."""
        return self.cov_percent > FLAGGED_COV

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "cov_flagged": self.cov_flagged}


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A time over another one.

    Args:
        ratio: Of the medians (or means) of all paired rounds.
        low: Lower end of the 95 % interval; None for too few paired rounds or loadings.
        high: Likewise.
        rounds: How many were paired.
    """

    ratio: float
    low: float | None
    high: float | None
    rounds: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def inverse(self) -> Ratio:
        """The second over the first."""
        low = None if self.high is None else 1 / self.high
        high = None if self.low is None else 1 / self.low
        return Ratio(ratio=1 / self.ratio, low=low, high=high, rounds=self.rounds)


def summarise(rounds_ms: Rounds) -> Summary:
    """Of every run of every round.

    Raises:
        UsageError: There is no run.
    """
    values = np.array([value for one in rounds_ms for value in one], np.float64)
    if not values.size:
        raise UsageError("there are no runs to summarise")
    mean = float(values.mean())
    quantiles = {
        name: float(np.percentile(values, int(name[1:]))) if values.size >= least else None
        for name, least in LEAST_RUNS.items()
    }
    return Summary(
        median=float(np.median(values)),
        mean=mean,
        **quantiles,
        min=float(values.min()),
        max=float(values.max()),
        cov_percent=100 * float(values.std()) / mean,
        runs=values.size,
    )


def ratio(
    numerator: Rounds, denominator: Rounds, *, statistic: Statistic = "median", loadings: Sequence[int] | None = None
) -> Ratio:
    """The first's time over the second's, with its interval.

    Args:
        numerator: Milliseconds of each run, by round.
        denominator: Of the same rounds, in the same order.
        statistic: What of all runs is divided.
        loadings: Number of the loading of both sides in each of these rounds; None, or one and the same number: they
            were loaded once, and the interval is of that loading.

    Raises:
        UsageError: Not the same number of rounds, or none, or a round without a run.
    """
    if loadings is not None and len(loadings) == len(numerator) == len(denominator) and len(set(loadings)) > 1:
        count = len(numerator)
        numerator, denominator = by_loading(numerator, loadings), by_loading(denominator, loadings)
        found = _ratio(numerator, denominator, statistic, LEAST_LOADINGS)
        return replace(found, rounds=count)
    return _ratio(numerator, denominator, statistic, LEAST_ROUNDS)


def by_loading(rounds: Rounds, loadings: Sequence[int]) -> Rounds:
    """All runs of each loading."""
    blocks: dict[int, list[float]] = {}
    for number, one in zip(loadings, rounds, strict=True):
        blocks.setdefault(number, []).extend(one)
    return list(blocks.values())


def _ratio(numerator: Rounds, denominator: Rounds, statistic: Statistic, least: int) -> Ratio:
    """Of blocks."""
    if len(numerator) != len(denominator) or not numerator or not all(map(len, (*numerator, *denominator))):
        raise UsageError(
            "a ratio needs the same rounds of both sides", got=f"{len(numerator)} and {len(denominator)} rounds"
        )
    above, below = _padded(numerator), _padded(denominator)
    reduce = np.nanmedian if statistic == "median" else np.nanmean
    point = float(reduce(above) / reduce(below))
    count = len(above)
    if count < least:
        return Ratio(ratio=point, low=None, high=None, rounds=count)
    drawn = np.random.default_rng(SEED).integers(0, count, (RESAMPLES, count))
    at_once = max(1, VALUES_AT_ONCE // max(above.size, below.size))
    ratios = np.concatenate(
        [
            reduce(above[some].reshape(len(some), -1), axis=1) / reduce(below[some].reshape(len(some), -1), axis=1)
            for some in np.array_split(drawn, math.ceil(RESAMPLES / at_once))
        ]
    )
    tail = expanded_tail(count)
    low, high = np.quantile(ratios, (tail, 1 - tail))
    return Ratio(ratio=point, low=float(low), high=float(high), rounds=count)


def expanded_tail(count: int) -> float:
    """Share of the bootstrap's draws beyond each end of the interval, for ``count`` blocks."""
    normal = statistics.NormalDist()
    return normal.cdf(-math.sqrt(count / (count - 1)) * student_t(count - 1))


def student_t(degrees: int) -> float:
    """Student's t that leaves 2.5 % above it, within 1 % from three degrees of freedom upwards.

    Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    z = statistics.NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return float(sum(term / degrees**power for power, term in enumerate(terms)))


def _padded(rounds: Rounds) -> F64:
    """[rounds, most runs], NaN where a round has fewer."""
    padded = np.full((len(rounds), max(map(len, rounds))), np.nan)
    for row, one in zip(padded, rounds, strict=True):
        row[: len(one)] = one
    return padded
