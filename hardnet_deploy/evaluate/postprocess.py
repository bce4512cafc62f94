"""The two post-processings that others may rely on under this import path; their semantics are in their modules.

``upstream_postprocess(boxes, scores, image_hw, *, threshold, max_per_image)``: the authors' own evaluation, one image,
rows (class, x1, y1, x2, y2, score) in pixels. ``efficient_nms(boxes, scores, *, ...)``: TensorRT's plugin, a batch, in
the coordinates it is given.
"""

from __future__ import annotations

from hardnet_deploy.nms.efficient import EfficientNmsResult, efficient_nms
from hardnet_deploy.nms.upstream import upstream_postprocess

__all__ = ["EfficientNmsResult", "efficient_nms", "upstream_postprocess"]
