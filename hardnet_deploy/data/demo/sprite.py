"""Objects as small anti-aliased pictures with an alpha channel: turned, scaled, shaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.data.demo.noise import smooth_noise
from hardnet_deploy.data.demo.shapes import Part
from hardnet_deploy.specs import F32, F64

OPAQUE = 0.5
"""Alpha from which a pixel belongs to its object."""


@dataclass(kw_only=True)
class Sprite:
    """A picture to be laid over a scene.

    Args:
        rgb: Shape (h, w, 3), 0 to 255.
        alpha: Shape (h, w), 0 to 1.
        mask: Shape (h, w), where alpha is at least a half; at least one pixel is set.
    """

    rgb: F32
    alpha: F32
    mask: NDArray[np.bool_]


def transform(*, angle: float, stretch: float, mirror: bool) -> F64:
    """The matrix that mirrors, stretches horizontally and then turns row vectors, shape (2, 2)."""
    cos, sin = np.cos(angle), np.sin(angle)
    flip = -stretch if mirror else stretch
    return np.array([[flip * cos, flip * sin], [-sin, cos]])


def render(
    parts: Sequence[Part], size: float, matrix: F64, rng: np.random.Generator, *, longest: float, outline: bool
) -> Sprite:
    """Paint ``parts``, back to front.

    Args:
        parts: At least one.
        size: Square root of the area of the box around all parts, in pixels.
        matrix: From :func:`transform`.
        rng: Where the place between two pixels comes from.
        longest: Pixels that neither side of that box may exceed; ``size`` gives way.
        outline: Whether body parts get a dark edge.
    """
    from PIL import Image, ImageDraw

    moved = [part.points @ matrix for part in parts]
    every = np.concatenate(moved)
    low, high = every.min(axis=0), every.max(axis=0)
    extent = high - low
    scale = min(size / float(np.sqrt(np.prod(extent))), longest / float(extent.max()))
    width, height = (int(side) + 4 for side in extent * scale)
    fine = 3 if size < 64 else 2
    shift = (1.0 + rng.random(2) - low * scale) * fine
    # All ink is opaque, so that this is premultiplied RGBA, which Pillow reduces without converting it twice.
    image = Image.new("RGBa", (width * fine, height * fine))
    draw = ImageDraw.Draw(image)
    line = max(1, round(0.03 * size * fine)) if outline else 0
    for part, points in zip(parts, moved, strict=True):
        corners = (points * (scale * fine) + shift).ravel().tolist()
        draw.polygon(corners, fill=(*part.colour, 255))
        if line and part.body:
            draw.line([*corners, *corners[:4]], fill=(20, 20, 24, 255), width=line, joint="curve")
    pixels = np.asarray(image.reduce(fine), dtype=np.float32)
    alpha = pixels[..., 3] / np.float32(255)
    rgb = pixels[..., :3] / np.maximum(alpha, np.float32(1 / 255))[..., None]
    return Sprite(rgb=rgb, alpha=alpha, mask=alpha >= OPAQUE)


def shade(sprite: Sprite, rng: np.random.Generator) -> None:
    """Light from one side on every object, and a texture on some."""
    height, width = sprite.alpha.shape
    slope = rng.uniform(-0.3, 0.3, 2)
    light = 1.0 + np.add.outer(np.linspace(-slope[0], slope[0], height), np.linspace(-slope[1], slope[1], width))
    kind = rng.random()
    if kind < 0.2:
        light += rng.uniform(0.1, 0.3) * smooth_noise(rng, width, height, (int(rng.integers(3, 9)),))
    elif kind < 0.3:
        period = max(4.0, min(width, height) / rng.uniform(4, 9))
        x, y = rng.uniform(-1, 1, 2) * (2 * np.pi / period)
        light += rng.uniform(0.06, 0.14) * np.sin(np.add.outer(np.arange(height) * y, np.arange(width) * x))
    sprite.rgb = np.clip(sprite.rgb * light[..., None].astype(np.float32), 0, 255)


def mean_colour(rgb: F32, alpha: F32) -> F32:
    """The mean of ``rgb``, shape (h, w, 3), weighted by ``alpha``, shape (h, w); large areas are sampled."""
    step = 1 + min(alpha.shape) // 48
    weights = alpha[::step, ::step]
    total = np.einsum("hw,hwc->c", weights, rgb[::step, ::step])
    return np.asarray(total / np.float32(max(float(weights.sum()), 1e-6)), dtype=np.float32)


def keep_apart(sprite: Sprite, behind: F32, least: float) -> None:
    """Shift the object's brightness until its mean colour differs from what lies behind by ``least`` grey levels.

    Args:
        sprite: Changed in place.
        behind: Shape (3,): the mean colour of the scene where the sprite will lie.
        least: Root mean square over the three channels.
    """
    own = mean_colour(sprite.rgb, sprite.alpha)
    distance = float(np.sqrt(np.mean((own - behind) ** 2)))
    if distance < least:
        level = behind.mean()
        upwards = own.mean() > level if 60 < level < 195 else level < 128
        step = (least - distance) + 0.5 * least
        sprite.rgb = np.clip(sprite.rgb + np.float32(step if upwards else -step), 0, 255)
