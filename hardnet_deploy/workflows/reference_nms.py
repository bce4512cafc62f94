"""The NumPy reference of whichever NMS a graph ends in."""

from __future__ import annotations

from hardnet_deploy.export.options import GraphOptions
from hardnet_deploy.nms.efficient import EfficientNmsResult, efficient_nms
from hardnet_deploy.nms.onnx_nms import onnx_detections
from hardnet_deploy.specs import F32


def reference_nms(boxes: F32, scores: F32, *, options: GraphOptions, candidate_cap: int) -> EfficientNmsResult:
    """The NumPy reference of the graph's NMS."""
    assert options.thresholds is not None
    thresholds = options.thresholds
    if options.nms == "efficient":
        return efficient_nms(
            boxes,
            scores,
            score_threshold=thresholds.score,
            iou_threshold=thresholds.iou,
            max_output_boxes=thresholds.max_detections,
            background_class=0,
            candidate_cap=candidate_cap,
        )
    return onnx_detections(
        boxes,
        scores,
        score_threshold=thresholds.score,
        iou_threshold=thresholds.iou,
        max_detections=thresholds.max_detections,
    )
