"""Trials: what a choice of layers costs, none measured twice."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from small_int8 import DETECTOR, FIRST, HEADS, LAYERS, detector_graph, fill_folder, silent, write_graph

from calibration import sensitivity
from calibration.qdq import Choice
from hardnet_deploy.data.sources import open_data
from hardnet_deploy.errors import ExportError, InputFileError, UsageError
from hardnet_deploy.evaluate.bootstrap import paired_drop
from hardnet_deploy.workflows import precision_trials, quantise, trial_record
from hardnet_deploy.workflows.open_engine import open_engine
from hardnet_deploy.workflows.precision_trials import Trials
from hardnet_deploy.workflows.quantise import Quantiser, float_graph, read_table

RESAMPLES = 20  # the intervals of real trials need not be good here
RECORD = Path("r.search.json")
CHOICE = Choice(float_units=frozenset({FIRST, *HEADS}))


def the_record() -> dict[str, Any]:
    """The only one in the file."""
    (record,) = json.loads(RECORD.read_text(), parse_constant=pytest.fail)["records"]
    assert isinstance(record, dict)
    return record


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(precision_trials, "paired_drop", partial(paired_drop, resamples=RESAMPLES))
    fill_folder(tmp_path)
    return tmp_path


def real_trials(onnx_file: str = "float.onnx", **options: Any) -> Trials:
    engine = open_engine(onnx_file)
    quantiser = Quantiser(
        float_graph(engine),
        read_table(Path("float.calib.json")).with_method(options.get("method", "minmax")),
        concat_scales=options.get("concat_scales", "unified"),
        preprocess=dataclasses.asdict(engine.preprocess),
    )
    data = open_data("coco:coco", class_names=DETECTOR.class_names, count=options.get("count"))
    allow = options.get("allow_fallback", False)
    return Trials(engine, quantiser, data, options.get("drop_type", "relative"), RECORD, silent, allow_fallback=allow)


def forbid_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_arguments: object, **_options: object) -> None:
        raise AssertionError("something was measured again")

    monkeypatch.setattr(precision_trials, "detect_dataset", never)
    monkeypatch.setattr(precision_trials, "_median_ms", never)
    monkeypatch.setattr(Quantiser, "for_cpu", never)


@pytest.mark.usefixtures("folder")
def test_a_trial_is_measured_once_and_read_the_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    first = real_trials()
    ranking = first.ranking()
    trial = first.measure(CHOICE, "a trial")
    assert {one.name for one in ranking} == set(LAYERS)
    assert [one.worst for one in ranking] == sorted(one.worst for one in ranking)
    assert set(ranking[0].sqnr) == {"loc", "conf"}
    assert trial.float_layers == (FIRST, *HEADS)
    macs = {one.name: one.macs for one in ranking}
    in_float = sum(macs[name] for name in trial.float_layers)
    assert trial.macs_int8 == pytest.approx(1 - in_float / sum(macs.values()))
    assert abs(trial.drop.drop) < 0.5
    assert trial.median_ms > 0
    assert the_record()
    forbid_measuring(monkeypatch)
    second = real_trials()
    assert second.measure(CHOICE, "a trial") == trial
    assert second.ranking() == ranking


@pytest.mark.usefixtures("folder")
def test_noise_that_is_no_number_is_kept_too() -> None:
    trials = real_trials()
    trials.measure(CHOICE, "a trial")
    record = the_record()
    record["noise"] = {name: {"loc": "inf", "conf": "-inf"} for name in LAYERS}
    RECORD.write_text(json.dumps({"records": [record]}))
    again = real_trials()
    assert {value for one in again.ranking() for value in one.sqnr.values()} == {math.inf, -math.inf}
    again.float_point()  # which writes the record
    assert the_record()
    assert math.inf in real_trials().ranking()[0].sqnr.values()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "options", [{"method": "entropy"}, {"concat_scales": "separate"}, {"count": 3}, {"drop_type": "absolute"}]
)
def test_results_of_something_else_are_not_used(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    real_trials().measure(CHOICE, "a trial")
    forbid_measuring(monkeypatch)
    with pytest.raises(AssertionError, match="measured again"):
        real_trials(**options).measure(CHOICE, "a trial")
    with pytest.raises(AssertionError, match="measured again"):
        real_trials().measure(dataclasses.replace(CHOICE, reduced_weights=True), "a trial")


def _without(record: dict[str, Any], part: str) -> str:
    return stored({name: value for name, value in record.items() if name != part})


def stored(record: Any) -> str:
    return json.dumps({"records": [record]})


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "damage",
    [
        lambda _: "",
        lambda record: stored(record)[:-40],
        lambda record: stored([record]),
        lambda _: stored(None),
        lambda record: _without(record, "noise"),
        lambda record: _without(record, "identity"),
        lambda record: _without(record, "float_point"),
        lambda record: stored({**record, "float_point": 5.0}),
        lambda record: stored({**record, "float_point": {"median_ms": 5.0}}),
        lambda record: stored({**record, "noise": []}),
        lambda record: stored({**record, "noise": {"base.0": {"loc": "loud"}}}),
        lambda record: stored({**record, "trials": {key: {} for key in record["trials"]}}),
        lambda record: stored({**record, "trials": dict.fromkeys(record["trials"])}),
    ],
)
def test_a_damaged_record_is_not_used(damage: Callable[[dict[str, Any]], str]) -> None:
    real_trials().measure(CHOICE, "a trial")
    whole = the_record()
    RECORD.write_text(damage(whole))
    seen: list[str] = []
    trials = real_trials()
    trials._progress = lambda what, *_: seen.append(what)
    trials.measure(CHOICE, "a trial")
    assert "a trial" in seen
    assert set(the_record()["trials"]) == set(whole["trials"])


@pytest.mark.usefixtures("folder")
def test_labels_of_which_the_float_graph_finds_nothing_are_an_error() -> None:
    labels = Path("coco/annotations/instances_val2017.json")
    document = json.loads(labels.read_text())
    for one in document["annotations"]:
        one["bbox"] = [0.0, 0.0, 1.0, 1.0]
    labels.write_text(json.dumps(document))
    with pytest.raises(UsageError, match="the float graph finds nothing"):
        real_trials().measure(CHOICE, "a trial")


@pytest.mark.usefixtures("folder")
def test_an_image_that_cannot_be_read_is_named() -> None:
    trials = real_trials()
    next(Path("coco/val2017").iterdir()).write_bytes(b"no image")
    with pytest.raises(InputFileError, match=r"val2017/\d\d\.png"):
        trials.ranking()


@pytest.mark.usefixtures("folder")
def test_layers_of_a_graph_of_several_images_are_ranked_too() -> None:
    write_graph(Path("two.onnx"), detector_graph(batch=2))
    one, two = (
        {noise.name: noise.worst for noise in real_trials(file).ranking()} for file in ("float.onnx", "two.onnx")
    )
    assert two == pytest.approx(one, abs=0.01)  # the same images twice: the same ratio


@pytest.mark.usefixtures("folder")
def test_the_float_graph_is_timed_like_a_trial_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[Any] = []

    def median(engine: Any) -> float:
        timed.append(engine)
        return float(len(timed))

    monkeypatch.setattr(precision_trials, "_median_ms", median)
    trials = real_trials()
    trial, point = trials.measure(CHOICE, "a trial"), trials.float_point()
    assert (trial.median_ms, point.median_ms) == (1.0, 2.0)
    operators = [{node.op_type for node in engine.model.graph.node} for engine in timed]
    assert ["DequantizeLinear" in found for found in operators] == [True, False]
    assert all("NonMaxSuppression" in found for found in operators)  # both end alike
    assert point.size_bytes == timed[1].model.ByteSize()
    assert point.as_dict() == {"macs_int8": 0.0, "median_ms": 2.0, "size_bytes": point.size_bytes}
    forbid_measuring(monkeypatch)
    again = real_trials()
    assert again.float_point() == point
    assert again.measure(CHOICE, "a trial") == trial
    assert len(the_record()["trials"]) == 1


def count_runs(monkeypatch: pytest.MonkeyPatch, *, interrupted_at: int | None = None) -> list[int]:
    """Numbers of the runs of a ranking: first the float graph, then each layer; one may be interrupted."""
    real, runs = sensitivity._run, list[int]()

    def run(*arguments: Any) -> Any:
        if len(runs) == interrupted_at:
            raise KeyboardInterrupt
        runs.append(len(runs))
        return real(*arguments)

    monkeypatch.setattr(sensitivity, "_run", run)
    return runs


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("finished", [0, 1, 4])
def test_an_interrupted_ranking_is_continued(finished: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = real_trials().ranking()
    RECORD.unlink()
    with monkeypatch.context() as patch:
        count_runs(patch, interrupted_at=1 + finished)
        with pytest.raises(KeyboardInterrupt):
            real_trials().ranking()
    kept = the_record()["noise"] if RECORD.exists() else {}
    assert set(kept) == set(LAYERS[:finished])
    runs = count_runs(monkeypatch)
    assert real_trials().ranking() == whole
    assert len(runs) == 1 + len(LAYERS) - finished


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("seconds", "expected"), [(0.0, len(LAYERS)), (1e9, 1)])
def test_a_ranking_is_written_no_more_often_than_it_is_worth(
    seconds: float, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, sizes = trial_record.write_durably, list[int]()

    def write(path: Path, data: bytes) -> None:
        sizes.append(len(json.loads(data)["records"][0]["noise"]))
        real(path, data)

    monkeypatch.setattr(trial_record, "write_durably", write)
    monkeypatch.setattr(precision_trials, "KEEP_EVERY_S", seconds)
    real_trials().ranking()
    assert sizes == list(range(len(LAYERS) + 1))[-expected:]
    real_trials().ranking()
    assert len(sizes) == expected  # nothing new, nothing written


@pytest.mark.usefixtures("folder")
def test_noise_of_other_outputs_is_measured_again() -> None:
    trials = real_trials()
    whole = trials.ranking()
    record = the_record()
    record["noise"][FIRST] = {"loc": -99.0}
    record["noise"][HEADS[0]] = {}
    RECORD.write_text(stored(record))
    assert real_trials().ranking() == whole


@pytest.mark.usefixtures("folder")
def test_a_choice_that_falls_back_is_refused_before_it_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantise, "optimise", lambda model: model)  # ONNX Runtime that fuses nothing
    monkeypatch.setattr(precision_trials, "detect_dataset", None)
    with pytest.raises(ExportError, match="3 layers that were to be INT8 stayed float") as caught:
        real_trials().measure(CHOICE, "a trial")
    assert caught.value.got == ", ".join(LAYERS[1:4])
    assert not RECORD.exists()


@pytest.mark.usefixtures("folder")
def test_a_trial_counts_what_was_achieved_and_keeps_what_fell_back(monkeypatch: pytest.MonkeyPatch) -> None:
    real = quantise.inspect

    def without_one(optimised: Any, weights: dict[str, str]) -> Any:
        found = real(optimised, weights)
        achieved = {**found.achieved, "base.1.a": "fp32"}
        return dataclasses.replace(found, achieved=achieved, integer_convolutions=found.integer_convolutions - 1)

    whole = real_trials().measure(CHOICE, "a trial")
    RECORD.unlink()
    monkeypatch.setattr(quantise, "inspect", without_one)
    trials = real_trials(allow_fallback=True)
    trial = trials.measure(CHOICE, "a trial")
    macs = {unit.name: unit.macs for unit in trials._quantiser.graph.units}
    assert trial.fell_back == ("base.1.a",)
    assert trial.float_layers == (FIRST, *HEADS)  # what was asked for, not what came of it
    assert trial.macs_int8 == pytest.approx(whole.macs_int8 - macs["base.1.a"] / sum(macs.values()))
    forbid_measuring(monkeypatch)
    assert real_trials(allow_fallback=True).measure(CHOICE, "a trial") == trial
    with pytest.raises(ExportError, match="1 layers that were to be INT8 stayed float"):
        real_trials().measure(CHOICE, "a trial")  # kept by a run that allowed it
