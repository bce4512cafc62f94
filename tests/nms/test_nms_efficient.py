"""EfficientNMS_TRT: the reference against an oracle written candidate by candidate, and the hard cases one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nms_cases import BOUNDS, STEP, hard_boxes, nested_pair, random_boxes, random_scores, tied_scores

from hardnet_deploy.errors import UsageError
from hardnet_deploy.nms.efficient import EfficientNmsResult, efficient_nms
from hardnet_deploy.specs import F32

DEFAULTS: dict[str, Any] = {"score_threshold": 0.1, "iou_threshold": 0.5, "max_output_boxes": 5}


def run(boxes: Any, scores: Any, **options: Any) -> EfficientNmsResult:
    batch = np.asarray(boxes, np.float32), np.asarray(scores, np.float32)
    if batch[0].ndim == 2:
        batch = batch[0][None], batch[1][None]
    return efficient_nms(*batch, **(DEFAULTS | options))


def rows(result: EfficientNmsResult, image: int = 0) -> list[tuple[float, ...]]:
    count = result.num_detections[image, 0]
    boxes, scores = result.detection_boxes[image, :count], result.detection_scores[image, :count]
    labels = result.detection_classes[image, :count]
    return [(float(s), int(c), *map(float, b)) for s, c, b in zip(scores, labels, boxes, strict=True)]


def oracle(boxes: F32, scores: F32, **options: Any) -> list[tuple[float, ...]]:
    """One image, one candidate at a time, float32 scalars; corners only, no activation."""
    settings = DEFAULTS | {"background_class": -1, "class_agnostic": 0, "candidate_cap": 5000} | options
    f = np.float32

    def ordered(low: np.float32, high: np.float32) -> tuple[np.float32, np.float32]:
        if not low > high:
            return low, high
        difference = f(low - high)
        new_high = f(difference + high)
        return f(new_high - difference), new_high

    def area(x1: np.float32, y1: np.float32, x2: np.float32, y2: np.float32) -> np.float32:
        return f(0) if x2 - x1 <= 0 or y2 - y1 <= 0 else f(f(x2 - x1) * f(y2 - y1))

    def iou(one: F32, two: F32) -> np.float32:
        (ax1, ax2), (ay1, ay2) = ordered(one[0], one[2]), ordered(one[1], one[3])
        (bx1, bx2), (by1, by2) = ordered(two[0], two[2]), ordered(two[1], two[3])
        common = area(max(ax1, bx1), max(ay1, by1), min(ax2, bx2), min(ay2, by2))
        union = f(f(area(ax1, ay1, ax2, ay2) + area(bx1, by1, bx2, by2)) - common)
        return f(common / union) if common > 0 and union > 0 else f(0)

    waiting = [
        (scores[anchor, label], anchor, label)
        for anchor in range(scores.shape[0])
        for label in range(scores.shape[1])
        if label != settings["background_class"] and scores[anchor, label] >= f(settings["score_threshold"])
    ]
    waiting = sorted(waiting, key=lambda entry: -entry[0])[: settings["candidate_cap"]]
    kept: list[tuple[float, ...]] = []
    while waiting and len(kept) < settings["max_output_boxes"]:
        score, anchor, label = waiting.pop(0)
        kept.append((float(score), label, *map(float, boxes[anchor])))
        waiting = [
            entry
            for entry in waiting
            if not (
                (settings["class_agnostic"] or entry[2] == label)
                and iou(boxes[entry[1]], boxes[anchor]) >= f(settings["iou_threshold"])
            )
        ]
    return kept


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("make_scores", [random_scores, tied_scores])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"background_class": 0},
        {"class_agnostic": 1},
        {"candidate_cap": 20, "max_output_boxes": 40},
        {"iou_threshold": 0.01, "score_threshold": 0.3},
        {"iou_threshold": 1.0, "max_output_boxes": 300},
    ],
)
def test_equals_the_oracle(seed: int, make_scores: Any, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(seed)
    boxes = np.stack([hard_boxes(rng, 60), hard_boxes(rng, 60)])
    scores = make_scores(rng, (2, 60, 4))
    result = run(boxes, scores, **options)
    for image in range(2):
        assert rows(result, image) == oracle(boxes[image], scores[image], **options)


@pytest.mark.parametrize("bound", BOUNDS)
def test_suppresses_at_the_bound_and_over_it_but_not_a_hair_under(bound: float) -> None:
    counts = {
        step: run(nested_pair(bound + step * STEP), [[0.9], [0.8]], iou_threshold=bound).num_detections.item()
        for step in (-1, 0, 1)
    }
    assert counts == {-1: 2, 0: 1, 1: 1}


def test_score_at_the_threshold_passes_and_a_hair_under_does_not() -> None:
    threshold = np.float32(0.3)
    scores = [[threshold], [np.nextafter(threshold, np.float32(0))]]
    apart = [[0, 0, 1, 1], [2, 2, 3, 3]]
    assert run(apart, scores, score_threshold=0.3).num_detections.item() == 1


def test_only_the_same_class_is_suppressed_unless_agnostic() -> None:
    same = [[0, 0, 1, 1], [0, 0, 1, 1]]
    scores = [[0.9, 0.0], [0.0, 0.8]]
    assert run(same, scores).num_detections.item() == 2
    assert run(same, scores, class_agnostic=1).num_detections.item() == 1


def test_equal_scores_go_by_anchor_then_class() -> None:
    apart = [[0, 0, 1, 1], [2, 2, 3, 3]]
    result = run(apart, [[0.5, 0.5], [0.5, 0.5]])
    assert [(row[1], row[2]) for row in rows(result)] == [(0, 0.0), (1, 0.0), (0, 2.0), (1, 2.0)]


@pytest.mark.parametrize(
    ("scores", "options"),
    [
        pytest.param(np.full((7, 3), 0.05), {}, id="all under the threshold"),
        pytest.param(np.eye(3)[np.zeros(7, int)], {"background_class": 0}, id="all background"),
        pytest.param(np.full((7, 3), np.nan), {}, id="all NaN"),
        pytest.param(np.zeros((0, 3)), {}, id="no anchors"),
    ],
)
def test_no_candidate_gives_nothing_but_padding(scores: F32, options: dict[str, Any]) -> None:
    result = run(random_boxes(np.random.default_rng(0), len(scores)), scores, **options)
    assert [output.shape for output in result] == [(1, 1), (1, 5, 4), (1, 5), (1, 5)]
    assert [output.dtype for output in result] == [np.int32, np.float32, np.float32, np.int32]
    assert not any(output.any() for output in result)


def test_nan_score_is_never_selected_and_hides_nobody() -> None:
    result = run([[0, 0, 1, 1]] * 3, [[np.nan], [0.8], [np.nan]])
    assert rows(result) == [(pytest.approx(0.8), 0, 0, 0, 1, 1)]


def test_one_class_beside_background() -> None:
    result = run([[0, 0, 1, 1], [5, 5, 6, 6]], [[0.2, 0.8], [0.4, 0.6]], background_class=0)
    assert [row[1] for row in rows(result)] == [1, 1]


def test_candidate_cap_counts_all_classes_together_before_suppression() -> None:
    """6,000 duplicates of one class with higher scores fill the 5,000 places: the other class never gets in."""
    boxes = np.tile(np.array([[0, 0, 1, 1]], np.float32), (6001, 1))
    boxes[-1] += 10
    scores = np.zeros((6001, 2), np.float32)
    scores[:-1, 0] = np.linspace(0.6, 0.9, 6000)
    scores[-1, 1] = 0.5
    assert [row[1] for row in rows(run(boxes, scores))] == [0]
    assert [row[1] for row in rows(run(boxes, scores, candidate_cap=6001))] == [0, 1]


def test_at_most_k_and_the_best_ones() -> None:
    apart = np.arange(8)[:, None] * 10 + np.array([0, 0, 1, 1])
    result = run(apart, np.linspace(0.2, 0.9, 8)[:, None])
    assert [row[0] for row in rows(result)] == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5])


def test_batch_of_two_with_different_counts_and_zero_padding() -> None:
    boxes = np.stack([random_boxes(np.random.default_rng(1), 3), np.array([[0, 0, 1, 1]] * 3, np.float32)])
    scores = np.array([[[0.9], [0.01], [0.01]], [[0.2], [0.7], [0.01]]], np.float32)
    result = run(boxes, scores)
    assert result.num_detections.tolist() == [[1], [1]]
    assert result.detection_scores[1].tolist() == pytest.approx([0.7, 0, 0, 0, 0])
    assert not result.detection_boxes[:, 1:].any()


def test_inverted_corners_overlap_like_ordered_ones_and_come_out_as_they_went_in() -> None:
    result = run([[1, 1, 0, 0], [0, 0, 1, 1]], [[0.8], [0.7]])
    assert rows(result) == [(pytest.approx(0.8), 0, 1, 1, 0, 0)]


def test_boxes_without_area_neither_suppress_nor_are_suppressed() -> None:
    assert run([[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 1, 1]], [[0.9], [0.8], [0.7]]).num_detections.item() == 3


def test_boxes_beyond_the_image_are_not_clipped() -> None:
    assert rows(run([[-3, -2, 7, 9]], [[0.9]]))[0][2:] == (-3, -2, 7, 9)


def test_boxes_that_overflow_pass_through_without_a_warning() -> None:
    boxes = [[-np.inf, -np.inf, np.inf, np.inf], [0, 0, 1, 1], [np.nan, 0, 1, 1]]
    assert run(boxes, [[0.9], [0.8], [0.7]]).num_detections.item() == 3


def test_sigmoid_activation_selects_by_logit_and_returns_probabilities() -> None:
    logits = np.log(np.array([[0.31], [0.29], [0.9]]) / (1 - np.array([[0.31], [0.29], [0.9]])))
    apart = np.arange(3)[:, None] * 10 + np.array([0, 0, 1, 1])
    result = run(apart, logits, score_threshold=0.3, score_activation=1)
    assert [row[0] for row in rows(result)] == pytest.approx([0.9, 0.31], abs=1e-6)


def test_sigmoid_with_threshold_one_selects_nothing() -> None:
    assert run([[0, 0, 1, 1]], [[80.0]], score_threshold=1.0, score_activation=1).num_detections.item() == 0


def test_centre_coding_comes_out_as_corners() -> None:
    assert rows(run([[2, 3, 2, 4]], [[0.9]], box_coding=1))[0][2:] == (1, 1, 3, 5)


def test_anchors_decode_centre_form_without_variances() -> None:
    anchors = np.array([[[0.5, 0.5, 0.2, 0.4]]], np.float32)
    result = run([[1, -1, np.log(2), 0]], [[0.9]], box_coding=1, anchors=anchors)
    assert rows(result)[0][2:] == pytest.approx((0.5, -0.1, 0.9, 0.3), abs=1e-6)


def test_anchors_are_added_to_ordered_corners() -> None:
    anchors = np.array([[[1, 1, 2, 2]], [[0, 0, 10, 10]]], np.float32)
    result = run([[[0.5, 0, 0, 0.5]]] * 2, [[[0.9]]] * 2, anchors=anchors)
    assert result.detection_boxes[:, 0].tolist() == [[1, 1, 2.5, 2.5], [0, 0, 10.5, 10.5]]


def test_low_score_threshold_is_refused_with_the_reason() -> None:
    run([[0, 0, 1, 1]], [[0.5]], score_threshold=0.007)
    with pytest.raises(UsageError, match="-32768") as error:
        run([[0, 0, 1, 1]], [[0.5]], score_threshold=0.0069)
    assert "0.007" in str(error.value)
    assert "--nms onnx" in str(error.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"iou_threshold": 0.0},
        {"iou_threshold": 1.1},
        {"iou_threshold": float("nan")},
        {"score_threshold": 1.5},
        {"max_output_boxes": 0},
        {"candidate_cap": 0},
        {"anchors": np.zeros((1, 2, 4), np.float32)},
    ],
)
def test_options_out_of_range_are_usage_errors(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        run([[0, 0, 1, 1]], [[0.5]], **wrong)


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(UsageError, match=r"boxes \(1, 2, 4\), scores \(1, 3, 2\)"):
        run(np.zeros((1, 2, 4)), np.zeros((1, 3, 2)))


def test_inputs_are_left_alone() -> None:
    rng = np.random.default_rng(3)
    boxes, scores = hard_boxes(rng, 20)[None], random_scores(rng, (1, 20, 3))
    copies = boxes.copy(), scores.copy()
    run(boxes, scores, background_class=0)
    assert np.array_equal(boxes, copies[0])
    assert np.array_equal(scores, copies[1])
