"""Images become network inputs in parallel, in order, with a bounded look-ahead.

Threads, not processes: decoding, indexing and arithmetic happen in Pillow and NumPy, which let go of Python's global
lock. On two cores two threads prepared 149 images of 640 x 480 a second for 300 x 300, one thread 73; two spawned
processes 96, because each result is copied between processes. Threads also start at once and share the memory.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hardnet_deploy.data.dataset import Sample
from hardnet_deploy.data.images import load_image
from hardnet_deploy.data.preprocess import preprocess_image
from hardnet_deploy.errors import HardnetDeployError, InputFileError, UsageError
from hardnet_deploy.specs import F32, Preprocess

MOST_WORKERS: Final = 16


@dataclass(frozen=True, kw_only=True)
class LoadedImage:
    """One image, ready for the network.

    Args:
        pixels: Shape (3, S, S).
        width: Of the image itself, in pixels.
        height: Of the image itself, in pixels.
    """

    pixels: F32
    width: int
    height: int


def refuse_other_size(sample: Sample, image: LoadedImage) -> None:
    """Refuse an image that its annotations cannot be about: boxes would be compared in pixels of another image.

    One that only lies on its side is let pass: its EXIF orientation may have turned it.

    Raises:
        InputFileError: It has another size than the annotations say.
    """
    if sorted((sample.width, sample.height)) != sorted((image.width, image.height)):
        raise InputFileError(
            f"{sample.path} has another size than its annotations say",
            got=f"{image.width} x {image.height}",
            wanted=f"{sample.width} x {sample.height}",
            next_step="use images and annotations of the same release",
        )


def usual_workers() -> int:
    """One thread for each core this process may use, 16 at most."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_WORKERS)


def load_inputs(
    paths: Sequence[Path], spec: Preprocess, *, workers: int | None = None, look_ahead: int = 1
) -> Generator[LoadedImage | InputFileError, None, None]:
    """The images one by one, in order; an image that cannot be read comes as its error.

    However slow the reader, at most ``2 * workers + look_ahead`` images are held. Close it (``contextlib.closing``) to
    stop early: then no thread goes on.

    Args:
        paths: Image files.
        spec: The network's pre-processing.
        workers: Threads; None for :func:`usual_workers`.
        look_ahead: Images that the reader takes at once.

    Raises:
        UsageError: Fewer than one worker.
        HardnetDeployError: An image fails for a reason of ours; the message names it.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"--workers {workers} leaves nobody to read images", wanted="1 or more")
    return _load_inputs(paths, spec, workers or usual_workers(), look_ahead)


def _load_inputs(
    paths: Sequence[Path], spec: Preprocess, workers: int, look_ahead: int
) -> Generator[LoadedImage | InputFileError, None, None]:
    pool = ThreadPoolExecutor(workers, thread_name_prefix="images")
    waiting: deque[Future[LoadedImage | InputFileError]] = deque()
    upcoming = iter(paths)
    try:
        for path in upcoming:
            waiting.append(pool.submit(_load, path, spec))
            if len(waiting) >= 2 * workers + look_ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _load(path: Path, spec: Preprocess) -> LoadedImage | InputFileError:
    try:
        image = load_image(path)
        return LoadedImage(pixels=preprocess_image(image, spec), width=image.shape[1], height=image.shape[0])
    except InputFileError as error:
        return error
    except HardnetDeployError as error:
        raise HardnetDeployError(f"{path} cannot be prepared: {error.what}", got=error.got) from error
    except MemoryError:
        raise
    except Exception as error:
        raise HardnetDeployError(f"{path} cannot be prepared: {type(error).__name__}: {error}") from error
