"""COCO's average precision, by pycocotools.

pycocotools holds every detection of every image as a dictionary, over a kilobyte each. Here it judges a block of images
at a time, of which only the judgement is kept, packed, and accumulates them all at the end: the same numbers, as the
judgement of an image depends on no other.
"""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from hardnet_deploy.data.dataset import Dataset, Sample
from hardnet_deploy.evaluate.coco_judgement import IOU_THRESHOLDS, Judgement, Judgements
from hardnet_deploy.evaluate.match_table import MatchTable
from hardnet_deploy.evaluate.metric_inputs import checked, refuse_unscorable
from hardnet_deploy.nms.matching import DetectionSet

Progress = Callable[[int, int], None]
NUMBERS: Final = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
_IMAGES_AT_ONCE: Final = 100


@dataclass(frozen=True, kw_only=True)
class CocoClass:
    """One class.

    Args:
        class_id: From 1.
        ap: AP @[.50:.95], in [0, 1]; None where the data have no object of it that counts.
        ap50: AP @.50; likewise.
        objects: How many objects count.
    """

    class_id: int
    ap: float | None
    ap50: float | None
    objects: int


@dataclass(frozen=True, kw_only=True)
class CocoScores:
    """COCO's result.

    Args:
        numbers: The twelve numbers in COCO's order, in [0, 1]: AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs,
            ARm, ARl; None where no object is of that size.
        classes: Every class of the data set, ascending.
    """

    numbers: dict[str, float | None]
    classes: tuple[CocoClass, ...]

    @property
    def mean_ap(self) -> float:
        """AP @[.50:.95]."""
        mean = self.numbers["AP"]
        assert mean is not None
        return mean


def coco_scores(
    dataset: Dataset,
    detections: Sequence[DetectionSet],
    *,
    plus_one: bool = False,
    progress: Progress | None = None,
) -> CocoScores:
    """The twelve numbers, and AP of each class.

    Args:
        dataset: Images and their objects. COCO knows no difficult objects: they are taken as crowds, so that what is
            found in them is neither right nor wrong.
        detections: One set per image, boxes (x1, y1, x2, y2) in pixels, width x2 - x1; at most 100 per image and class
            are looked at, as COCO does.
        plus_one: Write widths and heights with the 1 pixel that upstream's evaluation adds, to measure its effect.
        progress: Told (images judged, images).

    Raises:
        UsageError: Not one set per image, classes that the data set does not have, or no object that counts.
    """
    refuse_unscorable(dataset, detections)
    evaluation = _judge(dataset, detections, areas=None, plus_one=plus_one, progress=progress)
    with _silence():
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"]  # [IoU thresholds, recalls, classes, areas, limits]
    objects = np.zeros(len(dataset.class_names), np.int64)
    for sample in dataset.samples:
        np.add.at(objects, sample.truth.labels[~(sample.truth.crowd | sample.truth.difficult)], 1)
    return CocoScores(
        numbers={name: _known(value) for name, value in zip(NUMBERS, evaluation.stats, strict=True)},
        classes=tuple(
            CocoClass(
                class_id=class_id,
                ap=_known(precision[:, :, class_id - 1, 0, -1].mean()),
                ap50=_known(precision[0, :, class_id - 1, 0, -1].mean()),
                objects=int(objects[class_id]),
            )
            for class_id in range(1, len(dataset.class_names))
        ),
    )


def _known(value: float) -> float | None:
    """None for pycocotools' -1, which means that there is nothing to measure."""
    return None if value < 0 else float(value)


def coco_match_tables(
    dataset: Dataset,
    detections: Sequence[DetectionSet],
    *,
    plus_one: bool = False,
    progress: Progress | None = None,
) -> tuple[MatchTable, ...]:
    """What pycocotools judges for all areas, at the ten IoU thresholds 0.50 to 0.95: one table per class, ascending.

    Arguments and errors as for :func:`coco_scores`. Every class of the data set has a table, also without objects.
    """
    refuse_unscorable(dataset, detections)
    judged: Judgements = _judge(dataset, detections, areas=1, plus_one=plus_one, progress=progress).evalImgs
    return tuple(
        _table(class_id, judged.group(class_id - 1), images=len(dataset))
        for class_id in range(1, len(dataset.class_names))
    )


def _table(class_id: int, judged: Mapping[int, Judgement], *, images: int) -> MatchTable:
    """The table of one class from pycocotools' judgement of each of the images."""
    found = list(judged.items())
    scores = np.concatenate([np.zeros(0), *(one["dtScores"] for _, one in found)])
    origins = np.concatenate(
        [np.zeros(0, np.int64), *(np.full(len(one["dtScores"]), image, np.int64) for image, one in found)]
    )
    none = np.zeros((IOU_THRESHOLDS, 0), np.bool_)
    matched = np.concatenate([none, *(one["dtMatches"] for _, one in found)], axis=1)
    ignored = np.concatenate([none, *(one["dtIgnore"] for _, one in found)], axis=1)
    positives = np.zeros(images, np.int64)
    for image, one in found:
        positives[image] = np.count_nonzero(~one["gtIgnore"])
    order = np.argsort(-scores, kind="mergesort")
    return MatchTable(
        class_id=class_id,
        images=origins[order],
        scores=scores[order],
        matched=(matched & ~ignored)[:, order],
        ignored=ignored[:, order],
        positives=positives,
    )


def _judge(
    dataset: Dataset,
    detections: Sequence[DetectionSet],
    *,
    areas: int | None,
    plus_one: bool,
    progress: Progress | None,
) -> Any:
    """A COCOeval whose ``evalImgs`` are of all images, ready to accumulate; ``areas`` keeps the first so many ranges.

    Images are numbered by their place in the data set: where scores are equal, earlier images rank first.
    """
    from pycocotools.cocoeval import COCOeval

    classes = range(1, len(dataset.class_names))
    rows = checked(dataset, detections)
    with _silence():
        whole = COCOeval(None, None, "bbox")
    whole.params.catIds, whole.params.imgIds = list(classes), list(range(len(dataset)))
    whole.params.areaRng, whole.params.areaRngLbl = whole.params.areaRng[:areas], whole.params.areaRngLbl[:areas]
    whole._paramsEval = copy.deepcopy(whole.params)  # as COCOeval.evaluate leaves it
    whole.evalImgs = Judgements(len(classes) * len(whole.params.areaRng))
    for start in range(0, len(dataset), _IMAGES_AT_ONCE):
        samples = dataset.samples[start : start + _IMAGES_AT_ONCE]
        truth, found = _annotations(samples), _results(zip(samples, rows, strict=False), plus_one=plus_one)
        with _silence():
            part = COCOeval(_coco(len(samples), classes, truth), _coco(len(samples), classes, found), "bbox")
            part.params.areaRng, part.params.areaRngLbl = whole.params.areaRng, whole.params.areaRngLbl
            part.evaluate()
        whole.evalImgs.add(part.evalImgs, len(samples))
        if progress:
            progress(start + len(samples), len(dataset))
    return whole


def _coco(images: int, classes: range, annotations: list[dict[str, Any]]) -> Any:
    """A pycocotools data set without files."""
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = {
        "images": [{"id": image} for image in range(images)],
        "categories": [{"id": class_id} for class_id in classes],
        "annotations": annotations,
    }
    with _silence():
        coco.createIndex()
    return coco


def _annotations(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    rows = []
    for image, sample in enumerate(samples):
        truth = sample.truth
        crowd = truth.crowd | truth.difficult
        for (x1, y1, x2, y2), label, area, group in zip(
            truth.boxes.tolist(), truth.labels.tolist(), truth.areas.tolist(), crowd.tolist(), strict=True
        ):
            box = [x1, y1, x2 - x1, y2 - y1]
            rows.append({"image_id": image, "category_id": label, "bbox": box, "area": area, "iscrowd": int(group)})
    return _numbered(rows)


def _results(found: Iterator[tuple[Sample, DetectionSet]], *, plus_one: bool) -> list[dict[str, Any]]:
    rows = []
    more = 1.0 if plus_one else 0.0
    for image, (_, detections) in enumerate(found):
        for (x1, y1, x2, y2), label, score in zip(
            detections.boxes.tolist(), detections.classes.tolist(), detections.scores.tolist(), strict=True
        ):
            box = [x1, y1, x2 - x1 + more, y2 - y1 + more]
            area = box[2] * box[3]
            rows.append({"image_id": image, "category_id": label, "bbox": box, "area": area, "score": score})
    return _numbered(rows)


def _numbered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Numbered from 1: pycocotools takes a match with the annotation 0 for none."""
    for number, row in enumerate(rows, start=1):
        row["id"] = number
    return rows


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep pycocotools' prints off stdout, which belongs to the result."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
