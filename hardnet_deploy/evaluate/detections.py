"""Do two engines find the same things? Their detections over many images, paired by class and overlap."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from hardnet_deploy.evaluate.tolerances import ANY_SCORE, SHOWN_SCORE, MatchTolerance
from hardnet_deploy.nms.boxes import IndexArray, areas
from hardnet_deploy.nms.matching import DetectionSet, match_detections
from hardnet_deploy.specs import F64

SAME_OBJECT_IOU: Final = 0.5
WORST_IMAGES: Final = 10
NOTICEABLE: Final = 0.01  # of an image's disagreement: a hundredth of one sure box; rounding makes 1e-5


@dataclass(frozen=True, kw_only=True)
class Quantiles:
    """Of one kind of error over all pairs."""

    p50: float
    p90: float
    p99: float
    max: float

    @classmethod
    def of(cls, errors: F64) -> Quantiles | None:
        """None where there are no errors."""
        if not errors.size:
            return None
        p50, p90, p99, most = np.quantile(errors, [0.5, 0.9, 0.99, 1.0]).tolist()
        return cls(p50=p50, p90=p90, p99=p99, max=most)


@dataclass(frozen=True, kw_only=True)
class MatchedShare:
    """How many of the detections from a score upwards have a partner of about their score on the other side.

    Args:
        least_score: From this score upwards.
        score_tolerance: Partners whose scores are further apart do not count as matched.
        reference: The reference's detections.
        matched_reference: Those with a partner.
        candidate: The candidate's detections.
        matched_candidate: Those with a partner.
        score_error: |score - partner's score| of pairs of which either is counted.
        box_error: 1 - IoU of the same pairs.
    """

    least_score: float
    score_tolerance: float
    reference: int
    matched_reference: int
    candidate: int
    matched_candidate: int
    score_error: Quantiles | None
    box_error: Quantiles | None

    @property
    def shares(self) -> tuple[float | None, float | None]:
        """Of the reference's and of the candidate's detections; None where a side has none."""
        pairs = ((self.matched_reference, self.reference), (self.matched_candidate, self.candidate))
        reference, candidate = (matched / count if count else None for matched, count in pairs)
        return reference, candidate

    def failures(self, tolerance: MatchTolerance) -> tuple[str, ...]:
        """One sentence for each side of which too few are matched; none where a side is empty."""
        counts = (self.matched_reference, self.reference), (self.matched_candidate, self.candidate)
        what = f"detections of at least {self.least_score:g}" if self.least_score else "detections"
        return tuple(
            f"only {matched} of {count} {what} of the {side} are found by the other side "
            f"({100 * matched / count:.2f} %, wanted {100 * tolerance.share:g} %)"
            for side, (matched, count) in zip(("reference", "candidate"), counts, strict=True)
            if count and matched < tolerance.share * count
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        reference, candidate = self.shares
        return {**asdict(self), "share_reference": reference, "share_candidate": candidate}


@dataclass(frozen=True, kw_only=True)
class ImageDisagreement:
    """How far the two sides disagree on one image.

    Args:
        index: Of the image in the data set.
        value: Scores of unmatched detections, and of pairs |score error| + (1 - IoU) * score, all added up.
        lost: Indices of the reference's detections without a partner.
        invented: Indices of the candidate's.
    """

    index: int
    value: float
    lost: IndexArray
    invented: IndexArray

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"index": self.index, "value": self.value, "lost": len(self.lost), "invented": len(self.invented)}


@dataclass(frozen=True, kw_only=True)
class DetectionsParity:
    """All images.

    Args:
        images: Number of images compared.
        everything: All detections.
        shown: Those that a product would show.
        worst: The images with the largest disagreement, largest first; only such as
            have a noticeable one.
    """

    images: int
    everything: MatchedShare
    shown: MatchedShare
    worst: tuple[ImageDisagreement, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "images": self.images,
            "iou_at_least": SAME_OBJECT_IOU,
            "all": self.everything.as_dict(),
            "shown": self.shown.as_dict(),
            "worst_images": [image.as_dict() for image in self.worst],
        }


@dataclass(frozen=True, kw_only=True)
class _Matched:
    """One image: the scores of both sides, and of each pair (reference score, candidate score, 1 - IoU)."""

    reference: F64
    candidate: F64
    pairs: F64


def compare_detections(
    pairs: Iterable[tuple[DetectionSet, DetectionSet]],
    *,
    shown_score: float = SHOWN_SCORE,
    score_tolerance: float = ANY_SCORE,
) -> DetectionsParity:
    """Compare the detections of two engines image by image.

    A detection's partner is of the same class and overlaps by at least :data:`SAME_OBJECT_IOU`. It counts as matched
    where their scores are close enough, too: an engine that finds every box with a tenth of its score finds nothing
    that a product would show.

    Args:
        pairs: Detections of the reference and of the candidate, boxes of both in the same unit, one pair an image.
        shown_score: What a product would show.
        score_tolerance: Largest difference of scores of a match.
    """
    ranking: list[ImageDisagreement] = []
    partners: list[_Matched] = []
    images = 0
    for index, (reference, candidate) in enumerate(pairs):
        images += 1
        matched, disagreement = _compare_image(index, reference, candidate)
        partners.append(matched)
        if disagreement.value >= NOTICEABLE:
            ranking = sorted([*ranking, disagreement], key=lambda one: (-one.value, one.index))[:WORST_IMAGES]
    return DetectionsParity(
        images=images,
        everything=_share(partners, 0.0, score_tolerance),
        shown=_share(partners, shown_score, score_tolerance),
        worst=tuple(ranking),
    )


def _compare_image(index: int, reference: DetectionSet, candidate: DetectionSet) -> tuple[_Matched, ImageDisagreement]:
    outcome = match_detections(reference, candidate, iou_at_least=SAME_OBJECT_IOU, score_tolerance=ANY_SCORE)
    ours, theirs = outcome.pairs[:, 0], outcome.pairs[:, 1]
    gaps = _box_errors(reference.boxes[ours], candidate.boxes[theirs])
    rows = np.stack((reference.scores[ours], candidate.scores[theirs], gaps), axis=1)
    lost, invented = outcome.unmatched_reference, outcome.unmatched_candidate
    value = reference.scores[lost].sum() + candidate.scores[invented].sum()
    value += (np.abs(rows[:, 0] - rows[:, 1]) + rows[:, 2] * rows[:, :2].max(axis=1, initial=0.0)).sum()
    matched = _Matched(reference=reference.scores, candidate=candidate.scores, pairs=rows)
    return matched, ImageDisagreement(index=index, value=float(value), lost=lost, invented=invented)


def _box_errors(reference: F64, candidate: F64) -> F64:
    """1 - IoU of boxes (m, 4) row by row; 0 where they are equal, with or without area."""
    sides = np.minimum(reference[:, 2:], candidate[:, 2:]) - np.maximum(reference[:, :2], candidate[:, :2])
    common = np.maximum(sides, 0.0).prod(axis=1)
    union = areas(reference) + areas(candidate) - common
    overlap = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    errors: F64 = np.where((reference == candidate).all(axis=1), 0.0, 1.0 - np.minimum(overlap, 1.0))
    return errors


def _share(images: list[_Matched], least: float, score_tolerance: float) -> MatchedShare:
    empty = np.zeros((0, 3))
    pairs = np.concatenate([empty, *(image.pairs for image in images)])
    counted = pairs[(pairs[:, :2] >= least).any(axis=1)]
    alike = pairs[np.abs(pairs[:, 0] - pairs[:, 1]) <= score_tolerance]
    return MatchedShare(
        least_score=least,
        score_tolerance=score_tolerance,
        reference=sum(int(np.count_nonzero(image.reference >= least)) for image in images),
        matched_reference=int(np.count_nonzero(alike[:, 0] >= least)),
        candidate=sum(int(np.count_nonzero(image.candidate >= least)) for image in images),
        matched_candidate=int(np.count_nonzero(alike[:, 1] >= least)),
        score_error=Quantiles.of(np.abs(counted[:, 0] - counted[:, 1])),
        box_error=Quantiles.of(counted[:, 2]),
    )
