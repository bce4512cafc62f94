"""A kit's folder appears whole or not at all, within its size, and never costs an older one."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from hardnet_deploy.errors import OutputFileError, UsageError
from hardnet_deploy.files import sha256_bytes, sha256_file
from hardnet_deploy.kit.layout import BEYOND_MODEL, INPUTS, KIND, KIT, MEGABYTE, MODEL


def older_kit(folder: Path, *, force: bool) -> Path | None:
    """Where the kit that is in the way will be kept, None where nothing is.

    To be asked before anything long runs: it fails where the kit clearly cannot be written.

    Raises:
        UsageError: Something else than a kit is there, or a kit and ``force`` is not set.
        OutputFileError: It is no folder, or there is no permission.
    """
    place = Path(os.path.realpath(folder))
    if os.path.lexists(place) and not place.is_dir():
        raise OutputFileError(f"{folder} is a file", wanted="a folder, or a name that is not taken")
    parent = place.parent
    while not os.path.lexists(parent):
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise OutputFileError(f"{folder} cannot be written in {parent}", next_step="choose another folder")
    if not place.is_dir() or not any(place.iterdir()):
        return None
    if not _is_kit(place):
        raise UsageError(
            f"{folder} has files in it and is no kit", wanted="a new or empty folder", next_step="choose another -o"
        )
    if not force:
        raise UsageError(
            f"{folder} is a kit already",
            wanted="a new or empty folder",
            next_step=f"--force keeps it as {_free_name(place).name} and writes the new one in its place",
        )
    return _free_name(place)


@contextlib.contextmanager
def staged(folder: Path, kept: Path | None) -> Iterator[Path]:
    """Give an empty folder beside ``folder`` that takes its name on success; on any error or interrupt it goes away.

    Args:
        folder: The kit.
        kept: Of :func:`older_kit`: what has the name until then moves there.

    Raises:
        OutputFileError: No space, no permission, or another fault of the file system.
    """
    place = Path(os.path.realpath(folder))
    temporary = place.with_name(f".{sha256_bytes(os.fsencode(place.name))[:16]}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if kept is not None:
            place.rename(kept)
        temporary.replace(place)
    except OSError as error:
        no_space = error.errno in {errno.ENOSPC, errno.EDQUOT}
        raise OutputFileError(
            f"no space left to write {folder}" if no_space else f"{folder} cannot be written",
            got=None if no_space else error.strerror or str(error),
            next_step="free some space, or choose another folder" if no_space else None,
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def entries(folder: Path) -> dict[str, dict[str, str | int]]:
    """Hash and size of every file in the folder, by its path in it."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): {"sha256": sha256_file(path), "bytes": path.stat().st_size}
        for path in paths
    }


def refuse_large(sizes: Mapping[str, int], *, samples: int) -> None:
    """Hold a kit against its size: the ONNX file and 25 MB.

    Args:
        sizes: Bytes by file.
        samples: Number of samples in it.

    Raises:
        UsageError: It is larger; the message names what to reduce.
    """
    total = sum(sizes.values()) - sizes[MODEL]
    if total <= BEYOND_MODEL:
        return
    inputs = sizes.get(INPUTS, 0)
    room = BEYOND_MODEL - (total - inputs)
    fitting = int(room / (inputs / samples)) if samples and inputs else 0
    largest = max((name for name in sizes if name != MODEL), key=sizes.__getitem__)
    raise UsageError(
        f"the kit would have {total / MEGABYTE:.1f} MB beside its model; nothing was written",
        got=f"{largest} has {sizes[largest] / MEGABYTE:.1f} MB",
        wanted=f"at most {BEYOND_MODEL / MEGABYTE:g} MB",
        next_step=f"use --samples {fitting}" if 0 < fitting < samples else f"reduce {largest}",
    )


def _is_kit(folder: Path) -> bool:
    try:
        record = json.loads((folder / KIT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and record.get("kind") == KIND


def _free_name(folder: Path) -> Path:
    number = 1
    while True:
        name = folder.with_name(f"{folder.name}.old{number if number > 1 else ''}")
        if not os.path.lexists(name):
            return name
        number += 1
