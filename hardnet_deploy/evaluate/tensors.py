"""Comparing named tensors of two engines, and finding the first one that diverges."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.evaluate.tolerances import Tolerance

_BLOCK: Final = 1 << 15  # values compared at once: few enough to stay in a processor's cache


@dataclass(frozen=True, kw_only=True)
class TensorParity:
    """How far one tensor of the candidate is from the reference's.

    Args:
        name: The tensor's name on both sides.
        case: What it was computed from.
        max_abs: Largest absolute error.
        max_rel: Largest absolute error relative to the reference's largest magnitude.
        cosine: Cosine of the angle between both sides, taken as vectors, in [-1, 1]; None where a side is all zero or
            not finite.
        sqnr_db: Signal to quantisation noise, 10 log10(sum reference^2 / sum error^2); None where it is infinite or
            has no meaning, which :attr:`sqnr_text` tells apart.
        compared: Number of values compared.
        violations: Values outside the tolerance; a NaN or infinity on either side is one.
        tolerance: What was allowed; None where the figures are only reported and nothing but NaN and infinity fails.
    """

    name: str
    case: str
    max_abs: float
    max_rel: float
    cosine: float | None
    sqnr_db: float | None
    compared: int
    violations: int
    tolerance: Tolerance | None

    @property
    def sqnr_text(self) -> str:
        """The SQNR in decibels, or the word for why there is no number: ``exact``, ``no signal``, ``not finite``."""
        if self.sqnr_db is not None:
            return f"{self.sqnr_db:.1f} dB"
        if not math.isfinite(self.max_abs):
            return "not finite"
        return "no signal" if self.max_abs else "exact"

    @property
    def ok(self) -> bool:
        """True where something was compared and everything was close."""
        return self.compared > 0 and self.violations == 0

    def as_dict(self) -> dict[str, Any]:
        """For a manifest or a report; errors that are not finite become None, which JSON can carry."""
        record = asdict(self)
        for key in ("max_abs", "max_rel"):
            record[key] = record[key] if math.isfinite(record[key]) else None
        return {**record, "sqnr": self.sqnr_text, "ok": self.ok}


class TensorComparison:
    """Compares one tensor over any number of batches in flat memory, value by value, in float64.

    Args:
        name: The tensor's name on both sides.
        tolerance: What is allowed; ``of_scale`` is of the largest value of each batch. None to report only.
        case: What it is computed from.
    """

    def __init__(self, name: str, tolerance: Tolerance | None, *, case: str) -> None:
        self._name, self._tolerance, self._case = name, tolerance, case
        self._compared = self._violations = 0
        self._max_abs = self._scale = 0.0
        self._signal = self._candidate = self._noise = self._product = 0.0
        self._comparable = True

    def add(self, reference: NDArray[Any], candidate: NDArray[Any]) -> None:
        """One batch of both sides. Another shape counts every value as a violation."""
        if reference.shape != candidate.shape:
            self._comparable = False
            self._violations += max(reference.size, candidate.size, 1)
            return
        self._compared += reference.size
        self._comparable &= reference.size > 0
        ours, theirs = reference.reshape(-1), candidate.reshape(-1)
        largest = _largest(ours) if self._tolerance is not None and self._tolerance.of_scale else 0.0
        for start in range(0, reference.size, _BLOCK):
            part = slice(start, start + _BLOCK)
            self._add_block(ours[part].astype(np.float64), theirs[part].astype(np.float64), largest)

    def _add_block(self, wanted: NDArray[np.float64], got: NDArray[np.float64], largest: float) -> None:
        with np.errstate(invalid="ignore"):
            error = np.abs(got - wanted)
            magnitude = np.abs(wanted)
            close = np.isfinite(error)  # not so where either side is not
            comparable = bool(close.all())
            if self._tolerance is not None:
                allowed = self._tolerance.atol + self._tolerance.rtol * magnitude + self._tolerance.of_scale * largest
                close &= error <= allowed
        self._violations += int(close.size - np.count_nonzero(close))
        if not comparable:
            self._comparable = False
            return
        self._max_abs = max(self._max_abs, float(error.max()))
        self._scale = max(self._scale, float(magnitude.max()))
        self._signal += _dot(wanted, wanted)
        self._candidate += _dot(got, got)
        self._noise += _dot(error, error)
        self._product += _dot(wanted, got)

    def result(self) -> TensorParity:
        """What was found so far; errors are infinite where a batch could not be compared, or none was."""
        comparable = self._comparable and self._compared > 0
        relative = self._max_abs / self._scale if self._scale else (math.inf if self._max_abs else 0.0)
        lengths = math.sqrt(self._signal) * math.sqrt(self._candidate)
        cosine = min(1.0, max(-1.0, self._product / lengths)) if lengths else None
        has_ratio = self._signal > 0 and self._noise > 0
        return TensorParity(
            name=self._name,
            case=self._case,
            max_abs=self._max_abs if comparable else math.inf,
            max_rel=relative if comparable else math.inf,
            cosine=cosine if comparable else None,
            sqnr_db=10 * (math.log10(self._signal) - math.log10(self._noise)) if comparable and has_ratio else None,
            compared=self._compared,
            violations=self._violations,
            tolerance=self._tolerance,
        )


def _dot(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Their product summed up; not by BLAS, whose threads would wait for a runner's at every block."""
    return float(np.einsum("i,i->", one, other))


def _largest(values: NDArray[Any]) -> float:
    """The largest finite magnitude; 0 where there is none."""
    most = max(float(values.max(initial=0)), -float(values.min(initial=0)))
    return most if math.isfinite(most) else float(np.abs(values[np.isfinite(values)]).max(initial=0))


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """One tensor inside the network that the candidate computes differently.

    Args:
        name: Module path of the original network whose output it is.
        error: Largest absolute error relative to the reference's largest magnitude.
        within: True where even this one is within the tolerance and only the largest is named.
    """

    name: str
    error: float
    within: bool

    def sentence(self) -> str:
        """For an error message."""
        if self.within:
            return f"no inner tensor alone is far off; the largest is {self.error:.2g} of the scale of '{self.name}'"
        return f"the first tensor that diverges is '{self.name}' (error {self.error:.2g} of its scale)"


def relative_error(reference: NDArray[Any], candidate: NDArray[Any]) -> float:
    """Largest absolute error over the reference's largest magnitude; infinity for other shapes or non-finite values."""
    if reference.shape != candidate.shape or not (np.isfinite(reference).all() and np.isfinite(candidate).all()):
        return math.inf
    if not reference.size:
        return math.inf
    error = float(np.abs(candidate - reference).max())
    scale = float(np.abs(reference).max())
    return error / scale if scale else (math.inf if error else 0.0)


def compare_tensor(
    name: str, reference: NDArray[Any], candidate: NDArray[Any], tolerance: Tolerance | None, *, case: str
) -> TensorParity:
    """:class:`TensorComparison` of a single batch."""
    comparison = TensorComparison(name, tolerance, case=case)
    comparison.add(reference, candidate)
    return comparison.result()


def compare_tensors(
    reference: Mapping[str, NDArray[Any]],
    candidate: Mapping[str, NDArray[Any]],
    tolerance: Tolerance | None,
    *,
    case: str,
) -> tuple[TensorParity, ...]:
    """Compare every tensor of the reference with the candidate's of the same name; one that is missing fails."""
    empty = np.empty(0)
    return tuple(
        compare_tensor(name, value, candidate.get(name, empty), tolerance, case=case)
        for name, value in reference.items()
    )


def first_divergence(
    pairs: Iterable[tuple[str, NDArray[Any], NDArray[Any]]], tolerance: Tolerance
) -> Divergence | None:
    """The first of (name, reference, candidate) in order whose error exceeds ``tolerance.rtol`` of its scale.

    Where none does, the one with the largest error, marked ``within``; None where there were no pairs.
    """
    largest: Divergence | None = None
    for name, reference, candidate in pairs:
        error = relative_error(reference, candidate)
        if error > tolerance.rtol:
            return Divergence(name=name, error=error, within=False)
        if largest is None or error > largest.error:
            largest = Divergence(name=name, error=error, within=True)
    return largest
