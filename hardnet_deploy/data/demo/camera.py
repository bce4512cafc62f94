"""What a camera makes of a scene: light, colour, blur, noise, JPEG. Nothing here moves a pixel's place."""

from __future__ import annotations

import io
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.specs import F32

Rng = np.random.Generator

# A normal deviate for each value of a random byte: ten times as fast as drawing deviates, and as good for sensor noise.
_DEVIATES: Final = np.array([NormalDist().inv_cdf((value + 0.5) / 256) for value in range(256)], dtype=np.float32)


def _light(rng: Rng, width: int, height: int) -> F32:
    """Brighter on one side, darker in the corners; shape (height, width)."""
    down, right = (np.linspace(-1, 1, side, dtype=np.float32) for side in (height, width))
    slope = rng.uniform(-0.25, 0.25, 2) if rng.random() < 0.6 else np.zeros(2)
    vignette = rng.uniform(0.05, 0.25) if rng.random() < 0.4 else 0.0
    column = 1 + slope[0] * down - vignette * down**2
    row = slope[1] * right - vignette * right**2
    return np.asarray(np.maximum(np.add.outer(column, row), 0.55), dtype=np.float32)


def _tone_curve(rng: Rng) -> NDArray[np.uint8]:
    """A table from grey level to grey level for each channel, flat, 768 entries."""
    gamma, contrast, brightness = rng.uniform(0.75, 1.2), rng.uniform(0.75, 1.1), rng.uniform(-10, 16)
    gains = rng.uniform(0.86, 1.12, 3) if rng.random() < 0.6 else np.ones(3)
    grey = np.arange(256) / 255
    curve = 255 * np.clip(np.multiply.outer(gains, grey), 0, 1) ** gamma
    return np.clip(np.rint((curve - 128) * contrast + 128 + brightness), 0, 255).astype(np.uint8).ravel()


def _grey_levels(pixels: F32 | NDArray[np.int16]) -> NDArray[np.uint8]:
    """Cut to 0 to 255 in place, then to whole numbers."""
    np.maximum(pixels, 0, out=pixels)
    np.minimum(pixels, 255, out=pixels)
    return pixels.astype(np.uint8)


def _noise_sigma(rng: Rng) -> float:
    kind = rng.random()
    if kind < 0.25:
        return 0.0
    return float(rng.uniform(1, 4) if kind < 0.82 else rng.uniform(4, 8) if kind < 0.96 else rng.uniform(8, 12))


def photograph(pixels: F32, rng: Rng) -> bytes:
    """The scene as a JPEG file.

    Args:
        pixels: Shape (h, w, 3), 0 to 255; overwritten.
        rng: Source of randomness.
    """
    from PIL import Image, ImageFilter

    height, width = pixels.shape[:2]
    pixels *= _light(rng, width, height)[..., None]
    image = Image.fromarray(_grey_levels(pixels)).point(_tone_curve(rng).tolist())
    kind = rng.random()
    if kind < 0.25:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.2)))
    elif kind < 0.33:
        kernel = ((0, 0, 0, 1, 1, 1, 0, 0, 0), (0, 1, 0, 0, 1, 0, 0, 1, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
        image = image.filter(ImageFilter.Kernel((3, 3), kernel[int(rng.integers(3))]))
    sigma = _noise_sigma(rng)
    if sigma:
        table = np.rint(np.float32(sigma) * _DEVIATES).astype(np.int16)
        noisy = table[np.frombuffer(rng.bytes(height * width * 3), dtype=np.uint8)].reshape(height, width, 3)
        noisy += np.asarray(image)
        image = Image.fromarray(_grey_levels(noisy))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(rng.integers(50, 96)))
    return file.getvalue()
