"""Summaries and ratios of timed runs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hardnet_deploy.bench.stats import LEAST_LOADINGS, LEAST_RUNS, Ratio, expanded_tail, ratio, student_t, summarise
from hardnet_deploy.errors import UsageError


def test_a_summary_is_of_all_runs_of_all_rounds() -> None:
    found = summarise([(1.0, 9.0), (2.0,)])
    assert (found.median, found.mean, found.min, found.max, found.runs) == (2.0, 4.0, 1.0, 9.0, 3)
    assert found.cov_percent == pytest.approx(100 * np.std([1, 9, 2]) / 4)
    assert found.cov_flagged
    assert found.as_dict()["cov_flagged"] is True


@pytest.mark.parametrize(("name", "least"), LEAST_RUNS.items())
def test_a_percentile_of_too_few_runs_is_none(name: str, least: int) -> None:
    values = [float(value) for value in range(1, least + 1)]
    assert getattr(summarise([values[:-1]]), name) is None
    assert getattr(summarise([values]), name) == pytest.approx(np.percentile(values, int(name[1:])))


def test_nothing_summarised_is_an_error() -> None:
    with pytest.raises(UsageError, match="no runs"):
        summarise([])


def test_steady_times_have_no_variation_and_no_flag() -> None:
    found = summarise([(5.0,) * 4])
    assert found.cov_percent == 0
    assert not found.cov_flagged


def test_a_ratio_is_of_the_medians_and_lies_in_its_interval() -> None:
    draw = np.random.default_rng(1)
    slow = [tuple(20 + draw.normal(0, 0.5, 5)) for _ in range(12)]
    fast = [tuple(10 + draw.normal(0, 0.5, 5)) for _ in range(12)]
    found = ratio(slow, fast)
    assert found.ratio == pytest.approx(np.median(slow) / np.median(fast))
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.ratio < found.high
    assert found.rounds == 12
    assert ratio(slow, fast, statistic="mean").ratio == pytest.approx(np.mean(slow) / np.mean(fast))


def test_the_same_rounds_give_the_same_interval() -> None:
    rounds = [(1.0, 2.0), (2.0, 3.0), (3.0, 1.0), (2.0, 2.0)]
    assert ratio(rounds, rounds[::-1]) == ratio(rounds, rounds[::-1])


def test_a_drift_that_hits_both_sides_of_a_round_cancels_out() -> None:
    drift = [1 + 0.1 * number for number in range(8)]
    one = [(10 * factor,) * 3 for factor in drift]
    other = [(5 * factor,) * 3 for factor in drift]
    paired = ratio(one, other)
    assert (paired.low, paired.high) == (pytest.approx(2.0), pytest.approx(2.0))
    shuffled = ratio(one, other[::-1])
    assert shuffled.low is not None
    assert shuffled.high is not None
    assert shuffled.high - shuffled.low > 0.2


def test_three_rounds_have_no_interval() -> None:
    found = ratio([(2.0,)] * 3, [(1.0,)] * 3)
    assert found == Ratio(ratio=2.0, low=None, high=None, rounds=3)
    assert ratio([(2.0,)] * 4, [(1.0,)] * 4).low == 2.0


def test_rounds_of_different_length_count_by_their_runs() -> None:
    assert ratio([(2.0, 2.0, 2.0), (8.0,)], [(1.0,), (1.0,)]).ratio == 2.0


def test_what_differs_from_loading_to_loading_is_in_the_interval() -> None:
    """Within a loading nothing varies: an interval over rounds would have almost no width."""
    levels = (10.0, 11.0, 10.2, 11.4, 10.1, 10.9)
    loadings = [number for number in range(6) for _ in range(5)]
    one, other = [(levels[number],) * 3 for number in loadings], [(5.0,) * 3] * 30
    found = ratio(one, other, loadings=loadings)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= 2.04
    assert found.high >= 2.2
    assert found.rounds == 30
    assert found.ratio == ratio(one, other).ratio
    assert ratio(one, other, loadings=[0] * 30) == ratio(one, other)


def test_few_loadings_have_no_interval_however_many_rounds() -> None:
    loadings = [number % (LEAST_LOADINGS - 1) for number in range(40)]
    found = ratio([(2.0,)] * 40, [(1.0,)] * 40, loadings=loadings)
    assert (found.ratio, found.low, found.high) == (2.0, None, None)


def test_an_interval_of_six_loadings_holds_the_truth_about_as_often_as_it_says() -> None:
    draw = np.random.default_rng(4)
    held = 0
    loadings = [number for number in range(6) for _ in range(3)]
    for _ in range(400):
        one, other = (
            value * np.exp(np.repeat(draw.normal(0, 0.07, 6), 3)[:, None] + draw.normal(0, 0.01, (18, 3)))
            for value in (20.0, 10.0)
        )
        found = ratio(one.tolist(), other.tolist(), loadings=loadings)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 2.0 <= found.high
    assert held >= 0.92 * 400


@pytest.mark.parametrize("other", [[], [(1.0,)], [(1.0,), ()]])
def test_unpaired_rounds_are_refused(other: list[tuple[float, ...]]) -> None:
    with pytest.raises(UsageError, match="same rounds"):
        ratio([(1.0,), (2.0,)], other)


def test_the_inverse_exchanges_the_ends() -> None:
    assert Ratio(ratio=2.0, low=1.0, high=4.0, rounds=5).inverse() == Ratio(ratio=0.5, low=0.25, high=1.0, rounds=5)
    assert Ratio(ratio=2.0, low=None, high=None, rounds=2).inverse().low is None


# Two-sided 95 % points of Student's t, as in any table.
@pytest.mark.parametrize(("degrees", "point"), [(3, 3.182), (4, 2.776), (9, 2.262), (29, 2.045)])
def test_students_t_is_within_one_percent_of_the_tables(degrees: int, point: float) -> None:
    assert student_t(degrees) == pytest.approx(point, rel=0.01)


def test_intervals_of_few_rounds_reach_farther_out() -> None:
    tails = [expanded_tail(count) for count in (4, 8, 30, 1000)]
    assert tails == sorted(tails)
    assert math.isclose(tails[-1], 0.025, rel_tol=0.01)


def test_an_interval_of_eight_rounds_holds_the_truth_about_as_often_as_it_says() -> None:
    """A percentile interval that is not expanded holds it in about 88 % here; the bar leaves 400 draws their noise."""
    draw = np.random.default_rng(3)
    held = 0
    for _ in range(400):
        one, other = (value * np.exp(draw.normal(0, 0.02, (8, 1))) * np.ones((8, 3)) for value in (20.0, 10.0))
        found = ratio(one.tolist(), other.tolist(), statistic="mean")
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 2.0 <= found.high
    assert held >= 0.92 * 400
