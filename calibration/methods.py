"""From a histogram of magnitudes to the threshold T of symmetric quantisation: q = clip(round(x / s)), s = T / levels.

``minmax``
    T = max |x|: nothing is clipped.
``percentile``
    The magnitude that a given share of all values, zeros included, does not exceed; that is also how ONNX Runtime's
    ``PercentileCalibrater`` and NVIDIA's pytorch-quantization count. Where zeros alone are more than that share, the
    share is taken of the other values: a threshold of 0 would silence the tensor.
``entropy``
    The search of NVIDIA's "8-bit Inference with TensorRT" (GTC 2017, S7310, the slide "Entropy Calibration -
    pseudocode"). With ``levels`` = 127 there are 128 quantised levels; every bin count i from 128 to the last bin that
    is not empty is a candidate, without a stride. P is the first i bins with all that lies beyond added to bin i - 1.
    Q is the first i bins *without* the tail, added up in 128 levels (bin j belongs to level floor(128 j / i)) and
    spread again evenly over those bins of its level where P is not 0. T is the right edge of bin i - 1 for the i with
    the smallest KL(P || Q). The slides leave open what follows, and TensorRT's own code is closed:

    * Zeros and bin 0 are left out. After a ReLU most values are 0; 0 is exact at any T and tells nothing about it, but
      one bin with nearly all of P would hide the others' divergence, or, averaged with its neighbours, always ask
      for finer levels. NVIDIA discards the first bin too ("typically contains a huge number of noise activations":
      mlcommons/inference_results_v0.5, closed/NVIDIA/calibration.md).
    * Where the tail falls on a level without values, Q would be 0 under P > 0, the divergence infinite, and one far
      outlier would set T. Q then holds one value there.
    * Where the kept bins are all empty the divergence is infinite.
    * Divergences closer than ``DIVERGENCE_TIE`` are equal, and the larger T wins: nothing is clipped without gain.
``mse``
    The T with the smallest expected (x - s q)**2, for values spread evenly inside each bin. Up to x the error of
    rounding and clipping adds up, in closed form, to

        G(x) = integral from 0 to x of (u - s k(u))**2 du = s**3 (k / 12 + (x / s - k)**3 / 3),
        k = min(round(x / s), levels),

    and a bin from a to b with c values costs c (G(b) - G(a)) / (b - a). T is searched from max |x| down to one bin in
    steps of 2**(-1 / 24), then finely between the neighbours of the best.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from calibration.errors import CalibrationError
from calibration.histogram import BINS, MagnitudeHistogram
from calibration.table import METHODS, Method

DIVERGENCE_TIE: Final = 1e-12
"""In nats. Prefix sums and plain loops differ by up to 6e-14 on random histograms."""
_STEPS_PER_OCTAVE: Final = 24
_FINE_STEPS: Final = 64


def threshold(
    histogram: MagnitudeHistogram, method: Method, *, maximum: float, percentile: float = 99.99, levels: int = 127
) -> float:
    """The magnitude at which ``method`` clips.

    Args:
        histogram: Of all values of the tensor, or of a sample of them.
        method: One of ``METHODS``.
        maximum: The exact largest |x| of all values. It may lie beyond a sample; if that holds nothing but zeros, it
            is every method's answer.
        percentile: In (0, 100], for ``percentile``.
        levels: Quantised levels above 0: 127 for int8, 255 for uint8 of values that are never negative.

    Returns:
        In (0, maximum]; 0.0 only where every value is 0.

    Raises:
        CalibrationError: The histogram is empty, an option is out of range, or ``maximum`` is below the histogram's
            last value.
    """
    if method not in METHODS:
        raise CalibrationError("No such method.", got=str(method), wanted=", ".join(METHODS))
    if not 0 < percentile <= 100:
        raise CalibrationError("A percentile is out of range.", got=f"{percentile}", wanted="above 0, up to 100")
    if not 1 <= levels < BINS // 2:
        raise CalibrationError("Levels are out of range.", got=f"{levels}", wanted=f"1 to {BINS // 2 - 1}")
    if not histogram.total:
        raise CalibrationError("The histogram is empty: no value was measured.", wanted="at least one value")
    counts = np.trim_zeros(histogram.counts, "b")
    _check_maximum(maximum, histogram, occupied=counts.size)
    if not counts.size or method == "minmax":
        return float(maximum)
    if method == "percentile":
        found = _percentile(histogram, percentile / 100)
    elif method == "entropy":
        found = _entropy(counts, levels) * histogram.bin_width
    else:
        found = _mse(counts, maximum / histogram.bin_width, levels) * histogram.bin_width
    return min(found, float(maximum))


def thresholds(
    histogram: MagnitudeHistogram, maximum: float, *, percentile: float = 99.99, levels: int = 127
) -> dict[Method, float]:
    """The threshold of every method, in the order of ``METHODS``; arguments and errors are those of ``threshold``."""
    return {
        method: threshold(histogram, method, maximum=maximum, percentile=percentile, levels=levels)
        for method in METHODS
    }


def _check_maximum(maximum: float, histogram: MagnitudeHistogram, *, occupied: int) -> None:
    """Refuse a maximum below the last bin that is not empty.

    Raises:
        CalibrationError: It belongs to other values.
    """
    low = max(occupied - 1, 0) * histogram.bin_width
    if not (math.isfinite(maximum) and (maximum > low or maximum == occupied == 0)):
        raise CalibrationError(
            "The maximum and the histogram are not of the same values.",
            got=f"{maximum}",
            wanted=f"a finite number above {low}" if occupied else "a finite number, not negative",
        )


def _percentile(histogram: MagnitudeHistogram, share: float) -> float:
    return histogram.quantile(share) or histogram.quantile(share, nonzero=True)


@lru_cache(maxsize=2)
def _level_edges(levels: int) -> NDArray[np.int64]:
    """Bins where the levels of each candidate begin, and its end: shape (BINS - levels, levels + 2).

    Row r is the candidate of levels + 1 + r bins; bin j belongs to level floor((levels + 1) j / bins).
    """
    quantised = levels + 1
    bins = np.arange(quantised, BINS + 1)[:, None]
    edges = -(-np.arange(quantised + 1) * bins // quantised)
    edges.flags.writeable = False
    return edges


def _entropy(counts: NDArray[np.int64], levels: int) -> float:
    """Bins of the candidate with the smallest divergence.

    Args:
        counts: Up to the last bin that is not empty, which makes the candidate that clips nothing.
        levels: Quantised levels above 0.
    """
    first = levels + 1
    if counts.size < first:  # max |x| < 2**-116: the histogram resolves nothing finer
        return float(counts.size)
    divergence = _divergences(np.where(np.arange(counts.size) > 0, counts, 0), levels)
    return float(first + np.flatnonzero(divergence <= divergence.min() + DIVERGENCE_TIE)[-1])


def _divergences(counts: NDArray[np.int64], levels: int) -> NDArray[np.float64]:
    """KL(P || Q) in nats for the candidates of levels + 1 to ``counts.size`` bins.

    With p and q the counts that P and Q are normalised from, and t and v their sums, it is
    (sum of p log p - sum of p log q) / t - log(t / v). As q is constant over a level, prefix sums give the second sum.
    """
    bins = np.arange(levels + 1, counts.size + 1)
    edges = _level_edges(levels)[: bins.size]
    values_before = np.concatenate(([0], np.cumsum(counts)))
    filled_before = np.concatenate(([0], np.cumsum(counts > 0)))
    total = values_before[-1]
    kept = values_before[bins]
    tail = total - kept
    in_level = np.diff(values_before[edges], axis=1)
    filled = np.diff(filled_before[edges], axis=1)
    last = counts[bins - 1]
    filled[:, -1] += (tail > 0) & (last == 0)
    bare = (tail > 0) & (in_level[:, -1] == 0)
    in_level_or_one = np.maximum(in_level, 1)  # the 1 counts only where the tail falls on a bare level
    log_q = np.log(in_level_or_one / np.maximum(filled, 1))
    sum_p_log_q = np.einsum("cl,cl->c", in_level, log_q) + tail * log_q[:, -1]
    before_last = np.concatenate(([0.0], np.cumsum(_x_log_x(counts))))[bins - 1]
    sum_p_log_p = before_last + _x_log_x(last + tail)
    divergence = (sum_p_log_p - sum_p_log_q) / total - np.log(total / np.maximum(kept + bare, 1))
    return np.where(kept > 0, divergence, np.inf)


def _x_log_x(x: NDArray[np.int64]) -> NDArray[np.float64]:
    exact = x.astype(np.float64)
    return exact * np.log(np.maximum(exact, 1))


def _mse(counts: NDArray[np.int64], maximum: float, levels: int) -> float:
    """Threshold with the smallest expected squared error, and ``maximum``, in bins."""
    octaves = math.log2(max(maximum, 1.0))
    steps = np.arange(math.floor(octaves * _STEPS_PER_OCTAVE) + 1)
    coarse = maximum * np.exp2(-steps / _STEPS_PER_OCTAVE)
    best = int(np.argmin(_squared_errors(counts, coarse, levels)))
    fine = np.linspace(coarse[max(best - 1, 0)], coarse[min(best + 1, coarse.size - 1)], _FINE_STEPS + 1)
    return float(fine[np.argmin(_squared_errors(counts, fine, levels))])


def _squared_errors(counts: NDArray[np.int64], candidates: NDArray[np.float64], levels: int) -> NDArray[np.float64]:
    """Sum over all values of the expected squared error, in squared bins, for each candidate threshold in bins."""
    step = candidates / levels
    position = np.arange(counts.size + 1) / step[:, None]
    level = np.minimum(np.rint(position), levels)
    position -= level
    integral = position * position
    integral *= position
    integral += level * 0.25
    result: NDArray[np.float64] = np.diff(integral, axis=1) @ counts.astype(np.float64)
    return result * (step**3 / 3)
