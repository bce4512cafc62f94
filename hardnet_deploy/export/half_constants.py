"""Constants of a graph in float16: rounded to nearest, scales of quantisers rounded up, nothing lost in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.errors import ExportError

if TYPE_CHECKING:
    F16 = NDArray[np.float16]

LARGEST: Final = float(np.finfo(np.float16).max)
SMALLEST_NORMAL: Final = float(np.finfo(np.float16).tiny)


def to_float16(values: NDArray[Any], *, name: str) -> tuple[F16, int]:
    """A constant as float16, and how many of its values underflow: become 0, or keep fewer than 11 bits.

    Raises:
        ExportError: A value overflows, or is not finite; the message names the constant.
    """
    _refuse_overflow(values, name)
    half = values.astype(np.float16)
    return half, int(np.count_nonzero((values != 0) & (np.abs(half) < SMALLEST_NORMAL)))


def scale_to_float16(values: NDArray[Any], *, name: str) -> F16:
    """Scales of a QuantizeLinear and its DequantizeLinear as the next float16 upwards.

    Rounded down, the largest values would be clipped, and the scale of a channel without weights would be 0.

    Raises:
        ExportError: See :func:`to_float16`.
    """
    _refuse_overflow(values, name)
    half = values.astype(np.float16)
    return np.where(half.astype(values.dtype) < values, np.nextafter(half, np.float16(np.inf)), half)


def _refuse_overflow(values: NDArray[Any], name: str) -> None:
    if np.isfinite(values).all() and np.abs(values).max(initial=0) <= LARGEST:
        return
    finite = np.abs(values[np.isfinite(values)]).max(initial=0)
    got = f"values of up to {finite:g}" if finite > LARGEST else "values that are not finite"
    raise ExportError(
        f"'{name}' does not fit float16; nothing was written",
        got=got,
        wanted=f"at most {LARGEST:g}",
        next_step="fold the batch norms (--fuse-bn), or leave the model in --precision fp32",
    )
