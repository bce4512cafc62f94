"""Things that are no object of any class: behind the objects scribbles and shapes, in front of them wires and twigs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.data.demo.colours import any_colour
from hardnet_deploy.data.demo.noise import smooth_noise
from hardnet_deploy.specs import F32

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

Rng = np.random.Generator


def _lines(draw: ImageDraw.ImageDraw, rng: Rng, width: int, height: int) -> None:
    for _ in range(int(rng.integers(1, 5))):
        x0, x1 = rng.uniform(-20, width + 20, 2).tolist()
        y0, y1 = rng.uniform(-20, height + 20, 2).tolist()
        draw.line((x0, y0, x1, y1), fill=(*any_colour(rng), int(rng.integers(90, 230))), width=int(rng.integers(1, 6)))


def _polygons(draw: ImageDraw.ImageDraw, rng: Rng, width: int, height: int) -> None:
    for _ in range(int(rng.integers(1, 5))):
        centre, reach = rng.uniform(0, 1, 2) * (width, height), rng.uniform(6, 60)
        corners = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 6))))
        points = centre + reach * np.stack([np.cos(corners), np.sin(corners)], axis=1)
        draw.polygon(points.ravel().tolist(), fill=(*any_colour(rng), int(rng.integers(90, 255))))


def _discs(draw: ImageDraw.ImageDraw, rng: Rng, width: int, height: int) -> None:
    for _ in range(int(rng.integers(1, 4))):
        x, y, rx = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(4, 36)
        ry = rx * rng.uniform(0.7, 1.3)
        box = (x - rx, y - ry, x + rx, y + ry)
        if rng.random() < 0.6:
            draw.ellipse(box, fill=(*any_colour(rng), 255))
        else:
            draw.ellipse(box, outline=(*any_colour(rng), 255), width=int(rng.integers(1, 5)))


def _squares(draw: ImageDraw.ImageDraw, rng: Rng, width: int, height: int) -> None:
    for _ in range(int(rng.integers(1, 4))):
        x, y, wide, high = rng.uniform(0, width), rng.uniform(0, height), *rng.uniform(8, 60, 2)
        draw.rectangle((x, y, x + wide, y + high), fill=(*any_colour(rng), int(rng.integers(120, 255))))


def _grid(draw: ImageDraw.ImageDraw, rng: Rng, width: int, height: int) -> None:
    x, y, cell = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(6, 16)
    columns, rows = (int(count) for count in rng.integers(2, 7, 2))
    colour, line = (*any_colour(rng), 255), int(rng.integers(1, 3))
    for column in range(columns + 1):
        draw.line((x + column * cell, y, x + column * cell, y + rows * cell), fill=colour, width=line)
    for row in range(rows + 1):
        draw.line((x, y + row * cell, x + columns * cell, y + row * cell), fill=colour, width=line)


def _letters(draw: ImageDraw.ImageDraw, rng: Rng, width: int, height: int) -> None:
    x, y, high = rng.uniform(0, width * 0.8), rng.uniform(0, height), rng.uniform(8, 26)
    colour, line = (*any_colour(rng), 255), int(rng.integers(1, 4))
    for _ in range(int(rng.integers(2, 7))):
        strokes = rng.random((int(rng.integers(2, 5)), 2)) * (high * 0.6, high) + (x, y)
        draw.line(strokes.ravel().tolist(), fill=colour, width=line)
        x += high * 0.8


_KINDS = (_lines, _polygons, _discs, _squares, _grid, _letters)


def scatter(image: Image.Image, rng: Rng) -> None:
    """Draw up to four groups of clutter on an RGB picture, in place."""
    from PIL import ImageDraw

    draw = ImageDraw.Draw(image, "RGBA")
    for _ in range(int(rng.integers(0, 5))):
        _KINDS[int(rng.integers(len(_KINDS)))](draw, rng, *image.size)


def wire(rng: Rng, width: int, height: int) -> tuple[F32, NDArray[np.uint8]]:
    """A thin bent line right across the picture: its alpha, shape (height, width), and its colour, shape (3,)."""
    from PIL import Image, ImageDraw

    fine = 2
    image = Image.new("L", (width * fine, height * fine))
    along = np.linspace(-0.05, 1.05, 24)
    ends = rng.uniform(0.0, 1.0, 2)
    across = ends[0] + (ends[1] - ends[0]) * along + rng.uniform(0.0, 0.08) * smooth_noise(rng, 24, 2, (4, 8))[0]
    points = np.stack([along, across] if rng.random() < 0.5 else [across, along], axis=1) * (
        width * fine,
        height * fine,
    )
    ImageDraw.Draw(image).line(points.ravel().tolist(), fill=255, width=int(rng.integers(2, 7)), joint="curve")
    alpha = np.asarray(image.reduce(fine), dtype=np.float32) / np.float32(255)
    return alpha, np.array(any_colour(rng, low=0.05), dtype=np.uint8)
