"""Two sets of detections of one image, compared by matching.

Row by row nothing can be compared: a score that moves in its last digit reorders the list. So each candidate looks for
its partner: same class, enough overlap, a score close enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hardnet_deploy.errors import UsageError
from hardnet_deploy.nms.boxes import IndexArray, check_range, iou_with
from hardnet_deploy.nms.efficient import EfficientNmsResult
from hardnet_deploy.specs import F64


@dataclass(frozen=True, kw_only=True)
class DetectionSet:
    """Detections of one image.

    Args:
        boxes: Shape (n, 4), x1 <= x2 and y1 <= y2, in any unit that both sides share.
        scores: Shape (n,).
        classes: Shape (n,).
    """

    boxes: F64
    scores: F64
    classes: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.boxes.shape != (len(self.scores), 4) or self.classes.shape != self.scores.shape:
            raise UsageError(
                "Detections need a box, a score and a class each.",
                got=f"boxes {self.boxes.shape}, scores {self.scores.shape}, classes {self.classes.shape}",
                wanted="boxes [n, 4], scores [n], classes [n]",
            )

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def from_rows(cls, rows: ArrayLike) -> DetectionSet:
        """From (n, 6): class, x1, y1, x2, y2, score."""
        array = np.asarray(rows, np.float64).reshape(-1, 6)
        return cls(boxes=array[:, 1:5], scores=array[:, 5], classes=array[:, 0].astype(np.int64))

    @classmethod
    def from_result(cls, result: EfficientNmsResult, image: int) -> DetectionSet:
        """Image ``image`` of a batch, without its padding."""
        count = int(result.num_detections[image, 0])
        return cls(
            boxes=result.detection_boxes[image, :count].astype(np.float64),
            scores=result.detection_scores[image, :count].astype(np.float64),
            classes=result.detection_classes[image, :count].astype(np.int64),
        )


@dataclass(frozen=True, kw_only=True)
class DetectionMatch:
    """The outcome of :func:`match_detections`.

    Args:
        pairs: Shape (m, 2): index in the reference, index in the candidate; by descending candidate score.
        unmatched_reference: What the candidate lost.
        unmatched_candidate: What the candidate invented.
        max_score_error: Largest difference of scores among the pairs; None where nothing was matched.
        min_iou: Smallest overlap among the pairs; None where nothing was matched.
    """

    pairs: IndexArray
    unmatched_reference: IndexArray
    unmatched_candidate: IndexArray
    max_score_error: float | None
    min_iou: float | None

    @property
    def complete(self) -> bool:
        """True where nothing is left over on either side; so also where both sides are empty: look at ``pairs``."""
        return not (self.unmatched_reference.size or self.unmatched_candidate.size)


def match_detections(
    reference: DetectionSet, candidate: DetectionSet, *, iou_at_least: float, score_tolerance: float
) -> DetectionMatch:
    """Pairs the detections of two sides, greedily by descending candidate score.

    A candidate takes, among the free reference detections of its class with ``IoU >= iou_at_least`` and scores no
    further apart than ``score_tolerance``, the one that overlaps most (then: is closest in score). Boxes that are equal
    overlap fully even if they have no area.

    Args:
        reference: The side that is trusted.
        candidate: The side in question.
        iou_at_least: In (0, 1]; above 0.5, so that a box has one natural partner.
        score_tolerance: Largest accepted difference of scores, at least 0.

    Raises:
        UsageError: A bound out of range.
    """
    check_range("iou_at_least", iou_at_least, np.finfo(np.float64).tiny, 1.0)
    check_range("score_tolerance", score_tolerance, 0.0, np.inf)
    free = np.ones(len(reference), dtype=np.bool_)
    pairs: list[tuple[int, int]] = []
    overlaps: list[float] = []
    for index in np.argsort(-candidate.scores, kind="stable"):
        overlap = iou_with(candidate.boxes[index], reference.boxes)
        overlap[(candidate.boxes[index] == reference.boxes).all(axis=1)] = 1.0
        gap = np.abs(reference.scores - candidate.scores[index])
        same_class = reference.classes == candidate.classes[index]
        eligible = np.nonzero(free & same_class & (overlap >= iou_at_least) & (gap <= score_tolerance))[0]
        if eligible.size:
            partner = eligible[np.lexsort((gap[eligible], -overlap[eligible]))[0]]
            free[partner] = False
            pairs.append((int(partner), int(index)))
            overlaps.append(float(overlap[partner]))
    paired = np.array(pairs, dtype=np.intp).reshape(-1, 2)
    errors = np.abs(reference.scores[paired[:, 0]] - candidate.scores[paired[:, 1]])
    return DetectionMatch(
        pairs=paired,
        unmatched_reference=np.nonzero(free)[0],
        unmatched_candidate=np.setdiff1d(np.arange(len(candidate)), paired[:, 1]),
        max_score_error=float(errors.max()) if pairs else None,
        min_iou=min(overlaps) if pairs else None,
    )
