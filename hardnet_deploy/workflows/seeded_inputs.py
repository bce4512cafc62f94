"""Inputs that every export is verified on: the same each time, on any machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from hardnet_deploy.export.options import GraphOptions
from hardnet_deploy.specs import F32, ModelSpec, Preprocess

SEED: Final = 20190928
CRAFTED_CANDIDATES: Final = 600


def seeded_noise(preprocess: Preprocess, batch: int) -> F32:
    """Standard normal inputs [batch, 3, S, S], the same every time."""
    shape = (batch, 3, preprocess.size, preprocess.size)
    return np.random.default_rng(SEED).standard_normal(shape, dtype=np.float32)


def seeded_pixels(preprocess: Preprocess, batch: int) -> F32:
    """Uniform 8-bit pixels through divisor, mean and deviation [batch, 3, S, S], the same every time."""
    pixels = np.random.default_rng(SEED).integers(0, 256, (batch, 3, preprocess.size, preprocess.size))
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (preprocess.mean, preprocess.std))
    images: F32 = (pixels.astype(np.float32) / np.float32(preprocess.divisor) - mean) / std
    return images


NOISE: Final = "noise"
PIXELS: Final = "pixels"
INPUTS: Final[dict[str, Callable[[Preprocess, int], F32]]] = {NOISE: seeded_noise, PIXELS: seeded_pixels}


def crafted_candidates(spec: ModelSpec, options: GraphOptions, batch: int) -> tuple[F32, F32]:
    """Boxes [batch, P, 4] in overlapping groups and scores [batch, P, C], distinct and above the threshold for some."""
    assert spec.head is not None
    assert options.thresholds is not None
    priors, classes = spec.head.num_priors, spec.head.num_classes
    draw = np.random.default_rng(SEED)
    centre = draw.integers(1, 6, (batch, priors, 2)) / 6 + draw.normal(0, 0.02, (batch, priors, 2))
    size = draw.uniform(0.1, 0.3, (batch, priors, 2))
    boxes = np.concatenate((centre - size / 2, centre + size / 2), axis=2).astype(np.float32)
    scores = np.zeros((batch, priors, classes), np.float32)
    low = options.thresholds.score
    ladder = np.linspace(low + (1 - low) * 0.05, low + (1 - low) * 0.95, CRAFTED_CANDIDATES)
    for image in range(batch):
        anchors = draw.choice(priors, CRAFTED_CANDIDATES, replace=False)
        labels = draw.integers(1, classes, CRAFTED_CANDIDATES)
        scores[image, anchors, labels] = draw.permutation(ladder)
    return boxes, scores
