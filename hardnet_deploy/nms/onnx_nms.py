"""The ONNX operator NonMaxSuppression (opsets 10 and 11), and the detections made with it.

Sources: the operator's text in onnx/onnx, ``docs/Operators.md``; where that is silent, ONNX Runtime's CPU kernel,
``onnxruntime/core/providers/cpu/object_detection/non_max_suppression.cc`` and ``non_max_suppression_helper.h``.
For each image and each class on its own: boxes with ``score > score_threshold``, by descending score (equal scores:
lower index first), greedy, ``IoU > iou_threshold`` suppresses, at most ``max_output_boxes_per_class`` are kept. No
class is special. Corners come in either order; boxes without area are never suppressed and suppress nothing.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from hardnet_deploy.errors import UsageError
from hardnet_deploy.nms.boxes import (
    I64,
    BoolArray,
    areas,
    check_batch,
    check_range,
    greedy_keep,
    intersections,
    ordered_corners,
)
from hardnet_deploy.nms.efficient import EfficientNmsResult, empty_result
from hardnet_deploy.specs import F32


def onnx_nms(
    boxes: F32,
    scores: F32,
    *,
    max_output_boxes_per_class: int = 0,
    iou_threshold: float = 0.0,
    score_threshold: float | None = None,
    center_point_box: Literal[0, 1] = 0,
) -> I64:
    """The node NonMaxSuppression; the defaults are the operator's.

    Args:
        boxes: Shape (N, P, 4): two opposite corners (the operator says y before x; the result does not depend on
            it), or (centre x, centre y, width, height) with ``center_point_box`` 1.
        scores: Shape (N, C, P): **classes before boxes**, as the operator wants them.
        max_output_boxes_per_class: 0 (or less) selects nothing.
        iou_threshold: In [0, 1], compared as float32.
        score_threshold: Compared as float32; None admits every score, NaN included in no promised order.
        center_point_box: Form of the boxes.

    Returns:
        Shape (M, 3): image, class, box; images and classes ascending, in them the order of selection.

    Raises:
        UsageError: Shapes that do not fit, or an IoU threshold out of range.
    """
    boxes, scores = np.asarray(boxes, np.float32), np.asarray(scores, np.float32)
    check_batch(boxes, scores.transpose(0, 2, 1) if scores.ndim == 3 else scores)
    check_range("iou_threshold", iou_threshold, 0.0, 1.0)
    images, classes, _ = scores.shape
    selected: list[I64] = [np.zeros((0, 3), np.int64)]
    for image in range(images if max_output_boxes_per_class > 0 else 0):
        corners = _centre_to_corners(boxes[image]) if center_point_box else ordered_corners(boxes[image])
        for label in range(classes):
            score = scores[image, label]
            passed = (
                np.arange(len(score)) if score_threshold is None else np.nonzero(score > np.float32(score_threshold))[0]
            )
            ranked = passed[np.argsort(-score[passed], kind="stable")]
            suppressed_by = _Suppression(corners[ranked], np.float32(iou_threshold))
            kept = ranked[greedy_keep(len(ranked), suppressed_by, limit=max_output_boxes_per_class)]
            columns = (np.full(len(kept), image), np.full(len(kept), label), kept)
            selected.append(np.stack(columns, axis=1).astype(np.int64))
    return np.concatenate(selected)


def onnx_detections(
    boxes: F32, scores: F32, *, score_threshold: float, iou_threshold: float, max_detections: int
) -> EfficientNmsResult:
    """The plugin's four outputs, made with NonMaxSuppression: what ``--nms onnx`` exports.

    Class 0, the background, is taken off before the NMS. Each class may keep ``max_detections``; of all that are kept
    in an image the best ``max_detections`` are returned, by descending score, equal scores in the order of selection
    (lower class first). Rows beyond the number of detections are 0.

    Args:
        boxes: Shape (N, P, 4), corners.
        scores: Shape (N, P, C), softmax with background first, C >= 2.
        score_threshold: A detection's score is above this, in [0, 1].
        iou_threshold: A larger overlap suppresses, in [0, 1].
        max_detections: K, at least 1.

    Raises:
        UsageError: Shapes that do not fit, or a number out of range.
    """
    boxes, scores = np.asarray(boxes, np.float32), np.asarray(scores, np.float32)
    check_batch(boxes, scores)
    check_range("score_threshold", score_threshold, 0.0, 1.0)
    if max_detections < 1:
        raise UsageError("The NMS must be allowed at least one box.", got=f"{max_detections}")
    selected = onnx_nms(
        boxes,
        scores[:, :, 1:].transpose(0, 2, 1),
        max_output_boxes_per_class=max_detections,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
    )
    result = empty_result(len(boxes), max_detections)
    for image in range(len(boxes)):
        label, index = selected[selected[:, 0] == image, 1:].T
        score = scores[image, index, label + 1]
        best = np.argsort(-score, kind="stable")[:max_detections]
        count = len(best)
        result.num_detections[image] = count
        result.detection_boxes[image, :count] = boxes[image, index[best]]
        result.detection_scores[image, :count] = score[best]
        result.detection_classes[image, :count] = label[best] + 1
    return result


class _Suppression:
    """What candidate i suppresses among the candidates of one class."""

    def __init__(self, boxes: F32, iou: np.float32) -> None:
        self.boxes = boxes
        with np.errstate(over="ignore", invalid="ignore"):
            self.areas = areas(boxes)
        self.iou = iou

    def __call__(self, candidate: int) -> BoolArray:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            common = intersections(self.boxes[candidate], self.boxes)
            union = self.areas[candidate] + self.areas - common
            result: BoolArray = (common > 0) & (union > 0) & (common / union > self.iou)
        return result


def _centre_to_corners(boxes: F32) -> F32:
    half = boxes[:, 2:] / 2
    return np.concatenate((boxes[:, :2] - half, boxes[:, :2] + half), axis=1)
