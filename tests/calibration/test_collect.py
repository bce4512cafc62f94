"""Measuring ranges: extremes to the bit, histograms of a sample, nothing half added, and little that is fetched."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
import pytest
from calibration_graphs import F32, IMAGE, Net, detector, detector_net, images, run, values_of

from calibration.collect import SAMPLE, RangeCollector
from calibration.errors import CalibrationError
from calibration.graph import GraphMap
from calibration.histogram import MagnitudeHistogram

GRAPH = GraphMap(detector())
SHARE = 0.01  # four standard deviations of a share of 1/2 of a sample of 40,000 values
LARGE = 160  # pixels: an image of 76,800 values is sampled


def collector_of(graph: GraphMap, inputs: Sequence[F32]) -> RangeCollector:
    collector = RangeCollector(graph, threads=1)
    for image in inputs:
        collector.add({IMAGE: image})
    return collector


def large_graph(batch: int | str = 1) -> GraphMap:
    net = Net(batch=batch, size=LARGE)
    net.conv("conv", IMAGE, 2)
    return GraphMap(net.model(["conv.out"]))


def assert_same_state(one: RangeCollector, other: RangeCollector) -> None:
    left, right = one.state(), other.state()
    assert list(left) == list(right)
    for name, value in left.items():
        assert value.dtype == right[name].dtype
        np.testing.assert_array_equal(value, right[name], err_msg=name)


class TestExtremes:
    def test_are_those_of_all_values(self) -> None:
        given = images(3)
        collector = collector_of(GRAPH, given)
        assert collector.images == 3
        assert list(collector.measured) == list(GRAPH.measured)
        for name, values in values_of(GRAPH, given).items():
            one = collector.measured[name]
            behind_relu = GRAPH.bounds(name)[0] == 0
            assert one.maximum == values.max()
            assert one.minimum == (0 if behind_relu else values.min())
            assert one.largest == np.abs(values).max()

    def test_are_exact_where_histograms_are_sampled(self) -> None:
        image = images(1, size=LARGE)[0]
        for place in range(40):  # whichever values are sampled, most of these are not
            image.flat[place * 977] = 50 + place
        image.flat[5] = -1000
        one = collector_of(large_graph(), [image]).measured[IMAGE]
        assert (one.minimum, one.maximum, one.largest) == (-1000, 89, 1000)
        assert one.histogram.total < image.size

    def test_of_a_clip_below(self) -> None:
        net = Net()
        net.conv("conv", IMAGE, 4, activation="Clip")
        net.constants["conv.bias"][:] = 9
        given = images(1)
        graph = GraphMap(net.model(["conv.out"]))
        one = collector_of(graph, given).measured["conv.out"]
        assert one.minimum == run(graph.model, given[0])["conv.out"].min() > 0
        assert one.maximum == 6

    def test_of_a_tensor_that_is_always_zero(self) -> None:
        net = Net()
        net.conv("conv", IMAGE, 4)
        net.constants["conv.bias"][:] = -1e3
        one = collector_of(GraphMap(net.model(["conv.out"])), images(2)).measured["conv.out"]
        assert (one.minimum, one.maximum, one.largest) == (0, 0, 0)
        assert one.histogram.zeros == one.histogram.total > 0


class TestHistograms:
    def test_hold_every_value_of_small_tensors(self) -> None:
        given = images(3)
        collector = collector_of(GRAPH, given)
        for name, values in values_of(GRAPH, given).items():
            expected = MagnitudeHistogram()
            expected.add(values)
            found = collector.measured[name].histogram
            np.testing.assert_array_equal(found.state()["slots"], expected.state()["slots"])
            assert found.upper == expected.upper

    def test_shares_of_a_sample_are_those_of_all_values(self) -> None:
        given = images(4, size=LARGE)
        graph = large_graph()
        collector = collector_of(graph, given)
        for name, values in values_of(graph, given).items():
            histogram = collector.measured[name].histogram
            assert SAMPLE <= histogram.total < values.size
            for bound in (0.1, 0.5, 1.0, 2.0):
                expected = float(np.mean(np.abs(values) > bound))
                assert histogram.share_above(bound) == pytest.approx(expected, abs=SHARE)

    def test_a_sample_visits_every_column_and_every_row(self) -> None:
        ramp = np.arange(LARGE, dtype=np.float32)
        for image in (np.tile(ramp, (1, 3, LARGE, 1)), np.tile(ramp[:, None], (1, 3, 1, LARGE))):
            histogram = collector_of(large_graph(), [image]).measured[IMAGE].histogram
            counted = np.flatnonzero(histogram.counts)
            values = np.ceil(ramp[1:] / histogram.bin_width).astype(int) - 1
            np.testing.assert_array_equal(counted, values)

    def test_images_are_sampled_at_different_places(self) -> None:
        image = images(1, size=LARGE)[0]
        graph = large_graph()
        once, twice = (collector_of(graph, [image] * count).measured[IMAGE].histogram for count in (1, 2))
        assert not np.array_equal(twice.counts, 2 * once.counts)


class TestRefusals:
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_an_image_with_a_value_that_is_no_finite_number_adds_nothing(self, value: float) -> None:
        given = images(2, size=LARGE)
        graph = large_graph()
        collector = collector_of(graph, given[:1])
        bad = given[1].copy()
        bad.flat[12_345] = value
        with pytest.raises(CalibrationError, match=r"'image' holds a value that is no finite number \(image 2\)"):
            collector.add({IMAGE: bad})
        assert_same_state(collector, collector_of(graph, given[:1]))
        collector.add({IMAGE: given[1]})
        assert_same_state(collector, collector_of(graph, given))

    def test_a_layer_that_overflows_is_named(self) -> None:
        net = Net()
        net.conv("conv", IMAGE, 4, activation=None)
        net.constants["conv.weight"][:] = 3e38
        with pytest.raises(CalibrationError, match=r"conv\.out"):
            collector_of(GraphMap(net.model(["conv.out"])), images(1))

    def test_an_image_of_another_size_adds_nothing(self) -> None:
        collector = collector_of(GRAPH, images(1))
        with pytest.raises(CalibrationError, match="does not take image 2"):
            collector.add({IMAGE: images(1, size=8)[0]})
        assert_same_state(collector, collector_of(GRAPH, images(1)))

    def test_a_graph_that_onnx_runtime_does_not_know(self) -> None:
        model = detector()
        next(node for node in model.graph.node if node.op_type == "Sqrt").op_type = "NoSuchOperator"
        with pytest.raises(CalibrationError, match="does not take the graph"):
            RangeCollector(GraphMap(model))


class TestInterruption:
    @pytest.mark.parametrize("stop", [0, 1, 3])
    def test_goes_on_as_if_nothing_had_happened(self, stop: int) -> None:
        given, graph = images(4, size=LARGE), large_graph()
        file = io.BytesIO()
        np.savez(file, **collector_of(graph, given[:stop]).state())  # type: ignore[arg-type]  # arrays by name
        file.seek(0)
        resumed = RangeCollector(graph, threads=1)
        with np.load(file) as stored:
            resumed.restore(dict(stored))
        assert resumed.images == stop
        for image in given[stop:]:
            resumed.add({IMAGE: image})
        assert_same_state(resumed, collector_of(graph, given))

    def test_two_runs_are_equal_to_the_bit(self) -> None:
        assert_same_state(collector_of(GRAPH, images(3)), collector_of(GraphMap(detector()), images(3)))

    def test_a_state_is_a_copy(self) -> None:
        collector = collector_of(GRAPH, images(1))
        before = collector.state()
        collector.add({IMAGE: images(1, seed=3)[0]})
        assert_same_state_of(before, collector_of(GRAPH, images(1)))

    @pytest.mark.parametrize(
        "damage",
        [
            lambda state: state.pop("images"),
            lambda state: state.pop("3.slots"),
            lambda state: state.update({"99.slots": state["0.slots"]}),
            lambda state: state.update({"3.extremes": np.zeros(3)}),
            lambda state: state.update({"3.slots": state["3.slots"][1:]}),
            lambda state: state.update({"images": np.zeros(2, np.int64)}),
        ],
        ids=["no count", "no histogram", "of another graph", "three extremes", "too few bins", "two counts"],
    )
    def test_a_damaged_state_changes_nothing(self, damage: Any) -> None:
        state = collector_of(GRAPH, images(2)).state()
        damage(state)
        collector = collector_of(GRAPH, images(1))
        with pytest.raises(CalibrationError, match="cannot be continued"):
            collector.restore(state)
        assert_same_state(collector, collector_of(GRAPH, images(1)))


def assert_same_state_of(state: dict[str, Any], collector: RangeCollector) -> None:
    for name, value in collector.state().items():
        np.testing.assert_array_equal(state[name], value)


class TestMemory:
    @pytest.mark.parametrize("declared", [True, False])
    def test_no_activation_is_fetched(self, monkeypatch: pytest.MonkeyPatch, declared: bool) -> None:
        fetched: list[list[int]] = []
        original = onnxruntime.InferenceSession.run

        def recording(self: Any, *arguments: Any, **options: Any) -> Any:
            found = original(self, *arguments, **options)
            fetched.append([np.asarray(value).size for value in found])
            return found

        monkeypatch.setattr(onnxruntime.InferenceSession, "run", recording)
        graph = GraphMap(detector_net(size=LARGE).model(["loc", "conf"], declared=declared))
        collector_of(graph, images(3, size=LARGE))
        activations = 0
        for name in graph.measured:
            shape = graph.shape(name)
            assert shape is not None
            activations += int(np.prod(shape))
        for sizes in fetched:
            assert max(sizes) <= 2 * SAMPLE
            assert sum(sizes) < activations / 2
        assert len(fetched) == 3
        assert abs(sum(fetched[0]) - sum(fetched[2])) <= len(graph.measured)


class TestBatch:
    @pytest.mark.parametrize("graph_of", [large_graph, lambda batch: GraphMap(detector(batch=batch, size=LARGE))])
    def test_a_dynamic_batch_takes_one_image_and_measures_the_same(self, graph_of: Any) -> None:
        given = images(2, size=LARGE)
        assert_same_state(collector_of(graph_of("batch"), given), collector_of(graph_of(1), given))


class TestTail:
    def test_what_follows_the_last_convolution_is_not_run(self) -> None:
        model = detector()
        model.graph.node.add(op_type="EfficientNMS_TRT", domain="TRT", input=["loc", "conf"], output=["count"])
        assert_same_state(collector_of(GraphMap(model), images(1)), collector_of(GRAPH, images(1)))
