"""What every metric refuses before it counts anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from hardnet_deploy.data.dataset import Dataset
from hardnet_deploy.errors import UsageError
from hardnet_deploy.nms.matching import DetectionSet


def refuse_unscorable(dataset: Dataset, detections: Sequence[DetectionSet]) -> None:
    """Refuse to score where the score would mean nothing.

    Raises:
        UsageError: Not one set of detections per image, or no object that counts.
    """
    if len(detections) != len(dataset):
        raise UsageError(
            f"{dataset.name} cannot be scored",
            got=f"detections of {len(detections)} images",
            wanted=f"of its {len(dataset)} images",
        )
    if not dataset.present_classes:
        raise UsageError(
            f"{dataset.name} has no object that counts, so no average precision",
            got=f"{len(dataset)} images, every object crowd or difficult, or none at all",
            next_step="name a split with labelled objects",
        )


def checked(dataset: Dataset, detections: Sequence[DetectionSet]) -> Iterator[DetectionSet]:
    """The sets, one by one.

    Raises:
        UsageError: A class that the data set does not have, or a box or score that is no number.
    """
    classes = len(dataset.class_names)
    for sample, found in zip(dataset.samples, detections, strict=True):
        if len(found) and not (found.classes.min() >= 1 and found.classes.max() < classes):
            raise UsageError(
                f"detections in image {sample.image_id} are of classes that {dataset.name} does not have",
                got=f"classes {found.classes.min()} to {found.classes.max()}",
                wanted=f"1 to {classes - 1}",
            )
        if not (np.isfinite(found.boxes).all() and np.isfinite(found.scores).all()):
            raise UsageError(f"detections in image {sample.image_id} have boxes or scores that are no numbers")
        yield found
