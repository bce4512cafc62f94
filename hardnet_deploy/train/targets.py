# ruff: noqa: TID253  (this module is torch code; whoever imports it wants torch)
"""What the network should answer: ground truth assigned to default boxes and encoded as offsets.

Source: "SSD: Single Shot MultiBox Detector" (arXiv 1512.02325), section 2.2, with the rule of upstream's ``match`` that
every object keeps its best default box, whatever their overlap.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hardnet_deploy.train.recipe import MATCH_IOU

KEPT = 2.0  # above any IoU: the best default box of an object is always its own
SMALLEST_SIDE = 1e-6


def corners(centre_form: Tensor) -> Tensor:
    """(cx, cy, w, h) to (x1, y1, x2, y2), in the last axis."""
    centre, size = centre_form[..., :2], centre_form[..., 2:]
    return torch.cat((centre - size / 2, centre + size / 2), -1)


def pairwise_iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU of corner boxes [..., n, 4] and [..., m, 4]: [..., n, m]; 0 where both have no area."""
    low = torch.maximum(first[..., :, None, :2], second[..., None, :, :2])
    high = torch.minimum(first[..., :, None, 2:], second[..., None, :, 2:])
    intersection = (high - low).clamp(min=0).prod(-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1) for boxes in (first, second)]
    union = areas[0][..., :, None] + areas[1][..., None, :] - intersection
    return intersection / union.clamp(min=1e-12)


def assign(boxes: Tensor, labels: Tensor, priors: Tensor, variances: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Targets of a batch.

    Args:
        boxes: Shape (N, n, 4), corners as fractions of the image; images with fewer objects are filled up.
        labels: Shape (N, n), from 1; 0 marks a filled-up row.
        priors: Shape (P, 4), centre form, fractions.
        variances: Of the encoding.

    Returns:
        Offsets (N, P, 4), of meaning only where the class is not 0, and classes (N, P) int64, 0 being background. A
        default box takes the object it overlaps most, from an IoU of 0.5; the best default box of each object takes
        that object (of two objects with the same best box the later one, as upstream).
    """
    offsets = priors.new_zeros((len(labels), *priors.shape))
    classes = labels.new_zeros((len(labels), len(priors)))
    edges = corners(priors)
    for image in range(len(labels)):  # one at a time: objects x default boxes are many
        real = labels[image] > 0
        if bool(real.any()):
            own, names = boxes[image][real], labels[image][real]
            best_iou, best_object = _partners(pairwise_iou(own, edges))
            classes[image] = names[best_object].masked_fill(best_iou < MATCH_IOU, 0)
            offsets[image] = encode(own[best_object], priors, variances)
    return offsets, classes


def _partners(overlap: Tensor) -> tuple[Tensor, Tensor]:
    """Overlap [n, P] to each default box's IoU and object, the best default box of each object being its own."""
    best_iou, best_object = overlap.max(dim=0)
    for index, best_prior in enumerate(overlap.argmax(dim=1).tolist()):
        best_iou[best_prior] = KEPT
        best_object[best_prior] = index
    return best_iou, best_object


def encode(boxes: Tensor, priors: Tensor, variances: tuple[float, float]) -> Tensor:
    """Corner boxes [..., P, 4] as offsets from ``priors`` [P, 4]: the inverse of the detector's decoding."""
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    size = (boxes[..., 2:] - boxes[..., :2]).clamp(min=SMALLEST_SIDE)
    shift = (centre - priors[:, :2]) / (variances[0] * priors[:, 2:])
    scale = torch.log(size / priors[:, 2:]) / variances[1]
    return torch.cat((shift, scale), -1)
