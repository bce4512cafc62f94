"""Thresholds: answers known from theory, the KL search written as plain loops, and quantisation errors as simulated."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.errors import CalibrationError
from calibration.histogram import BINS, MagnitudeHistogram
from calibration.methods import DIVERGENCE_TIE, threshold, thresholds
from calibration.table import METHODS, Method

F32 = NDArray[np.float32]

SAME_DIVERGENCE = 1e-11  # nats: sums of 2048 float64 terms of order 1 in another order, with room
NEAR_THE_LEAST_ERROR = 1.01  # the histogram's error is an expectation, the simulated one is that of these values
PUBLISHED_DIGITS = 0.01  # relative: ACIQ's table has three digits and approximates the error of rounding
A_STEP_OF_THE_SEARCH = 1e-2  # the mse search starts elsewhere; its error is flat at the least
STRIDE = 41  # between the candidates that the plain loops try, to keep them quick; every one in the slow test


def histogram_of(values: object) -> MagnitudeHistogram:
    histogram = MagnitudeHistogram()
    histogram.add(np.asarray(values, np.float32))
    return histogram


def from_counts(counts: NDArray[np.int64], *, zeros: int = 0, upper: float = float(BINS)) -> MagnitudeHistogram:
    slots = np.concatenate(([zeros], counts)).astype(np.int64)
    return MagnitudeHistogram.from_state({"upper": np.array(upper), "slots": slots})


def largest(values: F32) -> float:
    return float(np.abs(values).max())


def found(values: F32, method: Method, *, levels: int = 127) -> float:
    return threshold(histogram_of(values), method, maximum=largest(values), levels=levels)


def with_outlier(rng: np.random.Generator) -> F32:
    """Exponential, so mostly below 10, and a single 60."""
    return np.append(rng.exponential(1.0, 200_000), 60.0).astype(np.float32)


STREAMS: dict[str, Callable[[np.random.Generator], object]] = {
    "half normal": lambda rng: np.abs(rng.standard_normal(20_000)),
    "after a ReLU": lambda rng: np.maximum(rng.standard_normal(20_000) - 1, 0),
    "laplace": lambda rng: rng.laplace(size=20_000),
    "exponential with an outlier": with_outlier,
    "uniform": lambda rng: rng.random(20_000),
    "nearly all zeros": lambda rng: np.append(np.zeros(50_000), rng.random(3)),
    "noise and one value": lambda rng: np.append(rng.standard_normal(500) * 1e-6, 1.0),
    "two values": lambda rng: np.repeat([0.3, -7.0], 50),
    "ReLU6": lambda rng: np.clip(rng.standard_normal(20_000) * 4, 0, 6),
}


def stream(name: str) -> F32:
    return np.asarray(STREAMS[name](np.random.default_rng(7)), np.float32)


def slow_divergence(counts: list[int], bins: int, quantised: int) -> float:
    """KL(P || Q) of the candidate that keeps ``bins`` bins, read off the slide; bin 0 was emptied by the caller."""
    if sum(counts[:bins]) == 0:
        return math.inf
    p = counts[:bins]
    p[-1] += sum(counts[bins:])
    sums, filled = [0] * quantised, [0] * quantised
    for j in range(bins):
        level = j * quantised // bins
        sums[level] += counts[j]
        filled[level] += p[j] > 0
    q = [0.0] * bins
    for j in range(bins):
        level = j * quantised // bins
        if p[j] > 0:
            q[j] = sums[level] / filled[level] or 1.0
    sum_p, sum_q = sum(p), sum(q)
    return math.fsum(a / sum_p * math.log((a / sum_p) / (b / sum_q)) for a, b in zip(p, q, strict=True) if a > 0)


def assert_best(chosen: float, counts: NDArray[np.int64], quantised: int, candidates: set[int]) -> None:
    """No candidate has a smaller divergence, and no larger one has the same."""
    assert chosen == int(chosen)
    without_first = [0, *counts[1:].tolist()]
    divergence = {bins: slow_divergence(without_first, bins, quantised) for bins in candidates | {int(chosen)}}
    least = min(divergence.values())
    assert divergence[int(chosen)] <= least + SAME_DIVERGENCE
    assert [bins for bins in divergence if bins > chosen and divergence[bins] < least + DIVERGENCE_TIE / 2] == []


def random_counts(kind: str, rng: np.random.Generator) -> NDArray[np.int64]:
    """Counts of which the last bin that is not empty is in the upper half, as the range's choice makes them."""
    size = int(rng.integers(BINS // 2 + 1, BINS))
    position = np.arange(size)
    shape = {
        "decaying": 3000 * np.exp(-position / 150),
        "sparse": np.where(rng.random(size) < 0.05, 20.0, 0.0),
        "noise in bin 0": np.where(position == 0, 1e7, 200 * np.exp(-position / 300)),
        "far outlier": np.where(position < 100, 500.0, 0.0),
        "hump": 800 * np.exp(-(((position - 300) / 90.0) ** 2)),
    }[kind]
    counts = rng.poisson(shape)
    counts[-1] += 1
    return np.concatenate((counts, np.zeros(BINS - size, np.int64)))


class TestEntropyAgainstPlainLoops:
    @pytest.mark.parametrize("kind", ["decaying", "sparse", "noise in bin 0", "far outlier", "hump"])
    @pytest.mark.parametrize("levels", [127, 255])
    def test_no_candidate_is_better_and_none_as_good_is_larger(self, kind: str, levels: int) -> None:
        counts = random_counts(kind, np.random.default_rng(11))
        occupied = int(np.flatnonzero(counts)[-1]) + 1
        chosen = threshold(from_counts(counts), "entropy", maximum=float(occupied), levels=levels)
        candidates = {*range(levels + 1, occupied + 1, STRIDE), occupied}
        candidates |= {bins for bins in range(int(chosen) - 4, int(chosen) + 5) if levels < bins <= occupied}
        assert_best(chosen, counts, levels + 1, candidates)

    @pytest.mark.slow
    def test_the_same_choice_out_of_every_candidate(self) -> None:
        counts = random_counts("decaying", np.random.default_rng(12))
        occupied = int(np.flatnonzero(counts)[-1]) + 1
        chosen = threshold(from_counts(counts), "entropy", maximum=float(occupied))
        assert_best(chosen, counts, 128, set(range(128, occupied + 1)))


class TestEntropy:
    def test_zeros_and_noise_in_the_first_bin_change_nothing(self) -> None:
        values = np.random.default_rng(13).exponential(1.0, 50_000).astype(np.float32)
        noise = np.full(500_000, 1e-7, np.float32)
        plain = found(values, "entropy")
        assert found(np.concatenate((values, np.zeros(500_000, np.float32))), "entropy") == plain
        assert found(np.concatenate((values, noise)), "entropy") == plain

    def test_equal_divergences_go_to_the_larger_threshold(self) -> None:
        # A single filled bin, the tail added to it, is its own quantisation, just as the two bins unclipped are.
        counts = np.zeros(BINS, np.int64)
        counts[[300, 1500]] = 40
        clipping = slow_divergence(counts.tolist(), 301, 128)
        assert clipping == slow_divergence(counts.tolist(), 1501, 128) == 0
        assert threshold(from_counts(counts), "entropy", maximum=1500.5) == 1500.5

    def test_even_counts_are_not_clipped(self) -> None:
        assert threshold(from_counts(np.full(BINS, 50)), "entropy", maximum=BINS) == BINS

    def test_an_outlier_beyond_an_empty_stretch_is_clipped(self) -> None:
        counts = np.zeros(BINS, np.int64)
        counts[:100] = np.random.default_rng(14).integers(100, 1000, 100)
        counts[2000] = 1
        # 128 bins are the fewest that are tried. With 129, bin 0 shares a level, and it was left out: a tie.
        assert threshold(from_counts(counts), "entropy", maximum=2000.5) == 129


class TestKnownAnswers:
    def test_entropy_and_mse_clip_the_outlier_and_minmax_does_not(self) -> None:
        values = with_outlier(np.random.default_rng(0))
        assert found(values, "minmax") == 60.0
        bulk = float(np.sort(values)[-2])
        assert bulk < 20
        assert 5 < found(values, "entropy") < bulk + 2
        assert bulk < found(values, "mse") < 35  # at 29.4 the outlier costs as much as the coarser steps would

    @pytest.mark.parametrize("share", [50.0, 99.0, 99.99, 100.0])
    @pytest.mark.parametrize("name", ["half normal", "after a ReLU", "exponential with an outlier"])
    def test_percentile_is_the_values_own_within_a_bin(self, name: str, share: float) -> None:
        values = stream(name)
        histogram = histogram_of(values)
        exact = float(np.quantile(np.abs(values), share / 100, method="inverted_cdf"))
        if exact == 0:  # more zeros than the share: it is taken of the others
            exact = float(np.quantile(values[values > 0], share / 100, method="inverted_cdf"))
        got = threshold(histogram, "percentile", maximum=largest(values), percentile=share)
        assert abs(got - exact) <= histogram.bin_width

    def test_uniform_values(self) -> None:
        values = np.linspace(0, 1, 400_001, dtype=np.float32)
        assert found(values, "percentile") == pytest.approx(0.9999, abs=1 / BINS)
        assert found(values, "entropy") > 0.99
        # The last level serves half a step beyond it too: 127 of 127.5 steps.
        assert found(values, "mse") == pytest.approx(127 / 127.5, rel=1e-3)

    @pytest.mark.parametrize(
        ("distribution", "levels", "published"),
        [("gauss", 127, 3.92), ("laplace", 127, 9.89), ("laplace", 255, 11.16), ("laplace", 63, 8.64)],
    )
    def test_mse_is_the_published_optimum(self, distribution: str, levels: int, published: float) -> None:
        # Banner et al., "Post training 4-bit quantization of convolutional networks" (ACIQ, NeurIPS 2019): clipping in
        # units of sigma (Gauss) and b (Laplace) for 8 bits with a sign, 8 bits without, and 7 bits with a sign.
        upper = 8.0 if distribution == "gauss" else 32.0
        edges = np.arange(BINS + 1) * (upper / BINS)
        beyond = [math.erfc(x / math.sqrt(2)) if distribution == "gauss" else math.exp(-x) for x in edges]
        counts = np.rint(-1e12 * np.diff(beyond)).astype(np.int64)
        maximum = float(edges[np.flatnonzero(counts)[-1] + 1])
        got = threshold(from_counts(counts, upper=upper), "mse", maximum=maximum, levels=levels)
        assert got == pytest.approx(published, rel=PUBLISHED_DIGITS)


class TestMse:
    @pytest.mark.parametrize(
        "name", ["half normal", "after a ReLU", "laplace", "exponential with an outlier", "uniform", "ReLU6"]
    )
    @pytest.mark.parametrize("levels", [15, 127])
    def test_no_simulated_threshold_has_a_smaller_error(self, name: str, levels: int) -> None:
        sample = stream(name)[-20_000:]  # the outlier stands last
        values, maximum = sample.astype(np.float64), largest(sample)

        def error(t: float) -> float:
            step = t / levels
            return float(np.mean((values - step * np.clip(np.rint(values / step), -levels, levels)) ** 2))

        least = min(error(t) for t in maximum * np.linspace(0.02, 1, 400))
        assert error(found(sample, "mse", levels=levels)) <= least * NEAR_THE_LEAST_ERROR

    def test_zeros_cost_nothing(self) -> None:
        values = stream("laplace")
        assert found(np.append(values, np.zeros(10**6, np.float32)), "mse") == found(values, "mse")


class TestEveryMethod:
    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("name", STREAMS)
    def test_above_zero_and_never_above_the_maximum(self, name: str, method: Method) -> None:
        values = stream(name)
        assert 0 < found(values, method) <= largest(values)

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("power", [-30, -1, 5, 40])
    def test_scaling_by_a_power_of_two_scales_the_threshold_to_the_bit(self, method: Method, power: int) -> None:
        values = stream("laplace")
        assert found(np.ldexp(values, power), method) == math.ldexp(found(values, method), power)

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("value", [1.0, 0.7, 1e-30, 1e30])
    def test_a_single_value_is_found_within_a_bin(self, method: Method, value: float) -> None:
        values = np.full(3, value, np.float32)
        maximum = largest(values)
        assert maximum - histogram_of(values).bin_width <= found(values, method) <= maximum

    @pytest.mark.parametrize("method", METHODS)
    def test_values_too_small_to_be_resolved(self, method: Method) -> None:
        values = np.array([1e-44, 0, 3e-44], np.float32)
        assert 0 < found(values, method) <= largest(values)

    @pytest.mark.parametrize("method", METHODS)
    def test_all_zero_is_zero(self, method: Method) -> None:
        assert threshold(histogram_of(np.zeros(9)), method, maximum=0.0) == 0.0

    @pytest.mark.parametrize("method", METHODS)
    def test_no_values_at_all_are_refused(self, method: Method) -> None:
        with pytest.raises(CalibrationError, match="empty"):
            threshold(MagnitudeHistogram(), method, maximum=0.0)

    def test_thresholds_are_those_of_each_method(self) -> None:
        histogram, maximum = histogram_of(stream("half normal")), largest(stream("half normal"))
        every = thresholds(histogram, maximum, percentile=98.0, levels=255)
        assert tuple(every) == METHODS
        assert all(every[m] == threshold(histogram, m, maximum=maximum, percentile=98.0, levels=255) for m in METHODS)
        assert thresholds(histogram, maximum) != every


class TestSamples:
    @pytest.mark.parametrize("method", ["percentile", "entropy", "mse"])
    def test_a_maximum_beyond_the_sample_moves_no_other_method(self, method: Method) -> None:
        values = stream("laplace")
        beyond = threshold(histogram_of(values), method, maximum=100 * largest(values))
        assert beyond == pytest.approx(found(values, method), rel=A_STEP_OF_THE_SEARCH)

    @pytest.mark.parametrize("method", METHODS)
    def test_a_sample_of_zeros_says_nothing_but_the_maximum(self, method: Method) -> None:
        assert threshold(histogram_of([0.0]), method, maximum=3.0) == 3.0


class TestRefusals:
    @pytest.mark.parametrize("maximum", [0.0, -3.0, 2.9, math.nan, math.inf])
    def test_a_maximum_of_other_values(self, maximum: float) -> None:
        with pytest.raises(CalibrationError, match="not of the same values"):
            threshold(histogram_of([1.0, 3.0]), "minmax", maximum=maximum)

    @pytest.mark.parametrize("maximum", [-1.0, math.nan, math.inf])
    def test_a_maximum_that_is_none_for_values_that_are_all_zero(self, maximum: float) -> None:
        with pytest.raises(CalibrationError, match="not of the same values"):
            threshold(histogram_of([0.0]), "minmax", maximum=maximum)

    def test_an_unknown_method_names_those_there_are(self) -> None:
        with pytest.raises(CalibrationError, match=", ".join(METHODS)):
            threshold(histogram_of([1.0]), "kl", maximum=1.0)  # type: ignore[arg-type]  # what a user can mistype

    @pytest.mark.parametrize("percentile", [0.0, -1.0, 100.1, math.nan])
    def test_a_percentile_out_of_range(self, percentile: float) -> None:
        with pytest.raises(CalibrationError, match="percentile"):
            threshold(histogram_of([1.0]), "percentile", maximum=1.0, percentile=percentile)

    @pytest.mark.parametrize("levels", [0, -127, BINS])
    def test_levels_out_of_range(self, levels: int) -> None:
        with pytest.raises(CalibrationError, match="Levels"):
            threshold(histogram_of([1.0]), "mse", maximum=1.0, levels=levels)
