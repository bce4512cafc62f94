"""Value noise: coarse random grids, enlarged smoothly and added up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hardnet_deploy.specs import F32


def smooth_noise(rng: np.random.Generator, width: int, height: int, cells: Sequence[int], *, fade: float = 0.5) -> F32:
    """Noise about 0, mostly between -1 and 1, shape (height, width).

    Args:
        rng: Source of randomness.
        width: Pixels.
        height: Pixels.
        cells: Grid cells across, one number for each octave, coarse to fine.
        fade: Strength of each octave relative to the one before.
    """
    from PIL import Image

    total = np.zeros((height, width), dtype=np.float32)
    strength = whole = 1.0
    for number, count in enumerate(cells):
        strength = fade**number
        whole += strength if number else 0.0
        rows = max(2, round(count * height / width))
        grid = rng.random((rows, max(2, int(count))), dtype=np.float32) * np.float32(2 * strength) - np.float32(
            strength
        )
        total += np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC))
    return total * np.float32(1.6 / whole)
