"""What can go wrong while folding. All are ``ValueError``: something that was passed in cannot be meant."""

from __future__ import annotations


class FusionError(ValueError):
    """Base of the errors of this package."""


class FusionShapeError(FusionError):
    """Arrays whose lengths do not belong together."""


class FusionValueError(FusionError):
    """Numbers that cannot be folded: a variance that is not positive, NaN, infinity, an overflow, a wrong dtype."""


class FusionModelError(FusionError):
    """A model that cannot be copied, that does not run on the given example, or a graph that is not valid ONNX."""
