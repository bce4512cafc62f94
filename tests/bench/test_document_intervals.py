"""Intervals that are computed again are those of the bench."""

from __future__ import annotations

import numpy as np
import pytest

from hardnet_deploy.bench import document_intervals
from hardnet_deploy.bench.document_intervals import Blocks, interval
from hardnet_deploy.bench.stats import STATISTICS, Rounds, Statistic, ratio

CLOSE = 1e-12
"""Relative: the same numbers are added in another order."""


def drawn_times(rounds: int, *, seed: int, steps: bool = False) -> Rounds:
    """Rounds of 1 to 9 runs; with ``steps`` of two speeds, so that many times are equal."""
    draw = np.random.default_rng(seed)
    sizes = draw.integers(1, 10, rounds)
    return [list(map(float, draw.choice([10.0, 13.0], n) if steps else draw.lognormal(2, 0.5, n))) for n in sizes]


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("steps", [False, True])
@pytest.mark.parametrize(("rounds", "loaded"), [(4, 1), (7, 1), (30, 1), (5, 5), (12, 6), (31, 30)])
def test_an_interval_is_that_of_the_bench(rounds: int, loaded: int, steps: bool, statistic: Statistic) -> None:
    loadings = [number * loaded // rounds for number in range(rounds)]
    above, below = (drawn_times(rounds, seed=seed, steps=steps) for seed in (1, 2))
    wanted = ratio(above, below, statistic=statistic, loadings=loadings)
    found = interval(Blocks(above, loadings), Blocks(below, loadings), statistic)
    assert wanted.low is not None
    assert found == pytest.approx((wanted.low, wanted.high), rel=CLOSE)


@pytest.mark.parametrize(("rounds", "loaded"), [(3, 1), (12, 4)])
def test_of_too_few_blocks_there_is_none(rounds: int, loaded: int) -> None:
    loadings = [number * loaded // rounds for number in range(rounds)]
    times = drawn_times(rounds, seed=1)
    assert ratio(times, times, loadings=loadings).low is None
    assert interval(Blocks(times, loadings), Blocks(times, loadings), "median") == (None, None)


def test_what_would_take_too_long_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    times = drawn_times(6, seed=1)
    monkeypatch.setattr(document_intervals, "MOST_CELLS", 5)
    assert interval(Blocks(times, []), Blocks(times, []), "median") is None
