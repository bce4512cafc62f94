"""When a timing has settled."""

from __future__ import annotations

from hardnet_deploy.bench.stability import CPU_ROUNDS, CPU_SPREAD, GPU_RUNS, is_stable, rule


def test_on_a_cpu_the_last_three_medians_lie_within_ten_percent() -> None:
    assert is_stable([(99.0,), (10.0,), (10.9,), (10.5,)], "cpu")
    assert not is_stable([(10.0,), (11.2,), (10.5,)], "cpu")
    assert not is_stable([(10.0,), (10.0,), (10.0,), (11.2,)], "cpu")


def test_two_rounds_are_too_few_to_tell() -> None:
    assert not is_stable([(10.0,)] * (CPU_ROUNDS - 1), "cpu")


def test_one_slow_run_in_a_round_does_not_move_its_median() -> None:
    assert is_stable([(10.0, 10.0, 80.0)] * 3, "cpu")


def test_on_a_gpu_the_latest_runs_vary_by_at_most_two_and_a_half_percent() -> None:
    steady = (10.0, 10.1) * (GPU_RUNS // 2)
    assert is_stable([(10.0, 30.0) * 5, steady], "cuda")
    assert not is_stable([steady, (10.0, 11.0) * (GPU_RUNS // 2)], "cuda")


def test_too_few_runs_on_a_gpu_are_not_stable() -> None:
    assert not is_stable([(10.0,)] * (GPU_RUNS - 1), "cuda")
    assert is_stable([(10.0,)] * GPU_RUNS, "cuda")


def test_the_rule_is_told_with_its_numbers() -> None:
    assert "2.5 %" in rule("cuda")
    assert f"{round(100 * (CPU_SPREAD - 1))} %" in rule("cpu")
