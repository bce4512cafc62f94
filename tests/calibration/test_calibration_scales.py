"""INT8 scales: known answers, exact zeros, and the ranges that have none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from calibration.errors import CalibrationError
from calibration.table import asymmetric, symmetric_scale, to_float32

RANDOM_RANGES = 2000


def test_symmetric_scales_are_rounded_to_float32() -> None:
    assert symmetric_scale(1.0) == float(np.float32(1.0) / np.float32(127.0))
    for threshold in np.random.default_rng(1).lognormal(0.0, 5.0, 500).astype(np.float32):
        assert symmetric_scale(float(threshold)) == float(threshold / np.float32(127.0))


@pytest.mark.parametrize("threshold", [0.0, -1.0, math.nan, math.inf, 1e-50, 1e300])
def test_a_threshold_without_a_scale_is_refused(threshold: float) -> None:
    with pytest.raises(CalibrationError, match="no INT8 scale"):
        symmetric_scale(threshold)


def random_ranges() -> list[tuple[float, float]]:
    random = np.random.default_rng(2)
    ends = random.normal(0.0, 1.0, (RANDOM_RANGES, 2)) * 10.0 ** random.uniform(-6, 6, (RANDOM_RANGES, 1))
    return [(min(pair), max(pair)) for pair in ends.tolist()]


def test_asymmetric_zero_is_exact_and_both_ends_are_reached() -> None:
    for low, high in random_ranges():
        scale, zero = asymmetric(low, high)
        assert scale == to_float32(scale) > 0
        assert type(zero) is int
        assert 0 <= zero <= 255
        quantised = np.rint(np.float32(0.0) / np.float32(scale)) + zero
        assert (quantised - zero) * np.float32(scale) == 0.0
        half_a_step = scale * 0.5001  # the zero point is rounded to a whole step, the scale to float32
        assert -zero * scale - half_a_step <= min(low, 0.0)
        assert (255 - zero) * scale + half_a_step >= max(high, 0.0)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 255.0, (1.0, 0)),
        (-255.0, 0.0, (1.0, 255)),
        (-127.0, 128.0, (1.0, 127)),
        (3.0, 255.0, (1.0, 0)),  # widened to hold 0
        (-255.0, -3.0, (1.0, 255)),
        (-0.5, 254.5, (1.0, 0)),  # a tie goes to the even zero point
        (-1.5, 253.5, (1.0, 2)),
    ],
)
def test_asymmetric_known_answers(low: float, high: float, expected: tuple[float, int]) -> None:
    assert asymmetric(low, high) == expected


@pytest.mark.parametrize(
    ("low", "high"),
    [(0.0, 0.0), (0.0, 1e-50), (1.0, -1.0), (math.nan, 1.0), (0.0, math.nan), (-math.inf, 0.0), (0.0, 1e300)],
)
def test_a_range_without_a_scale_is_refused(low: float, high: float) -> None:
    with pytest.raises(CalibrationError):
        asymmetric(low, high)
