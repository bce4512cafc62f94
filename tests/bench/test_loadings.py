"""Sides loaded anew in the course of a run, on simulated sides and a simulated clock."""

from __future__ import annotations

import pytest
from simulated_sides import Machine, side, timed

from hardnet_deploy.bench.memory import RESERVE_BYTES, wanted_bytes
from hardnet_deploy.bench.timing import USUAL_ROUNDS, TimingProgress


def test_loadings_are_spread_over_the_rounds_and_common_to_all_sides() -> None:
    machine = Machine({"one": 10.0, "other": 20.0})
    found = timed(machine, plan={"iterations": USUAL_ROUNDS, "loadings": 6})
    each = USUAL_ROUNDS // 6
    wanted = (0, *(1 + number // each for number in range(USUAL_ROUNDS - 1)))  # the first tells what loading takes
    assert found.rounds == USUAL_ROUNDS
    assert all(one.loadings == wanted for one in found.sides.values())
    assert sorted(machine.loaded_again) == ["one"] * 6 + ["other"] * 6
    assert machine.unloaded == ["one", "other"] * 6
    assert machine.most_left == 0  # all gave their memory back before one took it
    assert timed(Machine({"one": 10.0}), plan={"iterations": USUAL_ROUNDS}).sides["one"].loadings == (0,) * USUAL_ROUNDS


@pytest.mark.parametrize(("loading_s", "rounds_each"), [(0.001, 1), (0.2, 1), (0.3, 2), (0.7, 4), (2.0, 5), (50.0, 5)])
def test_sides_are_loaded_anew_as_often_as_that_takes_no_longer_than_timing(loading_s: float, rounds_each: int) -> None:
    machine = Machine({"one": 10.0, "other": 20.0}, loading_s=loading_s)  # a round: 0.21 and 0.22 s
    found = timed(machine, plan={"iterations": USUAL_ROUNDS, "loadings": 6})
    wanted = (0, *(1 + number // rounds_each for number in range(USUAL_ROUNDS - 1)))
    assert found.sides["one"].loadings == found.sides["other"].loadings == wanted


def test_loading_again_is_no_part_of_the_budget() -> None:
    machine = Machine({"a": 20.0, "b": 20.0}, noise=0.01)
    found = timed(machine, plan={"iterations": 100_000, "budget_s": 30, "loadings": 6})
    assert found.stopped_by == "budget"
    assert found.rounds >= USUAL_ROUNDS - 1
    assert len(set(found.sides["a"].loadings)) in {6, 7}
    assert machine.now > 30 + 5 * 2 * 50.0


def test_the_time_left_counts_the_loadings_to_come() -> None:
    told: list[TimingProgress] = []
    machine = Machine({"one": 10.0, "other": 10.0})
    timed(machine, plan={"iterations": USUAL_ROUNDS, "loadings": 6}, progress=told.append)
    each = USUAL_ROUNDS // 6
    later = next(one for one in told if one.doing == "timing" and one.done == each + 2)
    assert later.left_s is not None
    assert 4 * 2 * 50.0 <= later.left_s < 5 * 2 * 50.0 + 60.0
    assert told[-1].left_s is not None
    assert told[-1].left_s < 50.0


def test_few_rounds_are_a_loading_each() -> None:
    found = timed(Machine({"slow": 2000.0}), plan={"iterations": 300, "budget_s": 33, "loadings": 6})
    assert found.sides["slow"].loadings == tuple(range(found.rounds))
    assert 6 <= found.rounds < 12


def test_a_side_that_cannot_be_loaded_again_keeps_its_finished_rounds() -> None:
    machine = Machine({"weak": 10.0, "strong": 10.0})
    machine.fail_again.add("weak")
    found = timed(machine, plan={"iterations": USUAL_ROUNDS, "loadings": 6})
    assert found.sides["weak"].problem == "cannot be loaded any more"
    assert len(found.sides["weak"].rounds_ms) == 1
    assert len(found.sides["strong"].rounds_ms) == USUAL_ROUNDS


def test_groups_have_loadings_of_their_own() -> None:
    each = wanted_bytes(side("a"), None)
    machine = Machine(dict.fromkeys(["ref", "a", "b", "c", "d"], 10.0), memory=3 * each + RESERVE_BYTES)
    found = timed(machine, plan={"iterations": USUAL_ROUNDS, "reference": ("ref",), "loadings": 5})
    assert not set(found.sides["a"].loadings) & set(found.sides["d"].loadings)
    assert sorted(set(found.sides["ref"].loadings)) == list(range(12))
