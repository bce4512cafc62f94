"""Labelled images as values: what evaluation, parity, calibration and training read, whatever the layout on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.errors import UsageError
from hardnet_deploy.specs import F64

Metric = Literal["coco", "voc07", "voc12"]


@dataclass(frozen=True, kw_only=True)
class GroundTruth:
    """Objects of one image; n may be 0.

    Args:
        boxes: Shape (n, 4), corners x1, y1, x2, y2 in pixels of the image as stored, continuous: width is x2 - x1.
        labels: Shape (n,), the model's classes: from 1 upwards, 0 being background.
        areas: Shape (n,), square pixels, of the mask where the layout has one: COCO's small, medium and large.
        crowd: Shape (n,), boxes around a group; detections in them are neither right nor wrong (COCO).
        difficult: Shape (n,), objects that count for nothing, found or not (VOC).
    """

    boxes: F64
    labels: NDArray[np.int64]
    areas: F64
    crowd: NDArray[np.bool_]
    difficult: NDArray[np.bool_]

    def __post_init__(self) -> None:
        count = len(self.labels)
        if self.boxes.shape != (count, 4) or {len(self.areas), len(self.crowd), len(self.difficult)} != {count}:
            raise UsageError("ground truth needs a box, a label, an area and two flags for each object")

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One image and its objects.

    Args:
        image_id: As the layout numbers or names it.
        path: The image file.
        width: Pixels, as the annotations say.
        height: Pixels, as the annotations say.
        truth: Its objects.
    """

    image_id: int | str
    path: Path
    width: int
    height: int
    truth: GroundTruth


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A labelled set of images.

    Args:
        name: As ``--data`` names it, split included: ``demo:val``, ``coco:/data/coco:val2017``.
        class_names: Of the labels, background first.
        samples: In a fixed order.
        digest: SHA-256 over the annotations and the images' names, sizes and, where cheap, contents: two data sets with
            the same digest are the same.
        metric: How it is scored.
        notes: What was left out or repaired while reading; each is worth a line to the user.
    """

    name: str
    class_names: tuple[str, ...]
    samples: tuple[Sample, ...]
    digest: str
    metric: Metric
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def present_classes(self) -> tuple[int, ...]:
        """Classes with at least one object that counts, ascending."""
        labels = {
            int(label)
            for sample in self.samples
            for label in sample.truth.labels[~(sample.truth.crowd | sample.truth.difficult)]
        }
        return tuple(sorted(labels))
