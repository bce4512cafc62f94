"""From a table to scales: one through each family or one for each tensor, and what ONNX Runtime's ReLUs need."""

from __future__ import annotations

from dataclasses import replace

import pytest
from calibration_graphs import BLOCK, IMAGE, Net, detector, images, ranges_of, table_of, with_ranges

from calibration.errors import CalibrationError
from calibration.graph import GraphMap
from calibration.ranges import Ranges
from calibration.table import asymmetric, symmetric_scale

GRAPH = GraphMap(detector())
TABLE = table_of(GRAPH, images())
CONCATS = ("block.1.in", "block.3.in", "block.inner", "block.all")


def mixed_family(low: float, high: float, *, activation: str = "Relu") -> tuple[GraphMap, Ranges]:
    """``a`` behind an activation, and ``b`` with the given range and without one, meet in ``both``."""
    net = Net()
    net.conv("a", IMAGE, 4, activation=activation)
    net.conv("b", "a.out", 4, activation=None)
    net.conv("last", net.concat(["a.out", "b.out"], "both"), 4)
    graph = GraphMap(net.model(["last.out"]))
    table = with_ranges(table_of(graph, images()), {"a.out": (0.0, 5.0), "b.out": (low, high)})
    return graph, Ranges(graph, table)


class TestUnified:
    def test_one_scale_through_a_family(self) -> None:
        ranges = Ranges(GRAPH, TABLE)
        widest = max(TABLE.threshold(name) for name in BLOCK)
        assert {ranges.scale(name) for name in (*BLOCK, *CONCATS)} == {symmetric_scale(widest)}
        assert {ranges.scale_and_zero_point(name) for name in (*BLOCK, *CONCATS)} == {asymmetric(0, widest)}

    def test_the_family_is_not_alone_in_the_graph(self) -> None:
        ranges = Ranges(GRAPH, TABLE)
        assert ranges.scale("transition.out") != ranges.scale("stem.out")

    def test_heads_keep_their_own(self) -> None:
        ranges = Ranges(GRAPH, TABLE)
        for name in ("loc.0.out", "loc.1.out", "conf.0.out", "conf.1.out"):
            assert ranges.scale(name) == symmetric_scale(TABLE.threshold(name))
            assert ranges.low_high(name) == TABLE.low_high(name)


class TestSeparate:
    def test_each_tensor_has_its_own(self) -> None:
        ranges = Ranges(GRAPH, TABLE, "separate")
        for name in GRAPH.measured:
            assert ranges.threshold(name) == TABLE.threshold(name)
            assert ranges.low_high(name) == TABLE.low_high(name)

    def test_a_concatenation_has_the_widest_of_its_inputs(self) -> None:
        ranges = Ranges(GRAPH, TABLE, "separate")
        widest = max(TABLE.threshold(name) for name in ("block.0.out", "block.2.out", "block.3.out"))
        assert ranges.threshold("block.all") == widest


class TestEither:
    @pytest.mark.parametrize("concat_scales", ["unified", "separate"])
    def test_a_pool_has_the_scale_of_what_it_reads(self, concat_scales: str) -> None:
        ranges = ranges_of(GRAPH, concat_scales=concat_scales)  # type: ignore[arg-type]  # parametrised
        assert ranges.scale("pooled") == ranges.scale("transition.out")
        assert ranges.scale_and_zero_point("pooled") == ranges.scale_and_zero_point("transition.out")

    def test_a_tensor_that_was_always_zero_has_a_usable_scale(self) -> None:
        table = with_ranges(TABLE, {"top.out": (0.0, 0.0)})
        ranges = Ranges(GRAPH, table, "separate")
        assert ranges.low_high("top.out") == (0.0, 1.0)
        assert ranges.scale("top.out") > 0
        assert ranges.scale_and_zero_point("top.out")[1] == 0

    def test_a_dead_member_takes_its_familys_range(self) -> None:
        table = with_ranges(TABLE, {"block.2.out": (0.0, 0.0)})
        ranges = Ranges(GRAPH, table)
        assert ranges.scale_and_zero_point("block.2.out") == ranges.scale_and_zero_point("stem.out")

    def test_a_missing_tensor_is_named(self) -> None:
        tensors = {name: one for name, one in TABLE.tensors.items() if name != "extra.out"}
        with pytest.raises(CalibrationError, match=r"nothing for extra\.out"):
            Ranges(GRAPH, replace(TABLE, tensors=tensors))

    @pytest.mark.parametrize("name", ["normed.unit", "no such tensor"])
    def test_a_tensor_without_a_range_is_named(self, name: str) -> None:
        with pytest.raises(CalibrationError, match=name):
            Ranges(GRAPH, TABLE).scale(name)


class TestFamiliesWithAndWithoutRelu:
    def test_the_symmetric_scale_is_one(self) -> None:
        _, ranges = mixed_family(-9.0, 4.0)
        assert ranges.scale("a.out") == ranges.scale("b.out") == ranges.scale("both") == symmetric_scale(9.0)

    def test_behind_the_relu_the_zero_point_is_zero(self) -> None:
        _, ranges = mixed_family(-9.0, 7.0)
        assert ranges.low_high("a.out") == (0.0, 7.0)
        assert ranges.scale_and_zero_point("a.out")[1] == 0
        assert ranges.low_high("b.out") == ranges.low_high("both") == (-9.0, 7.0)

    def test_behind_relu6_nothing_stands_for_more_than_6(self) -> None:
        _, ranges = mixed_family(-9.0, 20.0, activation="Clip")
        assert ranges.low_high("a.out") == (0.0, 6.0)
        assert ranges.low_high("both") == (-9.0, 20.0)

    def test_a_family_of_relus_has_one_range(self) -> None:
        _, ranges = mixed_family(0.0, 7.0)
        assert ranges.low_high("a.out") == ranges.low_high("b.out") == ranges.low_high("both") == (0.0, 7.0)


class TestScales:
    def test_every_feature_map_in_order_and_no_float_island(self) -> None:
        scales = Ranges(GRAPH, TABLE).scales()
        assert list(scales) == [name for name in GRAPH.tensors if name in scales]
        assert {IMAGE, *BLOCK, *CONCATS, "pooled", "skip", "normed"} <= scales.keys()
        assert not {"normed.unit", "normed.squares", "normed.norm"} & scales.keys()

    def test_before_a_relu_stands_the_scale_behind_it(self) -> None:
        ranges = Ranges(GRAPH, TABLE)
        scales = ranges.scales()
        for unit in GRAPH.units:
            assert scales[unit.inner] == scales[unit.output] == ranges.scale(unit.output)
