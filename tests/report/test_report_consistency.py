"""Documents whose own figures contradict each other are refused, whatever they would lead to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_up_runs import parity, save
from made_up_times import bench, bench_row, device_results, device_row, profile, roofline

from hardnet_deploy.errors import InputFileError
from hardnet_deploy.report.collect import collect
from hardnet_deploy.report.decision import decide
from hardnet_deploy.report.runs import join

Change = Callable[[dict[str, Any]], object]


def shown(document: dict[str, Any]) -> dict[str, Any]:
    part: dict[str, Any] = document["detections"]["shown"]
    return part


def output(document: dict[str, Any]) -> dict[str, Any]:
    part: dict[str, Any] = document["tensors"]["outputs"][0]
    return part


def drop(document: dict[str, Any]) -> dict[str, Any]:
    part: dict[str, Any] = document["metric"]["drop"]
    return part


def layer(document: dict[str, Any]) -> dict[str, Any]:
    part: dict[str, Any] = document["layers"][0]
    return part


def target(document: dict[str, Any]) -> dict[str, Any]:
    part: dict[str, Any] = document["targets"][0]
    return part


NONE_MATCHED = {"matched_reference": 0, "share_reference": 0.0}
FEW_MATCHED = {"matched_candidate": 81, "share_candidate": 81 / 91}
COMPARISONS: dict[str, tuple[Change, str]] = {
    "a drop outside its interval": (lambda one: drop(one).update(two_sided=[-0.5, -0.4]), "two_sided"),
    "an interval without its own bound": (lambda one: drop(one).update(at_most=0.009, at_least=0.0), "two_sided"),
    "an output that is off": (lambda one: output(one).update(ok=False, violations=3), "passed"),
    "an output that only one side has": (lambda one: one["tensors"].update(missing=["'conf' is missing"]), "passed"),
    "an output that is well with violations": (lambda one: output(one).update(violations=3), "ok"),
    "an output that is well with nothing compared": (lambda one: output(one).update(compared=0), "ok"),
    "no shown box matched": (lambda one: shown(one).update(NONE_MATCHED), "passed"),
    "fewer shown boxes matched than INT8 wants": (lambda one: shown(one).update(FEW_MATCHED), "passed"),
    "fewer shown boxes matched than FP32 wants": (lambda one: one["candidate"].update(precision="fp32"), "passed"),
    "more matched than there are": (lambda one: shown(one).update(matched_reference=91), "matched_reference"),
    "a share of 350 %": (lambda one: shown(one).update(share_reference=3.5), "share_reference"),
    "fewer than no boxes": (lambda one: shown(one).update(candidate=-1), "candidate"),
}


@pytest.mark.parametrize("case", COMPARISONS)
def test_a_comparison_that_contradicts_itself_is_refused_and_never_recommends(case: str, tmp_path: Path) -> None:
    change, name = COMPARISONS[case]
    document = parity("a.onnx")
    change(document)
    path = save(tmp_path / "wrong.json", document)
    with pytest.raises(InputFileError, match=rf"wrong\.json.*'{name}' cannot be true"):
        collect([path])
    save(tmp_path / "bench.json", bench([bench_row("a.onnx", 10.0)]))
    assert all(one.chosen is None for one in decide(join(collect([tmp_path]))))


def test_a_comparison_that_failed_may_have_what_it_failed_by(tmp_path: Path) -> None:
    document = parity("a.onnx", drop=0.2)
    output(document).update(ok=False, violations=3)
    shown(document).update(NONE_MATCHED)
    assert collect([save(tmp_path / "p.json", document)]).documents


def test_an_interval_over_a_handful_of_images_need_not_hold_the_drop(tmp_path: Path) -> None:
    """Nothing is concluded from it, and it is not shown."""
    document = parity("a.onnx")
    document["data"]["images"] = 3
    drop(document)["two_sided"] = [0.003, 0.004]
    assert collect([save(tmp_path / "p.json", document)]).documents


def test_matches_by_another_tolerance_are_not_held_against_this_one(tmp_path: Path) -> None:
    document = parity("a.onnx")
    shown(document).update(FEW_MATCHED, score_tolerance=0.3)
    assert collect([save(tmp_path / "p.json", document)]).documents


LAYERS: dict[str, tuple[dict[str, Any], Change, str]] = {
    "a layer of less than no time": (profile("a.onnx"), lambda one: layer(one).update(ms=-5), "ms"),
    "a layer of 9000 %": (profile("a.onnx"), lambda one: layer(one).update(percent=9000), "percent"),
    "a layer of another share": (profile("a.onnx"), lambda one: layer(one).update(percent=90.0), "percent"),
    "a part of 200 %": (profile("a.onnx"), lambda one: one["groups"][0].update(percent=200), "percent"),
    "a run of less than no time": (profile("a.onnx"), lambda one: one.update(run_ms=-1.0), "run_ms"),
    "another sum": (profile("a.onnx"), lambda one: one.update(layers_ms=7.0), "layers_ms"),
    "more accounted for": (
        profile("a.onnx"),
        lambda one: one.update(layers_ms=10.0, accounted_percent=500.0),
        "accounted_percent",
    ),
    "a share of no time": (roofline("a.onnx"), lambda one: target(one).update(share=1e308), "share"),
    "a share below 0": (roofline("a.onnx"), lambda one: target(one).update(share=-0.1, run_ms=2.0), "share"),
    "another share of the run": (
        roofline("a.onnx"),
        lambda one: target(one).update(share=0.9, share_of="run", run_ms=2.0),
        "share",
    ),
    "another share of a layer": (roofline("a.onnx"), lambda one: layer(target(one)).update(share=0.9), "share"),
    "a share of an untimed layer": (
        roofline("a.onnx"),
        lambda one: layer(target(one)).update(measured_ms=None),
        "share",
    ),
    "a measured time below 0": (
        roofline("a.onnx"),
        lambda one: layer(target(one)).update(measured_ms=-1.0, share=None),
        "measured_ms",
    ),
    "another intensity": (roofline("a.onnx"), lambda one: layer(target(one)).update(intensity=1e300), "intensity"),
    "a peak below 0": (roofline("a.onnx"), lambda one: target(one)["peak"].update(flops=-1.0), "flops"),
    "a peak of 0": (roofline("a.onnx"), lambda one: target(one)["peak"].update(bandwidth=0), "bandwidth"),
    "a device's layer of less than no time": (
        device_results(
            [
                device_row(
                    profile={
                        "runs": 3,
                        "layers": [{"name": "n", "average_ms": -1.0, "percent": 1.0, "median_ms": None}],
                    }
                )
            ]
        ),
        lambda one: one,
        "average_ms",
    ),
}


@pytest.mark.parametrize("case", LAYERS)
def test_times_of_layers_that_cannot_be_are_refused(case: str, tmp_path: Path) -> None:
    document, change, name = LAYERS[case]
    change(document)
    with pytest.raises(InputFileError, match=rf"wrong\.json.*'{name}' cannot be true"):
        collect([save(tmp_path / "wrong.json", document)])


def test_a_layer_may_be_faster_than_its_bound_and_a_time_may_be_cut_off_to_0(tmp_path: Path) -> None:
    fast, none = roofline("a.onnx"), roofline("a.onnx")
    layer(target(fast)).update(measured_ms=0.2, share=2.0)
    layer(target(none)).update(measured_ms=0, share=None)
    save(tmp_path / "fast.json", fast)
    save(tmp_path / "none.json", none)
    assert len(collect([tmp_path]).documents) == 2
