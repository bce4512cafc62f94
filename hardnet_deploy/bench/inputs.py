"""What sides are fed: the same pixels for all, from a seed or from a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from hardnet_deploy.bench.sides import END_TO_END, RANDOM, Side, SideError
from hardnet_deploy.data.preprocess import U8, preprocess_batch
from hardnet_deploy.specs import F32, Preprocess

SEED: Final = 20190928
UNRESIZED: Final = ", images of the network's own size: nothing is resized"
MOST_BATCHES: Final = 16
"""Of a file, kept ready: at 1024x1024 one image is 12 MiB of input."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a side is fed, in turn.

    Args:
        tensors: Ready inputs, each float32 [N, 3, S, S]; run i reads number i modulo their count.
        images: For ``end-to-end``: batches of RGB uint8 [H, W, 3], in turn likewise; else empty.
        text: What they are, in words.
    """

    tensors: tuple[F32, ...]
    images: tuple[tuple[U8, ...], ...]
    text: str


def inputs_for(side: Side, preprocess: Preprocess) -> Inputs:
    """Of one side.

    Raises:
        SideError: The file is not there or is of another type or shape, or has fewer images than a batch.
    """
    if side.data == RANDOM:
        pixels = random_pixels(side.batch, side.size)
        images = (tuple(pixels),) if side.boundary == END_TO_END else ()
        text = "uniform random 8-bit pixels" + (_unresized(pixels, preprocess) if images else ", pre-processed")
        if text.endswith(UNRESIZED):
            text += "; --data times real ones"
        return Inputs(tensors=(normalised(pixels, preprocess),), images=images, text=text)
    found = _read(side)
    if isinstance(found, _Ready):
        if side.boundary == END_TO_END:
            raise SideError(f"end-to-end starts from 8-bit images; {side.data} has ready inputs")
        return Inputs(tensors=(found.tensor,), images=(), text="inputs as given")
    count = len(found) // side.batch
    if count < 1:
        raise SideError(f"{side.data} has {len(found)} images, a batch is {side.batch}")
    batches = [tuple(found[start : start + side.batch]) for start in range(0, count * side.batch, side.batch)]
    batches = batches[:MOST_BATCHES]
    is_from_images = side.boundary == END_TO_END
    return Inputs(
        tensors=tuple(preprocess_batch(batch, preprocess) for batch in batches),
        images=tuple(batches) if is_from_images else (),
        text=f"{len(batches) * side.batch} images in turn" + (_unresized(found, preprocess) if is_from_images else ""),
    )


def _unresized(images: U8, preprocess: Preprocess) -> str:
    """Said of [M, H, W, 3] where resizing, a part of end-to-end, costs a copy; where it crops, it resizes always."""
    return UNRESIZED if preprocess.resize == "stretch" and images.shape[1:3] == (preprocess.size,) * 2 else ""


def random_pixels(batch: int, size: int) -> U8:
    """uint8 [batch, size, size, 3], uniform, the same every time."""
    return np.random.default_rng(SEED).integers(0, 256, (batch, size, size, 3), np.uint8)


def normalised(pixels: U8, preprocess: Preprocess) -> F32:
    """Inputs [N, 3, S, S] of pixels that have the network's size already: no resizing."""
    ordered = pixels[..., ::-1] if preprocess.channel_order == "bgr" else pixels
    values: F32 = ordered.astype(np.float32)
    values /= np.float32(preprocess.divisor)
    values -= np.array(preprocess.mean, np.float32)
    values /= np.array(preprocess.std, np.float32)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))


@dataclass(frozen=True)
class _Ready:
    tensor: F32


def _read(side: Side) -> _Ready | U8:
    try:
        found = np.load(Path(side.data), mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise SideError(f"{side.data} cannot be read as .npy: {error}") from error
    ready = (side.batch, 3, side.size, side.size)
    if found.dtype == np.float32 and found.shape == ready:
        return _Ready(np.array(found))
    if found.dtype != np.uint8 or found.ndim != 4 or found.shape[3] != 3 or not found.size:
        raise SideError(
            f"{side.data} holds {found.dtype} {list(found.shape)}; wanted uint8 [M, H, W, 3] or float32 {list(ready)}"
        )
    images: U8 = found
    return images
