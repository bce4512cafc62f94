"""``cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)`` on uint8, to the bit, without OpenCV.

Source: opencv/opencv, ``modules/imgproc/src/resize.cpp`` (``resize``, ``hal::resize``, ``HResizeLinear``,
``VResizeLinear<uchar, int, short>``). For each axis, with source length n and target length m:

1. ``scale = 1 / (m / n)`` in float64, then ``position(d) = float32((d + 0.5) * scale - 0.5)``.
2. ``i = floor(position)``; the weight of the right neighbour is ``f = position - i`` in float32, of the left ``1 - f``;
   both become 11-bit integers, ``round(2048 * weight)`` with ties to even.
3. Columns outside the image have ``f = 0`` at the border column. Rows outside keep their two weights and both read the
   border row, which may round differently.
4. Horizontal pass, exact: ``h = a0 * left + a1 * right``. Vertical pass, with three truncations:
   ``(((b0 * (h0 >> 4)) >> 16) + ((b1 * (h1 >> 4)) >> 16) + 2) >> 2``.

Two sizes take another way: the same size is a copy, and exactly half in both directions is the rounded mean of 2 x 2
pixels (INTER_AREA's fast path), ``(sum + 2) >> 2``.

How we know: equal in every byte to opencv-python-headless 3.4.18, 4.5.5, 4.10.0, 4.12.0, 4.14.0 and 5.0.0 on Linux
x86-64, for 2,000 random pairs of sizes each (1 to 200 a side, 1 and 3 channels, halves, single rows and columns) and
for photographs' sizes up to 20 megapixels; with 4.14.0 and 5.0.0 also with OpenCV's optimisations off and without IPP,
with 4.14.0 also with its AVX-512, AVX2 and SSE4 code disabled: there the vector code gives the scalar result. The tests
compare with the OpenCV that is installed. On 64-bit ARM, wheels route some sizes and channel counts through Carotene
and KleidiCV, which are reported to differ from OpenCV's own arithmetic by up to 2 grey levels on about 3 % of pixels
(kornia/kornia-rs, pull request 1005; opencv/opencv, issue 28495); this module gives the x86-64 result everywhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.errors import UsageError

U8 = NDArray[np.uint8]
WEIGHT_ONE = 1 << 11
ROWS_AT_ONCE = 256


def resize_inter_linear(image: U8, *, width: int, height: int) -> U8:
    """``cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)``.

    Needs memory in proportion to the output only: 3 times 256 of its rows in int32, beside input and output.

    Args:
        image: Shape (H, W) or (H, W, channels), uint8, not empty. Channels are independent of each other, so RGB and
            BGR images may come as they are.
        width: Of the result, at least 1.
        height: Of the result, at least 1.

    Returns:
        Shape (height, width) or (height, width, channels), uint8, a new array.

    Raises:
        UsageError: Another dtype or shape, or a size under 1.
    """
    if image.dtype != np.uint8 or image.ndim not in {2, 3} or 0 in image.shape:
        raise UsageError(
            "Only images of 8 bits can be resized.",
            got=f"{image.dtype} {image.shape}",
            wanted="uint8 [H, W] or [H, W, channels], not empty",
        )
    if width < 1 or height < 1:
        raise UsageError("An image cannot be resized to nothing.", got=f"{width} x {height}", wanted="at least 1 x 1")
    source_height, source_width = image.shape[:2]
    if (source_height, source_width) == (height, width):
        return image.copy()
    if (source_height, source_width) == (2 * height, 2 * width):
        return _mean_of_two_by_two(image)
    columns = _Columns(source_width, width, channel_axis=image.ndim == 3)
    rows = _Rows(source_height, height, trailing_axes=image.ndim - 1)
    result = np.empty((height, width, *image.shape[2:]), np.uint8)
    for start in range(0, height, ROWS_AT_ONCE):
        block = slice(start, start + ROWS_AT_ONCE)
        upper = columns.interpolate(image, rows.upper[block])
        lower = columns.interpolate(image, rows.lower[block])
        result[block] = rows.interpolate(upper, lower, block)
    return result


class _Columns:
    """The horizontal pass."""

    def __init__(self, source: int, target: int, *, channel_axis: bool) -> None:
        index, fraction = _positions(source, target)
        fraction[(index < 0) | (index >= source - 1)] = 0
        self.left = np.clip(index, 0, source - 1)
        self.right = np.minimum(self.left + 1, source - 1)
        shape = (target, 1) if channel_axis else (target,)
        self.left_weight, self.right_weight = (weight.reshape(shape) for weight in _weights(fraction))

    def interpolate(self, image: U8, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """Rows of the image at the width of the target, in units of 1 / 2048 grey level."""
        left, right = image[rows[:, None], self.left], image[rows[:, None], self.right]
        return left * self.left_weight + right * self.right_weight


class _Rows:
    """The vertical pass."""

    def __init__(self, source: int, target: int, *, trailing_axes: int) -> None:
        index, fraction = _positions(source, target)
        self.upper = np.clip(index, 0, source - 1)
        self.lower = np.clip(index + 1, 0, source - 1)
        shape = (target, *(1,) * trailing_axes)
        self.upper_weight, self.lower_weight = (weight.reshape(shape) for weight in _weights(fraction))

    def interpolate(self, upper: NDArray[np.int32], lower: NDArray[np.int32], block: slice) -> U8:
        """From the two neighbouring rows, in units of 1 / 2048 grey level, to grey levels."""
        part = ((upper >> 4) * self.upper_weight[block] >> 16) + ((lower >> 4) * self.lower_weight[block] >> 16)
        return (part + 2 >> 2).astype(np.uint8)


def _positions(source: int, target: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Left neighbour (may be -1 or beyond the end) and distance from it, of each target pixel along one axis."""
    scale = 1.0 / (target / source)
    position = ((np.arange(target) + 0.5) * scale - 0.5).astype(np.float32)
    index = np.floor(position)
    return index.astype(np.int64), position - index


def _weights(fraction: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Weights of the two neighbours, in units of 1 / 2048."""
    one = np.float32(1)
    scale = np.float32(WEIGHT_ONE)
    return np.rint((one - fraction) * scale).astype(np.int32), np.rint(fraction * scale).astype(np.int32)


def _mean_of_two_by_two(image: U8) -> U8:
    total = image[0::2, 0::2].astype(np.uint16)
    for part in (image[0::2, 1::2], image[1::2, 0::2], image[1::2, 1::2]):
        total += part
    return (total + 2 >> 2).astype(np.uint8)
