"""Inputs made to be hard: overlaps within one float32 step of the bound, ties, inverted corners, boxes without area."""

from __future__ import annotations

import numpy as np

from hardnet_deploy.specs import F32

# In [1, 2) float32 steps by 2**-23. With widths that are multiples of it the areas 1 and w add without rounding, so
# that the overlap of `nested_pair` is exactly w.
STEP = 2.0**-23
BOUNDS = (0.25, round(0.45 * 2**23) / 2**23, 0.5, 0.75)


def nested_pair(overlap: float) -> F32:
    """The unit square and a part of it: their IoU in float32 is exactly ``overlap``, a multiple of STEP."""
    assert overlap / STEP == round(overlap / STEP)
    return np.array([[0, 0, 1, 1], [0, 0, overlap, 1]], np.float32)


def random_boxes(rng: np.random.Generator, count: int, *, size: float = 0.3) -> F32:
    """Overlapping boxes in and around the unit square."""
    centres = rng.random((count, 2))
    half = rng.random((count, 2)) * size / 2 + 0.01
    return np.concatenate((centres - half, centres + half), axis=1).astype(np.float32)


def hard_boxes(rng: np.random.Generator, count: int) -> F32:
    """Random boxes of which some are duplicates, some have no area and some have their corners inverted."""
    boxes = random_boxes(rng, count)
    kind = rng.integers(0, 6, count)
    boxes[kind == 0] = boxes[0]
    boxes[kind == 1, 2] = boxes[kind == 1, 0]
    boxes[kind == 2] = boxes[kind == 2][:, [2, 3, 0, 1]]
    boxes[kind == 3] = boxes[kind == 3][:, [2, 1, 0, 3]]
    return boxes


def random_scores(rng: np.random.Generator, shape: tuple[int, ...]) -> F32:
    """Softmax rows, distinct but for the odd chance."""
    return rng.dirichlet(np.full(shape[-1], 0.3), shape[:-1]).astype(np.float32)


def tied_scores(rng: np.random.Generator, shape: tuple[int, ...]) -> F32:
    """Scores of which many are equal."""
    return (rng.integers(0, 8, shape) / 8).astype(np.float32)
