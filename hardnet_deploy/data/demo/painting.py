"""A picture being painted, with a record of which object each pixel shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.data.demo.sprite import OPAQUE, Sprite, mean_colour
from hardnet_deploy.specs import F32, F64

LEAST_INSIDE = 0.6
"""Share of an object's pixels that must lie inside the picture."""
LEAST_VISIBLE = 0.6
"""Share of an object's pixels that must stay visible at the end."""
LEAST_SIDE = 8
"""Pixels each side of a visible box must have."""
_LEAST_LEFT_BY_A_WIRE = 0.75


class Painting:
    """Pixels of shape (height, width, 3), 0 to 255, and what they show.

    An object's number counts from 1 in the order of painting; 0 is whatever is no object.
    """

    def __init__(self, pixels: F32) -> None:
        self.pixels = pixels
        self.height, self.width = pixels.shape[:2]
        self._owner = np.zeros((self.height, self.width), dtype=np.uint8)
        self._labels: list[int] = []
        self._whole: list[int] = []

    @property
    def count(self) -> int:
        """Objects painted so far."""
        return len(self._labels)

    def _windows(self, sprite: Sprite, x: int, y: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Where the sprite lies in the picture, and which part of it that is."""
        height, width = sprite.mask.shape
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + width, self.width), min(y + height, self.height)
        return (slice(top, bottom), slice(left, right)), (slice(top - y, bottom - y), slice(left - x, right - x))

    def fits(self, sprite: Sprite, x: int, y: int) -> bool:
        """Whether the object, with its upper left corner there, and all it covers would stay visible enough."""
        there, part = self._windows(sprite, x, y)
        mask = sprite.mask[part]
        inside = np.count_nonzero(mask)
        if inside < LEAST_INSIDE * np.count_nonzero(sprite.mask) or not _wide_enough(mask):
            return False
        return self._spares(mask, there, least=0.0)

    def _spares(self, mask: NDArray[np.bool_], there: tuple[slice, slice], *, least: float) -> bool:
        """Whether every object keeps ``LEAST_VISIBLE`` of all, and ``least`` of what shows, with ``mask`` covered."""
        window = self._owner[there]
        covered = np.bincount(window[mask], minlength=1)
        for number in (np.flatnonzero(covered[1:]) + 1).tolist():
            mine = self._owner == number
            shown = np.count_nonzero(mine)
            left = shown - int(covered[number])
            mine[there] &= ~mask
            if left < max(LEAST_VISIBLE * self._whole[number - 1], least * shown) or not _wide_enough(mine):
                return False
        return True

    def behind(self, sprite: Sprite, x: int, y: int) -> F32:
        """The mean colour of what the sprite would cover, shape (3,)."""
        there, part = self._windows(sprite, x, y)
        return mean_colour(self.pixels[there], sprite.alpha[part])

    def shadow(self, sprite: Sprite, x: int, y: int, *, dark: float) -> None:
        """A soft shadow of the object, a little to its lower right."""
        from PIL import Image, ImageFilter

        height, width = sprite.mask.shape
        reach = max(1.0, 0.05 * min(height, width))
        pad = int(3 * reach)
        soft = Image.new("L", (width + 2 * pad, height + 2 * pad))
        soft.paste(Image.fromarray((sprite.alpha * 255).astype(np.uint8)), (pad, pad))
        alpha = np.asarray(soft.filter(ImageFilter.BoxBlur(reach)), dtype=np.float32) / np.float32(255)
        cast = Sprite(rgb=np.zeros((1, 1, 3), dtype=np.float32), alpha=alpha, mask=alpha >= OPAQUE)
        offset = round(1.2 * reach)
        there, part = self._windows(cast, x - pad + offset, y - pad + offset)
        self.pixels[there] *= 1 - np.float32(dark) * alpha[part][..., None]

    def lay(self, sprite: Sprite, x: int, y: int, *, label: int) -> None:
        """Paint an object of class ``label``."""
        there, part = self._windows(sprite, x, y)
        window = self.pixels[there]
        window += (sprite.rgb[part] - window) * sprite.alpha[part][..., None]
        self._labels.append(label)
        self._whole.append(int(np.count_nonzero(sprite.mask)))
        self._owner[there][sprite.mask[part]] = len(self._labels)

    def cross(self, alpha: F32, colour: NDArray[np.uint8]) -> bool:
        """Paint something thin that is no object over the whole picture, unless it would hide too much."""
        mask = alpha >= OPAQUE
        if not self._spares(mask, (slice(None), slice(None)), least=_LEAST_LEFT_BY_A_WIRE):
            return False
        touched = alpha > 0
        self.pixels[touched] += (colour - self.pixels[touched]) * alpha[touched][:, None]
        self._owner[mask] = 0
        return True

    def annotations(self) -> tuple[F64, NDArray[np.int64], F64]:
        """Boxes (n, 4), labels (n,) and visible pixels (n,) of the objects, in the order of painting."""
        boxes = np.zeros((len(self._labels), 4))
        areas = np.zeros(len(self._labels))
        for number in range(len(self._labels)):
            mine = self._owner == number + 1
            rows, columns = np.flatnonzero(mine.any(axis=1)), np.flatnonzero(mine.any(axis=0))
            boxes[number] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
            areas[number] = np.count_nonzero(mine)
        return boxes, np.array(self._labels, dtype=np.int64), areas


def _wide_enough(mask: NDArray[np.bool_]) -> bool:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return len(rows) > 0 and min(rows[-1] - rows[0], columns[-1] - columns[0]) + 1 >= LEAST_SIDE
