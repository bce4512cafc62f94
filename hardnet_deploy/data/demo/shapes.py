"""Flat shapes as polygons in the plane, x to the right and y down; an object is a list of them, back to front."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hardnet_deploy.data.demo.colours import Colour
from hardnet_deploy.specs import F64

_TURN = np.linspace(0.0, 2 * np.pi, 40, endpoint=False)
_ALONG = np.linspace(0.0, 1.0, 22)
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)


class Part(NamedTuple):
    """One filled polygon: ``points`` of shape (n, 2); ``body`` parts may get an outline."""

    points: F64
    colour: Colour
    body: bool = False


def polygon(points: list[tuple[float, float]]) -> F64:
    """Corners as an array of shape (n, 2)."""
    return np.array(points, dtype=np.float64)


def ellipse(x: float, y: float, rx: float, ry: float | None = None, *, turn: float = 0.0) -> F64:
    """An ellipse about (x, y), turned by ``turn`` radians."""
    points = _CIRCLE * (rx, rx if ry is None else ry)
    if turn:
        cos, sin = np.cos(turn), np.sin(turn)
        points = points @ np.array([[cos, sin], [-sin, cos]])
    return np.asarray(points + np.array([x, y]), dtype=np.float64)


def sector(x: float, y: float, rx: float, ry: float, start: float, stop: float) -> F64:
    """The part of an ellipse's edge from angle ``start`` to ``stop`` (radians, clockwise on the screen)."""
    turn = start + (stop - start) * _ALONG
    points = np.empty((len(turn), 2))
    points[:, 0] = x + rx * np.cos(turn)
    points[:, 1] = y + ry * np.sin(turn)
    return points


def ring(x: float, y: float, outer: float, inner: float, start: float, stop: float) -> F64:
    """A bent band between two radii, such as a handle."""
    return np.concatenate([sector(x, y, outer, outer, start, stop), sector(x, y, inner, inner, stop, start)])


def rectangle(left: float, top: float, right: float, bottom: float) -> F64:
    """An upright rectangle."""
    return polygon([(left, top), (right, top), (right, bottom), (left, bottom)])


def rounded(left: float, top: float, right: float, bottom: float, radius: float) -> F64:
    """An upright rectangle with round corners."""
    quarter = np.pi / 2
    centres = (
        (right - radius, bottom - radius),
        (left + radius, bottom - radius),
        (left + radius, top + radius),
        (right - radius, top + radius),
    )
    corners = [
        sector(x, y, radius, radius, number * quarter, (number + 1) * quarter)[::3]
        for number, (x, y) in enumerate(centres)
    ]
    return np.concatenate(corners)


def stroke(x0: float, y0: float, x1: float, y1: float, width: float, *, tip: float | None = None) -> F64:
    """A straight bar from one point to another, ``width`` wide at its start and ``tip`` at its end."""
    direction = np.array([x1 - x0, y1 - y0])
    normal = np.array([-direction[1], direction[0]]) / max(float(np.hypot(*direction)), 1e-9)
    start, end = normal * width / 2, normal * (width if tip is None else tip) / 2
    a, b = np.array([x0, y0]), np.array([x1, y1])
    return np.stack([a - start, b - end, b + end, a + start])
