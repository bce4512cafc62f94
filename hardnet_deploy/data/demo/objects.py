"""The twelve classes: each function draws one random specimen as polygons, roughly within -1 to 1.

Neighbours look alike on purpose: clock and button, car and truck, fish and bird, tree and mushroom, star and flower,
cup and house.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from hardnet_deploy.data.demo.colours import Palette, scaled
from hardnet_deploy.data.demo.shapes import Part, ellipse, polygon, rectangle, ring, rounded, sector, stroke
from hardnet_deploy.specs import F64

Rng = np.random.Generator


def _polar(radius: float, angle: float) -> tuple[float, float]:
    return radius * float(np.cos(angle)), radius * float(np.sin(angle))


def _wheels(places: list[float], y: float, radius: float, ink: Palette) -> list[Part]:
    hub = scaled(ink.dark, 3.0) if max(ink.dark) > 20 else (150, 150, 150)
    return [
        part
        for x in places
        for part in (Part(ellipse(x, y, radius), ink.dark, body=True), Part(ellipse(x, y, radius * 0.45), hub))
    ]


def clock(rng: Rng, ink: Palette) -> list[Part]:
    """A disc with a rim and two hands from its centre."""
    face, hands = (ink.second, ink.second_detail)
    inner = rng.uniform(0.74, 0.86)
    parts = []
    if rng.random() < 0.15:
        parts = [Part(ellipse(side * 0.62, -0.78, 0.3), ink.detail) for side in (-1, 1)]
    parts += [Part(ellipse(0, 0, 1), ink.main, body=True), Part(ellipse(0, 0, inner), face)]
    ticks = (0, 4, 12)[int(rng.integers(3))]
    for tick in range(ticks):
        angle = tick * 2 * np.pi / ticks
        parts.append(Part(stroke(*_polar(inner * 0.82, angle), *_polar(inner * 0.97, angle), 0.07), hands))
    first = rng.uniform(0, 2 * np.pi)
    for angle, length, width in (
        (first, rng.uniform(0.4, 0.55), 0.2),
        (first + rng.uniform(0.6, 2 * np.pi - 0.6), rng.uniform(0.58, 0.7), 0.14),
    ):
        parts.append(Part(stroke(*_polar(-0.1, angle), *_polar(length, angle), width, tip=width * 0.6), hands))
    return [*parts, Part(ellipse(0, 0, 0.12), hands)]


def button(rng: Rng, ink: Palette) -> list[Part]:
    """A disc with a rim and two or four holes, with or without thread."""
    face, holes = (ink.second, ink.second_detail)
    inner = rng.uniform(0.7, 0.86)
    parts = [Part(ellipse(0, 0, 1), ink.main, body=True), Part(ellipse(0, 0, inner), face)]
    count, start = 2 * int(rng.integers(1, 3)), rng.uniform(0, np.pi)
    reach, radius = rng.uniform(0.3, 0.38), rng.uniform(0.13, 0.17)
    places = [_polar(reach, start + number * 2 * np.pi / count) for number in range(count)]
    if rng.random() < 0.25:
        parts += [
            Part(stroke(*places[number], *places[number + count // 2], 0.1), ink.main) for number in range(count // 2)
        ]
    return [*parts, *(Part(ellipse(x, y, radius), holes) for x, y in places)]


def car(rng: Rng, ink: Palette) -> list[Part]:
    """A low body, a cabin in its middle, two wheels."""
    front, back = rng.uniform(0.25, 0.5), rng.uniform(-0.85, -0.5)
    roof, lean = rng.uniform(-0.62, -0.48), rng.uniform(0.14, 0.28)
    sill = rng.uniform(-0.12, -0.02)
    cabin = polygon([(back, sill), (back + lean, roof), (front - lean, roof), (front, sill)])
    middle = (front + back) / 2
    top, low = roof + 0.1, sill + 0.02
    panes = [
        polygon([(back + 0.1, low), (back + lean + 0.04, top), (middle - 0.04, top), (middle - 0.04, low)]),
        polygon([(middle + 0.04, low), (middle + 0.04, top), (front - lean - 0.04, top), (front - 0.1, low)]),
    ]
    wheel = rng.uniform(0.2, 0.25)
    return [
        Part(cabin, ink.main, body=True),
        Part(rounded(-1, sill, 1, 0.34, 0.14), ink.main, body=True),
        *(Part(pane, ink.detail) for pane in panes),
        Part(rectangle(0.86, sill + 0.08, 0.98, sill + 0.2), ink.second),
        *_wheels([rng.uniform(-0.62, -0.52), rng.uniform(0.52, 0.62)], 0.34, wheel, ink),
    ]


def truck(rng: Rng, ink: Palette) -> list[Part]:
    """A tall box behind, a lower cab in front, two or three wheels."""
    cut, roof = rng.uniform(0.3, 0.5), rng.uniform(-0.42, -0.22)
    box_top = roof - rng.uniform(0.16, 0.38)
    slope = rng.uniform(0.04, 0.2)
    cab = polygon([(cut, roof), (1 - slope, roof), (1, 0.02), (1, 0.36), (cut, 0.36)])
    pane = polygon([(cut + 0.12, roof + 0.1), (0.94 - slope, roof + 0.1), (0.92, 0.02), (cut + 0.12, 0.02)])
    box = ink.main if rng.random() < 0.3 else ink.second
    parts = [
        Part(rectangle(-1, 0.2, 0.95, 0.38), ink.dark),
        Part(cab, ink.main, body=True),
        Part(rectangle(-1, box_top, cut - 0.05, 0.26), box, body=True),
        Part(pane, ink.detail),
    ]
    if rng.random() < 0.4:
        middle = (box_top + 0.26) / 2
        parts.append(Part(rectangle(-0.9, middle - 0.08, cut - 0.15, middle + 0.08), scaled(box, 0.7)))
    places = [-0.62, 0.62] if rng.random() < 0.5 else [-0.74, -0.28, 0.64]
    return [*parts, *_wheels(places, 0.38, rng.uniform(0.18, 0.22), ink)]


def fish(rng: Rng, ink: Palette) -> list[Part]:
    """A pointed body, a forked tail, fins, an eye."""
    tall, tail = rng.uniform(0.34, 0.5), rng.uniform(0.34, 0.5)
    nose = np.concatenate([sector(0.1, 0, 0.9, tall, -np.pi / 2, np.pi / 2), sector(0.1, 0, 0.75, tall, 1.571, 4.712)])
    fork = polygon([(-0.5, 0), (-1.05, -tail), (-0.86, 0), (-1.05, tail)])
    fin = polygon([(-0.2, -tall * 0.8), (-0.05, -tall - rng.uniform(0.12, 0.26)), (0.35, -tall * 0.75)])
    parts = [Part(fork, ink.second, body=True), Part(fin, ink.second), Part(nose, ink.main, body=True)]
    if rng.random() < 0.6:
        parts.append(Part(polygon([(0.0, 0.05), (-0.3, 0.22), (0.12, 0.2)]), ink.second))
    if rng.random() < 0.4:
        parts += [Part(stroke(x, -tall * 0.7, x - 0.06, tall * 0.7, 0.09), ink.second) for x in (-0.25, 0.05, 0.35)]
    return [*parts, Part(ellipse(0.66, -0.1, 0.085), ink.detail)]


def bird(rng: Rng, ink: Palette) -> list[Part]:
    """A body with a raised head, a beak, a tail, a wing, sometimes legs."""
    tall = rng.uniform(0.34, 0.44)
    head_x, head_y, head = rng.uniform(0.5, 0.62), rng.uniform(-0.5, -0.38), rng.uniform(0.24, 0.3)
    tail = polygon([(-0.4, -0.05), (-1.05, rng.uniform(-0.32, 0.0)), (-1.0, rng.uniform(0.06, 0.2)), (-0.4, 0.25)])
    beak_x = head_x + head * 0.8
    beak = polygon([(beak_x, head_y - 0.1), (beak_x + rng.uniform(0.24, 0.36), head_y + 0.03), (beak_x, head_y + 0.12)])
    parts = [Part(stroke(x, 0.25, x + 0.04, rng.uniform(0.6, 0.72), 0.07), ink.dark) for x in (-0.08, 0.16)]
    if rng.random() < 0.5:
        parts = []
    lift = rng.uniform(-0.5, 0.1)
    wing = polygon([(0.22, -0.12), (-0.25, -0.16 + lift), (-0.62, 0.0 + lift), (-0.1, 0.2)])
    return [
        *parts,
        Part(tail, ink.main, body=True),
        Part(beak, ink.second),
        Part(ellipse(0.0, 0.02, 0.68, tall, turn=-0.3), ink.main, body=True),
        Part(ellipse(head_x, head_y, head), ink.main, body=True),
        Part(wing, ink.second),
        Part(ellipse(head_x + 0.08, head_y - 0.05, 0.075), ink.detail),
    ]


def tree(rng: Rng, ink: Palette) -> list[Part]:
    """A trunk under round or pointed foliage."""
    half = rng.uniform(0.1, 0.16)
    parts = [Part(rectangle(-half, 0.0, half, 1.0), ink.second, body=True)]
    if rng.random() < 0.5:
        tiers = int(rng.integers(2, 4))
        for tier in range(tiers):
            bottom, wide = 0.5 - tier * 0.42, 0.72 - tier * 0.14
            leaf = polygon([(-wide, bottom), (0, bottom - rng.uniform(0.66, 0.78)), (wide, bottom)])
            parts.append(Part(leaf, scaled(ink.main, 1.0 + 0.12 * tier), body=True))
        return parts
    side = rng.uniform(0.34, 0.42)
    crowns = [(-side, -0.02, 0.42), (side, rng.uniform(-0.1, 0.05), 0.42), (0.0, -0.48, rng.uniform(0.44, 0.52))]
    parts += [Part(ellipse(x, y, radius), ink.main, body=True) for x, y, radius in crowns]
    return [*parts, Part(ellipse(rng.uniform(-0.2, 0.2), -0.35, 0.26, 0.2), scaled(ink.main, 1.25))]


def mushroom(rng: Rng, ink: Palette) -> list[Part]:
    """A stem under a domed cap, often with spots."""
    half, foot = rng.uniform(0.16, 0.26), rng.uniform(0.0, 0.12)
    brim, height = rng.uniform(0.0, 0.12), rng.uniform(0.72, 0.95)
    stem = polygon([(-half, 0.0), (half, 0.0), (half + foot, 0.95), (-half - foot, 0.95)])
    dome = sector(0, brim, 0.86, height, np.pi, 2 * np.pi)
    under = sector(0, brim, 0.86, rng.uniform(0.1, 0.2), 0, np.pi)
    parts = [
        Part(stem, ink.second, body=True),
        Part(under, scaled(ink.second, 0.75)),
        Part(dome, ink.main, body=True),
    ]
    for x, y, radius in ((-0.42, -0.22, 0.13), (0.05, -0.5, 0.15), (0.45, -0.2, 0.12), (0.0, -0.12, 0.1)):
        if rng.random() < 0.7:
            parts.append(Part(ellipse(x + rng.uniform(-0.06, 0.06), y, radius, radius * 0.85), ink.detail))
    return parts


def star(rng: Rng, ink: Palette) -> list[Part]:
    """Five points."""
    inner = rng.uniform(0.4, 0.52)

    def points(scale: float) -> F64:
        return polygon([_polar(scale * (inner if k % 2 else 1.0), k * np.pi / 5) for k in range(10)])

    parts = [Part(points(1.0), ink.main, body=True)]
    kind = rng.random()
    if kind < 0.3:
        parts.append(Part(points(rng.uniform(0.5, 0.65)), ink.second))
    elif kind < 0.65:
        parts.append(Part(ellipse(0, 0, rng.uniform(0.2, 0.3)), ink.second))
    return parts


def flower(rng: Rng, ink: Palette) -> list[Part]:
    """Five or six petals about a centre."""
    count, wide = int(rng.integers(5, 7)), rng.uniform(0.24, 0.3)
    reach = rng.uniform(0.54, 0.62)
    parts = []
    for number in range(count):
        angle = number * 2 * np.pi / count
        petal = ellipse(*_polar(reach, angle), 1 - reach, wide, turn=angle)
        parts.append(Part(petal, ink.main if number % 2 else scaled(ink.main, 0.92), body=True))
    return [*parts, Part(ellipse(0, 0, reach * 0.55), ink.main), Part(ellipse(0, 0, rng.uniform(0.2, 0.3)), ink.second)]


def cup(rng: Rng, ink: Palette) -> list[Part]:
    """A body that narrows downwards, an open rim, a handle at one side."""
    top, bottom, low = rng.uniform(0.6, 0.7), rng.uniform(0.42, 0.6), rng.uniform(0.6, 0.85)
    rim = rng.uniform(0.12, 0.18)
    handle = ring(0.62, -0.05 + low * 0.1, 0.4, 0.25, -np.pi * 0.55, np.pi * 0.55)
    body = np.concatenate([polygon([(-top, -0.6), (top, -0.6)]), sector(0, low, bottom, 0.12, 0, np.pi)])
    parts = [Part(handle, ink.main, body=True), Part(body, ink.main, body=True)]
    kind = rng.random()
    if kind < 0.35:
        parts.append(Part(rectangle(-bottom, 0.05, bottom, 0.3), ink.second))
    elif kind < 0.55:
        parts.append(Part(rectangle(-0.2, -0.15, 0.2, 0.3), ink.second))
    return [
        *parts,
        Part(ellipse(0, -0.6, top, rim), scaled(ink.main, 1.2), body=True),
        Part(ellipse(0, -0.6, top * 0.86, rim * 0.7), ink.detail),
    ]


def house(rng: Rng, ink: Palette) -> list[Part]:
    """A wall under a gable roof, a door, windows, sometimes a chimney."""
    half, eaves, ridge = rng.uniform(0.62, 0.75), rng.uniform(-0.25, -0.05), rng.uniform(-0.95, -0.75)
    over = half + rng.uniform(0.06, 0.2)
    parts = []
    if rng.random() < 0.5:
        x = rng.uniform(0.25, 0.45)
        parts.append(Part(rectangle(x, ridge, x + 0.2, eaves), ink.second_detail))
    door = rng.uniform(-0.45, 0.1)
    parts += [
        Part(rectangle(-half, eaves, half, 0.85), ink.main, body=True),
        Part(polygon([(-over, eaves), (0, ridge), (over, eaves)]), ink.second, body=True),
        Part(rectangle(door, 0.3, door + 0.28, 0.85), ink.detail),
    ]
    for x in (-0.5, 0.24):
        if rng.random() < 0.8:
            parts.append(Part(rectangle(x, eaves + 0.14, x + 0.24, eaves + 0.36), ink.detail))
    return parts


DRAWERS: Final[dict[str, Callable[[Rng, Palette], list[Part]]]] = {
    function.__name__: function
    for function in (clock, button, car, truck, fish, bird, tree, mushroom, star, flower, cup, house)
}
ANY_WAY_UP: Final = frozenset({"clock", "button", "star", "flower"})
