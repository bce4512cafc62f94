"""Geometry of the drawings."""

from __future__ import annotations

import itertools
import math

import pytest

from hardnet_deploy.report.blocks import Mark, Plot
from hardnet_deploy.report.plots import LETTER, LONGEST, Point, log_log, nice_ticks, plottable, power_ticks, scatter

TEXT = {"ident": "p", "title": "t", "description": "d", "x_label": "x", "y_label": "y"}


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0, 40), (0.6975, 0.7101), (-3, 7), (5, 5), (0, 0), (1e-9, 2e-9), (0, 1234567)]
)
def test_ticks_are_round_and_enclose_the_values(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low + 1e-12
    assert ticks[-1] >= high - 1e-12
    assert 3 <= len(ticks) <= 9
    steps = {round(after - before, 12) for before, after in itertools.pairwise(ticks)}
    step = min(steps)
    assert max(steps) == pytest.approx(step)
    lead = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert any(math.isclose(lead, round_one) for round_one in (1, 2, 2.5, 5))


@pytest.mark.parametrize("apart", [0.0, 1.6e-16, 1e-13, 3e-12, 1e-9, 1e-7])
@pytest.mark.parametrize("low", [0.6889, 0.0, 1.0, -40.0, 1e12])
def test_values_that_nearly_meet_have_an_axis_around_them_whose_texts_differ(low: float, apart: float) -> None:
    ticks = nice_ticks(low, low + apart)
    assert ticks[0] <= low <= low + apart <= ticks[-1]
    assert len({f"{one:g}" for one in ticks}) == len(ticks) >= 3


def test_engines_whose_map_differs_by_a_rounding_are_drawn() -> None:
    points = [Point(x=10, y=0.6889, label="a"), Point(x=20, y=0.6889 + 1.2e-16, label="b")]
    assert inside(scatter(points, **TEXT))


def test_powers_enclose_the_values() -> None:
    assert power_ticks(0.3, 200) == (0.1, 1.0, 10.0, 100.0, 1000.0)


def box(mark: Mark) -> tuple[float, float, float, float]:
    wide = LETTER * len(mark.label)
    start = mark.label_x - wide if mark.label_end else mark.label_x
    return start, mark.label_y - 11, start + wide, mark.label_y + 2


def meets(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def inside(plot: Plot) -> bool:
    return all(plot.left <= mark.x <= plot.right and plot.top <= mark.y <= plot.bottom for mark in plot.marks)


def test_labels_meet_neither_each_other_nor_marks() -> None:
    points = [Point(x=10 + place % 3, y=0.7 + 1e-4 * place, label=f"engine-{place}.onnx") for place in range(6)]
    points += [Point(x=40, y=0.7, label="PyTorch a-model-with-a-long-name"), Point(x=10, y=0.7, label="equal")]
    plot = scatter(points, **TEXT)
    assert inside(plot)
    boxes = [box(mark) for mark in plot.marks]
    assert not [pair for pair in itertools.combinations(boxes, 2) if meets(*pair)]
    for mark in plot.marks:
        around = (mark.x - 5, mark.y - 5, mark.x + 5, mark.y + 5)
        assert not [one for one in boxes if meets(one, around)]


def test_a_label_that_is_too_long_keeps_its_beginning_and_its_end() -> None:
    plot = scatter([Point(x=1, y=1, label="beginning-" + "x" * 90 + "-end.onnx")], **TEXT)
    label = plot.marks[0].label
    assert len(label) <= LONGEST
    assert label.startswith("beginning-")
    assert label.endswith("-end.onnx")


def test_up_is_more_and_right_is_slower() -> None:
    plot = scatter([Point(x=1, y=0.5, label="a"), Point(x=2, y=0.6, y_range=(0.55, 0.62), label="b")], **TEXT)
    marks = {mark.label: mark for mark in plot.marks}
    assert marks["a"].x < marks["b"].x
    assert marks["a"].y > marks["b"].y
    assert marks["b"].interval is not None
    assert marks["b"].interval[1] > marks["b"].y > marks["b"].interval[3]
    assert plot.x_ticks[0].text == "0"


@pytest.mark.parametrize("y", [0.0, 0.7])
def test_one_point_alone_can_be_drawn(y: float) -> None:
    assert inside(scatter([Point(x=3, y=y)], **TEXT))


@pytest.mark.parametrize("value", [0.0, -1.0, 1e-320, math.inf, math.nan, 1e300])
def test_only_what_a_logarithmic_axis_has_room_for_is_drawn(value: float) -> None:
    assert plottable([Point(x=1, y=value), Point(x=value, y=1), Point(x=2, y=3)]) == [Point(x=2, y=3)]


def test_no_point_lies_above_the_roof_it_is_bound_by() -> None:
    points = [Point(x=0.5, y=5.0), Point(x=10, y=100.0), Point(x=300, y=100.0)]
    plot = log_log(points, peak=100.0, slope=10.0, key=(), **TEXT)
    assert inside(plot)
    (roof,) = plot.lines
    assert roof[1][1] == roof[2][1] == min(mark.y for mark in plot.marks)
    slope = (roof[1][1] - roof[0][1]) / (roof[1][0] - roof[0][0])
    low = plot.marks[0]
    assert low.y == pytest.approx(roof[0][1] + slope * (low.x - roof[0][0]), abs=0.2)  # places are rounded to 0.1
