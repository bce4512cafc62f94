"""Batch normalisation folded into the convolution before it: the one place with the formula.

    y = W * x + b                                                  convolution, b = 0 where it has none
    z = gamma (y - mean) / sqrt(var + eps) + beta                  batch norm with running statistics

    s  = gamma / sqrt(var + eps)                                   one factor for each output channel
    W' = s W
    b' = s (b - mean) + beta                                       so that z = W' * x + b'

(Ioffe and Szegedy, "Batch Normalization", 2015, section 3.1, algorithm 2.) Exact in real numbers for every stride,
dilation and padding, because padding acts on x and the batch norm on y. O output channels, I input channels, G groups:

    operator          shape of W              output channel o is found at
    Conv              (O, I/G, k...)          index o of axis 0, whatever G is           out_axis=0
    ConvTranspose     (I, O/G, k...)          index o mod O/G of axis 1, in the rows     out_axis=1, groups=G
                                              of axis 0 of group o div O/G
    Linear            (O, I)                  index o of axis 0                          out_axis=0
    Gemm, transB=0    (I, O)                  index o of axis 1                          out_axis=1

gamma, beta, mean, var and b have shape (O,).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusion.errors import FusionShapeError, FusionValueError

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class BatchNormStats:
    """Parameters and running statistics of one batch norm over O channels.

    Args:
        gamma: Scale, (O,); None for ones (``affine=False``).
        beta: Shift, (O,); None for zeros (``affine=False``).
        mean: Running mean, (O,).
        var: Running variance, (O,).
        eps: Added to the variance.
    """

    gamma: Array | None
    beta: Array | None
    mean: Array
    var: Array
    eps: float


def fold_batchnorm(
    weight: Array, bias: Array | None, stats: BatchNormStats, *, out_axis: int, groups: int = 1
) -> tuple[Array, Array]:
    """Weight and bias of the convolution that equals convolution, then batch norm.

    Computed in float64 and rounded once, to the dtype of ``weight``. The arguments are not changed.

    Args:
        weight: float16, float32 or float64; shapes in the table above.
        bias: (O,), or None for zeros.
        stats: The batch norm. Running statistics, not those of a batch.
        out_axis: Axis of ``weight`` that holds the output channels, 0 or 1.
        groups: Groups of the convolution; matters for ``out_axis=1`` only.

    Returns:
        Weight, shaped like ``weight``, and bias, (O,); both of the dtype of ``weight``.

    Raises:
        FusionShapeError: The length of a vector is not the number of output channels, or ``weight`` has no such axis
            or cannot be divided into ``groups``.
        FusionValueError: var + eps <= 0, a number that is not finite (before or after), or another dtype.
    """
    if weight.dtype not in (np.float16, np.float32, np.float64):
        raise FusionValueError(f"weight is {weight.dtype}; float16, float32 or float64 can be folded")
    if weight.ndim < 2 or out_axis not in (0, 1) or groups < 1 or weight.shape[0] % groups:
        raise FusionShapeError(f"a weight of shape {weight.shape} has no out_axis={out_axis} in {groups} groups")
    channels = weight.shape[0] if out_axis == 0 else weight.shape[1] * groups

    mean = _vector("mean", stats.mean, channels)
    var = _vector("var", stats.var, channels)
    gamma = np.ones(channels) if stats.gamma is None else _vector("gamma", stats.gamma, channels)
    beta = np.zeros(channels) if stats.beta is None else _vector("beta", stats.beta, channels)
    shift = np.zeros(channels) if bias is None else _vector("bias", bias, channels)
    wide = weight.astype(np.float64)
    if not np.isfinite(wide).all():
        raise FusionValueError("weight holds NaN or infinity")
    if not np.isfinite(stats.eps) or not (var + stats.eps > 0).all():
        raise FusionValueError(f"var + eps must be positive and finite; eps={stats.eps}, var is at least {_least(var)}")

    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused in _rounded, by name
        scale = gamma / np.sqrt(var + stats.eps)
        per_group = wide.reshape(groups, -1, *weight.shape[1:]) if out_axis else wide[np.newaxis]
        factors = scale.reshape(groups, 1, -1) if out_axis else scale.reshape(1, -1, 1)
        folded = per_group * factors.reshape(*factors.shape, *[1] * (per_group.ndim - factors.ndim))
        shifted = scale * (shift - mean) + beta
    return _rounded("weight", folded.reshape(weight.shape), weight.dtype), _rounded("bias", shifted, weight.dtype)


def _least(values: NDArray[np.float64]) -> str:
    return f"{values.min():.6g}" if values.size else "empty"


def _vector(name: str, values: Array, channels: int) -> NDArray[np.float64]:
    if values.shape != (channels,):
        raise FusionShapeError(f"{name} has shape {values.shape}; the convolution has {channels} output channels")
    vector = values.astype(np.float64)
    if not np.isfinite(vector).all():
        raise FusionValueError(f"{name} holds NaN or infinity")
    return vector


def _rounded(name: str, values: NDArray[np.float64], dtype: np.dtype[Any]) -> Array:
    with np.errstate(over="ignore"):
        rounded = values.astype(dtype)
    if not np.isfinite(rounded).all():
        raise FusionValueError(f"the folded {name} overflows {dtype}")
    return rounded
