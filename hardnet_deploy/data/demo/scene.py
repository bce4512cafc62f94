"""One scene: objects placed on a background so that each stays visible enough to be labelled, then photographed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.data.demo.backgrounds import background
from hardnet_deploy.data.demo.camera import photograph
from hardnet_deploy.data.demo.clutter import scatter, wire
from hardnet_deploy.data.demo.colours import palette
from hardnet_deploy.data.demo.objects import ANY_WAY_UP, DRAWERS
from hardnet_deploy.data.demo.painting import Painting
from hardnet_deploy.data.demo.splits import scene_rng
from hardnet_deploy.data.demo.sprite import Sprite, keep_apart, render, shade, transform
from hardnet_deploy.models.class_names import DEMO
from hardnet_deploy.specs import F64

SIZES = ((320, 320), (352, 288), (288, 352), (300, 340), (340, 300), (336, 280), (360, 320), (320, 360), (300, 300))
"""Width and height of the pictures, pixels."""
FEWEST, MOST = 3, 9
"""Objects of a scene."""

_SMALL = (15.0, 31.0)
_TRIES = 14
_LEAST_CONTRAST = 42.0


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One labelled picture.

    Args:
        jpeg: The file's bytes.
        width: Pixels.
        height: Pixels.
        boxes: Shape (n, 4), x1, y1, x2, y2 in continuous pixel coordinates: edges of the visible pixels, so width is
            x2 - x1.
        labels: Shape (n,), 1 to 12 in the order of ``hardnet_deploy.models.class_names.DEMO``; 0 is background.
        areas: Shape (n,), number of visible pixels.
    """

    jpeg: bytes
    width: int
    height: int
    boxes: F64
    labels: NDArray[np.int64]
    areas: F64


def draw_scene(split: str, index: int, *, seed: int = 0) -> Scene:
    """Draw scene number ``index`` of a split; the same on every call, whatever else was drawn.

    The bytes may differ between versions of Pillow and NumPy; the labels and, to a pixel, the boxes should not.

    Raises:
        UsageError: There is no such split or scene, or the seed is negative.
    """
    rng = scene_rng(split, index, seed=seed)
    width, height = SIZES[int(rng.integers(len(SIZES)))]
    base = background(rng, width, height)
    scatter(base, rng)
    painting = Painting(np.array(base, dtype=np.float32))
    shadows = rng.random() < 0.4
    for size in _sizes(rng):
        _add(painting, rng, size, shadows=shadows)
    while painting.count < FEWEST:
        _add(painting, rng, rng.uniform(*_SMALL), shadows=shadows)
    for _ in range(int(rng.integers(1, 4)) if rng.random() < 0.35 else 0):
        painting.cross(*wire(rng, width, height))
    boxes, labels, areas = painting.annotations()
    jpeg = photograph(painting.pixels, rng)
    return Scene(jpeg=jpeg, width=width, height=height, boxes=boxes, labels=labels, areas=areas)


def _add(painting: Painting, rng: np.random.Generator, size: float, *, shadows: bool) -> None:
    """Paint one object of a random class, unless no place for it is found."""
    label = int(rng.integers(1, len(DEMO) + 1))
    sprite = _specimen(rng, DEMO[label - 1], size, longest=0.9 * min(painting.width, painting.height))
    place = _place(painting, sprite, rng)
    if place is None:
        return
    if rng.random() < 0.93:
        keep_apart(sprite, painting.behind(sprite, *place), _LEAST_CONTRAST)
    if shadows:
        painting.shadow(sprite, *place, dark=rng.uniform(0.15, 0.45))
    painting.lay(sprite, *place, label=label)


def _sizes(rng: np.random.Generator) -> list[float]:
    """Square roots of box areas for three to nine objects, roughly from large to small."""
    count, sizes = int(rng.integers(FEWEST, MOST + 1)), []
    for kind in rng.random(count):
        low, high = _SMALL if kind < 0.35 else (32, 96) if kind < 0.72 else (105, 200)
        sizes.append(float(low * (high / low) ** rng.random()))
    order = np.array(sizes) * rng.uniform(0.5, 1.6, count)
    return [sizes[number] for number in np.argsort(-order)]


def _specimen(rng: np.random.Generator, name: str, size: float, *, longest: float) -> Sprite:
    """One object of that class, painted and lit."""
    parts = DRAWERS[name](rng, palette(rng, DEMO.index(name) // 2 / 6))
    reach = np.pi if name in ANY_WAY_UP else np.deg2rad(15)
    matrix = transform(
        angle=rng.uniform(-reach, reach), stretch=float(np.exp(rng.uniform(-0.12, 0.12))), mirror=rng.random() < 0.5
    )
    sprite = render(parts, size, matrix, rng, longest=longest, outline=rng.random() < 0.25)
    shade(sprite, rng)
    return sprite


def _place(painting: Painting, sprite: Sprite, rng: np.random.Generator) -> tuple[int, int] | None:
    """A place that keeps this object and all earlier ones visible enough; None where none was found."""
    height, width = sprite.mask.shape
    for _ in range(_TRIES):
        over = 0.3 if rng.random() < 0.15 else 0.0
        x = int(rng.uniform(-over * width, painting.width - (1 - over) * width))
        y = int(rng.uniform(-over * height, painting.height - (1 - over) * height))
        if painting.fits(sprite, x, y):
            return x, y
    return None
