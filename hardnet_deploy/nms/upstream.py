"""The post-processing of the authors' own evaluation, and the three suppressions that live in their repository.

Source: PingoLH/PytorchSSD-HarDNet at a2a0a268: ``train_test.py`` (``test_net``), ``utils/nms/py_cpu_nms.py``,
``utils/box_utils.py`` (``nms``), and torchvision's ``ops.nms`` on the CPU. Each image goes through, in this order:

1. Boxes are scaled to pixels of the original image.
2. A prior stays if its best class is not background or its background score is under 0.9. This drops detections with
   scores up to 0.1 and is part of the published numbers.
3. For each class: ``score > threshold``; NMS at IoU 0.45 as torchvision does it; the best 50 of the class stay.
4. Of all classes together the best ``max_per_image`` stay, and whatever ties with the last of them.
"""

from __future__ import annotations

import numpy as np

from hardnet_deploy.errors import UsageError
from hardnet_deploy.nms.boxes import BoolArray, IndexArray, areas, check_range, greedy_keep, intersections, iou_with
from hardnet_deploy.specs import F32

IOU_THRESHOLD = 0.45
MAX_PER_CLASS = 50
BACKGROUND_SCORE_TO_DROP = 0.9


def upstream_postprocess(
    boxes: F32,
    scores: F32,
    image_hw: tuple[int, int],
    *,
    threshold: float,
    max_per_image: int,
    iou_threshold: float = IOU_THRESHOLD,
    max_per_class: int = MAX_PER_CLASS,
) -> F32:
    """Detections of one image, as the authors' evaluation makes them.

    Args:
        boxes: Shape (P, 4), corners, fractions of the image.
        scores: Shape (P, C), softmax with background first.
        image_hw: Height and width of the original image in pixels.
        threshold: A detection's score is above this (the authors: 0.02 for COCO, 0.03 for VOC).
        max_per_image: The authors: 200 for COCO, 300 for VOC. Equal scores at the cut may exceed it.
        iou_threshold: An overlap above this suppresses.
        max_per_class: Kept of one class.

    Returns:
        Shape (n, 6), float32: class (1..C-1), x1, y1, x2, y2 in pixels, score. Classes ascend; in a class scores
        descend; boxes may reach beyond the image.

    Raises:
        UsageError: Shapes that do not fit, or a number out of range.
    """
    boxes, scores = np.asarray(boxes, np.float32), np.asarray(scores, np.float32)
    if boxes.ndim != 2 or scores.ndim != 2 or boxes.shape[1] != 4 or len(boxes) != len(scores):
        raise UsageError(
            "Boxes and scores do not belong together.",
            got=f"boxes {boxes.shape}, scores {scores.shape}",
            wanted="boxes [P, 4] and scores [P, C] of one image",
        )
    check_range("threshold", threshold, 0.0, 1.0)
    check_range("iou_threshold", iou_threshold, 0.0, 1.0)
    if max_per_image < 1 or max_per_class < 1:
        raise UsageError("At least one detection must be allowed.", got=f"{max_per_image}, {max_per_class} per class")
    height, width = image_hw
    stays = (scores.argmax(axis=1) > 0) | (scores[:, 0] < np.float32(BACKGROUND_SCORE_TO_DROP))
    pixels = boxes[stays] * np.array([width, height, width, height], np.float32)
    scores = scores[stays]
    rows: list[F32] = [np.zeros((0, 6), np.float32)]
    for label in range(1, scores.shape[1]):
        passed = np.nonzero(scores[:, label] > np.float32(threshold))[0]
        kept = passed[torchvision_nms(pixels[passed], scores[passed, label], iou_threshold, limit=max_per_class)]
        label_column = np.full((len(kept), 1), label, np.float32)
        rows.append(np.concatenate((label_column, pixels[kept], scores[kept, label, None]), axis=1))
    detections = np.concatenate(rows)
    if len(detections) > max_per_image:
        last = np.sort(detections[:, 5])[-max_per_image]
        detections = detections[detections[:, 5] >= last]
    return detections


def torchvision_nms(boxes: F32, scores: F32, iou_threshold: float, *, limit: int | None = None) -> IndexArray:
    """The CPU kernel of torchvision's ``ops.nms``: IoU above the threshold suppresses; equal scores go by index.

    The float32 IoU is compared with the threshold in float64, as the kernel's C++ does.

    Args:
        boxes: Shape (N, 4), corners.
        scores: Shape (N,).
        iou_threshold: In [0, 1].
        limit: Stop after this many; the same as cutting the result.

    Returns:
        Indices of what is kept, by descending score.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = boxes[order]

    def suppressed_by(candidate: int) -> BoolArray:
        mask: BoolArray = iou_with(ranked[candidate], ranked).astype(np.float64) > iou_threshold
        return mask

    return order[greedy_keep(len(order), suppressed_by, limit=limit)]


def py_cpu_nms(boxes: F32, scores: F32, iou_threshold: float) -> IndexArray:
    """The repository's NumPy suppression: pixels counted inclusively (+1), kept while ``IoU <= iou_threshold``.

    Arguments and result as for :func:`torchvision_nms`; boxes in pixels. Equal scores: the later index first here, in
    no promised order there.
    """
    order = np.argsort(scores, kind="stable")[::-1]
    ranked = boxes[order]

    def suppressed_by(candidate: int) -> BoolArray:
        mask: BoolArray = ~(iou_with(ranked[candidate], ranked, pixel=1.0) <= np.float32(iou_threshold))
        return mask

    return order[greedy_keep(len(order), suppressed_by)]


def box_utils_nms(boxes: F32, scores: F32, iou_threshold: float, *, top_k: int = 200) -> IndexArray:
    """The repository's PyTorch suppression: the best ``top_k`` by ascending sort, kept while ``IoU <= iou_threshold``.

    Arguments and result as for :func:`torchvision_nms`. The union is rounded in another order, ``(areas -
    intersection) + area``. Equal scores: the later index first.
    """
    order = np.argsort(scores, kind="stable")[::-1][:top_k]
    ranked = boxes[order]
    sizes = areas(ranked)

    def suppressed_by(candidate: int) -> BoolArray:
        common = intersections(ranked[candidate], ranked)
        with np.errstate(divide="ignore", invalid="ignore"):
            mask: BoolArray = ~(common / ((sizes - common) + sizes[candidate]) <= np.float32(iou_threshold))
        return mask

    return order[greedy_keep(len(order), suppressed_by)]
