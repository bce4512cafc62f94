"""What a model is, apart from its weights: head geometry, pre-processing, published numbers.

Frozen, keyword-only, no input or output, no torch and no onnx: these are the nouns the other modules share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

BACKGROUND = "background"


@dataclass(frozen=True, kw_only=True)
class PriorLayer:
    """Default boxes of one square feature map; lengths in input pixels.

    Args:
        grid: Cells along one side of the feature map.
        stride: Input pixels from one cell to the next.
        min_size: Side of the small square.
        max_size: Together with ``min_size`` the side of the second square, ``sqrt(min_size * max_size)``.
        aspect_ratios: Each gives one wide and one tall box.
    """

    grid: int
    stride: float
    min_size: float
    max_size: float
    aspect_ratios: tuple[float, ...]

    @property
    def boxes_per_cell(self) -> int:
        """Two squares, then each aspect ratio and its reciprocal."""
        return 2 + 2 * len(self.aspect_ratios)


@dataclass(frozen=True, kw_only=True)
class DetectorHead:
    """Geometry that turns raw SSD outputs into boxes. ``num_classes`` counts background, which is class 0."""

    input_size: int
    num_classes: int
    layers: tuple[PriorLayer, ...]
    variances: tuple[float, float] = (0.1, 0.2)
    clip: bool = True

    @property
    def num_priors(self) -> int:
        """Default boxes of all layers together."""
        return sum(layer.grid**2 * layer.boxes_per_cell for layer in self.layers)

    @property
    def boxes_per_cell(self) -> tuple[int, ...]:
        """Default boxes per cell, layer by layer."""
        return tuple(layer.boxes_per_cell for layer in self.layers)

    def priors64(self) -> F64:
        """Default boxes, shape (P, 4), centre form (cx, cy, w, h), fractions of the input side, in float64.

        The order is layer, row, column, shape: the order in which the head flattens its NHWC outputs. In a cell the
        shapes are (s, s), (s', s') with s' = sqrt(s * max_size / input_size), then (s*sqrt(r), s/sqrt(r)) and its
        transpose for each ratio r. Clipping to [0, 1] acts on the centre form, as in the original PriorBox layer.
        """
        rows: list[tuple[float, float, float, float]] = []
        for layer in self.layers:
            small = layer.min_size / self.input_size
            middle = math.sqrt(small * (layer.max_size / self.input_size))
            shapes = [(small, small), (middle, middle)]
            for ratio in layer.aspect_ratios:
                root = math.sqrt(ratio)
                shapes += [(small * root, small / root), (small / root, small * root)]
            cells_per_side = self.input_size / layer.stride
            for row in range(layer.grid):
                for column in range(layer.grid):
                    centre = ((column + 0.5) / cells_per_side, (row + 0.5) / cells_per_side)
                    rows += [(*centre, width, height) for width, height in shapes]
        priors = np.array(rows, dtype=np.float64)
        return np.clip(priors, 0.0, 1.0) if self.clip else priors

    def priors(self) -> F32:
        """:meth:`priors64`, rounded once to float32."""
        return self.priors64().astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """How an image becomes the network's input.

    Args:
        size: Side S of the square input [N, 3, S, S].
        channel_order: Order of the three channels.
        resize: ``stretch`` maps the whole image to S x S with OpenCV's INTER_LINEAR on uint8 (aspect ratio not kept).
            ``crop`` scales the short side to ``round(S * 256 / 224)`` with Pillow's bilinear filter and takes the
            central S x S.
        divisor: The pixel values 0..255 are divided by this first.
        mean: Subtracted per channel, in the channel order above.
        std: Divided by per channel, in the channel order above.
    """

    size: int
    channel_order: Literal["bgr", "rgb"]
    resize: Literal["stretch", "crop"]
    divisor: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def detector_preprocess(size: int) -> Preprocess:
    """Upstream SSD: BGR, INTER_LINEAR to S x S on uint8, minus (104, 117, 123), no scaling."""
    return Preprocess(
        size=size, channel_order="bgr", resize="stretch", divisor=1.0, mean=(104.0, 117.0, 123.0), std=(1.0, 1.0, 1.0)
    )


def classifier_preprocess(size: int) -> Preprocess:
    """Upstream classification: RGB, short side and centre crop, [0, 1], ImageNet mean and standard deviation."""
    return Preprocess(
        size=size,
        channel_order="rgb",
        resize="crop",
        divisor=255.0,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """One input or output of a graph; -1 marks a dynamic dimension."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """What the NMS keeps. Scores and IoU in [0, 1]; at most ``max_detections`` boxes an image."""

    score: float
    iou: float
    max_detections: int


@dataclass(frozen=True, kw_only=True)
class Published:
    """Numbers a model is known by, from its authors' READMEs; None where none was published.

    ``params_m`` in millions, ``gmacs`` at 224 x 224 in units of 1e9, ``top1`` and ``coco_map`` in percent.
    """

    params_m: float | None = None
    gmacs: float | None = None
    top1: float | None = None
    coco_map: float | None = None


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A model that can be deployed: how it is built, fed and read.

    Args:
        name: Its name on the command line.
        architecture: Row of the block tables in ``models.hardnet``: ``39ds``, ``68ds``, ``68``, ``85``, ``demo``.
        preprocess: How it is fed.
        head: Geometry of its detections; None for a backbone, whose one output is ``logits`` [N, 1000].
        class_names: Class 0 (background) first; empty for a backbone.
        dataset: ``coco``, ``voc``, ``demo`` or ``imagenet``: selects thresholds and metrics.
        published: What its authors say of it.
    """

    name: str
    architecture: str
    preprocess: Preprocess
    head: DetectorHead | None
    class_names: tuple[str, ...]
    dataset: Literal["coco", "voc", "demo", "imagenet"]
    published: Published

    @property
    def is_detector(self) -> bool:
        """True where the model has boxes as output."""
        return self.head is not None
