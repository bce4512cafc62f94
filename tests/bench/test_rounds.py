"""Rounds, budgets and groups, on simulated sides and a simulated clock."""

from __future__ import annotations

from typing import Any

import pytest
from simulated_sides import Machine, side, timed

from hardnet_deploy.bench.interleaved import Run, time_sides
from hardnet_deploy.bench.memory import (
    CONTEXT_BYTES,
    MIB,
    RESERVE_BYTES,
    WORKSPACE_BYTES,
    wanted_bytes,
    wanted_device_bytes,
)
from hardnet_deploy.bench.rounds import ROUNDS_BEYOND, runs_a_turn
from hardnet_deploy.bench.sides import Side
from hardnet_deploy.bench.stats import LEAST_LOADINGS
from hardnet_deploy.bench.timing import USUAL_ROUNDS, TimingPlan, TimingProgress, Timings
from hardnet_deploy.errors import UsageError


def test_steady_sides_end_with_their_iterations() -> None:
    machine = Machine({"one": 10.0, "other": 20.0}, noise=0.01)
    found = timed(machine, plan={"iterations": 4 * USUAL_ROUNDS})
    assert found.stopped_by == "done"
    assert found.rounds == USUAL_ROUNDS
    for key, timing in found.sides.items():
        assert timing.stable
        assert timing.problem is None
        assert timing.engine == f"simulated {key}"
        assert [len(one) for one in timing.rounds_ms] == [4] * USUAL_ROUNDS
        assert timing.round_numbers == tuple(range(USUAL_ROUNDS))
    gain = found.sides["other"].over(found.sides["one"])
    assert gain is not None
    assert gain.ratio == pytest.approx(2, rel=0.02)
    assert not machine.open


def test_each_round_has_every_side_once_in_an_order_of_its_own() -> None:
    machine = Machine(dict.fromkeys("abcde", 10.0))
    timed(machine, plan={"iterations": 8, "rounds": 8})
    orders = [[key for key, _ in machine.turns[start : start + 5]] for start in range(0, 40, 5)]
    assert all(sorted(order) == list("abcde") for order in orders)
    assert len({tuple(order) for order in orders}) > 4
    again = Machine(dict.fromkeys("abcde", 10.0))
    timed(again, plan={"iterations": 8, "rounds": 8})
    assert again.turns == machine.turns
    other = Machine(dict.fromkeys("abcde", 10.0))
    timed(other, plan={"iterations": 8, "rounds": 8, "seed": 1})
    assert other.turns != machine.turns


def test_a_drift_is_given_more_rounds_and_then_said_to_be_unstable() -> None:
    machine = Machine({"calm": 10.0, "wild": 10.0}, noise=0.0)
    steady = machine.run

    def run(key: str, runs: int, warm_up_ms: float) -> tuple[float, ...]:
        factor = 1.04 ** (len(machine.turns) // 2) if key == "wild" else 1  # gets slower from round to round
        return tuple(factor * value for value in steady(key, runs, warm_up_ms))

    machine.run = run  # type: ignore[method-assign]  # this machine's noise is a drift
    found = timed(machine, plan={"iterations": USUAL_ROUNDS})
    assert found.stopped_by == "rounds"
    assert found.rounds == ROUNDS_BEYOND * USUAL_ROUNDS
    assert found.sides["calm"].stable
    assert found.sides["wild"].stable is False


def test_a_fixed_number_of_rounds_is_kept() -> None:
    found = timed(Machine({"one": 10.0}), plan={"iterations": 9, "rounds": 2})
    assert (found.rounds, found.stopped_by) == (2, "done")
    assert [len(one) for one in found.sides["one"].rounds_ms] == [5, 5]
    assert found.sides["one"].stable is False  # two rounds are too few to tell


def test_no_round_is_begun_that_would_exceed_the_budget() -> None:
    machine = Machine({"slow": 2000.0, "slower": 3000.0})
    found = timed(machine, plan={"iterations": 300, "budget_s": 45})
    assert found.stopped_by == "budget"
    assert found.rounds == 4  # of 2 + 2 + 3 + 3 seconds each, warm-up in
    assert all(len(one) == 1 for one in found.sides["slow"].rounds_ms)


def test_a_budget_too_small_for_one_round_has_one_all_the_same() -> None:
    found = timed(Machine({"slow": 60_000.0}), plan={"iterations": 300, "budget_s": 1})
    assert (found.rounds, found.stopped_by) == (1, "budget")
    assert found.sides["slow"].summary is not None


def test_least_rounds_are_timed_whatever_the_budget() -> None:
    told: list[TimingProgress] = []
    machine = Machine({"slow": 2000.0, "slower": 3000.0})
    plan = {"iterations": 300, "budget_s": 12, "least_rounds": 5}
    found = timed(machine, plan=plan, progress=told.append)
    assert (found.rounds, found.stopped_by) == (5, "budget")
    second = next(one for one in told if one.doing == "timing" and one.done == 1)
    assert second.left_s == pytest.approx(40)  # four rounds of 2 + 2 + 3 + 3 seconds, warm-up in
    assert timed(Machine({"slow": 2000.0}), plan={**plan, "budget_s": 33}).rounds == 8


def test_a_group_behind_a_spent_budget_has_its_least_rounds_and_no_negative_time_left() -> None:
    each = wanted_bytes(side("a"), None)
    told: list[TimingProgress] = []
    machine = Machine(dict.fromkeys("abcd", 2000.0), memory=2 * each + RESERVE_BYTES)
    found = timed(machine, plan={"iterations": 300, "budget_s": 20, "least_rounds": 5}, progress=told.append)
    assert found.groups == (("a", "b"), ("c", "d"))
    assert all(len(one.rounds_ms) == 5 for one in found.sides.values())
    assert all(one.left_s is None or one.left_s >= 0 for one in told)


def test_few_iterations_are_repeated_until_an_interval_is_possible() -> None:
    plan = {"iterations": 1, "loadings": 6}
    found = timed(Machine({"one": 10.0}, noise=0.5), plan=plan)
    assert found.rounds == LEAST_LOADINGS
    assert timed(Machine({"one": 10.0}), plan={**plan, "rounds": 2}).rounds == 2


def test_a_budget_is_spread_over_rounds_not_spent_in_the_first() -> None:
    found = timed(Machine({"a": 20.0, "b": 20.0}, noise=0.01), plan={"iterations": 100_000, "budget_s": 30})
    assert found.stopped_by == "budget"
    assert found.rounds >= USUAL_ROUNDS - 1


def test_runs_a_turn_are_about_a_second_and_never_none() -> None:
    plan = TimingPlan(iterations=300)
    assert runs_a_turn(20, plan, sides=4, budget_s=None) == 300 / USUAL_ROUNDS
    assert runs_a_turn(200, plan, sides=4, budget_s=None) == 5
    assert runs_a_turn(5000, plan, sides=4, budget_s=None) == 1
    assert runs_a_turn(0.01, plan, sides=4, budget_s=None) == 300 / USUAL_ROUNDS
    assert runs_a_turn(200, plan, sides=20, budget_s=60) == 1
    assert runs_a_turn(200, TimingPlan(iterations=300, rounds=3), sides=4, budget_s=1) == 100


def test_a_side_that_cannot_be_loaded_does_not_end_the_others() -> None:
    machine = Machine({"bad": 10.0, "good": 10.0})
    machine.fail["bad"] = 0
    found = timed(machine, plan={"iterations": USUAL_ROUNDS})
    assert list(found.sides) == ["bad", "good"]
    assert found.sides["bad"].problem == "cannot be loaded here"
    assert found.sides["bad"].summary is None
    assert found.sides["bad"].stable is None
    assert found.sides["good"].stable
    assert found.sides["good"].over(found.sides["bad"]) is None


def test_a_side_that_fails_later_keeps_its_finished_rounds() -> None:
    machine = Machine({"weak": 10.0, "strong": 10.0})
    machine.fail["weak"] = 3
    found = timed(machine, plan={"iterations": 4 * USUAL_ROUNDS})
    assert found.sides["weak"].problem == "ended"
    assert len(found.sides["weak"].rounds_ms) == 2
    assert len(found.sides["strong"].rounds_ms) == USUAL_ROUNDS
    paired = found.sides["weak"].over(found.sides["strong"])
    assert paired is not None
    assert paired.rounds == 2


def test_nothing_that_loads_is_no_endless_loop() -> None:
    machine = Machine({"one": 10.0, "other": 10.0})
    machine.fail |= {"one": 0, "other": 0}
    found = timed(machine, plan={"iterations": USUAL_ROUNDS})
    assert found.rounds == 0
    assert all(one.problem for one in found.sides.values())


def test_an_interrupt_keeps_the_rounds_that_were_finished() -> None:
    machine = Machine({"one": 10.0, "other": 10.0})
    machine.interrupt_at = 5  # in the third round, after one side's turn
    seen: list[Timings] = []
    found = timed(machine, plan={"iterations": 4 * USUAL_ROUNDS}, on_round=seen.append)
    assert found.stopped_by == "interrupted"
    assert found.rounds == 2
    assert all(len(one.rounds_ms) == 2 for one in found.sides.values())
    assert [one.rounds for one in seen] == [1, 2]
    assert all(one.stopped_by is None for one in seen)
    assert not machine.open


def test_sides_that_memory_does_not_hold_are_timed_in_groups_with_the_reference() -> None:
    each = wanted_bytes(side("a"), None)
    machine = Machine(dict.fromkeys(["ref", "a", "b", "c", "d"], 10.0), memory=3 * each + RESERVE_BYTES)
    found = timed(machine, plan={"iterations": USUAL_ROUNDS, "reference": ("ref",)})
    assert found.groups == (("ref", "a", "b"), ("ref", "c", "d"))
    assert machine.most_open == 3
    assert found.rounds == 2 * USUAL_ROUNDS
    reference = found.sides["ref"]
    assert reference.round_numbers == tuple(range(2 * USUAL_ROUNDS))
    for key in "abcd":
        gain = reference.over(found.sides[key])
        assert gain is not None
        assert gain.rounds == USUAL_ROUNDS
        assert gain.ratio == pytest.approx(1)
    assert found.sides["a"].over(found.sides["d"]) is None


def on_gpu(key: str, **options: Any) -> Side:
    return Side(**{"key": key, "kind": "torch", "network": "hardnet68", "device": "cuda", "size": 1024} | options)


def grouped(sides: list[Side], free_bytes: int | None) -> tuple[tuple[str, ...], ...]:
    """On a pretended GPU, of whose memory each loaded side takes what it wants."""
    machine = Machine(dict.fromkeys((one.key for one in sides), 10.0))
    wanted = {one.key: wanted_device_bytes(one, 0) for one in sides}

    def left() -> int | None:
        return None if free_bytes is None else free_bytes - sum(wanted[key] for key in machine.open)

    plan = TimingPlan(iterations=USUAL_ROUNDS, reference=("ref",))
    run = Run(sides, plan, start=machine.start, clock=lambda: machine.now, available=lambda: None, on_device=left)
    return run.go().groups


def test_sides_that_the_gpus_memory_does_not_hold_are_timed_in_groups() -> None:
    """Of 11 GB, as on a 1080 Ti; what is free of the computer's memory does not matter."""
    sides = [on_gpu(key) for key in ("ref", *"abcdefgh")]
    groups = grouped(sides, 11 * 10**9)
    assert len(groups) > 1
    assert all(group[0] == "ref" and len(group) > 2 for group in groups)
    assert sorted(key for group in groups for key in group[1:]) == list("abcdefgh")
    assert all(sum(wanted_device_bytes(one, 0) for one in sides if one.key in group) < 11 * 10**9 for group in groups)
    for free in (None, 141 * 10**9):
        assert grouped(sides, free) == (("ref", *"abcdefgh"),)


def test_what_a_side_takes_of_the_gpus_memory() -> None:
    eager = wanted_device_bytes(on_gpu("a"), 10**6)
    assert eager > CONTEXT_BYTES + WORKSPACE_BYTES + 4 * 10**6
    assert wanted_device_bytes(on_gpu("a", options=("fp16",)), 10**6) < eager
    assert wanted_device_bytes(on_gpu("a", options=("cuda-graph",)), 10**6) > eager
    assert wanted_device_bytes(on_gpu("a", size=300), 10**6) < eager < wanted_device_bytes(on_gpu("a", batch=2), 10**6)
    assert wanted_device_bytes(side("a"), 10**6) == 0


def test_nobody_asks_for_a_gpu_where_none_is_timed() -> None:
    machine = Machine({"a": 10.0, "b": 10.0})

    def asked() -> int | None:
        raise AssertionError

    assert timed(machine, plan={"iterations": USUAL_ROUNDS}, on_device=asked).groups == (("a", "b"),)


def test_a_machine_of_too_little_memory_times_one_after_the_other() -> None:
    machine = Machine({"a": 10.0, "b": 10.0}, memory=100 * MIB)
    assert timed(machine, plan={"iterations": USUAL_ROUNDS}).groups == (("a",), ("b",))


def test_groups_share_the_budget() -> None:
    each = wanted_bytes(side("a"), None)
    machine = Machine(dict.fromkeys("abcd", 50.0), memory=2 * each + RESERVE_BYTES)
    began = machine.now
    found = timed(machine, plan={"iterations": 100_000, "budget_s": 60})
    assert len(found.groups) == 2
    counts = [len(found.sides[key].rounds_ms) for key in "ac"]
    assert abs(counts[0] - counts[1]) <= 1
    assert machine.now - began <= 60 + 4  # loading is not in it


def test_progress_says_what_is_done_and_how_long_it_still_takes() -> None:
    told: list[TimingProgress] = []
    machine = Machine({"one": 100.0, "other": 100.0})
    timed(machine, plan={"iterations": 2 * USUAL_ROUNDS, "reference": ("one",)}, progress=told.append)
    assert [(one.doing, one.key) for one in told[:2]] == [("loading", "one"), ("loading", "other")]
    turns = [one for one in told if one.doing == "timing"]
    assert len(turns) == 2 * USUAL_ROUNDS
    assert turns[0].left_s is None
    lefts = [one.left_s for one in turns[2:]]
    assert lefts == sorted(lefts, key=lambda left: -(left or 0))
    assert turns[-1].done == USUAL_ROUNDS - 1
    assert turns[-1].total == USUAL_ROUNDS


def test_a_reference_alone_is_timed() -> None:
    assert timed(Machine({"ref": 10.0}), plan={"iterations": USUAL_ROUNDS, "reference": ("ref",)}).sides["ref"].stable


@pytest.mark.parametrize(
    ("keys", "plan", "message"),
    [
        (["a", "a"], {"iterations": 1}, "more than once: a"),
        (["a"], {"iterations": 1, "reference": ("b",)}, "no such side: b"),
        (["a"], {"iterations": 0}, "iterations is 0"),
        (["a"], {"iterations": 1, "rounds": 0}, "rounds is 0"),
        (["a"], {"iterations": 1, "loadings": 0}, "loadings is 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(keys: list[str], plan: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        time_sides([side(key) for key in keys], plan=TimingPlan(**plan))
