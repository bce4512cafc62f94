"""The accuracy search, on made-up trials; and its engine."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from small_int8 import (
    FIRST,
    build,
    calibrate,
    fill_folder,
)

from calibration.qdq import Choice
from calibration.sensitivity import LayerNoise
from hardnet_deploy.errors import AccuracyBudgetError, ExportError
from hardnet_deploy.evaluate.bootstrap import DropInterval, paired_drop
from hardnet_deploy.workflows import precision_trials, quantise
from hardnet_deploy.workflows.precision_search import SearchResult, layer_precisions, noise_record, search_precision
from hardnet_deploy.workflows.precision_trials import FloatPoint, Trial

RESAMPLES = 20  # the intervals of real trials need not be good here
BUDGET = 0.01
FLOAT_POINT = FloatPoint(median_ms=3.0, size_bytes=4)
WIDTH = 0.002  # of the made-up intervals, to either side


def interval(drop: float, width: float = WIDTH) -> DropInterval:
    return DropInterval(
        kind="relative",
        drop=drop,
        two_sided=(drop - width, drop + width),
        at_most=drop + width,
        at_least=drop - width,
        confidence=0.95,
        resamples=RESAMPLES,
        undefined=0,
        seed=0,
    )


class _Images(SimpleNamespace):
    def __len__(self) -> int:
        return 7


class MadeUp:
    """Trials whose drop follows from how many of ``layers`` are float besides ``always``."""

    record = Path("made-up.search.json")

    def __init__(self, drops: Callable[[int], float], *, layers: int = 12, always: int = 0) -> None:
        self.drops, self.always = drops, always
        self.names = [f"layer.{number:02d}" for number in range(layers)]
        self.dataset = _Images(name="made up", digest="0" * 64)
        self.asked: list[frozenset[str]] = []

    def float_point(self) -> FloatPoint:
        return FLOAT_POINT

    def ranking(self) -> tuple[LayerNoise, ...]:
        assert self.asked, "whether every layer can be INT8 is to be known before the ranking, which takes long"
        return tuple(
            LayerNoise(name=name, macs=10, sqnr={"loc": 20.0 + place, "conf": math.inf})
            for place, name in enumerate(self.names)
        )

    def measure(self, choice: Choice, _title: str) -> Trial:
        self.asked.append(choice.float_units)
        return Trial(
            float_layers=tuple(sorted(choice.float_units)),
            macs_int8=1 - len(choice.float_units) / len(self.names),
            drop=interval(self.drops(len(choice.float_units) - self.always)),
            median_ms=1.0,
            size_bytes=1,
        )


def search(trials: MadeUp, base: Choice | None = None, *, budget: float = BUDGET) -> SearchResult:
    real: Any = trials
    return search_precision(real, base or Choice(), budget, "relative")


@pytest.mark.parametrize("enough", range(12))
def test_the_fewest_layers_that_fit_are_found_with_few_trials(enough: int) -> None:
    trials = MadeUp(lambda count: 0.0 if count >= enough else 1.0)
    result = search(trials)
    assert result.best.float_layers == tuple(trials.names[:enough])  # the most harmful first
    assert len(trials.asked) == len(set(trials.asked))
    assert len(trials.asked) <= 9
    assert [len(trial.float_layers) for trial in result.trials] == sorted({len(units) for units in trials.asked})


def test_where_nothing_needs_to_be_float_one_trial_is_enough() -> None:
    trials = MadeUp(lambda _count: -0.001)
    assert search(trials).best.float_layers == ()
    assert len(trials.asked) == 1


def test_one_layer_alone_stays_int8() -> None:
    trials = MadeUp(lambda _count: 1.0, layers=1)
    with pytest.raises(AccuracyBudgetError):
        search(trials)
    assert trials.asked == [frozenset()]


def test_a_drop_that_does_not_fall_steadily_gives_the_fewest_layers_that_were_seen_to_fit() -> None:
    drops = {0: 0.1, 1: 0.2, 2: 0.05, 4: 0.3, 8: 0.001, 6: 0.001, 5: 0.5}
    result = search(MadeUp(drops.__getitem__))
    assert len(result.best.float_layers) == 6
    assert {len(trial.float_layers) for trial in result.trials} == set(drops)


def test_an_estimate_inside_the_budget_is_not_enough() -> None:
    trials = MadeUp(lambda count: BUDGET - WIDTH / 2 if count >= 4 else 1.0)
    with pytest.raises(AccuracyBudgetError, match="its interval included") as caught:
        search(trials)
    assert caught.value.got is not None
    assert "layers in float, the best found, at most" in caught.value.got


def test_an_interval_that_touches_the_budget_fits() -> None:
    result = search(MadeUp(lambda _count: 0.0), budget=interval(0.0).at_most)
    assert result.best.float_layers == ()


def test_an_impossible_budget_names_the_best() -> None:
    trials = MadeUp(lambda count: 0.5 - 0.01 * count if count < 8 else 0.7)
    with pytest.raises(AccuracyBudgetError, match="no choice of float layers") as caught:
        search(trials)
    error = caught.value
    assert error.exit_code == 6
    assert error.got is not None
    assert error.got.startswith("0.46000 with 4 layers in float, the best found")
    assert "made-up.search.json" in error.got
    assert "larger --max-drop" in (error.next_step or "")
    assert {len(units) for units in trials.asked} == {0, 1, 2, 4, 8, 11}


def test_what_was_asked_to_be_float_stays_float() -> None:
    asked = frozenset({"layer.01", "layer.05"})
    trials = MadeUp(lambda count: 0.0 if count >= 3 else 1.0, always=len(asked))
    result = search(trials, Choice(float_units=asked, reduced_weights=True))
    assert all(units >= asked for units in trials.asked)
    assert set(result.best.float_layers) == asked | {"layer.00", "layer.02", "layer.03"}
    assert trials.asked[0] == asked


def test_the_result_goes_into_json_and_speaks_trtexec() -> None:
    document = json.loads(
        json.dumps(search(MadeUp(lambda count: 0.0 if count >= 2 else 1.0)).as_dict(), allow_nan=False)
    )
    assert document["layer_precisions"] == "layer.00:fp32,layer.01:fp32"
    assert document["data"] == {"name": "made up", "digest": "0" * 64, "images": 7}
    assert [row["layer"] for row in document["ranking"]][:2] == ["layer.00", "layer.01"]
    assert document["ranking"][0]["sqnr_db"] == {"loc": 20.0, "conf": None}
    assert document["best"] in document["trials"]
    assert document["float_point"] == {"macs_int8": 0.0, "median_ms": 3.0, "size_bytes": 4}
    assert [len(trial["float_layers"]) for trial in document["trials"]] == [0, 1, 2]  # the float graph does not compete
    assert layer_precisions(()) == ""
    assert noise_record(LayerNoise(name="a", macs=1, sqnr={"loc": -math.inf}))["sqnr_db"] == {"loc": None}


def test_a_layer_that_falls_back_ends_the_search_before_the_ranking() -> None:
    class FallingBack(MadeUp):
        def measure(self, _choice: Choice, _title: str) -> Trial:
            raise quantise.fallback_error(["layer.03"])

        def ranking(self) -> tuple[LayerNoise, ...]:
            raise AssertionError("the ranking takes long")

    with pytest.raises(ExportError, match="1 layers that were to be INT8 stayed float"):
        search(FallingBack(lambda _count: 0.0))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(precision_trials, "paired_drop", partial(paired_drop, resamples=RESAMPLES))
    fill_folder(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_a_search_ends_in_an_engine_that_says_what_it_found(monkeypatch: pytest.MonkeyPatch) -> None:
    calibrate(method="minmax")
    options: dict[str, Any] = {"max_drop": 0.9, "search_data": "coco:coco:val2017", "layer_precisions": f"{FIRST}:fp32"}
    result = build(**options)
    assert result.manifest is not None
    precision = result.manifest.precision
    assert precision["asked_to_stay_float"] == [FIRST]
    found = precision["search"]
    assert FIRST in found["best"]["float_layers"]
    assert set(found["best"]["float_layers"]) == {FIRST, *precision["float_by_search"]}
    assert found["data"]["images"] == 4
    assert found["float_point"]["macs_int8"] == 0.0
    assert found["float_point"]["median_ms"] > 0
    assert found["float_point"]["size_bytes"] > 0
    assert found["best"]["macs_int8"] == precision["macs_in_int8"]
    assert precision["layer_precisions"] == found["layer_precisions"]
    assert {name for name, kind in precision["achieved"].items() if kind == "fp32"} == {
        FIRST,
        *precision["float_by_search"],
    }
    assert Path("int8.search.json").exists()
    for what in ("detect_dataset", "_median_ms"):  # what was measured is read
        monkeypatch.setattr(precision_trials, what, None)
    first = Path("int8.onnx").read_bytes()
    build(**options)
    assert Path("int8.onnx").read_bytes() == first


@pytest.mark.usefixtures("folder")
def test_a_search_is_refused_before_it_begins_where_a_layer_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantise, "optimise", lambda model: model)
    for what in ("detect_dataset", "load_inputs", "_median_ms"):
        monkeypatch.setattr(precision_trials, what, None)
    with pytest.raises(ExportError, match="that were to be INT8 stayed float") as caught:
        build(max_drop=0.9, search_data="coco:coco:val2017")
    assert FIRST in (caught.value.got or "")
    assert not Path("int8.onnx").exists()
    assert not Path("int8.search.json").exists()


@pytest.mark.usefixtures("folder")
def test_a_search_counts_no_layer_that_falls_back_where_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantise, "optimise", lambda model: model)
    result = build(max_drop=0.9, search_data="coco:coco:val2017", allow_fallback=True)
    assert result.manifest is not None
    trials = result.manifest.precision["search"]["trials"]
    assert {trial["macs_int8"] for trial in trials} == {0.0}
    assert all(FIRST in trial["fell_back"] or FIRST in trial["float_layers"] for trial in trials)


@pytest.mark.usefixtures("folder")
def test_a_search_without_success_writes_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision_trials, "paired_drop", lambda *_, **__: interval(float(np.float32(0.5))))
    with pytest.raises(AccuracyBudgetError):
        build(max_drop=0.001, search_data="coco:coco:val2017")
    assert not Path("int8.onnx").exists()
    assert json.loads(Path("int8.search.json").read_text())["records"][0]["trials"]
