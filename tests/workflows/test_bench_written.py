"""Every document that a bench can write is one that ``read_bench`` takes: groups, engines that end, interrupts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_bench import LAPTOP
from simulated_sides import ENOUGH, Machine

from hardnet_deploy.bench.document import check_bench, read_bench
from hardnet_deploy.bench.interleaved import Run
from hardnet_deploy.bench.memory import RESERVE_BYTES, wanted_bytes
from hardnet_deploy.bench.timing import Timings
from hardnet_deploy.workflows import bench as workflow
from hardnet_deploy.workflows.bench import run_bench
from hardnet_deploy.workflows.bench_options import BenchRequest

SAVED = Path("b.json")
FUSED, REFERENCE = "hardnet68/fused", "resnet50/fused"


def benched(
    monkeypatch: pytest.MonkeyPatch, *, hold: int | None = None, noise: float = 0.02, loading_s: float = 0.1, **of: Any
) -> tuple[dict[str, Any], int]:
    """The last document of simulated sides, and how many were read on the way.

    Args:
        monkeypatch: Of the test.
        hold: Sides that memory holds at once; None for all.
        noise: Of every run.
        loading_s: Of one side, anew.
        of: Attributes of the simulated machine.
    """
    read = []

    def simulated(sides: Any, *, plan: Any, on_round: Any, **_: Any) -> Timings:
        milliseconds = np.random.default_rng(1).uniform(5, 50, len(sides))
        each = wanted_bytes(sides[0], None)
        memory = ENOUGH if hold is None else RESERVE_BYTES + hold * each
        machine = Machine(
            {one.key: float(ms) for one, ms in zip(sides, milliseconds, strict=True)},
            noise=noise,
            memory=memory,
            loading_s=loading_s,
        )
        vars(machine).update(of)

        def saved(found: Timings) -> None:
            on_round(found)
            read.append(read_bench(SAVED))

        run = Run(
            sides,
            plan,
            start=machine.start,
            clock=lambda: machine.now,
            available=lambda: machine.memory,
            on_round=saved,
        )
        return run.go()

    monkeypatch.setattr(workflow, "time_sides", simulated)
    monkeypatch.setattr(workflow, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(workflow, "SAVE_SHARE", 0.0)
    request = BenchRequest(
        protocol="1080ti-1024", engines="eager,fused", save=SAVED, iterations=60, budget="20m", allow_unstable=True
    )
    document = run_bench(request, lambda *_: None, machine=LAPTOP).document
    check_bench(document, source="at the end")
    assert all(not one["finished"] for one in read)
    return document, len(read)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def intervals(document: dict[str, Any]) -> int:
    ratios = [(row["ratio_to_reference"] or {}).get("measured") for row in document["rows"]]
    return sum(one is not None and one["low"] is not None for one in ratios)


@pytest.mark.parametrize("loading_s", [0.001, 50.0])
def test_all_in_one_group(monkeypatch: pytest.MonkeyPatch, loading_s: float) -> None:
    document, read = benched(monkeypatch, loading_s=loading_s)
    assert read >= 30
    assert len(document["protocol"]["groups"]) == 1
    assert intervals(document) == 8


def test_in_several_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    document, _ = benched(monkeypatch, hold=4)
    assert len(document["protocol"]["groups"]) > 2
    assert intervals(document) == 8


def test_times_that_did_not_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    document, _ = benched(monkeypatch, noise=0.3)
    assert {row["measured"]["cov_flagged"] for row in document["rows"]} == {True}


@pytest.mark.parametrize(
    ("hold", "key", "turn"),
    [(None, FUSED, 0), (None, FUSED, 20), (4, FUSED, 3), (4, REFERENCE, 1), (4, REFERENCE, 3), (4, REFERENCE, 40)],
)
def test_an_engine_that_ends_early(monkeypatch: pytest.MonkeyPatch, hold: int | None, key: str, turn: int) -> None:
    document, _ = benched(monkeypatch, hold=hold, fail={key: turn})
    (row,) = [row for row in document["rows"] if row["key"] == key]
    assert (row["measured"] is None) is (turn < 2)


@pytest.mark.parametrize("turns", [12, 33, 155, 400])
def test_an_interrupt(monkeypatch: pytest.MonkeyPatch, turns: int) -> None:
    document, _ = benched(monkeypatch, hold=4, interrupt_at=turns)
    assert document["finished"] is False
