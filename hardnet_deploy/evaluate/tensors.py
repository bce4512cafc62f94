"""Comparing named tensors of two engines, and finding the first one that diverges."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.evaluate.tolerances import Tolerance


@dataclass(frozen=True, kw_only=True)
class TensorParity:
    """How far one tensor of the candidate is from the reference's.

    Args:
        name: The tensor's name on both sides.
        case: What it was computed from.
        max_abs: Largest absolute error.
        max_rel: Largest absolute error relative to the reference's largest magnitude.
        compared: Number of values compared.
        violations: Values outside the tolerance; a NaN or infinity on either side is one.
        tolerance: What was allowed.
    """

    name: str
    case: str
    max_abs: float
    max_rel: float
    compared: int
    violations: int
    tolerance: Tolerance

    @property
    def ok(self) -> bool:
        """True where something was compared and everything was close."""
        return self.compared > 0 and self.violations == 0

    def as_dict(self) -> dict[str, Any]:
        """For a manifest or a report; errors that are not finite become None, which JSON can carry."""
        record = asdict(self)
        for key in ("max_abs", "max_rel"):
            record[key] = record[key] if math.isfinite(record[key]) else None
        return {**record, "ok": self.ok}


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
    name: str, reference: NDArray[Any], candidate: NDArray[Any], tolerance: Tolerance, *, case: str
) -> TensorParity:
    """Compare two arrays value by value, in float64. Another shape counts every value as a violation."""
    if reference.shape != candidate.shape:
        size = max(reference.size, candidate.size, 1)
        return TensorParity(
            name=name, case=case, max_abs=math.inf, max_rel=math.inf, compared=0, violations=size, tolerance=tolerance
        )
    wanted, got = reference.astype(np.float64), candidate.astype(np.float64)
    with np.errstate(invalid="ignore"):
        error = np.abs(got - wanted)
        magnitude = np.abs(wanted)
        largest = magnitude[np.isfinite(magnitude)].max(initial=0.0)
        allowed = tolerance.atol + tolerance.rtol * magnitude + tolerance.of_scale * largest
        close = error <= allowed
    finite = np.isfinite(wanted) & np.isfinite(got)
    everywhere = bool(finite.all()) and wanted.size > 0
    return TensorParity(
        name=name,
        case=case,
        max_abs=float(error.max()) if everywhere else math.inf,
        max_rel=relative_error(wanted, got),
        compared=int(wanted.size),
        violations=int(np.count_nonzero(~(close & finite))),
        tolerance=tolerance,
    )


def compare_tensors(
    reference: Mapping[str, NDArray[Any]], candidate: Mapping[str, NDArray[Any]], tolerance: Tolerance, *, case: str
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
