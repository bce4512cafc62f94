"""From measurements to a table and to advice: which ranges still move, and which tensors saturate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_up_table import table

from calibration.collect import Measured
from calibration.errors import CalibrationError
from calibration.histogram import MagnitudeHistogram
from calibration.methods import thresholds
from calibration.summary import CLIPPING, Movement, movements, saturating, snapshot, statistics, too_few, wants_snapshot
from calibration.table import METHODS, Method, Snapshot


def measured(values: object, *, low: float | None = None, high: float | None = None) -> Measured:
    array = np.asarray(values, np.float32)
    histogram = MagnitudeHistogram()
    histogram.add(array)
    return Measured(
        minimum=float(array.min()) if low is None else low,
        maximum=float(array.max()) if high is None else high,
        histogram=histogram,
    )


def noise(seed: int) -> Measured:
    return measured(np.random.default_rng(seed).standard_normal(5000))


class TestStatistics:
    def test_of_every_tensor_by_every_method(self) -> None:
        given = {"a": noise(1), "b": noise(2)}
        found = statistics(given)
        assert list(found) == ["a", "b"]
        for name, one in found.items():
            assert (one.minimum, one.maximum) == (given[name].minimum, given[name].maximum)
            assert one.elements == 5000
            assert one.thresholds == thresholds(given[name].histogram, given[name].largest)
            assert set(one.thresholds) == set(one.saturated) == set(METHODS)
            for method in METHODS:
                clipped = given[name].histogram.share_above(one.thresholds[method])
                assert one.saturated[method] == (0 if one.thresholds[method] == given[name].largest else clipped)

    def test_what_keeps_the_maximum_clips_nothing(self) -> None:
        flat = measured(np.full(40, 0.7))  # all in the last bin, which a guess by the bin would cut through
        assert flat.histogram.share_above(flat.largest) > 0
        one = statistics({"a": flat})["a"]
        assert one.saturated == dict.fromkeys(METHODS, 0.0)
        assert statistics({"a": noise(3)})["a"].saturated["percentile"] > 0

    @pytest.mark.parametrize(("low", "high"), [(-1.0, 77.0), (-77.0, 1.0)])
    def test_an_extreme_that_the_sample_missed_is_kept(self, low: float, high: float) -> None:
        one = statistics({"a": measured(np.linspace(-1, 1, 999), low=low, high=high)})["a"]
        assert (one.minimum, one.maximum) == (low, high)
        assert one.thresholds["minmax"] == 77.0
        assert one.saturated["minmax"] == 0
        assert all(0 < one.thresholds[method] <= 77.0 for method in METHODS)
        assert one.thresholds["percentile"] < 2

    def test_an_extreme_of_a_sample_of_zeros(self) -> None:
        one = statistics({"a": measured(np.zeros(99), high=3.0)})["a"]
        assert one.thresholds == dict.fromkeys(METHODS, 3.0)

    def test_a_tensor_that_was_always_zero(self) -> None:
        one = statistics({"a": measured(np.zeros(9))})["a"]
        assert one.thresholds == dict.fromkeys(METHODS, 0.0)
        assert one.saturated == dict.fromkeys(METHODS, 0.0)

    def test_nothing_measured_is_refused(self) -> None:
        with pytest.raises(CalibrationError, match="no value was measured"):
            statistics({"a": Measured(histogram=MagnitudeHistogram())})


class TestSnapshots:
    def test_are_wanted_at_doubling_counts(self) -> None:
        assert [count for count in range(600) if wants_snapshot(count)] == [32, 64, 128, 256, 512]

    def test_hold_every_methods_thresholds(self) -> None:
        given = {"a": noise(1), "b": noise(2)}
        found = snapshot(given, 64)
        assert tuple(found) == METHODS
        final = statistics(given)
        for method, row in found.items():
            assert row == Snapshot(64, {name: final[name].thresholds[method] for name in given})


class TestMovements:
    def test_by_hand(self) -> None:
        whole = table(method="minmax", snapshots={})
        finals = {name: whole.threshold(name) for name in whole.tensors}
        factors = dict(zip(finals, (0.5, 0.97, 1.04, 1.2), strict=True))
        rows = (
            Snapshot(32, {name: final * factors[name] for name, final in finals.items()}),
            Snapshot(64, finals),
        )
        first, second = movements(replace(whole, snapshots={"minmax": rows, "mse": (Snapshot(32, {}),)}))
        assert (first.images, first.tensor) == (32, next(iter(finals)))
        assert first.worst == pytest.approx(0.5)
        assert first.median == pytest.approx(0.2)  # the upper of the two in the middle
        assert first.settled == 0.5
        assert second == Movement(images=64, median=0.0, worst=0.0, tensor=second.tensor, settled=1.0)

    def test_of_the_method_in_use_only(self) -> None:
        whole = table()
        assert [row.images for row in movements(whole.with_method("mse"))] == [32, 64]
        assert movements(whole.with_method("minmax")) == ()

    def test_a_tensor_that_ends_at_zero_does_not_count(self) -> None:
        whole = table(method="minmax")
        dead = replace(whole.tensors["images"], minimum=0.0, maximum=0.0, thresholds=dict.fromkeys(METHODS, 0.0))
        alone = replace(whole, tensors={"images": dead}, snapshots={"minmax": (Snapshot(32, {"images": 0.0}),)})
        assert movements(alone) == ()


class TestSaturating:
    @pytest.mark.parametrize("method", METHODS)
    def test_above_what_the_method_means_to_clip_most_first(self, method: Method) -> None:
        whole, notable = table(method=method), CLIPPING[method].notable
        shares = dict(zip(whole.tensors, (notable + 0.002, notable, notable + 0.03, 0.0), strict=True))
        tensors = {
            name: replace(one, saturated={**dict.fromkeys(METHODS, 1.0), method: shares[name]})
            for name, one in whole.tensors.items()
        }
        names = list(whole.tensors)
        assert saturating(replace(whole, tensors=tensors)) == (
            (names[2], notable + 0.03),
            (names[0], notable + 0.002),
        )

    def test_every_method_says_what_it_clips(self) -> None:
        assert tuple(CLIPPING) == ("minmax", "percentile", "entropy", "mse")
        assert all(one.why.startswith(method) for method, one in CLIPPING.items())
        assert CLIPPING["minmax"].notable == 0

    def test_what_percentile_clips_by_design_is_not_worth_a_line(self) -> None:
        tensors = statistics({"a": measured(np.random.default_rng(1).standard_normal(40_000))})
        found = table(method="percentile", tensors=tensors, snapshots={})
        assert tensors["a"].saturated["percentile"] == pytest.approx(0.0001, rel=1e-6)
        assert saturating(found) == ()

    def test_none(self) -> None:
        assert saturating(table(method="minmax")) == ()


@pytest.mark.parametrize(("images", "told"), [(1, True), (31, True), (32, False), (500, False)])
def test_a_table_of_few_images_says_so(images: int, told: bool) -> None:
    given = table()
    found = too_few(replace(given, fingerprint=replace(given.fingerprint, count=images), snapshots={}))
    assert (found is not None) is told
    assert found is None or f"{images} images" in found
