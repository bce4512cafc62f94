"""SSD's augmentation: crop, colours, expand, mirror (arXiv 1512.02325, sections 2.2 and 3.6).

Done with Pillow on 8-bit images. The order is upstream's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.data.inter_linear import resize_inter_linear
from hardnet_deploy.specs import F64, Preprocess
from hardnet_deploy.train.recipe import Augmentation

if TYPE_CHECKING:
    from PIL import Image

U8 = NDArray[np.uint8]
Labels = NDArray[np.int64]
CROP_TRIES: Final = 50
MODE_TRIES: Final = 20
SMALLEST_SHARE: Final = 0.01  # of the image's side: what is thinner after cropping and expanding is no object any more


@dataclass(frozen=True, kw_only=True)
class Strength:
    """How far an augmentation goes.

    Args:
        crops: One is chosen at a time: None for no crop, else the least overlap of crop and objects.
        whole_objects: Whether overlap means the share of an object that stays, for every object the crop touches, or,
            as upstream has it, the IoU of the crop with every object of the image.
        smallest_crop: Least side of a crop, as a share of the image's.
        expand: Probability of expanding.
        largest_expand: The image's share of the canvas is at least one over this, by side.
        colour: Probability of each colour change.
        mirror: Probability of mirroring.
        filters: Whether one of five interpolations is drawn, as upstream does, or always the bilinear one. They are
            Pillow's, which average when an image shrinks, where upstream's do not.
    """

    crops: tuple[float | None, ...]
    whole_objects: bool
    smallest_crop: float
    expand: float
    largest_expand: float
    colour: float
    mirror: float
    filters: bool


STRENGTHS: Final[dict[Augmentation, Strength]] = {
    "ssd": Strength(
        crops=(None, 0.1, 0.3, 0.5, 0.7, 0.9, 0.0), whole_objects=False, smallest_crop=0.3, expand=0.6,
        largest_expand=4.0, colour=0.5, mirror=0.5, filters=True,
    ),
    "light": Strength(
        crops=(None, None, None, 0.7, 0.9), whole_objects=True, smallest_crop=0.6, expand=0.2, largest_expand=1.4,
        colour=0.3, mirror=0.5, filters=True,
    ),
    "mirror": Strength(
        crops=(None,), whole_objects=True, smallest_crop=1.0, expand=0.0, largest_expand=1.0, colour=0.0, mirror=0.5,
        filters=False,
    ),
    "none": Strength(
        crops=(None,), whole_objects=True, smallest_crop=1.0, expand=0.0, largest_expand=1.0, colour=0.0, mirror=0.0,
        filters=False,
    ),
}  # fmt: skip


def augment(
    image: U8, boxes: F64, labels: Labels, *, spec: Preprocess, kind: Augmentation, draw: np.random.Generator
) -> tuple[U8, F64, Labels]:
    """One training view of an image.

    Args:
        image: Shape (H, W, 3), uint8, RGB.
        boxes: Shape (n, 4), corners in pixels.
        labels: Shape (n,).
        spec: Its size S is what the view has; its mean fills an expanded canvas.
        kind: Which augmentation.
        draw: Where every choice comes from.

    Returns:
        Pixels (S, S, 3) uint8 RGB; boxes (m, 4) as fractions of the view, clipped to it; labels (m,). Objects whose
        centre a crop leaves out are gone, and so is what is thinner than a hundredth of the view.
    """
    from PIL import Image

    strength = STRENGTHS[kind]
    picture = Image.fromarray(image)
    size = np.array(picture.size, np.float64)
    window, kept = _window(size, boxes, strength, draw)
    boxes = np.clip(boxes[kept] - np.tile(window[:2], 2), 0, np.tile(window[2:] - window[:2], 2))
    labels = labels[kept]
    size = window[2:] - window[:2]
    canvas, offset = size, np.zeros(2)
    if draw.random() < strength.expand:
        ratio = draw.uniform(1.0, strength.largest_expand)
        canvas = size * ratio
        offset = draw.uniform(0, 1, 2) * (canvas - size)
    boxes = (boxes + np.tile(offset, 2)) / np.tile(canvas, 2)
    if kind == "none":
        view = resize_inter_linear(image, width=spec.size, height=spec.size)
    else:
        picture = _colours(picture, strength.colour, draw)
        view = np.asarray(_render(picture, window, canvas, offset, spec, strength, draw))
    if draw.random() < strength.mirror:
        view = view[:, ::-1]
        boxes = boxes[:, [2, 1, 0, 3]] * (-1, 1, -1, 1) + (1, 0, 1, 0)
    large = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=1.0) > SMALLEST_SHARE
    return np.array(view), boxes[large], labels[large]


def _window(size: F64, boxes: F64, strength: Strength, draw: np.random.Generator) -> tuple[F64, NDArray[np.bool_]]:
    """A crop (x1, y1, x2, y2) and which objects stay, those whose centre is in it; the whole image where none fits."""
    whole = np.array([0.0, 0.0, *size])
    everything = np.ones(len(boxes), np.bool_)
    if not len(boxes):
        return whole, everything
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    for _ in range(MODE_TRIES):
        least = strength.crops[int(draw.integers(len(strength.crops)))]
        if least is None:
            break
        for _ in range(CROP_TRIES):
            scale = draw.uniform(strength.smallest_crop, 1.0)
            ratio = np.sqrt(draw.uniform(max(0.5, scale**2), min(2.0, scale**-2)))
            extent = np.floor(scale * np.array([ratio, 1 / ratio]) * size)
            corner = np.floor(draw.uniform(0, 1, 2) * (size - extent))
            window = np.concatenate((corner, corner + extent))
            inside: NDArray[np.bool_] = np.all((centres > window[:2]) & (centres < window[2:]), axis=1)
            if inside.any() and _least_overlap(window, boxes, whole_objects=strength.whole_objects) >= least:
                return window, inside
    return whole, everything


def _least_overlap(window: F64, boxes: F64, *, whole_objects: bool) -> float:
    low, high = np.maximum(boxes[:, :2], window[:2]), np.minimum(boxes[:, 2:], window[2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    if whole_objects:
        touched = shared > 0
        return float((shared[touched] / areas[touched]).min(initial=1.0))
    return float((shared / (areas + (window[2:] - window[:2]).prod() - shared)).min())


def _colours(picture: Image.Image, probability: float, draw: np.random.Generator) -> Image.Image:
    """Brightness by up to 32 of 255, contrast and saturation by a factor of 0.5 to 1.5, hue by up to 18 of 180."""
    levels = np.arange(256, dtype=np.float64)
    chosen = draw.random(4) < probability
    amounts = draw.uniform((-32, 0.5, 0.5, -18), (32, 1.5, 1.5, 18))
    brightness, contrast, saturation, hue = np.where(chosen, amounts, (0, 1, 1, 0))
    if chosen[:2].any():
        table = np.clip((levels + brightness) * contrast, 0, 255).astype(np.uint8)
        picture = picture.point(table.tolist() * 3)
    if chosen[2:].any():
        turned = ((levels + hue * 255 / 180) % 256).astype(np.uint8)
        vivid = np.clip(levels * saturation, 0, 255).astype(np.uint8)
        tables = [*turned.tolist(), *vivid.tolist(), *range(256)]
        picture = picture.convert("HSV").point(tables).convert("RGB")
    return picture


def _render(
    picture: Image.Image,
    window: F64,
    canvas: F64,
    offset: F64,
    spec: Preprocess,
    strength: Strength,
    draw: np.random.Generator,
) -> Image.Image:
    """The window on its canvas, at S x S."""
    from PIL import Image

    filters = (
        Image.Resampling.NEAREST, Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC,
        Image.Resampling.LANCZOS,
    )  # fmt: skip
    chosen = filters[int(draw.integers(len(filters)))] if strength.filters else Image.Resampling.BILINEAR
    scale = spec.size / canvas
    extent = window[2:] - window[:2]
    if (canvas == extent).all():
        return picture.resize((spec.size, spec.size), chosen, box=tuple(window))
    low, high = np.round(offset * scale).astype(int), np.round((offset + extent) * scale).astype(int)
    width, height = np.maximum(high - low, 1)
    order = 1 if spec.channel_order == "rgb" else -1
    fill = tuple(round(value * spec.divisor) for value in spec.mean[::order])
    view = Image.new("RGB", (spec.size, spec.size), fill)
    view.paste(picture.resize((int(width), int(height)), chosen, box=tuple(window)), (int(low[0]), int(low[1])))
    return view
