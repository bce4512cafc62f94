"""Intervals of a bench document computed again: the bootstrap of :mod:`~hardnet_deploy.bench.stats`, fast.

Its draws follow from a seed, so the same times give the same interval. A document has two ratios a row, and most share
one of their rows; so what the draws make of a row is kept, and medians are found by bisection over the sorted runs
instead of being taken of 2000 arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.bench.stats import (
    LEAST_LOADINGS,
    LEAST_ROUNDS,
    RESAMPLES,
    SEED,
    Rounds,
    Statistic,
    by_loading,
    expanded_tail,
)
from hardnet_deploy.specs import F64

MOST_CELLS: Final = 2**23
"""Blocks times runs of a row; of more the interval is not computed again. Usual rows have some 10,000."""
Interval = tuple[float | None, float | None]


class Blocks:
    """A row's runs in the blocks that draws are of: loadings where there were several, else rounds.

    Args:
        rounds: Milliseconds of each run, by round.
        loadings: Number of the loading of each of these rounds; empty: all are of one.
    """

    def __init__(self, rounds: Rounds, loadings: Sequence[int]) -> None:
        several = len(set(loadings)) > 1
        self._blocks = by_loading(rounds, loadings) if several else rounds
        self._least = LEAST_LOADINGS if several else LEAST_ROUNDS
        self._drawn: dict[Statistic, F64] = {}

    @property
    def enough(self) -> bool:
        """Whether there are so many that a ratio has an interval."""
        return len(self._blocks) >= self._least

    @property
    def too_many(self) -> bool:
        """Whether computing it again would take too long."""
        return len(self._blocks) * sum(map(len, self._blocks)) > MOST_CELLS

    def drawn(self, statistic: Statistic) -> F64:
        """The statistic of each draw, in milliseconds."""
        if statistic not in self._drawn:
            weights = _weights(len(self._blocks))
            of = _medians if statistic == "median" else _means
            self._drawn[statistic] = of(self._blocks, weights)
        return self._drawn[statistic]


def interval(above: Blocks, below: Blocks, statistic: Statistic) -> Interval | None:
    """Both ends of the interval of the first's time over the second's, as :func:`~hardnet_deploy.bench.stats.ratio`.

    Args:
        above: Blocks of the same rounds and loadings as ``below``.
        below: Likewise.
        statistic: What of the runs is divided.

    Returns:
        Two None of too few blocks; None where there are too many to compute it quickly.
    """
    if not above.enough:
        return None, None
    if above.too_many or below.too_many:
        return None
    ratios = above.drawn(statistic) / below.drawn(statistic)
    tail = expanded_tail(len(above._blocks))
    low, high = np.quantile(ratios, (tail, 1 - tail))
    return float(low), float(high)


@lru_cache(maxsize=4)
def _weights(count: int) -> NDArray[np.float32]:
    """[draws, blocks]: how often each block is in each draw."""
    drawn = np.random.default_rng(SEED).integers(0, count, (RESAMPLES, count))
    places = drawn + count * np.arange(RESAMPLES)[:, None]
    return np.bincount(places.ravel(), minlength=RESAMPLES * count).reshape(RESAMPLES, count).astype(np.float32)


def _means(blocks: Rounds, weights: NDArray[np.float32]) -> F64:
    sums, runs = np.array([sum(one) for one in blocks]), np.array([len(one) for one in blocks])
    means: F64 = (weights @ sums) / (weights @ runs)
    return means


def _medians(blocks: Rounds, weights: NDArray[np.float32]) -> F64:
    """Of an even number of runs the mean of the two in the middle."""
    values = np.concatenate([np.asarray(one, np.float64) for one in blocks])
    order = np.argsort(values, kind="stable")
    values = values[order]
    owner = np.repeat(np.arange(len(blocks)), [len(one) for one in blocks])[order]
    upto = np.zeros((len(values) + 1, len(blocks)), np.float32)  # runs of each block among the first so many
    np.cumsum(owner[:, None] == np.arange(len(blocks)), axis=0, out=upto[1:])
    runs = (weights @ upto[-1]).astype(np.int64)
    middle = [values[_place(weights, upto, rank)] for rank in ((runs - 1) // 2, runs // 2)]
    medians: F64 = (middle[0] + middle[1]) / 2
    return medians


def _place(weights: NDArray[np.float32], upto: NDArray[np.float32], rank: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index of the sorted run that is number ``rank`` of each draw, from 0."""
    low, high = np.zeros_like(rank), np.full_like(rank, len(upto) - 1)
    while (low < high).any():
        half = (low + high) // 2
        behind = np.einsum("db,db->d", weights, upto[half]) > rank
        low, high = np.where(behind, low, half + 1), np.where(behind, half, high)
    return low - 1
