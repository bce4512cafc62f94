"""Whether two engines are the same detector at all, as far as their manifests and graphs say."""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np

from hardnet_deploy.specs import Thresholds
from hardnet_deploy.workflows.open_engine import OpenEngine

_THRESHOLDS: Final = {
    "score": "the score threshold",
    "iou": "the IoU threshold",
    "max_detections": "the largest number of detections",
}


def differences(reference: OpenEngine, candidate: OpenEngine) -> tuple[str, ...]:
    """One sentence for each thing that makes detections incomparable: the kind of model, its head, its classes."""
    if (reference.head is None) != (candidate.head is None):
        kinds = ("a backbone" if side.head is None else "a detector" for side in (reference, candidate))
        return ("the reference is {}, the candidate {}".format(*kinds),)
    found = []
    if reference.head is not None and candidate.head is not None and reference.head != candidate.head:
        ours, theirs = dataclasses.asdict(reference.head), dataclasses.asdict(candidate.head)
        parts = [name for name in ours if ours[name] != theirs[name]]
        found.append(
            f"the heads differ in {', '.join(parts)}: {reference.head.num_priors} default boxes of "
            f"{reference.head.num_classes} classes in the reference, {candidate.head.num_priors} of "
            f"{candidate.head.num_classes} in the candidate"
        )
    return (*found, *_other_classes(reference, candidate))


def _other_classes(reference: OpenEngine, candidate: OpenEngine) -> tuple[str, ...]:
    ours, theirs = reference.class_names, candidate.class_names
    if ours == theirs:
        return ()
    if len(ours) != len(theirs):
        counts = (f"{len(names) - 1} class names" if names else "no class names" for names in (ours, theirs))
        return ("the reference has {}, the candidate {}".format(*counts),)
    other = [place for place, (one, two) in enumerate(zip(ours, theirs, strict=True)) if one != two]
    first = other[0]
    names = f"class {first} is '{ours[first]}' in the reference and '{theirs[first]}' in the candidate"
    return (f"{len(other)} classes have other names: {names}",)


def other_thresholds(reference: OpenEngine, candidate: OpenEngine) -> tuple[str, ...]:
    """One sentence for each threshold of the NMS that differs as a float32; none for backbones."""
    if reference.head is None or candidate.head is None:
        return ()
    return tuple(
        f"{text} differs: {ours:g} in the reference, {theirs:g} in the candidate"
        for text, ours, theirs in (
            (text, getattr(reference.thresholds, name), getattr(candidate.thresholds, name))
            for name, text in _THRESHOLDS.items()
        )
        if np.float32(ours) != np.float32(theirs)
    )


def common_thresholds(reference: OpenEngine, least_score: float) -> Thresholds:
    """The reference's thresholds, as far as EfficientNMS honours them: scores from ``least_score`` upwards."""
    return dataclasses.replace(reference.thresholds, score=max(reference.thresholds.score, least_score))
