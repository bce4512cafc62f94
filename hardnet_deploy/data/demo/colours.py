"""Colours that keep the parts of an object apart; those of look-alikes are drawn alike."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]


def _rgb(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, min(max(saturation, 0.0), 1.0), min(max(value, 0.0), 1.0))
    return round(red * 255), round(green * 255), round(blue * 255)


def luminance(colour: Colour) -> float:
    """Perceived brightness from 0 to 255 (the weights of ITU-R BT.601)."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def any_colour(rng: np.random.Generator, *, low: float = 0.2, high: float = 1.0) -> Colour:
    """A random colour with a value from ``low`` to ``high``: one in five nearly grey."""
    hue, saturation, value, grey = rng.random(4).tolist()
    return _rgb(hue, saturation * (0.15 if grey < 0.2 else 0.9), low + (high - low) * value)


def scaled(colour: Colour, factor: float) -> Colour:
    """The colour made darker (below 1) or lighter (above 1)."""
    red, green, blue = (min(255, round(channel * factor)) for channel in colour)
    return red, green, blue


def against(colour: Colour, rng: np.random.Generator) -> Colour:
    """A colour that stands out on ``colour``: its brightness differs by 70 grey levels or more."""
    below = luminance(colour)
    for _ in range(6):
        found = any_colour(rng, low=0.05)
        if abs(luminance(found) - below) >= 70:
            return found
    return (24, 24, 28) if below > 120 else (236, 234, 228)


@dataclass(frozen=True, kw_only=True)
class Palette:
    """What one object is painted with.

    Args:
        main: Of the largest part.
        second: Of the second largest part; stands out on ``main`` a little or a lot.
        detail: Small parts on ``main``.
        second_detail: Small parts on ``second``.
        dark: Wheels, outlines.
    """

    main: Colour
    second: Colour
    detail: Colour
    second_detail: Colour
    dark: Colour


def palette(rng: np.random.Generator, hue: float) -> Palette:
    """Colours for one object: three times out of four mainly of about ``hue`` (in turns of the wheel), else of any."""
    typical, shift, saturation, value = rng.random(4).tolist()
    main = any_colour(rng)
    if typical < 0.75:
        main = _rgb(hue + 0.12 * (shift - 0.5), 0.55 + 0.45 * saturation, 0.45 + 0.55 * value)
    second = against(main, rng) if rng.random() < 0.6 else scaled(main, 0.72 if luminance(main) > 110 else 1.45)
    dark = any_colour(rng, low=0.03, high=0.25)
    return Palette(main=main, second=second, detail=against(main, rng), second_detail=against(second, rng), dark=dark)
