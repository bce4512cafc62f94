"""How sure is the difference of two mean average precisions? A paired bootstrap over images.

Images are drawn with replacement, as many as there are, the same ones for both sides; the difference is computed anew
from each draw, and its quantiles are the interval (the percentile interval of Efron and Tibshirani, An Introduction to
the Bootstrap, 1993, section 13.3). What both sides have in common, the images being hard or easy, cancels out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.data.dataset import Metric
from hardnet_deploy.errors import UsageError
from hardnet_deploy.evaluate.match_table import MatchTable
from hardnet_deploy.evaluate.weighted_ap import mean_average_precision
from hardnet_deploy.specs import F64

DropType = Literal["relative", "absolute"]
Progress = Callable[[int, int], None]
RESAMPLES: Final = 1000
SEED: Final = 0
CONFIDENCE: Final = 0.95
_RESAMPLES_AT_ONCE: Final = 50
LEAST_FOR_INTERVAL: Final = 10
"""Images. A percentile interval of n draws is short by the share 1 - sqrt((n - 1) / n) z / t, with Student's t of n - 1
degrees of freedom (T. Hesterberg, "What Teachers Should Know About the Bootstrap", The American Statistician 69(4),
2015, section 4.3): by 18 % with 10 images, by more than half with 3, and with one it is a point. Of fewer images
nothing is concluded from an interval, and whoever shows it says so.
"""


@dataclass(frozen=True, kw_only=True)
class DropInterval:
    """A drop of mAP from the reference to the candidate, with its bootstrap interval; a gain is negative.

    Args:
        kind: ``absolute``: reference - candidate; ``relative``: that divided by the reference.
        drop: The point estimate, on all images once.
        two_sided: The interval that holds the drop with ``confidence``.
        at_most: One-sided: the drop is no larger than this with ``confidence``.
        at_least: One-sided: the drop is no smaller than this with ``confidence``.
        confidence: In (0, 1).
        resamples: Draws that the interval rests on.
        undefined: Draws without a value, left out: no object among the images, or a reference mAP of 0.
        seed: Of the draws.
    """

    kind: DropType
    drop: float
    two_sided: tuple[float, float]
    at_most: float
    at_least: float
    confidence: float
    resamples: int
    undefined: int
    seed: int

    def separates(self, limit: float) -> bool:
        """True where the one-sided interval lies wholly on the side of ``limit`` on which the point estimate is."""
        return self.at_most <= limit if self.drop <= limit else self.at_least > limit

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "two_sided": list(self.two_sided)}


def resampled_weights(images: int, resamples: int, *, seed: int = SEED) -> NDArray[np.int64]:
    """How often each image is drawn in each resample: shape (resamples, images); every row sums to ``images``.

    Raises:
        UsageError: No images, or no resamples.
    """
    if images < 1 or resamples < 1:
        raise UsageError("there is nothing to resample", got=f"{images} images, {resamples} resamples")
    return np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=resamples)


def paired_drop(
    reference: Sequence[MatchTable],
    candidate: Sequence[MatchTable],
    metric: Metric,
    *,
    kind: DropType,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    confidence: float = CONFIDENCE,
    progress: Progress | None = None,
) -> DropInterval | None:
    """The drop of mAP and its interval.

    Args:
        reference: Tables of the reference, one for each class, over all images.
        candidate: The candidate's, over the same images.
        metric: Which average precision.
        kind: Of the drop.
        resamples: How many draws.
        seed: Of the draws.
        confidence: Of the interval, in (0, 1).
        progress: Told of (resamples done, resamples).

    Returns:
        None where the reference finds nothing or there is nothing to find: then no drop can be measured.

    Raises:
        UsageError: Tables of other images or classes, or numbers out of range.
    """
    images = {len(table.positives) for table in (*reference, *candidate)}
    classes = [{table.class_id for table in tables if table.positives.any()} for tables in (reference, candidate)]
    if not reference or len(images) != 1 or classes[0] != classes[1]:
        raise UsageError(
            "both sides must be judged on the same images and classes",
            got=f"tables of {sorted(images)} images and of the classes {sorted(classes[0])} and {sorted(classes[1])}",
        )
    if not 0.0 < confidence < 1.0:
        raise UsageError("the confidence is out of range", got=f"{confidence:g}", wanted="above 0 and below 1")
    count = images.pop()
    draws = resampled_weights(count, resamples, seed=seed)
    once = np.ones((1, count), np.int64)
    point = float(_drops(reference, candidate, once, metric, kind)[0])
    if math.isnan(point):
        return None
    drops = np.empty(resamples)
    for start in range(0, resamples, _RESAMPLES_AT_ONCE):
        part = slice(start, start + _RESAMPLES_AT_ONCE)
        drops[part] = _drops(reference, candidate, draws[part], metric, kind)
        if progress:
            progress(min(start + _RESAMPLES_AT_ONCE, resamples), resamples)
    known = drops[~np.isnan(drops)]
    if not known.size:
        return None
    tail = (1 - confidence) / 2
    low, high, at_least, at_most = np.quantile(known, [tail, 1 - tail, 1 - confidence, confidence]).tolist()
    return DropInterval(
        kind=kind,
        drop=point,
        two_sided=(low, high),
        at_most=at_most,
        at_least=at_least,
        confidence=confidence,
        resamples=int(known.size),
        undefined=int(resamples - known.size),
        seed=seed,
    )


def _drops(
    reference: Sequence[MatchTable],
    candidate: Sequence[MatchTable],
    weights: NDArray[np.int64],
    metric: Metric,
    kind: DropType,
) -> F64:
    wanted = mean_average_precision(reference, weights, metric)
    lost = wanted - mean_average_precision(candidate, weights, metric)
    lost[wanted == 0] = np.nan
    return lost if kind == "absolute" else np.divide(lost, wanted, out=np.full_like(lost, np.nan), where=wanted > 0)
