"""What the commands of INT8 say alike."""

from __future__ import annotations

from typing import Final, Literal

MethodName = Literal["entropy", "percentile", "minmax", "mse"]
ConcatName = Literal["unified", "separate"]

LAYER_PRECISIONS: Final = ("--layer-precisions", "--layerPrecisions")
IMAGES: Final = "demo (default of the demo detector), coco:ROOT[:SPLIT], voc:ROOT[:YEAR-SPLIT], or a folder."
COUNT: Final = "Images to calibrate on; default 500, or all where there are fewer."
SEED: Final = "Of the choice of images."
CONCAT_SCALES: Final = "One scale for tensors that are concatenated, or each its own"
