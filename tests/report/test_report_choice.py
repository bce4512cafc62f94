"""Which of several usable engines is deployed: told apart by their own paired times, then by losses that compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_runs import parity, side
from made_up_times import bench, bench_row, eager_row, measured
from report_pages import decision, joined

from hardnet_deploy.bench.stats import ratio, summarise
from hardnet_deploy.report.contradictions import contradictions, file_states
from hardnet_deploy.report.decision import Decision, decide

ROUNDS = 12
RUNS = 4
OTHER = {"name": "other:val", "digest": "9" * 64, "images": 60, "metric": "coco"}
OTHERWISE = side("kind.onnx", thresholds={"score": 0.3, "iou": 0.45, "max_detections": 200})
IN_POINTS = {
    "candidate": 0.704,
    "drop_type": "absolute",
    "drop": {"kind": "absolute", "drop": -0.004, "two_sided": [-0.005, -0.003]},
}


def rounds(median: float, scatter: float, *, seed: int, drift: np.ndarray | float = 1.0) -> list[list[float]]:
    """Milliseconds whose scatter is uniform, each round's times its own factor."""
    draw = np.random.default_rng(seed).uniform(1 - scatter, 1 + scatter, (ROUNDS, RUNS))
    factors = np.broadcast_to(drift, ROUNDS)[:, None]
    return [[float(value) for value in one] for one in median * draw * factors]


def row(name: str, times: list[list[float]], eager: list[list[float]]) -> dict[str, Any]:
    figures = {**summarise(times).as_dict(), "stable": True}
    return bench_row(name, 1.0, measured=figures, rounds_ms=times, gain_over_eager=ratio(eager, times).as_dict())


def run(fast: float, kind: float, *, scatter: float = 0.01, **changes: Any) -> dict[str, Any]:
    """PyTorch, whose noise both gains share, and two engines of these medians."""
    drift = np.random.default_rng(1).uniform(0.6, 1.6, ROUNDS)
    eager = rounds(51.0, 0.4, seed=2, drift=drift)
    pytorch = eager_row(1.0, measured={**measured(1.0), **summarise(eager).as_dict()}, rounds_ms=eager)
    engines = [
        row(name, rounds(ms, scatter, seed=seed), eager)
        for name, ms, seed in (("fast.onnx", fast, 3), ("kind.onnx", kind, 4))
    ]
    return bench([pytorch, *engines], **changes)


def name_of(one: Decision) -> str | None:
    return one.chosen.name if one.chosen else None


def reasons(one: Decision) -> dict[str, str]:
    return {cells[0].text: cells[-1].text for cells in one.table.rows}


LOSING = parity("fast.onnx", drop=0.008, half_width=0.001)
KEEPING = parity("kind.onnx", drop=0.001, half_width=0.001)


def test_the_noise_that_two_gains_share_does_not_make_a_tie(tmp_path: Path) -> None:
    """Both gains are over a noisy PyTorch, their intervals meet; in each round one takes 4/3 of the other."""
    times = run(15.0, 20.0)
    fast, kind = (found["gain_over_eager"] for found in times["rows"][1:])
    assert kind["high"] > fast["low"]
    one = decision(tmp_path, LOSING, KEEPING, times)
    assert name_of(one) == "fast.onnx"
    assert "tell it apart" not in one.paragraph
    assert reasons(one) == {"fast.onnx": "–", "kind.onnx": "slower"}


def test_where_times_tie_one_that_loses_less_beyond_doubt_comes_first(tmp_path: Path) -> None:
    one = decision(tmp_path, LOSING, KEEPING, run(10.0, 10.3, scatter=0.2))
    assert name_of(one) == "kind.onnx"
    assert "Timing does not tell it apart from fast.onnx (" in one.paragraph
    assert "it loses less mAP, as the intervals of the losses do not meet" in one.paragraph
    assert reasons(one) == {"kind.onnx": "–", "fast.onnx": "no faster beyond doubt, and costs more mAP"}


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (parity("kind.onnx", drop=0.001, half_width=0.02), "are not told apart either, as their intervals meet"),
        (parity("kind.onnx", drop=0.001, half_width=0.001, data=OTHER), "were not measured alike"),
        (parity("kind.onnx", metric={**KEEPING["metric"], **IN_POINTS}), "were not measured alike"),
        (parity("kind.onnx", drop=0.001, half_width=0.001, candidate=OTHERWISE), "were not measured alike"),
        (parity("kind.onnx", metric={**KEEPING["metric"], "metric": "voc12"}), "were not measured alike"),
    ],
)
def test_a_loss_that_is_not_smaller_beyond_doubt_breaks_no_tie(kind: dict[str, Any], told: str, tmp_path: Path) -> None:
    fast = parity("fast.onnx", drop=0.004, half_width=0.004)
    one = decision(tmp_path, fast, kind, run(10.0, 10.3, scatter=0.2))
    assert name_of(one) == "fast.onnx"
    assert told in one.paragraph
    assert "it has the smaller median time" in one.paragraph
    assert "loses less" not in one.paragraph


def test_rows_of_two_groups_have_no_common_rounds(tmp_path: Path) -> None:
    """Then their gains have to tell them apart, and these do not."""
    times = run(15.0, 20.0)
    keys = [found["key"] for found in times["rows"]]
    times["protocol"]["groups"] = [keys[:2], [keys[0], keys[2]]]
    one = decision(tmp_path, LOSING, KEEPING, times)
    assert "Timing does not tell it apart from fast.onnx; " in one.paragraph


COSTS: dict[str, tuple[tuple[float, float, float], str, str]] = {
    "established": ((0.005, 0.001, 0.009), "It costs 0.50 %", "not established"),
    "a gain": ((-0.005, -0.009, -0.001), "It does not cost mAP, it gains some: a drop of −0.50 %", "not established"),
    "nothing": ((0.0, 0.0, 0.0), "It measures no loss of mAP", "not established"),
    "less than nothing, or much": (
        (-0.0001, -0.02, 0.0199),
        "whether it costs mAP is not established, as the interval includes 0, and the loss may be as large as 1.99 %",
        "does not cost",
    ),
    "a little, or nothing": ((0.0005, -0.0027, 0.004), "not established", "It costs"),
}


@pytest.mark.parametrize("case", COSTS)
def test_the_interval_says_whether_it_costs(case: str, tmp_path: Path) -> None:
    (drop, low, high), told, untold = COSTS[case]
    document = parity("a.onnx", drop=drop)
    document["metric"]["drop"]["two_sided"] = [low, high]
    one = decision(tmp_path, document, bench([bench_row("a.onnx", 10.0)]))
    assert name_of(one) == "a.onnx"
    assert told in one.paragraph
    assert untold not in one.paragraph


@pytest.mark.parametrize("later", ["slower", "not established"])
def test_one_run_decides_for_a_machine_and_the_others_are_told_of(later: str, tmp_path: Path) -> None:
    """The latest of the runs that settled, even where it takes a recommendation back."""
    second = run(20.0, 15.0, date="2026-12-01T00:00:00+00:00")
    if later == "not established":
        for found in second["rows"][1:]:
            found["gain_over_eager"] |= {"low": 0.5, "high": 20.0, "rounds": 5}
    runs = joined(tmp_path, LOSING, KEEPING, run(15.0, 20.0), second)
    (one,) = decide(runs)
    assert name_of(one) == ("kind.onnx" if later == "slower" else None)
    (told,) = (text for text in contradictions(runs, file_states(runs)) if "do not lead to the same engine" in text)
    assert "2.json" in told
    assert told.index("3.json") < told.index("2.json")


def test_a_run_that_did_not_settle_takes_nothing_back(tmp_path: Path) -> None:
    broken_off = run(20.0, 15.0, date="2026-12-01T00:00:00+00:00", finished=False)
    (one,) = decide(joined(tmp_path, LOSING, KEEPING, run(15.0, 20.0), broken_off))
    assert name_of(one) == "fast.onnx"


def test_runs_that_agree_are_one_decision(tmp_path: Path) -> None:
    runs = joined(tmp_path, LOSING, KEEPING, run(15.0, 20.0), run(15.5, 20.0, date="2026-12-01T00:00:00+00:00"))
    (one,) = decide(runs)
    assert "2026-12-01" in one.paragraph
