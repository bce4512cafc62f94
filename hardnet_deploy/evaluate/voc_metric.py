"""VOC's average precision: 11 points (VOC2007 to 2009) and area under the curve (VOC2010 and later).

Source: the VOC development kit as ``voc_eval`` of rbgirshick/py-faster-rcnn (``lib/datasets/voc_eval.py``) and of
PingoLH/PytorchSSD-HarDNet (``data/voc_eval.py``) has it. A detection looks at the object of its class that it overlaps
most; it is right where that IoU is above 0.5 and no better-scored detection took the object, ignored where the object
is difficult, else wrong. The kit counts pixels inclusively: a box from pixel 3 to pixel 5 is 3 wide, computed as
``5 - 3 + 1``. The data set's continuous boxes (2.0 to 5.0) have that same width without any + 1, so its IoU and the
kit's are equal.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.data.dataset import Dataset
from hardnet_deploy.evaluate.match_table import MatchTable
from hardnet_deploy.evaluate.metric_inputs import checked, refuse_unscorable
from hardnet_deploy.evaluate.weighted_ap import average_precision
from hardnet_deploy.nms.matching import DetectionSet
from hardnet_deploy.specs import F64

Progress = Callable[[int, int], None]
IOU_ABOVE: Final = 0.5
SCORE_DECIMALS: Final = 3  # of the authors' result files
BOX_DECIMALS: Final = 1


@dataclass(frozen=True, kw_only=True)
class VocClass:
    """One class.

    Args:
        class_id: From 1.
        ap: In [0, 1]; None where the data have no object of it that counts.
        objects: How many objects count: those that are not difficult.
    """

    class_id: int
    ap: float | None
    objects: int


@dataclass(frozen=True, kw_only=True)
class VocScores:
    """VOC's result.

    Args:
        mean_ap: Mean over the classes that have objects that count, in [0, 1].
        classes: Every class of the data set, ascending.
    """

    mean_ap: float
    classes: tuple[VocClass, ...]


def voc_scores(
    dataset: Dataset,
    detections: Sequence[DetectionSet],
    *,
    metric: Literal["voc07", "voc12"],
    as_upstream: bool = False,
    progress: Progress | None = None,
) -> VocScores:
    """AP at IoU > 0.5 of each class and their mean.

    Args:
        dataset: Images and their objects. VOC knows no crowds: they are taken as difficult.
        detections: One set per image, boxes (x1, y1, x2, y2) in pixels, continuous as the data set's are. Where scores
            are equal, earlier images and then earlier rows rank first.
        metric: ``voc07`` for 11 points, ``voc12`` for the area under the curve.
        as_upstream: Write detections as the authors' evaluation does, to measure the effect: all four sides moved by
            + 1 and counted inclusively, which makes boxes 1 pixel larger; sides rounded to one decimal and scores to
            three.
        progress: Told (images judged, images).

    Raises:
        UsageError: Not one set per image, classes that the data set does not have, or no object that counts.
    """
    once = np.ones((1, len(dataset)), np.int64)
    classes = []
    for table in voc_match_tables(dataset, detections, as_upstream=as_upstream, progress=progress):
        objects = int(table.positives.sum())
        ap = float(average_precision(table, once, metric)[0]) if objects else None
        classes.append(VocClass(class_id=table.class_id, ap=ap, objects=objects))
    known = [one.ap for one in classes if one.ap is not None]
    return VocScores(mean_ap=float(np.mean(known)), classes=tuple(classes))


def voc_match_tables(
    dataset: Dataset,
    detections: Sequence[DetectionSet],
    *,
    as_upstream: bool = False,
    progress: Progress | None = None,
) -> tuple[MatchTable, ...]:
    """The judgement at IoU > 0.5: one table per class, ascending, also for classes without objects.

    Arguments and errors as for :func:`voc_scores`.
    """
    refuse_unscorable(dataset, detections)
    judged: defaultdict[int, list[tuple[int, F64, NDArray[np.bool_], NDArray[np.bool_]]]] = defaultdict(list)
    positives = np.zeros((len(dataset.class_names), len(dataset)), np.int64)
    for image, found in enumerate(checked(dataset, detections)):
        truth = dataset.samples[image].truth
        counts_not = truth.crowd | truth.difficult
        np.add.at(positives[:, image], truth.labels[~counts_not], 1)
        boxes, all_scores = _as_written(found) if as_upstream else (found.boxes, found.scores)
        for class_id in np.unique(found.classes).tolist():
            mine = np.nonzero(found.classes == class_id)[0]
            mine = mine[np.argsort(-all_scores[mine], kind="stable")]
            there = truth.labels == class_id
            matched, ignored = _judge(boxes[mine], truth.boxes[there], counts_not[there])
            judged[class_id].append((image, all_scores[mine], matched, ignored))
        if progress:
            progress(image + 1, len(dataset))
    return tuple(
        _table(class_id, judged[class_id], positives[class_id]) for class_id in range(1, len(dataset.class_names))
    )


def _as_written(found: DetectionSet) -> tuple[F64, F64]:
    """Boxes and scores as the authors' result files hold them; boxes in continuous coordinates again."""
    inclusive = np.round(found.boxes + 1.0, BOX_DECIMALS)
    return inclusive - np.array([1.0, 1.0, 0.0, 0.0]), np.round(found.scores, SCORE_DECIMALS)


def _judge(boxes: F64, objects: F64, counts_not: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which detections of one image and class, in descending order of score, are right and which are ignored."""
    matched, ignored = np.zeros((2, len(boxes)), np.bool_)
    if not (len(boxes) and len(objects)):
        return matched, ignored
    overlaps = _ious(boxes, objects)
    nearest = overlaps.argmax(axis=1)
    close = overlaps[np.arange(len(boxes)), nearest] > IOU_ABOVE
    ignored = close & counts_not[nearest]
    claims = np.nonzero(close & ~counts_not[nearest])[0]
    _, first = np.unique(nearest[claims], return_index=True)
    matched[claims[first]] = True
    return matched, ignored


def _ious(boxes: F64, objects: F64) -> F64:
    """Intersection over union of (d, 4) and (g, 4) corners, shape (d, g); 0 where both have no area."""
    low = np.maximum(boxes[:, None, :2], objects[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], objects[None, :, 2:])
    common = np.clip(high - low, 0.0, None).prod(axis=2)
    areas, object_areas = ((side[:, 2:] - side[:, :2]).prod(axis=1) for side in (boxes, objects))
    union = areas[:, None] + object_areas[None, :] - common
    overlaps: F64 = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return overlaps


def _table(
    class_id: int,
    judged: list[tuple[int, F64, NDArray[np.bool_], NDArray[np.bool_]]],
    positives: NDArray[np.int64],
) -> MatchTable:
    none = np.zeros(0, np.bool_)
    scores = np.concatenate([np.zeros(0), *(one[1] for one in judged)])
    images = np.concatenate([np.zeros(0, np.int64), *(np.full(len(one[1]), one[0], np.int64) for one in judged)])
    order = np.argsort(-scores, kind="stable")
    return MatchTable(
        class_id=class_id,
        images=images[order],
        scores=scores[order],
        matched=np.concatenate([none, *(one[2] for one in judged)])[order][None],
        ignored=np.concatenate([none, *(one[3] for one in judged)])[order][None],
        positives=positives,
    )
