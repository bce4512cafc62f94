"""Boxes: SSD decoding, softmax, intersection over union and the greedy loop that every suppression shares.

Boxes are rows (x1, y1, x2, y2) unless said otherwise. Everything keeps the dtype it is given, so that float32 rounds
where the original float32 code rounds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.errors import UsageError

Floats = TypeVar("Floats", NDArray[np.float32], NDArray[np.float64])
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
IndexArray = NDArray[np.intp]


def softmax(logits: Floats) -> Floats:
    """Softmax over the last axis, shifted by the maximum so that it cannot overflow; shape and dtype are kept."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: Floats = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return result


def decode_boxes(loc: Floats, priors: Floats, variances: tuple[float, float] = (0.1, 0.2)) -> Floats:
    """SSD decoding, in upstream's order of operations (PingoLH/PytorchSSD-HarDNet, utils/box_utils.py, ``decode``).

    ``cxcy = p_cxcy + loc_xy * v0 * p_wh``; ``wh = p_wh * exp(loc_wh * v1)``; ``x1y1 = cxcy - wh / 2``;
    ``x2y2 = x1y1 + wh``. Nothing is clipped.

    Args:
        loc: Shape (..., P, 4), the network's regression output.
        priors: Shape (P, 4), default boxes in centre form (cx, cy, w, h), fractions of the input side.
        variances: Scale of the centre offsets and of the logarithmic sizes.

    Returns:
        Corner form (x1, y1, x2, y2), the shape and dtype of ``loc``, fractions of the image, not clipped to [0, 1];
        infinite or NaN where ``exp`` overflows.
    """
    prior_centres, prior_sizes = priors[:, :2], priors[:, 2:]
    centres = prior_centres + loc[..., :2] * variances[0] * prior_sizes
    with np.errstate(over="ignore", invalid="ignore"):
        sizes = prior_sizes * np.exp(loc[..., 2:] * variances[1])
        top_left = centres - sizes / 2
        result: Floats = np.concatenate((top_left, sizes + top_left), axis=-1)
    return result


def areas(boxes: Floats, *, pixel: float = 0.0) -> Floats:
    """Areas of boxes (N, 4); ``pixel`` = 1 counts the last pixel too. Negative where one axis is inverted."""
    result: Floats = (boxes[:, 2] - boxes[:, 0] + pixel) * (boxes[:, 3] - boxes[:, 1] + pixel)
    return result


def intersections(box: Floats, boxes: Floats, *, pixel: float = 0.0) -> Floats:
    """Areas that one box (4,) has in common with each of ``boxes`` (N, 4); 0 where they only touch."""
    width = np.minimum(box[2], boxes[:, 2]) - np.maximum(box[0], boxes[:, 0]) + pixel
    height = np.minimum(box[3], boxes[:, 3]) - np.maximum(box[1], boxes[:, 1]) + pixel
    result: Floats = np.maximum(width, 0) * np.maximum(height, 0)
    return result


def iou_with(box: Floats, boxes: Floats, *, pixel: float = 0.0) -> Floats:
    """Intersection over union of one box (4,) with each of ``boxes`` (N, 4), in [0, 1].

    ``pixel`` = 0 measures continuous coordinates, 1 counts pixels inclusively as old detection code does. The union is
    ``area + areas - intersection``, rounded in that order. Two boxes without area give NaN (0 / 0), as they do in
    torchvision: a comparison with it is false.
    """
    common = intersections(box, boxes, pixel=pixel)
    union = areas(box[None], pixel=pixel) + areas(boxes, pixel=pixel) - common
    with np.errstate(divide="ignore", invalid="ignore"):
        result: Floats = common / union
    return result


def ordered_corners(boxes: Floats) -> Floats:
    """The same boxes (N, 4) with x1 <= x2 and y1 <= y2."""
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    result: Floats = np.concatenate((low, high), axis=1)
    return result


def greedy_keep(count: int, suppressed_by: Callable[[int], BoolArray], *, limit: int | None = None) -> IndexArray:
    """Non-maximum suppression over candidates 0..count-1 that are already in order of preference.

    Args:
        count: Number of candidates.
        suppressed_by: For candidate i the mask (count,) of what it suppresses; entries up to i are ignored.
        limit: Stop after this many are kept; None keeps all that survive.

    Returns:
        The kept candidates, in order.
    """
    alive = np.ones(count, dtype=np.bool_)
    kept: list[int] = []
    for candidate in range(count):
        if limit is not None and len(kept) >= limit:
            break
        if alive[candidate]:
            kept.append(candidate)
            alive &= ~suppressed_by(candidate)
    return np.array(kept, dtype=np.intp)


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raises :class:`UsageError` unless ``low <= value <= high``; NaN is out of range."""
    if not low <= value <= high:
        raise UsageError(f"{name} is out of range.", got=f"{value}", wanted=f"a number from {low:g} to {high:g}")


def check_batch(boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> None:
    """Raises :class:`UsageError` unless the shapes are (N, P, 4) and (N, P, C) with the same N and P."""
    if boxes.ndim != 3 or scores.ndim != 3 or boxes.shape[2] != 4 or boxes.shape[:2] != scores.shape[:2]:
        raise UsageError(
            "Boxes and scores do not belong together.",
            got=f"boxes {boxes.shape}, scores {scores.shape}",
            wanted="boxes [N, P, 4] and scores [N, P, C]",
        )
