"""What the commands of INT8 say alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

MethodName = Literal["entropy", "percentile", "minmax", "mse"]
ConcatName = Literal["unified", "separate"]

LAYER_PRECISIONS: Final = ("--layer-precisions", "--layerPrecisions")
IMAGES: Final = (
    "demo (default of the demo detector; its calibration split), coco:ROOT[:SPLIT] (default train2017), "
    "voc:ROOT[:YEAR-SPLIT] (default 2007-trainval), or a folder."
)
COUNT: Final = "Images to calibrate on; default 500, or all where there are fewer."
SEED: Final = "Of the choice of images."
CONCAT_SCALES: Final = "One scale for tensors that are concatenated, or each its own"
UNITS: Final[Mapping[str, str]] = {  # of progress, where it does not count images
    "drawing the demo data": "scenes",
    "exporting and verifying": "steps",
    "quantising each layer alone": "layers",
}
