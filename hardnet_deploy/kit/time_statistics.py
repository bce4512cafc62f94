"""The figures that stand for a list of times, and whether stated ones follow from it.

``median``, ``mean``, ``p90``, ``p95``, ``p99``, ``min`` and ``max`` are milliseconds. Every quantile, the median too,
is type 7 of Hyndman and Fan (1996), *Sample Quantiles in Statistical Packages*: the linear interpolation at place
q (n - 1) of the sorted times, counted from 0, which is NumPy's default. ``cov_percent`` is 100 times the standard
deviation (over n) by the mean, and ``stable`` says that it is at most 2.5. The device computes the same, by the same
function.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hardnet_deploy.device.run_engine import summarise

ROUNDING: Final = 1e-9
"""Relative: Python 3.12 and later sum floating-point numbers more exactly than 3.6 does."""


def first_difference(stated: Mapping[str, Any], times: Sequence[float]) -> str | None:
    """The name of the first figure that does not follow from the times; None where all do.

    Args:
        stated: All figures: numbers, and the boolean ``stable``.
        times: In milliseconds, at least one.
    """
    for name, value in summarise(times).items():
        alike = (
            stated[name] is value
            if isinstance(value, bool)
            else math.isclose(stated[name], value, rel_tol=ROUNDING, abs_tol=ROUNDING)
        )
        if not alike:
            return name
    return None
