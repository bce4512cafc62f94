"""Parity fails when it should: the exit code, the part and the sentence of every kind of fault, on the toy detector."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_datasets import SmallImage, SmallObject, write_coco
from tiny_detector import RED, THRESHOLDS, TOY, toy_graph, write_toy
from toy_parity import OPTIONS, blind, compare, fill_folder, parts, save, save_model, sentences

from hardnet_deploy.specs import ModelSpec, Preprocess


@pytest.fixture(autouse=True)
def in_a_folder_with_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fill_folder()


def with_preprocess(**changes: Any) -> ModelSpec:
    kept: Preprocess = TOY.preprocess
    return dataclasses.replace(TOY, preprocess=dataclasses.replace(kept, **changes))


@pytest.mark.parametrize(
    "changes",
    [{"mean": (104.0, 117.0, 124.0)}, {"mean": (123.0, 117.0, 104.0)}, {"channel_order": "rgb"}, {"divisor": 255.0}],
)
def test_other_pre_processing_fails_and_is_named(changes: dict[str, Any]) -> None:
    result = compare(save("candidate.onnx", spec=with_preprocess(**changes)))
    assert result.exit_code == 5
    assert result.tensors.layers.first is not None
    assert result.tensors.layers.first.title == "images (pre-processing)"
    assert "'images'" in sentences(result)
    assert "'images (pre-processing)'" in sentences(result)


def test_the_output_and_the_layer_that_is_off_are_named() -> None:
    result = compare(save("candidate.onnx", conf_b=lambda values: values * 0))
    assert result.exit_code == 5
    assert "tensors" in parts(result)
    assert "'conf'" in sentences(result)
    assert "'conf.flat' (Add" in sentences(result)
    assert result.tensors.layers.first is not None
    assert result.tensors.layers.first.parity.name == "conf.flat"


def test_swapped_classes_fail_however_they_are_swapped() -> None:
    names = (TOY.class_names[0], *reversed(TOY.class_names[1:]))
    renamed = compare(save("renamed.onnx", spec=dataclasses.replace(TOY, class_names=names)))
    assert renamed.exit_code == 5
    assert parts(renamed) == {"sides"}
    assert "class 1 is 'red thing' in the reference and 'blue thing' in the candidate" in sentences(renamed)

    order = [0, 2, 1]
    swapped = compare(
        save(
            "swapped.onnx",
            conf_w=lambda values: values.reshape(3, -1, 3)[:, :, order].reshape(3, -1),
            conf_b=lambda values: values.reshape(-1, 3)[:, order].reshape(-1),
        )
    )
    assert swapped.exit_code == 5
    assert parts(swapped) >= {"tensors", "detections", "metric"}
    assert swapped.detections is not None
    assert swapped.detections.everything.shares == (0.0, 0.0)
    assert swapped.metric is not None
    assert swapped.metric.candidate == 0.0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"score": 0.3}, "the score threshold differs: 0.03 in the reference, 0.3 in the candidate"),
        ({"iou": 0.6}, "the IoU threshold differs: 0.45 in the reference, 0.6 in the candidate"),
        ({"max_detections": 9}, "the largest number of detections differs: 10 in the reference, 9 in the candidate"),
    ],
)
@pytest.mark.parametrize("nms", ["efficient", "onnx"])
def test_another_threshold_fails_unless_it_is_allowed(changes: dict[str, Any], named: str, nms: str) -> None:
    other = dataclasses.replace(THRESHOLDS, **changes)
    candidate = write_toy(Path("candidate.onnx"), thresholds=other, nms=nms)  # type: ignore[arg-type]  # a name of the kinds
    result = compare(candidate)
    assert result.exit_code == 5
    assert parts(result) == {"sides"}
    assert sentences(result) == named

    allowed = compare(candidate, allow_other_thresholds=True)
    assert allowed.passed, sentences(allowed)
    assert any(named in note for note in allowed.notes)
    assert allowed.matched == "EfficientNMS for both"


def test_what_an_allowed_threshold_costs_is_the_nms_effect_alone() -> None:
    strict = dataclasses.replace(THRESHOLDS, score=0.9999)
    candidate = write_toy(Path("candidate.onnx"), thresholds=strict)
    result = compare(candidate, allow_other_thresholds=True)
    assert result.exit_code == 6
    assert parts(result) == {"metric"}
    assert result.metric is not None
    separation = result.metric.separation
    assert separation.network == 0.0
    assert separation.nms is not None
    assert separation.nms < -0.1
    assert separation.upstream.change == 0.0


def test_nan_is_a_failure_and_the_report_is_still_whole() -> None:
    result = compare(save("candidate.onnx", conf_b=lambda values: values * np.nan))
    assert result.exit_code == 5
    assert parts(result) == {"tensors", "detections", "metric"}
    assert "NaN" in sentences(result)
    assert result.metric is not None
    assert result.metric.reference == pytest.approx(1.0)
    assert result.metric.candidate == 0.0


def test_infinite_boxes_are_a_failure() -> None:
    result = compare(save("candidate.onnx", loc_b=lambda values: values + 1e4))
    assert result.exit_code == 5
    assert "infinite" in sentences(result)


def shifted(path: str, precision: str) -> Path:
    """Boxes a fifth of their side off: the same objects, with an IoU of about 0.8."""
    return save(
        path, precision=precision, loc_b=lambda values: values + np.tile([1.0, 0.0, 0.0, 0.0], len(values) // 4)
    )


def test_a_drop_alone_is_exit_code_6_and_a_drop_with_more_is_5() -> None:
    budget = compare(shifted("int8.onnx", "int8"))
    assert budget.exit_code == 6
    assert parts(budget) == {"metric"}
    assert budget.detections is not None
    assert budget.detections.everything.shares == (1.0, 1.0)
    assert budget.metric is not None
    assert budget.metric.drop is not None
    assert budget.metric.drop.separates(budget.metric.limit)
    assert all(one.tolerance is None for one in budget.tensors.outputs if one.name != "images")
    assert {one.sqnr_text for one in budget.tensors.outputs if one.name == "loc"} == {"no signal"}

    both = compare(shifted("fp32.onnx", "fp32"))
    assert both.exit_code == 5
    assert parts(both) == {"tensors", "metric"}


def test_the_budget_is_of_the_kind_that_was_asked_for() -> None:
    candidate = shifted("int8.onnx", "int8")
    lost = compare(candidate).metric
    assert lost is not None
    assert lost.drop is not None
    relative = lost.drop.drop
    assert lost.reference is not None
    for kind, drop in (("relative", relative), ("absolute", relative * lost.reference)):
        assert compare(candidate, max_drop=drop + 1e-6, drop_type=kind).passed
        assert compare(candidate, max_drop=drop - 1e-6, drop_type=kind).exit_code == 6


def test_an_interval_that_holds_the_limit_is_said_not_to_separate() -> None:
    """Half of the images are hit, so the drop varies with the draw."""
    candidate = save("candidate.onnx", precision="int8", conf_w=lambda values: values * np.array([[0.0], [1], [1]]))
    drop = compare(candidate, max_drop=1.0).metric
    assert drop is not None
    assert drop.drop is not None
    unclear = compare(candidate, max_drop=drop.drop.drop + 1e-3)
    assert unclear.metric is not None
    assert unclear.metric.within
    assert "does not separate" in unclear.metric.verdict()


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_manifests_precision_chooses_the_tolerances(precision: str) -> None:
    """An error of a thousandth of the scale: half precision may have it, float32 may not."""
    candidate = save(
        "candidate.onnx", precision=precision, conf_b=lambda values: values + np.linspace(0, 0.02, len(values))
    )
    result = compare(candidate)
    assert result.tensors.precision == precision
    assert result.passed is (precision != "fp32")


def test_another_head_fails_and_says_so() -> None:
    assert TOY.head is not None
    layers = (dataclasses.replace(TOY.head.layers[0], min_size=9.0),)
    spec = dataclasses.replace(TOY, head=dataclasses.replace(TOY.head, layers=layers))
    result = compare(save("candidate.onnx", spec=spec))
    assert result.exit_code == 5
    assert "the heads differ in layers" in sentences(result)


def test_a_candidate_with_other_classes_fails_in_every_part_it_can() -> None:
    assert TOY.head is not None
    spec = dataclasses.replace(
        TOY, head=dataclasses.replace(TOY.head, num_classes=4), class_names=(*TOY.class_names, "green thing")
    )
    result = compare(write_toy(Path("candidate.onnx"), spec=spec, busy=True))
    assert result.exit_code == 5
    assert "the heads differ in num_classes" in sentences(result)
    assert "2 class names" in sentences(result)
    assert "'conf'" in sentences(result)
    assert parts(result) >= {"sides", "tensors", "detections", "metric"}


def test_without_boxes_and_scores_inside_the_nms_cannot_be_separated_and_nothing_common_fails() -> None:
    model = toy_graph(OPTIONS)
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [f"hidden.{name}" if name in {"loc", "conf", "boxes", "scores"} else name for name in names]
    for value in model.graph.value_info:
        if value.name in {"loc", "conf", "boxes", "scores"}:
            value.name = f"hidden.{value.name}"
    result = compare(save_model("candidate.onnx", model))
    assert result.exit_code == 5
    assert parts(result) == {"tensors"}
    assert "no common outputs" in sentences(result)
    assert "'loc' is not in the candidate" in sentences(result)
    assert result.metric is not None
    assert result.metric.candidate == pytest.approx(1.0)
    assert result.metric.separation.network is None
    assert result.metric.separation.common.why is not None
    assert "the candidate has no boxes and scores" in result.metric.separation.common.why


def test_nothing_detected_on_either_side_is_no_parity() -> None:
    result = compare(blind(), reference="blind.onnx")
    assert result.exit_code == 5
    assert "neither side detects anything" in sentences(result)
    assert "nothing to keep" in sentences(result)


def test_a_reference_that_is_always_wrong_proves_nothing() -> None:
    images = [SmallImage(name="1", colour=RED, objects=(SmallObject(name="blue thing", box=(0.0, 0.0, 9.0, 9.0)),))]
    write_coco(Path("wrong"), images)
    result = compare(data="coco:wrong")
    assert result.exit_code == 5
    assert "the reference's mAP is 0.0" in sentences(result)
