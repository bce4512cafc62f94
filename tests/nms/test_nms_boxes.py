"""Decoding, softmax, IoU and the greedy loop."""

from __future__ import annotations

import numpy as np
import pytest
from nms_cases import BOUNDS, STEP, nested_pair

from hardnet_deploy.errors import UsageError
from hardnet_deploy.nms.boxes import (
    BoolArray,
    check_range,
    decode_boxes,
    greedy_keep,
    iou_with,
    ordered_corners,
    softmax,
)

# decode_boxes and the textbook formula differ by the rounding of about five float64 operations on values near 1.
FLOAT64_ROUNDING = 1e-14


def test_decode_is_the_textbook_formula() -> None:
    rng = np.random.default_rng(0)
    loc, priors = rng.normal(size=(2, 9, 4)), rng.random((9, 4))
    centre_x = priors[:, 0] + loc[..., 0] * 0.1 * priors[:, 2]
    width = priors[:, 2] * np.exp(loc[..., 2] * 0.2)
    boxes = decode_boxes(loc, priors)
    assert boxes.shape == (2, 9, 4)
    np.testing.assert_allclose(boxes[..., 0], centre_x - width / 2, rtol=0, atol=FLOAT64_ROUNDING)
    np.testing.assert_allclose(boxes[..., 2], centre_x + width / 2, rtol=0, atol=FLOAT64_ROUNDING)


def test_zero_offsets_give_the_priors_as_corners_unclipped() -> None:
    priors = np.array([[0.5, 0.5, 0.25, 0.5], [0, 1, 0.5, 0.5]], np.float32)
    assert decode_boxes(np.zeros_like(priors), priors).tolist() == [
        [0.375, 0.25, 0.625, 0.75],
        [-0.25, 0.75, 0.25, 1.25],
    ]


def test_variances_scale_offsets_and_sizes() -> None:
    loc, priors = np.array([[1.0, 0, 1, 0]]), np.array([[0.5, 0.5, 0.2, 0.2]])
    (x1, y1, x2, y2), *_ = decode_boxes(loc, priors, (0.5, 1.0))
    assert x2 - x1 == pytest.approx(0.2 * np.e)
    assert (x1 + x2) / 2 == pytest.approx(0.6)
    assert (y1, y2) == pytest.approx((0.4, 0.6))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept(dtype: type[np.floating]) -> None:
    array = np.ones((3, 4), dtype)
    assert decode_boxes(array, array).dtype == dtype
    assert softmax(array).dtype == dtype
    assert iou_with(array[0], array).dtype == dtype


def test_softmax_sums_to_one_and_does_not_overflow() -> None:
    rows = softmax(np.array([[1e4, 1e4 - 1, -1e4], [0, 0, 0]]))
    np.testing.assert_allclose(rows.sum(axis=-1), 1, rtol=0, atol=1e-15)
    assert rows[0, 0] / rows[0, 1] == pytest.approx(np.e)
    assert rows[1].tolist() == [1 / 3] * 3


@pytest.mark.parametrize("overlap", BOUNDS)
@pytest.mark.parametrize("step", [-1, 0, 1])
def test_nested_pairs_overlap_exactly_as_built(overlap: float, step: int) -> None:
    pair = nested_pair(overlap + step * STEP)
    assert iou_with(pair[0], pair)[1] == np.float32(overlap + step * STEP)


def test_iou_of_apart_touching_equal_and_pixel_counted_boxes() -> None:
    boxes = np.array([[0, 0, 2, 2], [2, 0, 4, 2], [1, 0, 3, 2], [9, 9, 10, 10]], np.float32)
    assert iou_with(boxes[0], boxes).tolist() == pytest.approx([1, 0, 1 / 3, 0])
    assert iou_with(boxes[0], boxes, pixel=1.0).tolist() == pytest.approx([1, 3 / 15, 6 / 12, 0])


def test_iou_of_two_boxes_without_area_is_nan_and_warns_not() -> None:
    point = np.array([[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 2, 2]], np.float32)
    overlap = iou_with(point[0], point)
    assert np.isnan(overlap[:2]).all()
    assert overlap[2] == 0


def test_ordered_corners() -> None:
    assert ordered_corners(np.array([[3.0, 1, 2, 4]])).tolist() == [[2, 1, 3, 4]]


def test_greedy_keep_lets_only_kept_candidates_suppress() -> None:
    """0 suppresses 1; 1 would suppress 2 but is gone, so 2 stays."""
    suppressed = {0: [1], 1: [2], 2: [], 3: []}

    def mask(candidate: int) -> BoolArray:
        return np.isin(np.arange(4), suppressed[candidate])

    assert greedy_keep(4, mask).tolist() == [0, 2, 3]
    assert greedy_keep(4, mask, limit=2).tolist() == [0, 2]
    assert greedy_keep(0, mask).tolist() == []


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_check_range_names_option_and_value(value: float) -> None:
    with pytest.raises(UsageError, match=rf"iou_threshold(.|\n)*{value}"):
        check_range("iou_threshold", value, 0, 1)
