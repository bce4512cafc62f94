"""A picture of what was detected: boxes, class names and scores on the image."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
GOLDEN_RATIO = 0.6180339887
BLACK: Colour = (0, 0, 0)
WHITE: Colour = (255, 255, 255)
SIDE_WIDTH = 480  # pixels; narrower images are enlarged to it where several stand in a row
GAP = 8


def draw_detections(
    image: NDArray[np.uint8], detections: ArrayLike, class_names: Sequence[str], *, note: str | None = None
) -> Image.Image:
    """The image with its detections; the array is left alone.

    Args:
        image: Shape (H, W, 3), uint8, RGB.
        detections: Shape (n, 6): class, x1, y1, x2, y2 in pixels of the image, score. Boxes are clipped to the image;
            those wholly outside, and those with a coordinate that is NaN, are left out. Higher scores lie on top.
        class_names: Name of each class, background included; a class beyond the list is labelled by its number.
        note: Written in the top left corner on a bar of its own, such as "untrained".

    Returns:
        A Pillow image in RGB, of the image's size.
    """
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.fromarray(image)
    short_side = min(picture.size)
    font = ImageFont.load_default(size=max(12.0, short_side / 32))
    draw = ImageDraw.Draw(picture)
    line_width = max(1, round(short_side / 200))
    note_corner = _write(draw, (0, 0), note, font, BLACK) if note is not None else (0, 0)
    rows = np.asarray(detections, np.float64).reshape(-1, 6)
    for label, *corners, score in rows[np.argsort(rows[:, 5], kind="stable")]:
        box = _visible_part(corners, picture.size)
        if box is not None:
            colour = class_colour(int(label))
            draw.rectangle(box, outline=colour, width=line_width)
            text = f"{_class_name(label, class_names)} {score:.2f}"
            _write(draw, (box[0], box[1]), text, font, colour, clear_of=note_corner)
    if note is not None:
        _write(draw, (0, 0), note, font, BLACK)
    return picture


def draw_side_by_side(
    image: NDArray[np.uint8],
    sides: Sequence[tuple[str, ArrayLike, ArrayLike]],
    class_names: Sequence[str],
) -> Image.Image:
    """One image several times in a row, each with the detections of another side; the array is left alone.

    Boxes that are marked are thick, on a white rim, labelled with class and score, and lie on top; the others are thin
    and without text. Small images are enlarged.

    Args:
        image: Shape (H, W, 3), uint8, RGB.
        sides: For each a title, detections as for :func:`draw_detections`, and which of them to mark, shape (n,).
        class_names: As for :func:`draw_detections`.

    Returns:
        A Pillow image in RGB.
    """
    from PIL import Image, ImageDraw, ImageFont

    height, width = image.shape[:2]
    factor = max(1, math.ceil(SIDE_WIDTH / width))
    size = (width * factor, height * factor)
    enlarged = Image.fromarray(image).resize(size, Image.Resampling.NEAREST)
    bar = max(20, size[0] // 24)
    font = ImageFont.load_default(size=max(12.0, bar * 0.6))
    together = Image.new("RGB", (len(sides) * (size[0] + GAP) - GAP, size[1] + bar), BLACK)
    for place, (title, detections, marks) in enumerate(sides):
        part = enlarged.copy()
        draw = ImageDraw.Draw(part)
        rows = np.asarray(detections, np.float64).reshape(-1, 6)
        marked = np.asarray(marks, np.bool_).reshape(-1)
        for index in np.lexsort((rows[:, 5], marked)):
            label, *corners, score = rows[index]
            box = _visible_part([corner * factor for corner in corners], size)
            if box is None:
                continue
            colour = class_colour(int(label))
            if marked[index]:
                draw.rectangle(box, outline=WHITE, width=5)
                draw.rectangle(box, outline=colour, width=3)
                _write(draw, (box[0], box[1]), f"{_class_name(label, class_names)} {score:.2f}", font, colour)
            else:
                draw.rectangle(box, outline=colour, width=1)
        left = place * (size[0] + GAP)
        together.paste(part, (left, bar))
        ImageDraw.Draw(together).text((left + 4, bar // 2), title, font=font, fill=WHITE, anchor="lm")
    return together


def _class_name(label: float, class_names: Sequence[str]) -> str:
    return class_names[int(label)] if 0 <= label < len(class_names) else f"class {int(label)}"


def class_colour(label: int) -> Colour:
    """A bright colour, the same for a class in every picture; neighbouring classes are far apart in hue."""
    red, green, blue = colorsys.hsv_to_rgb(label * GOLDEN_RATIO % 1.0, 0.85, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def _visible_part(corners: Sequence[float], size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """A box's pixels inside an image of this (width, height), corners in order; None if there are none."""
    if np.isnan(corners).any():
        return None
    x1, x2 = sorted((corners[0], corners[2]))
    y1, y2 = sorted((corners[1], corners[3]))
    width, height = size
    if x2 < 0 or y2 < 0 or x1 >= width or y1 >= height:
        return None
    left, right = np.clip((x1, x2), 0, width - 1).astype(int).tolist()
    top, bottom = np.clip((y1, y2), 0, height - 1).astype(int).tolist()
    return left, top, right, bottom


def _write(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    background: Colour,
    *,
    clear_of: tuple[int, int] = (0, 0),
) -> tuple[int, int]:
    """Text on a bar: above the corner where there is room, else below it, and pushed inside the image.

    A bar that would cover the image's top left corner up to ``clear_of`` goes below that. Returns where the bar ends.
    """
    left, top, right, bottom = (round(edge) for edge in draw.textbbox((0, 0), text, font=font))
    image_width, image_height = draw.im.size
    padding = max(1, round((bottom - top) / 6))
    width, height = right - left + 2 * padding, bottom - top + 2 * padding
    x = max(0, min(corner[0], image_width - width))
    y = corner[1] - height if corner[1] >= height else corner[1]
    y = max(0, min(y, image_height - height))
    if x < clear_of[0] and y < clear_of[1]:
        y = clear_of[1]
    draw.rectangle((x, y, x + width - 1, y + height - 1), fill=background)
    red, green, blue = background
    is_bright = 0.299 * red + 0.587 * green + 0.114 * blue > 140
    draw.text((x + padding - left, y + padding - top), text, font=font, fill=BLACK if is_bright else WHITE)
    return x + width, y + height
