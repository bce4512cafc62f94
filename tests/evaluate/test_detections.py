"""Do two engines find the same things: what counts as found, what is counted, and which images are the worst."""

from __future__ import annotations

import json

import pytest
from small_datasets import Box, found

from hardnet_deploy.evaluate.detections import WORST_IMAGES, DetectionsParity, compare_detections
from hardnet_deploy.evaluate.tolerances import ANY_SCORE, MatchTolerance
from hardnet_deploy.nms.matching import DetectionSet

BOX: Box = (10.0, 10.0, 110.0, 110.0)
FAR: Box = (300.0, 300.0, 400.0, 400.0)
HALF = MatchTolerance(iou=0.5, score=ANY_SCORE, share=0.5, why="a round number for the tests")
ALL = MatchTolerance(iou=0.5, score=ANY_SCORE, share=1.0, why="a round number for the tests")
Row = tuple[int, Box, float]


def compare(*images: tuple[list[Row], list[Row]]) -> DetectionsParity:
    return compare_detections((found(ours), found(theirs)) for ours, theirs in images)


def shifted(pixels: float) -> Box:
    return (BOX[0] + pixels, BOX[1], BOX[2] + pixels, BOX[3])


def test_equal_detections_match_without_error_and_no_image_is_bad() -> None:
    parity = compare(([(1, BOX, 0.9), (2, FAR, 0.1)], [(2, FAR, 0.1), (1, BOX, 0.9)]), ([], []))
    assert parity.images == 2
    assert parity.everything.shares == (1.0, 1.0)
    assert parity.everything.score_error is not None
    assert parity.everything.score_error.max == 0.0
    assert parity.everything.box_error is not None
    assert parity.everything.box_error.max == 0.0
    assert parity.worst == ()
    assert parity.everything.failures(ALL) == ()


@pytest.mark.parametrize(
    ("theirs", "matched"),
    [
        ((1, BOX, 0.01), 1),  # any score will do
        ((1, shifted(30), 0.9), 1),  # IoU 70 / 130
        ((1, shifted(35), 0.9), 0),  # IoU 65 / 135
        ((2, BOX, 0.9), 0),
        ((1, FAR, 0.9), 0),
    ],
)
def test_a_partner_is_of_the_same_class_and_overlaps_by_half(theirs: Row, matched: int) -> None:
    parity = compare(([(1, BOX, 0.9)], [theirs]))
    assert parity.everything.matched_reference == parity.everything.matched_candidate == matched


def test_swapped_classes_match_nothing() -> None:
    parity = compare(([(1, BOX, 0.9), (2, FAR, 0.8)], [(2, BOX, 0.9), (1, FAR, 0.8)]))
    assert parity.everything.shares == (0.0, 0.0)
    assert len(parity.everything.failures(HALF)) == 2


def test_each_detection_has_one_partner_only() -> None:
    parity = compare(([(1, BOX, 0.9)], [(1, BOX, 0.9), (1, shifted(5), 0.8)]))
    assert parity.everything.shares == (1.0, 0.5)
    assert parity.everything.failures(HALF) == ()
    (sentence,) = parity.everything.failures(ALL)
    assert "1 of 2" in sentence
    assert "candidate" in sentence


def test_a_score_that_falls_below_what_is_shown_still_has_its_partner() -> None:
    parity = compare(([(1, BOX, 0.31), (1, FAR, 0.1)], [(1, BOX, 0.29)]))
    assert (parity.shown.reference, parity.shown.candidate) == (1, 0)
    assert parity.shown.shares == (1.0, None)
    assert parity.shown.failures(ALL) == ()
    assert parity.everything.shares == (0.5, 1.0)
    assert parity.shown.score_error is not None
    assert parity.shown.score_error.max == pytest.approx(0.02)


def test_a_side_that_finds_nothing_fails_the_other() -> None:
    parity = compare(([(1, BOX, 0.9)], []))
    assert parity.everything.shares == (0.0, None)
    assert len(parity.everything.failures(HALF)) == 1


def test_nothing_on_either_side_has_no_shares_and_no_quantiles() -> None:
    parity = compare(([], []))
    assert parity.everything.shares == (None, None)
    assert parity.everything.score_error is None
    json.dumps(parity.as_dict(), allow_nan=False)
    assert compare().images == 0


def test_quantiles_are_over_the_pairs() -> None:
    pairs = [([(1, BOX, 0.5)], [(1, BOX, 0.5 + error / 1000)]) for error in range(101)]
    errors = compare(*pairs).everything.score_error
    assert errors is not None
    assert [errors.p50, errors.p90, errors.p99, errors.max] == pytest.approx([0.05, 0.09, 0.099, 0.1])


def test_box_error_is_one_minus_iou() -> None:
    errors = compare(([(1, BOX, 0.5)], [(1, shifted(25), 0.5)])).everything.box_error
    assert errors is not None
    assert errors.max == pytest.approx(1 - 75 / 125)


def test_equal_boxes_without_area_are_equal() -> None:
    flat = (5.0, 5.0, 5.0, 9.0)
    parity = compare(([(1, flat, 0.5)], [(1, flat, 0.5)]))
    assert parity.everything.shares == (1.0, 1.0)
    assert parity.everything.box_error is not None
    assert parity.everything.box_error.max == 0.0


def test_the_worst_images_come_first_and_say_what_has_no_partner() -> None:
    parity = compare(
        ([(1, BOX, 0.9)], [(1, BOX, 0.9)]),
        ([(1, BOX, 0.2)], []),
        ([(1, BOX, 0.9), (1, FAR, 0.5)], [(1, FAR, 0.5), (2, BOX, 0.9)]),
        ([(1, BOX, 0.9)], [(1, BOX, 0.6)]),
    )
    assert [image.index for image in parity.worst] == [2, 3, 1]
    worst = parity.worst[0]
    assert worst.lost.tolist() == [0]
    assert worst.invented.tolist() == [1]
    assert worst.value == pytest.approx(1.8)


def test_only_so_many_images_are_named_and_ties_go_by_place() -> None:
    parity = compare(*[([(1, BOX, 0.5)], [])] * 25)
    assert [image.index for image in parity.worst] == list(range(WORST_IMAGES))


def test_rounding_is_no_disagreement() -> None:
    assert compare(([(1, BOX, 0.5)], [(1, shifted(1e-5), 0.500001)])).worst == ()


def test_boxes_with_a_tenth_of_their_score_are_no_match() -> None:
    reference = DetectionSet.from_rows([(1, 10, 10, 50, 50, 0.9), (2, 60, 60, 90, 90, 0.8)])
    faint = DetectionSet(boxes=reference.boxes, scores=reference.scores * 0.07, classes=reference.classes)
    found = compare_detections([(reference, faint)], score_tolerance=0.2)
    assert (found.shown.reference, found.shown.matched_reference) == (2, 0)
    assert found.shown.score_error is not None
    assert found.shown.score_error.max == pytest.approx(0.9 * 0.93)
    assert compare_detections([(reference, faint)]).shown.matched_reference == 2
