"""Which detections are right, as arrays: the common ground of COCO's and VOC's average precision and of resampling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.specs import F64


@dataclass(frozen=True, kw_only=True)
class MatchTable:
    """Detections of one class over all images, judged.

    Args:
        class_id: From 1.
        images: Shape (d,), index of each detection's image in the data set.
        scores: Shape (d,), descending; equal scores in the order in which the metric ranks them.
        matched: Shape (t, d), whether the detection is a true positive at each of t IoU thresholds.
        ignored: Shape (t, d), whether it counts for nothing (crowd, difficult, outside an area range).
        positives: Shape (images,), objects that count, per image.
    """

    class_id: int
    images: NDArray[np.int64]
    scores: F64
    matched: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    positives: NDArray[np.int64]
