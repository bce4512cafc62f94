"""The streaming histogram: exact counts whatever the order, the splitting or an interruption of the stream."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.errors import CalibrationError
from calibration.histogram import BINS, MagnitudeHistogram

F32 = NDArray[np.float32]
WITHIN_A_BIN = 1.0  # bin widths: the histogram does not know where inside a bin a value was
FLOAT32_MAX = float(np.finfo(np.float32).max)
SMALLEST_SUBNORMAL = float(np.finfo(np.float32).smallest_subnormal)


def histogram_of(*batches: object) -> MagnitudeHistogram:
    histogram = MagnitudeHistogram()
    for batch in batches:
        histogram.add(np.asarray(batch, np.float32))
    return histogram


def assert_identical(first: MagnitudeHistogram, second: MagnitudeHistogram) -> None:
    assert first.upper == second.upper
    assert first.zeros == second.zeros
    np.testing.assert_array_equal(first.counts, second.counts)


def heavy_tailed(rng: np.random.Generator, count: int) -> F32:
    """Half of it zeros, the rest over some thirty powers of two, of both signs, in growing order (the worst case)."""
    values = rng.standard_normal(count) * 2.0 ** rng.uniform(-15, 15, count)
    values[rng.random(count) < 0.5] = 0
    return values[np.argsort(np.abs(values))].astype(np.float32)


def counted_knowing_the_range(values: F32) -> tuple[float, NDArray[np.int64]]:
    """Upper edge and counts, from float64 and with the largest value known beforehand."""
    magnitude = np.abs(values.astype(np.float64))
    upper = 2.0 ** math.ceil(math.log2(magnitude.max()))
    bins = np.ceil(magnitude[magnitude > 0] / (upper / BINS)).astype(np.int64) - 1
    return upper, np.bincount(bins, minlength=BINS)


def saved_and_loaded(array: NDArray[Any]) -> NDArray[Any]:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    file.seek(0)
    loaded: NDArray[Any] = np.load(file, allow_pickle=False)
    return loaded


class TestCounting:
    def test_values_land_in_the_bin_whose_right_edge_they_do_not_exceed(self) -> None:
        histogram = histogram_of([0.0, -0.0, 1.0, -1.0, 0.5, np.nextafter(np.float32(0.5), np.float32(1)), 1e-6])
        assert histogram.upper == 1.0
        assert histogram.bin_width == 1 / BINS
        assert histogram.zeros == 2
        assert histogram.total == 7
        expected = {0: 1, BINS // 2 - 1: 1, BINS // 2: 1, BINS - 1: 2}
        assert {int(i): int(histogram.counts[i]) for i in np.flatnonzero(histogram.counts)} == expected

    @pytest.mark.parametrize(
        ("largest", "upper"), [(3.0, 4.0), (4.0, 4.0), (np.nextafter(np.float32(4), np.float32(5)), 8.0), (1e-3, 2**-9)]
    )
    def test_the_range_is_the_smallest_power_of_two_not_below_the_largest(self, largest: float, upper: float) -> None:
        assert histogram_of([largest / 7, -largest]).upper == upper

    def test_streamed_counts_are_those_of_a_range_known_beforehand(self) -> None:
        values = heavy_tailed(np.random.default_rng(0), 20_000)
        histogram = histogram_of(*np.array_split(values, 300))
        upper, counts = counted_knowing_the_range(values)
        assert histogram.upper == upper
        assert histogram.zeros == np.count_nonzero(values == 0) > 0
        np.testing.assert_array_equal(histogram.counts, counts)

    @pytest.mark.parametrize("seed", range(3))
    def test_neither_order_nor_splitting_changes_a_count(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        values = heavy_tailed(rng, 5_000)
        whole = histogram_of(values)
        for _ in range(3):
            shuffled = rng.permutation(values)
            cuts = np.sort(rng.integers(0, values.size, 40))  # some pieces are empty
            assert_identical(histogram_of(*np.split(shuffled, cuts)), whole)
        assert_identical(histogram_of(*np.split(values, 1000)), whole)

    def test_powers_of_two_stay_in_place_through_every_doubling(self) -> None:
        values = [2.0**k for k in range(-20, 20)]
        assert_identical(histogram_of(*([v] for v in values)), histogram_of(values[::-1]))

    def test_shape_and_strides_do_not_matter(self) -> None:
        values = np.random.default_rng(1).standard_normal((2, 3, 40, 50)).astype(np.float32)
        assert_identical(histogram_of(values.transpose(3, 1, 0, 2)[::-1]), histogram_of(values.reshape(-1)))
        assert histogram_of(3.0).total == 1

    def test_values_are_not_written_to(self) -> None:
        values = np.random.default_rng(2).standard_normal(100).astype(np.float32)
        values.flags.writeable = False
        histogram_of(values)

    def test_the_whole_range_of_float32_is_counted(self) -> None:
        tiny = [SMALLEST_SUBNORMAL, -SMALLEST_SUBNORMAL, 0.0]
        assert histogram_of(tiny).zeros == 1
        assert histogram_of(tiny).upper == 2.0**-116
        wide = histogram_of(tiny, [FLOAT32_MAX])
        assert_identical(wide, histogram_of([*tiny, FLOAT32_MAX]))
        assert (wide.zeros, int(wide.counts[0]), int(wide.counts[-1])) == (1, 2, 1)
        assert wide.upper == 2.0**128


class TestEdges:
    def test_nothing_counted(self) -> None:
        histogram = histogram_of([], np.zeros((0, 3)))
        assert (histogram.total, histogram.zeros, histogram.upper, histogram.bin_width) == (0, 0, 0.0, 0.0)
        assert not histogram.counts.any()
        with pytest.raises(CalibrationError, match="empty"):
            histogram.share_above(0.0)
        with pytest.raises(CalibrationError, match="empty"):
            histogram.quantile(0.5)

    def test_only_zeros(self) -> None:
        histogram = histogram_of(np.zeros(10), -np.zeros(5))
        assert (histogram.total, histogram.zeros, histogram.upper) == (15, 15, 0.0)
        assert histogram.quantile(1.0) == 0.0
        assert histogram.share_above(0.0) == 0.0
        with pytest.raises(CalibrationError, match="Every value is 0"):
            histogram.quantile(0.5, nonzero=True)

    def test_zeros_before_the_first_value_are_kept(self) -> None:
        assert_identical(histogram_of(np.zeros(4), [2.0]), histogram_of([2.0, 0, 0, 0, 0]))

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("place", [0, 40_000, 99_999])
    def test_a_value_that_is_not_finite_is_refused_and_nothing_is_counted(self, bad: float, place: int) -> None:
        histogram = histogram_of([1.0, 0.0])
        values = np.full(100_000, 5, np.float32)
        values[place] = bad
        with pytest.raises(CalibrationError, match="NaN or infinity") as raised:
            histogram.add(values)
        assert raised.value.got == f"{int(math.isnan(bad))} NaN and {int(math.isinf(bad))} infinite of 100000 values"
        assert_identical(histogram, histogram_of([1.0, 0.0]))

    def test_nan_beside_infinity_is_refused(self) -> None:
        with pytest.raises(CalibrationError, match="1 NaN and 2 infinite of 4"):
            histogram_of([math.inf, math.nan, 1.0, -math.inf])

    @pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32])
    def test_other_types_are_refused(self, dtype: type) -> None:
        with pytest.raises(CalibrationError, match="float32"):
            MagnitudeHistogram().add(np.ones(3, dtype))

    def test_counts_are_a_copy(self) -> None:
        histogram = histogram_of([1.0])
        histogram.counts[:] = 7
        assert_identical(histogram, histogram_of([1.0]))


class TestShareAndQuantile:
    def test_share_above_a_bin_edge_is_exact(self) -> None:
        histogram = histogram_of([0.0, 0.25, -0.5, 0.75, 1.0])
        shares = [histogram.share_above(t) for t in (0.0, 0.25, 0.5, 0.75, 1.0, 2.0)]
        assert shares == [0.8, 0.6, 0.4, 0.2, 0.0, 0.0]

    def test_share_above_is_linear_inside_a_bin(self) -> None:
        histogram = histogram_of([1.0])
        assert histogram.share_above(1 - histogram.bin_width / 4) == 0.25

    @pytest.mark.parametrize("q", [0.0, 0.1, 0.5, 0.99, 0.9999, 1.0])
    @pytest.mark.parametrize("nonzero", [False, True])
    def test_quantile_is_the_values_own_within_a_bin(self, q: float, *, nonzero: bool) -> None:
        values = np.maximum(np.random.default_rng(3).standard_normal(30_001), 0).astype(np.float32)
        histogram = histogram_of(values)
        asked = values[values > 0] if nonzero else values
        exact = float(np.quantile(asked, q, method="inverted_cdf"))
        assert abs(histogram.quantile(q, nonzero=nonzero) - exact) <= WITHIN_A_BIN * histogram.bin_width

    def test_quantile_undoes_share_above(self) -> None:
        histogram = histogram_of(np.random.default_rng(4).standard_normal(10_000))
        for q in (0.01, 0.5, 0.999):
            assert 1 - histogram.share_above(histogram.quantile(q)) == pytest.approx(q, abs=1e-12)

    def test_a_share_of_zeros_has_quantile_zero(self) -> None:
        histogram = histogram_of([0, 0, 0, 1.0])
        assert histogram.quantile(0.75) == 0.0
        assert histogram.quantile(0.76) > 0.0

    @pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
    def test_quantiles_outside_zero_to_one_are_refused(self, q: float) -> None:
        with pytest.raises(CalibrationError, match="share"):
            histogram_of([1.0]).quantile(q)

    @pytest.mark.parametrize("threshold", [-1.0, math.nan])
    def test_thresholds_that_are_no_magnitude_are_refused(self, threshold: float) -> None:
        with pytest.raises(CalibrationError, match="not negative"):
            histogram_of([1.0]).share_above(threshold)


class TestResume:
    @pytest.mark.parametrize("stop", [0, 10, 2_500, 4_999])
    def test_a_stream_goes_on_from_a_saved_state_to_the_bit(self, stop: int) -> None:
        values = heavy_tailed(np.random.default_rng(5), 5_000)
        resumed = MagnitudeHistogram.from_state(
            {key: saved_and_loaded(array) for key, array in histogram_of(values[:stop]).state().items()}
        )
        assert_identical(resumed, histogram_of(values[:stop]))
        resumed.add(values[stop:])
        through = histogram_of(values)
        assert_identical(resumed, through)
        assert {k: (v.dtype, v.tobytes()) for k, v in resumed.state().items()} == {
            k: (v.dtype, v.tobytes()) for k, v in through.state().items()
        }

    def test_a_state_is_a_snapshot(self) -> None:
        histogram = histogram_of([1.0])
        state = histogram.state()
        again = MagnitudeHistogram.from_state(state)
        histogram.add(np.ones(5, np.float32))
        again.add(np.ones(2, np.float32))
        assert_identical(MagnitudeHistogram.from_state(state), histogram_of([1.0]))

    @pytest.mark.parametrize(
        "damage",
        [
            {"slots": np.zeros(BINS, np.int64)},
            {"slots": np.zeros(BINS + 1, np.float64)},
            {"slots": np.full(BINS + 1, -1, np.int64)},
            {"slots": np.zeros(BINS + 1, np.int64)},
            {"upper": np.array(3.0)},
            {"upper": np.array(0.0)},
            {"upper": np.array(math.nan)},
            {"upper": np.array(-2.0)},
            {"upper": np.array(2.0**200)},
            {"upper": np.array([2.0])},
            {"upper": np.array(2)},
            {"more": np.array(1.0)},
        ],
    )
    def test_a_damaged_state_is_refused(self, damage: dict[str, NDArray[np.float64]]) -> None:
        with pytest.raises(CalibrationError):
            MagnitudeHistogram.from_state(histogram_of([1.5]).state() | damage)

    def test_a_state_that_lacks_a_part_is_refused(self) -> None:
        with pytest.raises(CalibrationError, match="state"):
            MagnitudeHistogram.from_state({"upper": np.array(1.0)})
