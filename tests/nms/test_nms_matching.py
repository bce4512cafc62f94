"""Comparing detections by matching."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hardnet_deploy.errors import UsageError
from hardnet_deploy.nms.efficient import efficient_nms
from hardnet_deploy.nms.matching import DetectionSet, match_detections

BOUNDS: dict[str, Any] = {"iou_at_least": 0.9, "score_tolerance": 0.01}
ROWS = [[1, 0, 0, 10, 10, 0.9], [2, 0, 0, 10, 10, 0.8], [1, 50, 50, 90, 90, 0.7]]


def compare(reference: Any, candidate: Any, **options: Any) -> Any:
    return match_detections(DetectionSet.from_rows(reference), DetectionSet.from_rows(candidate), **(BOUNDS | options))


def test_order_does_not_matter() -> None:
    match = compare(ROWS, ROWS[::-1])
    assert match.pairs.tolist() == [[0, 2], [1, 1], [2, 0]]
    assert match.complete
    assert (match.max_score_error, match.min_iou) == (0, 1)


def test_reports_largest_score_error_and_smallest_overlap() -> None:
    moved = [[1, 0, 0, 10, 9.5, 0.895], *ROWS[1:]]
    match = compare(ROWS, moved)
    assert match.complete
    assert match.max_score_error == pytest.approx(0.005)
    assert match.min_iou == pytest.approx(0.95)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param([3, 0, 0, 10, 10, 0.9], id="class"),
        pytest.param([1, 0, 0, 10, 8, 0.9], id="box"),
        pytest.param([1, 0, 0, 10, 10, 0.88], id="score"),
        pytest.param([1, 0, 0, 10, 10, np.nan], id="NaN score"),
        pytest.param([1, 0, 0, np.nan, 10, 0.9], id="NaN box"),
    ],
)
def test_a_difference_leaves_both_sides_over(changed: list[float]) -> None:
    match = compare(ROWS, [changed, *ROWS[1:]])
    assert not match.complete
    assert match.unmatched_reference.tolist() == [0]
    assert match.unmatched_candidate.tolist() == [0]


def test_missing_and_invented_detections() -> None:
    lost = compare(ROWS, ROWS[:2])
    assert (lost.unmatched_reference.tolist(), lost.unmatched_candidate.tolist()) == ([2], [])
    invented = compare(ROWS[:2], ROWS)
    assert (invented.unmatched_reference.tolist(), invented.unmatched_candidate.tolist()) == ([], [2])


def test_one_reference_is_not_matched_twice() -> None:
    match = compare(ROWS[:1], [ROWS[0], ROWS[0]])
    assert len(match.pairs) == 1
    assert match.unmatched_candidate.tolist() == [1]


def test_the_better_overlap_is_taken() -> None:
    reference = [[1, 0, 0, 10, 9.6, 0.9], [1, 0, 0, 10, 10, 0.9]]
    assert compare(reference, [[1, 0, 0, 10, 10, 0.9]]).pairs.tolist() == [[1, 0]]


def test_equal_boxes_without_area_match() -> None:
    point = [[1, 5, 5, 5, 5, 0.9]]
    assert compare(point, point).complete


def test_empty_sides() -> None:
    both = compare([], [])
    assert both.complete
    assert (len(both.pairs), both.max_score_error, both.min_iou) == (0, None, None)
    one = compare(ROWS, [])
    assert not one.complete
    assert one.unmatched_reference.tolist() == [0, 1, 2]


def test_from_result_leaves_padding_out() -> None:
    boxes = np.array([[[0, 0, 1, 1], [5, 5, 6, 6]]], np.float32)
    scores = np.array([[[0.9, 0], [0, 0.8]]], np.float32)
    result = efficient_nms(boxes, scores, score_threshold=0.1, iou_threshold=0.5, max_output_boxes=9)
    found = DetectionSet.from_result(result, 0)
    assert len(found) == 2
    assert found.classes.tolist() == [0, 1]


@pytest.mark.parametrize("wrong", [{"iou_at_least": 0.0}, {"iou_at_least": 1.1}, {"score_tolerance": -1.0}])
def test_bounds_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        compare(ROWS, ROWS, **wrong)


def test_a_set_must_fit_together() -> None:
    with pytest.raises(UsageError, match=r"boxes \(2, 4\), scores \(3,\)"):
        DetectionSet(boxes=np.zeros((2, 4)), scores=np.zeros(3), classes=np.zeros(3, np.int64))
