"""A split of the demo data from the cache: drawn when it is not there, or not as it was written."""

from __future__ import annotations

import dataclasses
import os
import secrets
import shutil
import time
from pathlib import Path
from typing import Final

from hardnet_deploy.cache import cache_folder, refuse_unwritable_cache
from hardnet_deploy.data.demo.layout import DemoSplit, UnusableSplitError, read_split
from hardnet_deploy.data.demo.splits import split_size
from hardnet_deploy.data.demo.write import Progress, told_as_output_error, usual_workers, write_split
from hardnet_deploy.errors import UsageError

_ABANDONED_AFTER: Final = 24 * 3600.0
"""Seconds after which a temporary folder is taken for the remains of a killed process."""


def ensure_split(
    split: str,
    *,
    count: int | None = None,
    seed: int = 0,
    folder: Path | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> DemoSplit:
    """Give the first ``count`` scenes of a split as files, every byte of them checked.

    Args:
        split: ``train``, ``calibration``, ``search`` or ``val``.
        count: Scenes; default all. Each count has a cache of its own.
        seed: Of the scenes.
        folder: The cache folder; default :func:`hardnet_deploy.cache.cache_folder`.
        progress: Called with the scenes drawn and their number while drawing.
        workers: Processes to draw in; default one for each core. The files do not depend on it.

    Raises:
        UsageError: No such split, or a number out of range.
        OutputFileError: The cache cannot be written.
    """
    count = checked_count(split, count=count, seed=seed)
    if workers is not None and workers < 1:
        raise UsageError("scenes are drawn by at least one process", got=str(workers), wanted="1 or more")
    cache = folder if folder is not None else cache_folder()
    root = cache / "demo-data" / f"{split}-{count}-seed{seed}"
    notes: tuple[str, ...] = ()
    if os.path.lexists(root):
        try:
            return read_split(root, split, count=count, seed=seed)
        except UnusableSplitError as reason:
            notes = (f"demo:{split}: the scenes in {root} are drawn anew: {reason}",)
    refuse_unwritable_cache(cache)
    with told_as_output_error(root):
        root.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(root.parent)
        temporary = _beside(root)
        try:
            processes = usual_workers(count) if workers is None else workers
            write_split(temporary, split, count=count, seed=seed, progress=progress, workers=processes)
            found = _put_in_place(temporary, root, split, count=count, seed=seed)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return dataclasses.replace(found, notes=notes)


def checked_count(split: str, *, count: int | None, seed: int) -> int:
    """How many scenes are meant.

    Raises:
        UsageError: No such split, or a number out of range.
    """
    size = split_size(split)
    if count is not None and not 1 <= count <= size:
        raise UsageError(
            f"split '{split}' of the demo data cannot give {count} scenes", got=str(count), wanted=f"1 to {size}"
        )
    if seed < 0:
        raise UsageError("the seed of the demo data is negative", got=str(seed), wanted="0 or more")
    return size if count is None else count


def _beside(root: Path) -> Path:
    return root.with_name(f".{root.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")


def _put_in_place(drawn: Path, root: Path, split: str, *, count: int, seed: int) -> DemoSplit:
    """Rename ``drawn`` to ``root``; whatever lies there gives way unless another process just made the same."""
    while True:
        if os.path.lexists(root):
            try:
                return read_split(root, split, count=count, seed=seed)
            except UnusableSplitError:
                _discard(root)
        try:
            drawn.rename(root)
        except OSError:
            if not os.path.lexists(root):
                raise
            continue  # another process was faster
        return read_split(root, split, count=count, seed=seed)


def _discard(root: Path) -> None:
    aside = _beside(root)
    try:
        root.rename(aside)
    except FileNotFoundError:
        return  # another process was faster
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside)
    else:
        aside.unlink()


def _remove_abandoned(folder: Path) -> None:
    for path in folder.glob(".*.tmp"):
        if path.stat().st_mtime < time.time() - _ABANDONED_AFTER:
            shutil.rmtree(path, ignore_errors=True)
