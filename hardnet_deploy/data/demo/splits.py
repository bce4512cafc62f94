"""The splits of the demo data and how a scene's randomness follows from its split and number."""

from __future__ import annotations

from typing import Final

import numpy as np

from hardnet_deploy.errors import UsageError

SCENES_VERSION: Final = 1
"""Raised with every change of what a scene looks like: cached data of another version is drawn anew."""

SPLIT_SIZES: Final = {"train": 15000, "calibration": 500, "search": 1000, "val": 2000}
_SPLIT_NUMBERS: Final = {"train": 1, "calibration": 2, "search": 3, "val": 4}


def split_size(split: str) -> int:
    """How many scenes the split has.

    Raises:
        UsageError: There is no such split.
    """
    if split not in SPLIT_SIZES:
        raise UsageError(
            f"the demo data has no split '{split}'", got=split or "an empty name", wanted=", ".join(SPLIT_SIZES)
        )
    return SPLIT_SIZES[split]


def scene_rng(split: str, index: int, *, seed: int) -> np.random.Generator:
    """The only source of randomness of one scene: no two scenes of any splits share a stream.

    Raises:
        UsageError: There is no such split or scene, or the seed is negative.
    """
    size = split_size(split)
    if not 0 <= index < size:
        raise UsageError(f"split '{split}' has no scene {index}", got=str(index), wanted=f"0 to {size - 1}")
    if seed < 0:
        raise UsageError("the seed of the demo data is negative", got=str(seed), wanted="0 or more")
    return np.random.default_rng(np.random.SeedSequence([seed, _SPLIT_NUMBERS[split], index]))
