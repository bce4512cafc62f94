"""A small labelled data set in memory and on disk: one rectangle an image, its colour is its class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hardnet_deploy.data.dataset import Dataset, GroundTruth, Sample

COLOURS = ((255, 0, 0), (0, 0, 255))


def drawn_boxes(folder: Path, count: int = 6, *, side: int = 64) -> Dataset:
    """``count`` PNGs in ``folder`` with a red (class 1) or blue (class 2) rectangle each."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(5)
    samples = []
    for number in range(count):
        x1, y1 = draw.integers(2, side // 3, 2)
        x2, y2 = draw.integers(side // 2, side - 2, 2)
        label = number % 2 + 1
        pixels = draw.integers(90, 140, (side, side, 3), dtype=np.uint8)
        pixels[y1:y2, x1:x2] = COLOURS[label - 1]
        path = folder / f"{number}.png"
        Image.fromarray(pixels).save(path)
        truth = GroundTruth(
            boxes=np.array([[x1, y1, x2, y2]], np.float64),
            labels=np.array([label]),
            areas=np.array([float((x2 - x1) * (y2 - y1))]),
            crowd=np.zeros(1, np.bool_),
            difficult=np.zeros(1, np.bool_),
        )
        samples.append(Sample(image_id=number, path=path, width=side, height=side, truth=truth))
    return Dataset(
        name="drawn boxes",
        class_names=("background", "red", "blue"),
        samples=tuple(samples),
        digest="drawn boxes",
        metric="coco",
    )
