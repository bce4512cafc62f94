"""What a profile is run on: random pixels, or images of the demo data."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from hardnet_deploy.data.images import load_image
from hardnet_deploy.data.preprocess import preprocess_batch
from hardnet_deploy.data.sources import open_data, split_name
from hardnet_deploy.errors import UsageError
from hardnet_deploy.specs import F32
from hardnet_deploy.workflows.open_engine import OpenEngine
from hardnet_deploy.workflows.seeded_inputs import seeded_pixels

Progress = Callable[[str, int, int], None]
RANDOM: Final = "random"
DEMO: Final = "demo"
_BATCHES: Final = 8
"""Of images, used in turn: NMS takes as long as there are boxes."""


def profile_inputs(engine: OpenEngine, data: str, progress: Progress) -> tuple[list[F32], str]:
    """Batches [N, 3, S, S] as pre-processing makes them, and what they are in words.

    Args:
        engine: Whose pre-processing and batch it is.
        data: ``random``, or ``demo[:SPLIT]``.
        progress: Told (what is done, how much is done, how much there is).

    Raises:
        UsageError: Other data, or images for a backbone.
        InputFileError: An image cannot be read.
    """
    batch = engine.batch or 1
    if data == RANDOM:
        return [seeded_pixels(engine.preprocess, batch)], "random pixels"
    if data.partition(":")[0] != DEMO:
        raise UsageError(f"--data {data} is not for profiles", wanted="random, or demo")
    if engine.head is None:
        raise UsageError(f"{engine.label} is a backbone: the demo data are for detectors", next_step="--data random")
    dataset = open_data(
        data,
        class_names=engine.class_names,
        count=_BATCHES * batch,
        progress=partial(progress, "drawing the demo data"),
    )
    images = [load_image(one.path) for one in dataset.samples]
    batches = [
        preprocess_batch(images[begin : begin + batch], engine.preprocess)
        for begin in range(0, len(images) - batch + 1, batch)
    ]
    return batches, f"{len(images)} images of demo:{split_name(data)}"
