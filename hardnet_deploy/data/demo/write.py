"""Drawing a split into a folder, in parallel, with the same bytes for any number of processes."""

from __future__ import annotations

import contextlib
import errno
import json
import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hardnet_deploy import __version__
from hardnet_deploy.data.demo.layout import (
    LARGE_FROM,
    SMALL_BELOW,
    Record,
    annotation_path,
    digest_of,
    image_name,
    record_path,
)
from hardnet_deploy.data.demo.scene import draw_scene
from hardnet_deploy.data.demo.splits import SCENES_VERSION
from hardnet_deploy.errors import OutputFileError
from hardnet_deploy.models.class_names import DEMO

Progress = Callable[[int, int], None]
"""Called with the scenes drawn so far and their number."""
Json = dict[str, Any]

_BATCH = 20
_WORTH_A_PROCESS = 100


def write_split(root: Path, split: str, *, count: int, seed: int, progress: Progress | None, workers: int) -> None:
    """Draw the first ``count`` scenes of a split into ``root``, which holds nothing of that split; the record last.

    Args:
        root: Made where it is not there.
        split: A split's name.
        count: From 1 to the split's size.
        seed: Of the scenes.
        progress: Called now and then, in this thread.
        workers: Processes to draw in; with 1, this one.

    Raises:
        OSError: As the file system says.
    """
    folder = root / split
    folder.mkdir(parents=True)
    annotation_path(root, split).parent.mkdir(exist_ok=True)
    jobs = [(folder, split, seed, start, min(start + _BATCH, count)) for start in range(0, count, _BATCH)]
    images: list[Json] = []
    objects: list[Json] = []
    with contextlib.closing(_in_order(jobs, workers)) as batches:
        for batch in batches:
            for image, found in batch:
                images.append(image)
                objects += [{"id": len(objects) + number, **row} for number, row in enumerate(found, start=1)]
            if progress:
                progress(len(images), count)
    annotation_path(root, split).write_bytes(_document(images, objects, split=split, seed=seed))
    areas = Counter((row["area"] >= SMALL_BELOW) + (row["area"] >= LARGE_FROM) for row in objects)
    record = Record(
        scenes_version=SCENES_VERSION,
        split=split,
        seed=seed,
        count=count,
        digest=digest_of(root, split, count),
        sizes=(areas[0], areas[1], areas[2]),
        versions={"hardnet-deploy": __version__, "numpy": version("numpy"), "Pillow": version("Pillow")},
    )
    record_path(root, split).write_bytes(record.to_bytes())


def usual_workers(count: int) -> int:
    """As many processes as this process may use cores, and no more than the scenes are worth."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, count // _WORTH_A_PROCESS))


@contextlib.contextmanager
def told_as_output_error(place: Path) -> Iterator[None]:
    """Turn faults of the file system into a user's error that names ``place``."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise OutputFileError(
                f"no space left to write {place}", next_step="free some space, or choose another folder"
            ) from error
        raise OutputFileError(f"{place} cannot be written", got=error.strerror or str(error)) from error


def _document(images: list[Json], objects: list[Json], *, split: str, seed: int) -> bytes:
    # No date and no version of the program: the same scenes give the same bytes.
    info = {"description": f"hardnet-deploy demo scenes, {split}", "version": str(SCENES_VERSION), "seed": seed}
    categories = [{"id": number, "name": name} for number, name in enumerate(DEMO, start=1)]
    document = {"info": info, "licenses": [], "images": images, "annotations": objects, "categories": categories}
    return json.dumps(document, separators=(",", ":")).encode()


Job = tuple[Path, str, int, int, int]
Batch = list[tuple[Json, list[Json]]]


def _draw(job: Job) -> Batch:
    """Draw the scenes of one job, write their images, return COCO's rows for them."""
    folder, split, seed, start, stop = job
    rows: Batch = []
    for index in range(start, stop):
        scene = draw_scene(split, index, seed=seed)
        image_id = index + 1
        (folder / image_name(image_id)).write_bytes(scene.jpeg)
        image = {"id": image_id, "file_name": image_name(image_id), "width": scene.width, "height": scene.height}
        objects = [
            {
                "image_id": image_id,
                "category_id": label,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": area,
                "iscrowd": 0,
                "segmentation": [],
            }
            for (x1, y1, x2, y2), label, area in zip(
                scene.boxes.tolist(), scene.labels.tolist(), scene.areas.tolist(), strict=True
            )
        ]
        rows.append((image, objects))
    return rows


def _in_order(jobs: Sequence[Job], workers: int) -> Generator[Batch, None, None]:
    done = 0
    if workers > 1:
        # Not fork: the caller may have threads.
        pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_end_quietly)
        try:
            for batch in pool.map(_draw, jobs):
                done += 1
                yield batch
        except BrokenProcessPool:
            pass  # a worker was killed, or cannot import the caller's main module: what is left is drawn here
        finally:
            pool.shutdown(cancel_futures=True)
    for job in jobs[done:]:
        yield _draw(job)


def _end_quietly() -> None:
    """In a worker: leave an interrupt to the parent, and end with the parent however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
