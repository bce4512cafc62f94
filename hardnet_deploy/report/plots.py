"""Geometry of the drawings: scales, ticks, and labels that do not lie upon each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from hardnet_deploy.report.blocks import Mark, Plot, Tick

WIDTH: Final = 720.0
LONGEST: Final = 38  # letters of a label; the tables have all of it
LINE: Final = 17.0  # between two labels
LETTER: Final = 7.4  # width of one, about
GAP: Final = 11.0  # from a mark to its label
LEAST: Final = 1e-12  # on a logarithmic axis: nothing that was measured lies beyond these two
MOST: Final = 1e12
LEAST_SPAN: Final = 1e-5  # of the larger end: what is closer is one value to the six digits of a tick's text
Shape = Literal["circle", "square", "diamond", "cross"]


@dataclass(frozen=True, kw_only=True)
class Point:
    """A point in the units of the data; ``x_range`` and ``y_range`` are intervals around it."""

    x: float
    y: float
    label: str = ""
    shape: Shape = "circle"
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    title: str = ""


@dataclass(frozen=True)
class Scale:
    """From the data's units to the drawing's; logarithmic where ``log`` is set."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Place of ``value``, rounded to a tenth."""
        low, high = self.low, self.high
        if self.log:
            value, low, high = (math.log10(one) for one in (value, low, high))
        return round(self.start + (value - low) / (high - low) * (self.end - self.start), 1)


def shortened(label: str) -> str:
    """Its beginning and its end, where it is too long for a drawing."""
    half = (LONGEST - 1) // 2
    return label if len(label) <= LONGEST else f"{label[:half]}…{label[-half:]}"


def nice_ticks(low: float, high: float, wanted: int = 5) -> tuple[float, ...]:
    """Round numbers from at most ``low`` to at least ``high``, about ``wanted``; around both where they meet."""
    largest = max(abs(low), abs(high))
    if high - low < max(LEAST_SPAN * largest, LEAST):
        pad = 0.05 * largest if 0.05 * largest > LEAST else 1.0
        low, high = low - pad, high + pad
    raw = (high - low) / wanted
    exponent = math.floor(math.log10(raw))
    step = next(unit * 10.0**exponent for unit in (1, 2, 2.5, 5, 10) if unit * 10.0**exponent >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(round(place * step, 2 - exponent) for place in range(first, last + 1))


def is_plottable(value: float) -> bool:
    """True for what a logarithmic axis has room for."""
    return LEAST <= value <= MOST


def plottable(points: Iterable[Point]) -> list[Point]:
    """Those that two logarithmic axes have room for."""
    return [point for point in points if is_plottable(point.x) and is_plottable(point.y)]


def power_ticks(low: float, high: float) -> tuple[float, ...]:
    """Powers of ten around positive numbers."""
    return tuple(10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1))


def scatter(
    points: Sequence[Point],
    *,
    ident: str,
    title: str,
    description: str,
    x_label: str,
    y_label: str,
    from_zero: bool = True,
    key: Sequence[tuple[str, str]] = (),
    height: float = 360.0,
) -> Plot:
    """Points over two linear axes; the horizontal one begins at 0 where ``from_zero`` is set."""
    xs = [value for point in points for value in (point.x, *(point.x_range or ()))]
    ys = [value for point in points for value in (point.y, *(point.y_range or ()))]
    x_values = nice_ticks(0.0 if from_zero else min(xs), max(xs) * 1.05)
    y_values = nice_ticks(min(ys), max(ys))
    left, right, top, bottom = 78.0, WIDTH - 24.0, 34.0, height - 54.0
    x, y = Scale(x_values[0], x_values[-1], left, right), Scale(y_values[0], y_values[-1], bottom, top)
    return Plot(
        ident=ident,
        title=title,
        description=description,
        width=WIDTH,
        height=height,
        left=left,
        right=right,
        top=top,
        bottom=bottom,
        x_label=x_label,
        y_label=y_label,
        x_ticks=[Tick(at=x(value), text=f"{value:g}") for value in x_values],
        y_ticks=[Tick(at=y(value), text=f"{value:g}") for value in y_values],
        marks=_labelled([_mark(point, x, y) for point in points], right, top, bottom),
        key=key,
    )


def rows_plot(
    rows: Sequence[tuple[str, Sequence[Point]]],
    *,
    ident: str,
    title: str,
    description: str,
    x_label: str,
    key: Sequence[tuple[str, str]],
) -> Plot:
    """A row for each name, points on a shared horizontal axis from 0; the points' own ``y`` is not used."""
    values = [value for _, points in rows for one in points for value in (one.x, *(one.x_range or ()))]
    ticks = nice_ticks(0.0, max([1.0, *values]) * 1.02)
    rows = [(shortened(name), points) for name, points in rows]
    left = 24.0 + LETTER * max(len(name) for name, _ in rows)
    top, row = 14.0, 34.0
    bottom = top + row * len(rows)
    right = WIDTH - 24.0
    x = Scale(ticks[0], ticks[-1], left, right)
    marks = []
    for place, (_, points) in enumerate(rows):
        middle = top + row * (place + 0.5)
        shift = 5.0 if len(points) > 1 else 0.0
        for number, point in enumerate(points):
            marks.append(_mark(point, x, _always(middle + shift * (2 * number - 1))))
    return Plot(
        ident=ident,
        title=title,
        description=description,
        width=WIDTH,
        height=bottom + 54.0,
        left=left,
        right=right,
        top=top,
        bottom=bottom,
        x_label=x_label,
        y_label="",
        x_ticks=[Tick(at=x(value), text=f"{value:g}") for value in ticks],
        y_ticks=[Tick(at=top + row * (place + 0.5), text=name) for place, (name, _) in enumerate(rows)],
        marks=marks,
        key=key,
    )


def log_log(
    points: Sequence[Point],
    *,
    peak: float,
    slope: float,
    lower: Sequence[float] = (),
    ident: str,
    title: str,
    description: str,
    x_label: str,
    y_label: str,
    key: Sequence[tuple[str, str]],
) -> Plot:
    """Points and a roof, ``min(peak, slope * x)``, over two logarithmic axes: at least one, all :func:`plottable`.

    ``lower`` are the peaks of further roofs under it.
    """
    ridge = peak / slope
    x_values = power_ticks(min(one.x for one in points) * 0.8, max(ridge, *(one.x for one in points)) * 1.2)
    y_values = power_ticks(min(one.y for one in points) * 0.8, max(peak, *(one.y for one in points)))
    height = 380.0
    left, right, top, bottom = 78.0, WIDTH - 24.0, 34.0, height - 54.0
    x = Scale(x_values[0], x_values[-1], left, right, log=True)
    y = Scale(y_values[0], y_values[-1], bottom, top, log=True)
    first = max(x_values[0], y_values[0] / slope)
    lines = [[(x(first), y(first * slope)), (x(ridge), y(peak)), (x(x_values[-1]), y(peak))]]
    lines += [
        [(x(one / slope), y(one)), (x(x_values[-1]), y(one))]
        for one in lower
        if y_values[0] <= one < peak and one / slope >= x_values[0]
    ]
    return Plot(
        ident=ident,
        title=title,
        description=description,
        width=WIDTH,
        height=height,
        left=left,
        right=right,
        top=top,
        bottom=bottom,
        x_label=x_label,
        y_label=y_label,
        x_ticks=[Tick(at=x(value), text=f"{value:g}") for value in x_values],
        y_ticks=[Tick(at=y(value), text=f"{value:g}") for value in y_values],
        marks=[_mark(point, x, y) for point in points],
        lines=lines,
        key=key,
    )


def _mark(point: Point, x: Scale, y: Callable[[float], float]) -> Mark:
    at_x, at_y = x(point.x), y(point.y)
    interval = None
    if point.x_range:
        interval = (x(point.x_range[0]), at_y, x(point.x_range[1]), at_y)
    elif point.y_range:
        interval = (at_x, y(point.y_range[0]), at_x, y(point.y_range[1]))
    label = shortened(point.label)
    return Mark(x=at_x, y=at_y, shape=point.shape, label=label, interval=interval, title=point.title)


def _always(place: float) -> Callable[[float], float]:
    return lambda _: place


def _labelled(marks: Sequence[Mark], right: float, top: float, bottom: float) -> list[Mark]:
    """Labels beside the marks, where they meet neither a mark nor another label; the nearest free place is taken."""
    taken = [(mark.x - GAP, mark.y - 8, mark.x + GAP, mark.y + 8) for mark in marks]
    placed = []
    for mark in sorted(marks, key=lambda one: (one.y, one.x)):
        wide = LETTER * len(mark.label)
        places = []
        for step in (0, 1, -1, 2, -2, 3, -3):
            y = mark.y + 5 + step * LINE
            for end in (False, True):
                start = mark.x - GAP - wide if end else mark.x + GAP
                box = (start, y - 12, start + wide, y + 3)
                inside = box[0] >= 0 and box[2] <= right + 20 and top - 6 <= box[1] and box[3] <= bottom
                meets = any(box[0] < c and a < box[2] and box[1] < d and b < box[3] for a, b, c, d in taken)
                if inside and not meets:
                    places.append((y, end, box))
        y, end, box = places[0] if places else (mark.y + 5, False, (mark.x, mark.y, mark.x, mark.y))
        taken.append(box)
        at = mark.x - GAP if end else mark.x + GAP
        placed.append(replace(mark, label_x=round(at, 1), label_y=round(y, 1), label_end=end))
    return placed
