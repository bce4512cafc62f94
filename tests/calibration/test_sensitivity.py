"""Which layer costs how much: SQNR by hand, the layer made harmful first, exact values at no cost."""

from __future__ import annotations

import math

import numpy as np
import pytest
from calibration_graphs import IMAGE, Net, chain, detector, images, ranges_of, table_of, with_ranges

from calibration.errors import CalibrationError
from calibration.graph import GraphMap
from calibration.qdq import WRITINGS, write_int8, write_uint8
from calibration.ranges import Ranges
from calibration.sensitivity import Feeds, LayerNoise, layer_noise, sqnr_db

GRAPH = GraphMap(chain().model(["last.out"]))
TABLE = table_of(GRAPH, images())
FEEDS: list[Feeds] = [{IMAGE: image} for image in images(2)]


class TestSqnr:
    def test_by_hand(self) -> None:
        reference = np.array([3.0, 4.0], np.float32)
        assert sqnr_db(reference, np.array([3.0, 4.5], np.float32)) == pytest.approx(20.0)
        assert sqnr_db(reference, np.zeros(2, np.float32)) == 0.0

    def test_equal_outputs_have_no_noise(self) -> None:
        assert sqnr_db(np.ones(3), np.ones(3)) == math.inf
        assert sqnr_db(np.zeros(3), np.zeros(3)) == math.inf

    def test_noise_where_there_was_no_signal(self) -> None:
        assert sqnr_db(np.zeros(3), np.ones(3)) == -math.inf

    def test_large_float32_values_do_not_overflow(self) -> None:
        reference = np.array([1e30], np.float32)
        assert sqnr_db(reference, reference * np.float32(1.1)) == pytest.approx(20.0, abs=1e-3)

    @pytest.mark.parametrize("shape", [(2,), (3, 1), (1, 3)])
    def test_other_shapes_are_refused(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(CalibrationError, match="cannot be compared"):
            sqnr_db(np.ones(3), np.ones(shape))

    def test_nothing_is_refused(self) -> None:
        with pytest.raises(CalibrationError, match="cannot be compared"):
            sqnr_db(np.ones(0), np.ones(0))

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_values_that_are_no_finite_numbers_are_refused(self, value: float) -> None:
        for pair in ((np.ones(1), np.array([value])), (np.array([value]), np.array([value]))):
            with pytest.raises(CalibrationError, match="no finite numbers"):
                sqnr_db(*pair)


class TestRanking:
    @pytest.mark.parametrize(("tensor", "reader"), [(IMAGE, "first"), ("first.out", "second"), ("second.out", "last")])
    def test_the_layer_that_reads_a_range_far_too_small_comes_first(self, tensor: str, reader: str) -> None:
        table = with_ranges(TABLE, {tensor: (0.0, 0.05)})
        found = layer_noise(GRAPH, Ranges(GRAPH, table), write_int8, FEEDS, ["last.out"])
        assert found[0].name == reader
        assert found[0].worst < 10 < found[1].worst

    @pytest.mark.parametrize("writing", list(WRITINGS))
    def test_every_layer_once_the_worst_first(self, writing: str) -> None:
        graph = GraphMap(detector())
        found = layer_noise(graph, ranges_of(graph), WRITINGS[writing], FEEDS, ["loc", "conf"])
        assert sorted(one.name for one in found) == sorted(unit.name for unit in graph.units)
        assert [one.worst for one in found] == sorted(one.worst for one in found)
        assert {one.name: one.macs for one in found} == {unit.name: unit.macs for unit in graph.units}
        by_name = {one.name: one for one in found}
        if writing == "int8":  # uint8 quantises what conf.0 reads too
            assert by_name["loc.0"].sqnr["conf"] == math.inf
        assert by_name["loc.0"].worst == by_name["loc.0"].sqnr["loc"] < math.inf
        assert all(one.worst > 20 for one in found)

    def test_a_layer_with_exact_values_makes_no_noise(self) -> None:
        net = Net()
        rng = np.random.default_rng(4)
        weight = rng.integers(-127, 128, (4, 3, 1, 1)).astype(np.float32)
        weight[:, 0] = 127  # so that every channel's scale is 1
        net.conv("exact", IMAGE, 4, kernel=1, weight=weight)
        net.conv("rough", "exact.out", 4)
        graph = GraphMap(net.model(["rough.out"]))
        image = rng.integers(0, 128, (1, 3, 16, 16)).astype(np.float32)
        image.flat[0] = 127  # so that the image's is 1 too
        found = layer_noise(graph, ranges_of(graph, [image]), write_int8, [{IMAGE: image}], ["rough.out"])
        assert [one.name for one in found] == ["rough", "exact"]
        assert found[1].worst == math.inf
        assert found[0].worst < math.inf

    def test_an_interrupted_run_is_continued(self) -> None:
        calls: list[tuple[int, int]] = []
        ranges = Ranges(GRAPH, TABLE)
        whole = layer_noise(
            GRAPH, ranges, write_uint8, FEEDS, ["last.out"], progress=lambda *numbers: calls.append(numbers)
        )
        assert calls == [(1, 3), (2, 3), (3, 3)]
        kept = {"second": {"last.out": -99.0}}
        again = layer_noise(GRAPH, ranges, write_uint8, FEEDS, ["last.out"], done=kept)
        assert again[0] == LayerNoise(name="second", macs=GRAPH.units[1].macs, sqnr={"last.out": -99.0})
        assert [one for one in whole if one.name != "second"] == list(again[1:])

    def test_every_layer_that_is_measured_is_handed_over_at_once(self) -> None:
        ranges = Ranges(GRAPH, TABLE)
        kept: list[LayerNoise] = []
        counts: list[int] = []
        whole = layer_noise(
            GRAPH,
            ranges,
            write_uint8,
            FEEDS,
            ["last.out"],
            keep=kept.append,
            progress=lambda *_: counts.append(len(kept)),
        )
        assert counts == [1, 2, 3]
        assert [one.name for one in kept] == [unit.name for unit in GRAPH.units]
        assert sorted(kept, key=lambda one: one.worst) == list(whole)
        done = {one.name: one.sqnr for one in kept[:2]}
        again: list[LayerNoise] = []
        assert layer_noise(GRAPH, ranges, write_uint8, FEEDS, ["last.out"], done=done, keep=again.append) == whole
        assert again == kept[2:]  # what was done is not handed over again


class TestRefusals:
    def test_no_image(self) -> None:
        with pytest.raises(CalibrationError, match="no image"):
            layer_noise(GRAPH, Ranges(GRAPH, TABLE), write_int8, [], ["last.out"])

    @pytest.mark.parametrize("outputs", [["no such tensor"], []])
    def test_no_such_output(self, outputs: list[str]) -> None:
        with pytest.raises(CalibrationError, match="the graph has no tensor called"):
            layer_noise(GRAPH, Ranges(GRAPH, TABLE), write_int8, FEEDS, outputs)

    def test_an_image_that_does_not_fit(self) -> None:
        with pytest.raises(CalibrationError, match="does not take"):
            layer_noise(GRAPH, Ranges(GRAPH, TABLE), write_int8, [{IMAGE: images(1, size=8)[0]}], ["last.out"])
