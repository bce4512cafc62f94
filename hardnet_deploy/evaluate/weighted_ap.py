"""Average precision of judged detections in which every image counts a whole number of times.

An image of weight k counts as if the data set held it k times, one of weight 0 as if it did not hold it: what
resampling images needs, without judging a detection twice. (Where scores of a class are equal, copies rank beside
their original, not behind the other equal ones.) At detection j of the ranking, and up to it,

    precision_j = TP_j / (TP_j + FP_j)    recall_j = TP_j / positives    envelope_j = max over i >= j of precision_i

AP is a sum over true positives j of ``envelope_j`` times what j adds to the recall: each recall level t with
recall_(j-1) < t <= recall_j is worth 1/101 (COCO) or 1/11 (VOC07), and in VOC12 the step itself counts. False positives
lower precision and never raise recall, so only their number matters. Sources: ``accumulate`` in cocodataset/cocoapi,
PythonAPI/pycocotools/cocoeval.py; ``voc_ap`` in rbgirshick/py-faster-rcnn, lib/datasets/voc_eval.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.data.dataset import Metric
from hardnet_deploy.errors import UsageError
from hardnet_deploy.evaluate.match_table import MatchTable
from hardnet_deploy.specs import F64

Weights = NDArray[np.int64]
RECALL_POINTS: Final[dict[Metric, F64 | None]] = {
    "coco": np.linspace(0.0, 1.0, 101),
    "voc07": np.arange(0.0, 1.1, 0.1),
    "voc12": None,
}
_EPSILON: Final = float(np.spacing(1))  # pycocotools adds it to TP + FP
_VALUES_AT_ONCE: Final = 1 << 22  # of one intermediate array: 32 MiB


def mean_average_precision(tables: Sequence[MatchTable], weights: Weights, metric: Metric) -> F64:
    """Mean over classes of :func:`average_precision`.

    Args:
        tables: One for each class.
        weights: Shape (b, images), at least 0: each row weighs the images anew.
        metric: Which average precision.

    Returns:
        Shape (b,), in [0, 1]; classes without an object of weight above 0 are left out, and where that is every class
        the mean is NaN.

    Raises:
        UsageError: Weights that do not fit the tables.
    """
    total = np.zeros(len(weights))
    classes = np.zeros(len(weights))
    for table in tables:
        each = average_precision(table, weights, metric)
        known = ~np.isnan(each)
        total[known] += each[known]
        classes += known
    mean: F64 = np.divide(total, classes, out=np.full(len(weights), np.nan), where=classes > 0)
    return mean


def average_precision(table: MatchTable, weights: Weights, metric: Metric) -> F64:
    """Average precision of one class, the mean over the table's IoU thresholds.

    Args:
        table: Detections judged.
        weights: Shape (b, images), at least 0.
        metric: Which average precision.

    Returns:
        Shape (b,), in [0, 1]; NaN where no object has a weight above 0.

    Raises:
        UsageError: Weights that do not fit the table.
    """
    if weights.ndim != 2 or weights.shape[1] != len(table.positives):
        raise UsageError(
            "the weights are not of the images that were judged",
            got=f"{weights.shape}",
            wanted=f"[any, {len(table.positives)}]",
        )
    step = max(1, _VALUES_AT_ONCE // max(1, len(table.scores)))
    parts = [_average_precision(table, weights[start : start + step], metric) for start in range(0, len(weights), step)]
    return np.concatenate([np.zeros(0), *parts])


def _average_precision(table: MatchTable, weights: Weights, metric: Metric) -> F64:
    positives = weights @ table.positives
    has_any = positives > 0
    found = np.full(len(weights), np.nan)
    if not has_any.any():
        return found
    positives, own = positives[has_any], weights[has_any]
    ranked = np.cumsum(own[:, table.images], axis=1, dtype=np.int64)
    sums = np.zeros(len(own))
    for matched, ignored in zip(table.matched, table.ignored, strict=True):
        right = np.nonzero(matched & ~ignored)[0]
        passed_over = np.nonzero(ignored)[0]
        counted = ranked[:, right] - _before(own[:, table.images[passed_over]], passed_over, right)
        true = np.cumsum(own[:, table.images[right]], axis=1, dtype=np.int64)
        sums += _area(true, counted, positives, metric)
    found[has_any] = sums / len(table.matched)
    return found


def _before(weights: Weights, passed_over: NDArray[np.intp], right: NDArray[np.intp]) -> Weights:
    """Weight of the detections ``passed_over`` that rank before each of ``right``: shape (b, len(right))."""
    sums = np.concatenate((np.zeros((len(weights), 1), np.int64), np.cumsum(weights, axis=1, dtype=np.int64)), axis=1)
    return sums[:, np.searchsorted(passed_over, right)]


def _area(true: Weights, counted: Weights, positives: Weights, metric: Metric) -> F64:
    """Area under the envelope of precision, from counts at each true positive: shape (b,)."""
    precision = true / (counted + _EPSILON)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = true / positives[:, None]
    points = RECALL_POINTS[metric]
    covered = recall if points is None else np.searchsorted(points, recall, side="right") / len(points)
    area: F64 = np.sum(envelope * np.diff(covered, axis=1, prepend=0.0), axis=1)
    return area
