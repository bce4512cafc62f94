"""What lies behind the objects: clouds of noise, landscapes, wood, bricks, lights out of focus."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np

from hardnet_deploy.data.demo.colours import any_colour, scaled
from hardnet_deploy.data.demo.noise import smooth_noise
from hardnet_deploy.specs import F32

if TYPE_CHECKING:
    from PIL import Image

Rng = np.random.Generator
_FINE: Final = 2
_COARSE: Final = 4
_LEVELS: Final = 512


def _ramp(values: F32, rng: Rng) -> F32:
    """Colours along ``values``: a ramp of two to four random colours, shape (h, w, 3)."""
    count = int(rng.integers(2, 5))
    base = np.array(any_colour(rng, low=0.3), dtype=np.float64)
    reach = rng.uniform(0.3, 1.0)
    colours = [base + reach * (np.array(any_colour(rng, low=0.15)) - base) for _ in range(count)]
    levels, stops = np.linspace(-1.1, 1.1, _LEVELS), np.linspace(-0.9, 0.9, count)
    table = np.empty((_LEVELS, 3), dtype=np.float32)
    for channel in range(3):
        table[:, channel] = np.interp(levels, stops, [colour[channel] for colour in colours])
    place = np.clip(values * np.float32(_LEVELS / 2.2) + np.float32(_LEVELS / 2), 0, _LEVELS - 1)
    return np.asarray(table[place.astype(np.int16)], dtype=np.float32)


def _enlarge(pixels: F32, width: int, height: int) -> Image.Image:
    from PIL import Image

    small = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def _clouds(rng: Rng, width: int, height: int) -> Image.Image:
    w, h = width // _FINE, height // _FINE
    first = int(rng.integers(2, 7))
    values = smooth_noise(rng, w, h, [first * 2**k for k in range(5)], fade=rng.uniform(0.45, 0.75))
    if rng.random() < 0.35:
        values = np.abs(values) * np.float32(2) - np.float32(0.8)
    return _enlarge(_ramp(values, rng), width, height)


def _landscape(rng: Rng, width: int, height: int) -> Image.Image:
    w, h = width // _FINE, height // _FINE
    down = np.linspace(-0.9, 0.9, h, dtype=np.float32)[:, None]
    sky = _ramp(down + 0.4 * smooth_noise(rng, w, h, (3, 6, 12)), rng)
    ground = _ramp(smooth_noise(rng, w, h, (6, 24, 64), fade=0.8) - 0.3 * down, rng)
    ridge = smooth_noise(rng, w, 2, (int(rng.integers(3, 9)), 24))[0]
    level = h * (rng.uniform(0.3, 0.7) + rng.uniform(0.0, 0.12) * ridge)
    below = np.clip(np.arange(h, dtype=np.float32)[:, None] - level, 0, 1).astype(np.float32)[..., None]
    return _enlarge(sky + (ground - sky) * below, width, height)


def _wood(rng: Rng, width: int, height: int) -> Image.Image:
    w, h = width // _FINE, height // _FINE
    down = np.arange(h, dtype=np.float32)[:, None] * np.float32(rng.uniform(0.08, 0.35))
    bend = smooth_noise(rng, w, h, (2, 5)) * np.float32(rng.uniform(1.0, 5.0))
    grain = smooth_noise(rng, h, w, (64,)).T[::-1] * 0.3
    values = np.sin(down + bend) * np.float32(rng.uniform(0.3, 0.7)) + grain
    image = _enlarge(_ramp(values.astype(np.float32), rng), width, height)
    return image.rotate(90, expand=True).resize((width, height)) if rng.random() < 0.4 else image


def _bricks(rng: Rng, width: int, height: int) -> Image.Image:
    from PIL import Image, ImageDraw

    high = int(rng.integers(14, 44))
    wide = int(high * rng.uniform(1.0, 2.6))
    gap, jitter = int(rng.integers(1, 4)), rng.uniform(0.03, 0.22)
    colour, mortar = any_colour(rng, low=0.3), any_colour(rng, low=0.2)
    image = Image.new("RGB", (width, height), mortar)
    draw = ImageDraw.Draw(image)
    odd = wide // 2 if rng.random() < 0.7 else 0
    left, top = -int(rng.integers(0, wide)), -int(rng.integers(0, high))
    tones = (1 + jitter * rng.uniform(-1, 1, 64)).tolist()
    for row, y in enumerate(range(top, height, high)):
        for column, x in enumerate(range(left - odd * (row % 2), width, wide)):
            tone = tones[(row * 17 + column * 7) % 64]
            draw.rectangle((x, y, x + wide - gap - 1, y + high - gap - 1), fill=scaled(colour, tone))
    return image


def _lights(rng: Rng, width: int, height: int) -> Image.Image:
    from PIL import ImageDraw

    w, h = width // _COARSE, height // _COARSE
    image = _enlarge(_ramp(smooth_noise(rng, w, h, (2, 4)), rng), width, height)
    draw = ImageDraw.Draw(image, "RGBA")
    for _ in range(int(rng.integers(6, 22))):
        x, y, radius = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(6, 34)
        colour = (*any_colour(rng, low=0.5), int(rng.integers(30, 90)))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return image


def _wall(rng: Rng, width: int, height: int) -> Image.Image:
    w, h = width // _COARSE, height // _COARSE
    slope = rng.uniform(-0.7, 0.7, 2)
    light = np.add.outer(np.linspace(-slope[0], slope[0], h), np.linspace(-slope[1], slope[1], w)).astype(np.float32)
    return _enlarge(_ramp(light + 0.2 * smooth_noise(rng, w, h, (4, 16)), rng), width, height)


_KINDS: Final[tuple[tuple[float, Callable[[Rng, int, int], Image.Image]], ...]] = (
    (0.30, _clouds),
    (0.52, _landscape),
    (0.66, _wood),
    (0.80, _bricks),
    (0.90, _lights),
    (1.00, _wall),
)


def background(rng: Rng, width: int, height: int) -> Image.Image:
    """A textured RGB picture of that size."""
    kind = rng.random()
    return next(draw for limit, draw in _KINDS if kind < limit)(rng, width, height)
