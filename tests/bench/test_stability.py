"""When a timing has settled."""

from __future__ import annotations

import math

import pytest

from hardnet_deploy.bench.stability import CPU_SPREAD, CPU_WINDOW_MS, CPU_WINDOWS, GPU_RUNS, is_stable, rule
from hardnet_deploy.bench.stats import LEAST_LOADINGS


def rounds(*medians: float) -> list[tuple[float, ...]]:
    """A window each: as many runs as one needs."""
    return [(median,) * math.ceil(CPU_WINDOW_MS / median) for median in medians]


def test_on_a_cpu_the_medians_of_the_last_three_windows_lie_within_ten_percent() -> None:
    assert is_stable(rounds(99.0, 10.0, 10.9, 10.5), "cpu")
    assert not is_stable(rounds(10.0, 11.2, 10.5), "cpu")
    assert not is_stable(rounds(10.0, 10.0, 10.0, 11.2), "cpu")


@pytest.mark.parametrize("median", [10.0, 0.1], ids=["by time", "by share"])
def test_two_rounds_are_too_few_to_tell(median: float) -> None:
    assert not is_stable([(median,) * 50] * (CPU_WINDOWS - 1), "cpu")
    assert is_stable([(median,) * 50] * CPU_WINDOWS, "cpu")


def test_short_rounds_make_a_window_together() -> None:
    unsteady = [(10.0,) * 5, (14.0,) * 5, (10.0,) * 5]  # what single rounds do evens out in a window of many
    assert is_stable(unsteady * 20, "cpu")
    assert not is_stable(unsteady, "cpu")


def test_runs_that_are_over_in_no_time_make_windows_of_a_sixth_of_them() -> None:
    assert is_stable([(0.1, 0.1), (0.14, 0.14), (0.1, 0.1)] * 10, "cpu")
    assert not is_stable([(0.1,)] * 20 + [(0.14,)] * 5, "cpu")


def test_a_drift_over_the_windows_is_seen_however_short_the_rounds() -> None:
    assert not is_stable([(10 * 1.01**number,) * 5 for number in range(60)], "cpu")


def test_a_run_longer_than_a_window_is_one() -> None:
    assert is_stable([(2000.0,), (2100.0,), (2050.0,)], "cpu")
    assert not is_stable([(2000.0,), (2300.0,), (2050.0,)], "cpu")


def test_one_slow_run_in_a_window_does_not_move_its_median() -> None:
    assert is_stable([(200.0, 200.0, 900.0)] * 3, "cpu")


def test_on_a_gpu_the_latest_runs_vary_by_at_most_two_and_a_half_percent() -> None:
    steady = (10.0, 10.1) * (GPU_RUNS // 2)
    assert is_stable([(10.0, 30.0) * 5, steady], "cuda")
    assert not is_stable([steady, (10.0, 11.0) * (GPU_RUNS // 2)], "cuda")


def test_too_few_runs_on_a_gpu_are_not_stable() -> None:
    assert not is_stable([(10.0,)] * (GPU_RUNS - 1), "cuda")
    assert is_stable([(10.0,)] * GPU_RUNS, "cuda")


def test_the_rule_is_told_with_its_numbers() -> None:
    assert "2.5 %" in rule("cuda")
    for number in (f"{round(100 * (CPU_SPREAD - 1))} %", f"last {CPU_WINDOWS} windows", f"{CPU_WINDOW_MS} ms"):
        assert number in rule("cpu")


def settled(*levels: float, rounds: int = 5) -> bool:
    """Of loadings that each keep a level of their own."""
    loadings = [number for number in range(len(levels)) for _ in range(rounds)]
    return is_stable([(levels[number],) * 3 for number in loadings], "cpu", loadings)


def test_loadings_that_differ_are_settled_once_the_median_is_known_to_ten_percent() -> None:
    assert settled(10.0, 10.6, 9.8, 11.0, 10.2, 10.1)
    assert not settled(10.0, 13.0, 9.0, 12.5, 10.0, 14.0)


def test_few_loadings_are_too_few_to_tell_however_alike() -> None:
    assert not settled(*[10.0] * (LEAST_LOADINGS - 1), rounds=20)
    assert settled(*[10.0] * LEAST_LOADINGS)


def test_a_drift_from_loading_to_loading_is_not_settled() -> None:
    assert not settled(*[10 * 1.08**number for number in range(6)])
