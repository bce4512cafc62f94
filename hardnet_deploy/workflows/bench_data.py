"""What the rows of a bench are fed with: random pixels, or images of one size in one file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.bench.inputs import MOST_BATCHES
from hardnet_deploy.bench.sides import RANDOM
from hardnet_deploy.data.image_lists import MEASURED_ON, open_images
from hardnet_deploy.data.images import load_image
from hardnet_deploy.data.preprocess import preprocess_batch
from hardnet_deploy.files import atomic_output, sha256_bytes
from hardnet_deploy.specs import F32, Preprocess
from hardnet_deploy.workflows.seeded_inputs import seeded_pixels

U8 = NDArray[np.uint8]
Progress = Callable[[str, int, int], None]
IMAGES: Final = 16
MOST_RANGE_IMAGES: Final = 8
FILE: Final = "images.npy"


@dataclass(frozen=True, kw_only=True)
class BenchData:
    """What every row is fed with.

    Args:
        text: In words, for the document.
        side: For :class:`~hardnet_deploy.bench.sides.Side`: ``random`` or a file.
        images: [M, H, W, 3] uint8, RGB, all scaled to the first one's size; None for random pixels.
        distinct: How many of them there are before they are repeated to fill a batch.
        notes: What the user should know.
    """

    text: str
    side: str
    images: U8 | None
    distinct: int = 0
    notes: tuple[str, ...]

    def repeated(self, batch: int) -> str | None:
        """What a row is fed with where images are repeated for it, in words; None where none are."""
        if self.images is None:
            return None
        batches = min(len(self.images) // batch, MOST_BATCHES)
        if batches * batch <= self.distinct:
            return None
        filled = f"batches of {batch}" if batches == 1 else f"{batches} batches of {batch}, in turn"
        return f"{self.distinct} image{'' if self.distinct == 1 else 's'}, repeated to {filled}"

    def inputs(self, preprocess: Preprocess, batch: int) -> Iterator[F32]:
        """Network inputs [batch, 3, S, S] to measure INT8 ranges on: of what is timed."""
        if self.images is None:
            yield seeded_pixels(preprocess, batch)
            return
        count = len(self.images)
        for first in range(0, min(count, MOST_RANGE_IMAGES), batch):
            yield preprocess_batch([self.images[place % count] for place in range(first, first + batch)], preprocess)

    def digest(self) -> str:
        """SHA-256 of what the ranges are measured on."""
        return sha256_bytes(self.text.encode() if self.images is None else self.images.tobytes())


def read_bench_data(text: str, folder: Path, *, batch: int, progress: Progress) -> BenchData:
    """``--data``.

    Args:
        text: ``random``, or images as :func:`~hardnet_deploy.data.image_lists.open_images` takes them.
        folder: For the file with the images.
        batch: The largest of all rows: as many images at least.
        progress: Told (what, done, in all) while the demo data are drawn and images are read.

    Raises:
        UsageError: No such split.
        InputFileError: No folder, no image, or one that cannot be read.
        OutputFileError: The file cannot be written.
    """
    if text == RANDOM:
        return BenchData(
            text="random 8-bit pixels from a fixed seed, pre-processed", side=RANDOM, images=None, notes=()
        )
    chosen = open_images(
        text,
        default_split=MEASURED_ON,
        count=max(IMAGES, batch),
        at_most=True,
        progress=partial(progress, "drawing the demo data"),
    )
    images: list[U8] = []
    for number, path in enumerate(chosen.paths):
        progress("reading images", number, len(chosen))
        images.append(_as_large(load_image(path), images[0].shape if images else None))
    height, width = images[0].shape[:2]
    stacked = np.stack([images[place % len(images)] for place in range(max(len(images), batch))])
    path = folder / FILE
    with atomic_output(path) as temporary, temporary.open("wb") as file:
        np.save(file, stacked)
    return BenchData(
        text=f"{chosen.name}, scaled to {width} x {height} (digest {chosen.digest[:12]})",
        side=str(path),
        images=stacked,
        distinct=len(images),
        notes=chosen.notes,
    )


def _as_large(image: U8, shape: tuple[int, ...] | None) -> U8:
    if shape is None or image.shape == shape:
        return image
    from PIL import Image

    height, width = shape[:2]
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
