"""A histogram of |x| that widens itself while values stream in.

The range ends at the smallest power of two that is not below the largest |x| seen, and is cut into ``BINS`` equal bins;
with ``w`` their width,

    bin i holds the values with  i * w < |x| <= (i + 1) * w,    i = 0 ... BINS - 1,

and exact zeros are counted apart. When a larger value arrives, w is doubled as often as needed and neighbouring bins
are added up. As ceil(ceil(y) / 2) = ceil(y / 2), a value lands where it would have landed had the wider range been
known from the start, and as w is a power of two, |x| / w is exact in float32. So the counts depend only on *which*
values were seen, not on their order or on how they were split into calls.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calibration.errors import CalibrationError

BINS: Final = 2048
_MIN_EXPONENT: Final = -116  # BINS / 2**-116 = 2**127 is the largest power of two in float32
_MAX_EXPONENT: Final = 128  # float32 ends below 2**128
_BLOCK: Final = 1 << 15  # values that are binned at a time: their temporaries stay in the second-level cache


class MagnitudeHistogram:
    """Counts of |x| in ``BINS`` equal bins from 0 to a power of two, and of exact zeros.

    Its size is fixed: some 16 kB, however many values it has seen. The range never ends below 2**-116, under which
    1 / bin width would overflow float32.
    """

    def __init__(self) -> None:
        self._slots = np.zeros(BINS + 1, np.int64)  # slot 0: zeros; slot i + 1: bin i
        self._exponent: int | None = None  # upper = 2**exponent; None while every value was 0

    def add(self, values: NDArray[np.float32]) -> None:
        """Count ``values``; of any shape, an empty one included.

        Raises:
            CalibrationError: They are not float32, or hold NaN or infinity. The counts are then as before.
        """
        if values.dtype != np.float32:
            raise CalibrationError("Only float32 values are counted.", got=str(values.dtype), wanted="float32")
        if not values.size:
            return
        flat = values.reshape(-1)
        largest = _largest_magnitude(flat)
        if largest:
            self._widen_to(largest)
        self._count(flat)

    @property
    def total(self) -> int:
        """Number of values seen, zeros included."""
        return int(self._slots.sum())

    @property
    def zeros(self) -> int:
        """Number of values that are exactly 0 (or -0)."""
        return int(self._slots[0])

    @property
    def upper(self) -> float:
        """Right edge of the last bin, a power of two not below the largest |x|; 0 while every value was 0."""
        return 0.0 if self._exponent is None else math.ldexp(1.0, self._exponent)

    @property
    def bin_width(self) -> float:
        """``upper / BINS``."""
        return self.upper / BINS

    @property
    def counts(self) -> NDArray[np.int64]:
        """Values in each bin, shape (BINS,), a copy. Exact zeros are in no bin: see ``zeros``."""
        return self._slots[1:].copy()

    def share_above(self, threshold: float) -> float:
        """Share of all values, zeros included, with |x| > ``threshold``; in [0, 1].

        Inside a bin values are taken as evenly spread.

        Raises:
            CalibrationError: No value was counted, or the threshold is negative or NaN.
        """
        total = self._total_or_refuse()
        if not threshold >= 0:
            raise CalibrationError(
                "A threshold of magnitudes is not negative.", got=f"{threshold}", wanted="a number >= 0"
            )
        if threshold >= self.upper:
            return 0.0
        position = threshold / self.bin_width
        first = int(position)
        counts = self._slots[1:]
        return float(counts[first + 1 :].sum() + counts[first] * (first + 1 - position)) / total

    def quantile(self, q: float, *, nonzero: bool = False) -> float:
        """The magnitude that a share ``q`` of the values does not exceed, to within a bin width.

        Args:
            q: In [0, 1].
            nonzero: Share of the values that are not 0, instead of all.

        Raises:
            CalibrationError: No such value was counted, or q is outside [0, 1].
        """
        total = self._total_or_refuse()
        if not 0 <= q <= 1:
            raise CalibrationError("A quantile is a share.", got=f"{q}", wanted="a number from 0 to 1")
        counts = self._slots[1:]
        found = total - self.zeros
        if nonzero and not found:
            raise CalibrationError("Every value is 0, so there is no quantile of the others.")
        rank = q * found if nonzero else q * total - self.zeros
        if rank <= 0:
            return 0.0
        up_to = np.cumsum(counts)
        index = int(np.searchsorted(up_to, min(rank, found)))
        inside = 1 - (up_to[index] - min(rank, found)) / counts[index]
        return float((index + inside) * self.bin_width)

    def state(self) -> dict[str, NDArray[Any]]:
        """All that ``from_state`` needs to go on to the bit: ``upper`` (float64, scalar), ``slots`` (int64, BINS + 1).

        The arrays are copies.
        """
        return {"upper": np.array(self.upper, np.float64), "slots": self._slots.copy()}

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[Any]]) -> MagnitudeHistogram:
        """The histogram that ``state`` was taken of.

        Raises:
            CalibrationError: It is not such a state.
        """
        histogram = cls()
        upper, slots = _checked_state(state)
        histogram._slots[:] = slots
        if upper:
            histogram._exponent = math.frexp(upper)[1] - 1
        return histogram

    def _total_or_refuse(self) -> int:
        total = self.total
        if not total:
            raise CalibrationError("The histogram is empty.", wanted="at least one value")
        return total

    def _widen_to(self, largest: float) -> None:
        """Double the range until it holds ``largest``."""
        exponent = max(_MIN_EXPONENT, _ceil_log2(largest))
        if self._exponent is not None and exponent > self._exponent:
            bins = self._slots[1:]
            merged = 1 << min(exponent - self._exponent, BINS.bit_length() - 1)
            sums = bins.reshape(-1, merged).sum(axis=1)
            bins[:] = 0
            bins[: sums.size] = sums
        self._exponent = exponent if self._exponent is None else max(exponent, self._exponent)

    def _count(self, flat: NDArray[np.float32]) -> None:
        if self._exponent is None:
            self._slots[0] += flat.size
            return
        per_width = np.float32(math.ldexp(BINS, -self._exponent))
        scaled = np.empty(min(flat.size, _BLOCK), np.float32)
        added = np.zeros(BINS + 1, np.int64)
        for start in range(0, flat.size, _BLOCK):
            block = flat[start : start + _BLOCK]
            slots = scaled[: block.size]
            np.abs(block, out=slots)
            np.multiply(slots, per_width, out=slots)
            np.ceil(slots, out=slots)
            added += np.bincount(slots.astype(np.int32), minlength=BINS + 1)
        if per_width < 1:  # the product of a subnormal number can then round to 0
            zeros = flat.size - np.count_nonzero(flat)
            added[1] += added[0] - zeros
            added[0] = zeros
        self._slots += added


def _largest_magnitude(flat: NDArray[np.float32]) -> float:
    """The largest |x|, after a check that all are finite: NaN and infinity reach the smallest or the largest value."""
    with np.errstate(invalid="ignore"):
        largest = max(-float(flat.min()), float(flat.max()))
    if math.isfinite(largest):
        return largest
    nans, infinities = int(np.isnan(flat).sum()), int(np.isinf(flat).sum())
    raise CalibrationError(
        "The values hold NaN or infinity; no range can be measured from them.",
        got=f"{nans} NaN and {infinities} infinite of {flat.size} values",
        wanted="finite values",
        next_step="Run the float model on this input: its own outputs, or the input, are not finite.",
    )


def _ceil_log2(value: float) -> int:
    """The smallest e with 2**e >= value."""
    mantissa, exponent = math.frexp(value)
    return exponent - 1 if mantissa == 0.5 else exponent


def _checked_state(state: Mapping[str, NDArray[Any]]) -> tuple[float, NDArray[np.int64]]:
    """Upper edge and slots of a state.

    Raises:
        CalibrationError: It could not have come from ``MagnitudeHistogram.state``.
    """
    if set(state) != {"upper", "slots"}:
        raise CalibrationError("Not a histogram's state.", got=f"keys {sorted(state)}", wanted="slots and upper")
    upper, slots = state["upper"], state["slots"]
    if (
        upper.shape != ()
        or upper.dtype != np.float64
        or slots.dtype != np.int64
        or slots.shape != (BINS + 1,)
        or slots.min() < 0
    ):
        raise CalibrationError(
            "The arrays of a histogram's state are damaged.",
            got=f"upper {upper.dtype}{upper.shape}, slots {slots.dtype}{slots.shape}",
            wanted=f"upper float64(), slots int64({BINS + 1},), none negative",
        )
    edge = float(upper)
    in_float32 = edge == 0 or (_MIN_EXPONENT <= math.frexp(edge)[1] - 1 <= _MAX_EXPONENT and math.frexp(edge)[0] == 0.5)
    if not in_float32 or bool(edge) != bool(slots[1:].any()):
        raise CalibrationError("The range of a histogram's state does not fit its counts.", got=f"upper edge {edge}")
    return edge, slots
