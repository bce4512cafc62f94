"""Numbers as the page writes them. What is not there is a dash with words for it, never a zero."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from typing import Final

NONE: Final = "–"
MINUS: Final = "−"
SHORT_HASH: Final = 12
MOST_PLACES: Final = 6


def milliseconds(value: float | None) -> str:
    """Three significant digits: 0.412, 9.71, 26.0, 412."""
    if value is None:
        return NONE
    places = 3 if abs(value) < 1 else 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:.{places}f}"


def percent(value: float | None, places: int = 2) -> str:
    """A share in [0, 1] as a percentage."""
    return NONE if value is None else f"{100 * value:.{places}f} %"


def change(value: float) -> str:
    """A change of mAP with its sign."""
    return f"{value:+.4f}".replace("-", MINUS)


def mean_ap(value: float | None) -> str:
    """In [0, 1], four digits."""
    return NONE if value is None else f"{value:.4f}"


def scientific(value: float | None) -> str:
    """Two digits and a power of ten."""
    return NONE if value is None else f"{value:.1e}"


def ratio(value: float | None) -> str:
    """``2.69x``."""
    return NONE if value is None else f"{_three_digits(value)}×"


def between(low: float | None, high: float | None) -> str:
    """An interval of ratios; empty where there is none."""
    return "" if low is None or high is None else f"{_three_digits(low)} to {_three_digits(high)}"


def _three_digits(value: float) -> str:
    """Three significant ones, so that an interval around a small ratio has a width: 0.0163, 0.163, 1.63, 16.3, 163."""
    power = math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{min(max(2 - power, 0), MOST_PLACES)}f}"


def short(sha256: str | None) -> str:
    """The first digits of a hash."""
    return sha256[:SHORT_HASH] if sha256 else "unknown"


def count(value: float | None) -> str:
    """With thin groups of three digits."""
    return NONE if value is None else f"{value:,.0f}".replace(",", " ")


def counted(value: float | None, noun: str) -> str:
    """``1 run``, ``30 runs``; where the number is not there, that it is not."""
    return f"{noun}s not recorded" if value is None else f"{count(value)} {noun}{'' if value == 1 else 's'}"


def millions(value: float | None) -> str:
    """In millions."""
    return NONE if value is None else f"{value / 1e6:.1f}"


def drop_in_words(value: float, kind: str | None, places: int = 2) -> str:
    """A drop of mAP in its unit: percent of the reference's, or points."""
    number = f"{100 * value:.{places}f}".replace("-", MINUS)
    return f"{number} points" if kind == "absolute" else f"{number} %"


def shell(words: Sequence[str]) -> str:
    """A command line to paste."""
    return shlex.join(words)
