"""TensorRT's EfficientNMS_TRT plugin, version "1", in NumPy and in float32.

Source: NVIDIA/TensorRT, ``plugin/efficientNMSPlugin/efficientNMSInference.cu`` and ``.cuh`` (the kernels of 8.6.1 and
11.1 are the same). For each image on its own:

1. Candidates are all (anchor, class) with ``score >= score_threshold``, without the background class. NaN is none.
2. They are sorted by descending score and cut to ``candidate_cap``, over all classes together.
3. Greedy: the first survivor is kept and suppresses every later one of its class (of any class if
   ``class_agnostic``) with ``IoU >= iou_threshold``; stop when ``max_output_boxes`` are kept.
4. The IoU is measured after putting inverted corners in order (by the plugin's subtractions, which round) and is 0
   where the intersection or the union is not positive. The boxes that come out are those that went in: neither
   reordered nor clipped.

Where the plugin promises less than this reference: it collects candidates with an atomic counter, so the order of
equal scores, and with it the survivor among equals, may change from run to run; here equal scores go by
``anchor * C + class``. A compiler may fuse the union's multiply and add, which moves an IoU by one unit in the last
place. In half precision the plugin compares scores and boxes in half; this reference is float32.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from hardnet_deploy.errors import UsageError
from hardnet_deploy.nms.boxes import I32, BoolArray, check_batch, check_range, greedy_keep, intersections
from hardnet_deploy.specs import F32

PLUGIN_OP = "EfficientNMS_TRT"
SMALLEST_SCORE_THRESHOLD = 0.007
CANDIDATE_CAP = 5000
CANDIDATE_CAP_JETSON_NANO = 2000


class EfficientNmsResult(NamedTuple):
    """The plugin's four outputs, in its order. Only the first ``num_detections`` rows of an image are detections.

    Args:
        num_detections: Shape (N, 1).
        detection_boxes: Shape (N, K, 4), corner form in the units of the input; padded with 0.
        detection_scores: Shape (N, K), descending; padded with 0.
        detection_classes: Shape (N, K); padded with 0.
    """

    num_detections: I32
    detection_boxes: F32
    detection_scores: F32
    detection_classes: I32


def empty_result(images: int, max_detections: int) -> EfficientNmsResult:
    """All padding: N images without a detection."""
    return EfficientNmsResult(
        num_detections=np.zeros((images, 1), np.int32),
        detection_boxes=np.zeros((images, max_detections, 4), np.float32),
        detection_scores=np.zeros((images, max_detections), np.float32),
        detection_classes=np.zeros((images, max_detections), np.int32),
    )


def efficient_nms(
    boxes: F32,
    scores: F32,
    *,
    score_threshold: float,
    iou_threshold: float,
    max_output_boxes: int,
    background_class: int = -1,
    score_activation: Literal[0, 1] = 0,
    box_coding: Literal[0, 1] = 0,
    anchors: F32 | None = None,
    class_agnostic: Literal[0, 1] = 0,
    candidate_cap: int = CANDIDATE_CAP,
) -> EfficientNmsResult:
    """What the plugin's node computes; the options are the node's attributes.

    Args:
        boxes: Shape (N, P, 4), one box per anchor for all classes.
        scores: Shape (N, P, C).
        score_threshold: Least score of a detection, in [0.007, 1]; compared as float32.
        iou_threshold: An overlap of this much suppresses, in (0, 1]; compared as float32.
        max_output_boxes: K, at least 1.
        background_class: Class that is never detected; -1 for none.
        score_activation: 1 applies the sigmoid; the threshold is then compared with the logit, as the plugin does.
        box_coding: 0 for corners, 1 for (centre x, centre y, width, height).
        anchors: Shape (1 or N, P, 4), in the coding of the boxes: switches the plugin's decoder on. Corners are added;
            centre form gives ``(x * aw + ax, y * ah + ay, aw * exp(w), ah * exp(h))``, without SSD's variances.
        class_agnostic: 1 suppresses across classes (an attribute since TensorRT 8.6).
        candidate_cap: Candidates an image may bring to the suppression: 5000; 2000 on GPUs with fewer than 65,536
            registers per block, such as Jetson Nano's sm_53.

    Raises:
        UsageError: Shapes that do not fit, a number out of range, or a score threshold under 0.007: there the plugin
            takes a path that marks what is under the threshold with the score -32768, leaves it in the race and can
            return it as a detection.
    """
    boxes, scores = np.asarray(boxes, np.float32), np.asarray(scores, np.float32)
    check_batch(boxes, scores)
    if anchors is not None and anchors.shape not in {(1, *boxes.shape[1:]), boxes.shape}:
        raise UsageError("Anchors do not fit the boxes.", got=f"{anchors.shape}", wanted=f"{(1, *boxes.shape[1:])}")
    check_range("iou_threshold", iou_threshold, 0.0, 1.0)
    check_range("score_threshold", score_threshold, 0.0, 1.0)
    if np.float32(iou_threshold) == 0:
        raise UsageError("EfficientNMS_TRT needs an iou_threshold above 0.", got=str(iou_threshold))
    if np.float32(score_threshold) < np.float32(SMALLEST_SCORE_THRESHOLD):
        raise UsageError(
            "EfficientNMS_TRT cannot be used with so low a score threshold: below 0.007 the plugin may return boxes "
            "under the threshold, with score -32768, as detections.",
            got=f"score threshold {score_threshold:g}",
            wanted=f"at least {SMALLEST_SCORE_THRESHOLD}",
            next_step="raise the score threshold, or use the ONNX NMS (--nms onnx)",
        )
    if max_output_boxes < 1 or candidate_cap < 1:
        raise UsageError("EfficientNMS_TRT must be allowed at least one box.", got=f"{max_output_boxes}")
    images, _, classes = scores.shape
    least = _least_raw_score(score_threshold, score_activation)
    result = empty_result(images, max_output_boxes)
    for image in range(images):
        anchors_here = None if anchors is None else np.asarray(anchors[image % len(anchors)], np.float32)
        corners = _corners(boxes[image], anchors_here, box_coding)
        passed = scores[image] >= least
        if 0 <= background_class < classes:
            passed[:, background_class] = False
        anchor, label = np.nonzero(passed)
        score = scores[image][anchor, label]
        order = np.argsort(-score, kind="stable")[:candidate_cap]
        anchor, label, score = anchor[order], label[order], score[order]
        suppressed_by = _Suppression(corners[anchor], None if class_agnostic else label, np.float32(iou_threshold))
        kept = greedy_keep(len(order), suppressed_by, limit=max_output_boxes)
        count = len(kept)
        result.num_detections[image] = count
        result.detection_boxes[image, :count] = corners[anchor[kept]]
        result.detection_scores[image, :count] = _activated(score[kept], score_activation)
        result.detection_classes[image, :count] = label[kept]
    return result


class _Suppression:
    """What candidate i suppresses, for candidates that are sorted by score."""

    def __init__(self, boxes: F32, labels: np.ndarray[tuple[int], np.dtype[np.intp]] | None, iou: np.float32) -> None:
        self.boxes = _reordered(boxes)
        with np.errstate(over="ignore", invalid="ignore"):
            size = self.boxes[:, 2:] - self.boxes[:, :2]
            self.areas = np.where((size <= 0).any(axis=1), np.float32(0), size[:, 0] * size[:, 1])
        self.labels = labels
        self.iou = iou

    def __call__(self, candidate: int) -> BoolArray:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            common = intersections(self.boxes[candidate], self.boxes)
            union = self.areas + self.areas[candidate] - common
            overlapping: BoolArray = (common > 0) & (union > 0) & (common / union >= self.iou)
        return overlapping if self.labels is None else overlapping & (self.labels == self.labels[candidate])


def _least_raw_score(score_threshold: float, score_activation: Literal[0, 1]) -> np.float32:
    """The threshold in the scores' own terms: the logit of it where the plugin applies the sigmoid."""
    threshold = np.float32(score_threshold)
    if not score_activation:
        return threshold
    with np.errstate(divide="ignore"):
        return np.float32(np.log(threshold / (np.float32(1) - threshold)))


def _activated(score: F32, score_activation: Literal[0, 1]) -> F32:
    if not score_activation:
        return score
    with np.errstate(over="ignore"):
        return np.float32(1) / (np.float32(1) + np.exp(-score))


def _corners(boxes: F32, anchors: F32 | None, box_coding: Literal[0, 1]) -> F32:
    """Boxes (P, 4) decoded against their anchors, if any, as corners; float32 rounds after each operation."""
    if box_coding == 0:
        return boxes if anchors is None else _reordered(boxes) + _reordered(anchors)
    if anchors is None:
        centres, sizes = boxes[:, :2], boxes[:, 2:]
    else:
        centres = boxes[:, :2] * anchors[:, 2:] + anchors[:, :2]
        sizes = anchors[:, 2:] * np.exp(boxes[:, 2:])
    half = sizes * np.float32(0.5)
    return np.concatenate((centres - half, centres + half), axis=1)


def _reordered(boxes: F32) -> F32:
    """Corners in order, swapped by subtraction and addition as the kernel does, so that they round as there."""
    low, high = boxes[:, :2], boxes[:, 2:]
    with np.errstate(invalid="ignore", over="ignore"):
        difference = low - high
        new_high = difference + high
        new_low = new_high - difference
    inverted = low > high
    return np.concatenate((np.where(inverted, new_low, low), np.where(inverted, new_high, high)), axis=1)
