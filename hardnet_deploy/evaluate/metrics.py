"""The metric of a data set, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hardnet_deploy.data.dataset import Dataset
from hardnet_deploy.evaluate.coco_metric import CocoScores, coco_match_tables, coco_scores
from hardnet_deploy.evaluate.match_table import MatchTable
from hardnet_deploy.evaluate.voc_metric import VocScores, voc_match_tables, voc_scores
from hardnet_deploy.nms.matching import DetectionSet

Progress = Callable[[int, int], None]


def match_tables(
    dataset: Dataset, detections: Sequence[DetectionSet], *, progress: Progress | None = None
) -> tuple[MatchTable, ...]:
    """Detections judged as the data set's metric judges them, one table per class, ascending.

    Raises:
        UsageError: See :func:`~hardnet_deploy.evaluate.coco_metric.coco_scores`.
    """
    judge = coco_match_tables if dataset.metric == "coco" else voc_match_tables
    return judge(dataset, detections, progress=progress)


def scores(
    dataset: Dataset, detections: Sequence[DetectionSet], *, progress: Progress | None = None
) -> CocoScores | VocScores:
    """What the data set's metric says; ``mean_ap`` and ``classes`` in any case.

    Raises:
        UsageError: See :func:`~hardnet_deploy.evaluate.coco_metric.coco_scores`.
    """
    if dataset.metric == "coco":
        return coco_scores(dataset, detections, progress=progress)
    return voc_scores(dataset, detections, metric=dataset.metric, progress=progress)
