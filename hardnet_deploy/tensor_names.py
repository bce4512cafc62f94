"""Names of the inputs and outputs of every graph: part of what users rely on."""

from __future__ import annotations

from typing import Final

INPUT: Final = "images"
LOGITS: Final = "logits"
LOC: Final = "loc"
CONF: Final = "conf"
BOXES: Final = "boxes"
SCORES: Final = "scores"
NUM_DETECTIONS: Final = "num_detections"
DETECTION_BOXES: Final = "detection_boxes"
DETECTION_SCORES: Final = "detection_scores"
DETECTION_CLASSES: Final = "detection_classes"
DETECTION_OUTPUTS: Final = (NUM_DETECTIONS, DETECTION_BOXES, DETECTION_SCORES, DETECTION_CLASSES)
