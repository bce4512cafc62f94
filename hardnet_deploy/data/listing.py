"""Which image files of a data set are there, found by listing folders instead of opening files; and its digest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from hardnet_deploy.errors import InputFileError

CONTENTS_UP_TO: Final = 1 << 30  # bytes of images in all, read in about a second
_NAMED: Final = 5


def named(items: Sequence[object]) -> str:
    """The first few of ``items``, and how many more there are."""
    text = ", ".join(str(item) for item in items[:_NAMED])
    return text if len(items) <= _NAMED else f"{text} and {len(items) - _NAMED} more"


def counted(name: str, images: int, total: int) -> str:
    """A data set's name, saying so where only its first images are taken."""
    return name if images == total else f"{name}, first {images} of {total} images"


def file_sizes(paths: Sequence[Path], *, what: str, source: str) -> tuple[int, ...]:
    """Bytes of each file; each folder is listed once.

    Args:
        paths: Files in any folders.
        what: What they are, for messages: ``images``.
        source: The file that names them, for messages.

    Raises:
        InputFileError: Some are not there.
    """
    known: dict[Path, dict[str, int]] = {}
    for folder in {path.parent for path in paths}:
        try:
            with os.scandir(folder) as entries:
                known[folder] = {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
        except OSError:
            known[folder] = {}
    missing = [path for path in paths if path.name not in known[path.parent]]
    if missing:
        raise InputFileError(
            f"{len(missing)} of the {len(paths)} {what} that {source} names are not there",
            got=f"no {named(missing)}",
            wanted="every one of them",
            next_step="finish the download or the copy; or name a split of which everything is there",
        )
    return tuple(known[path.parent][path.name] for path in paths)


def digest_of(annotations: Iterable[str], names: Sequence[str], paths: Sequence[Path], sizes: Sequence[int]) -> str:
    """SHA-256 of a data set as 64 hexadecimal digits: its annotations, the images' names, sizes and contents.

    Contents are left out where all images together exceed a gigabyte. Folders' names do not count.

    Args:
        annotations: SHA-256 of each annotation file.
        names: Of the images, relative to their folder.
        paths: The images.
        sizes: Their bytes.

    Raises:
        InputFileError: An image cannot be read.
    """
    digest = hashlib.sha256()
    for text in annotations:
        digest.update(f"annotations {text}\n".encode())
    with_contents = sum(sizes) <= CONTENTS_UP_TO
    for name, path, size in zip(names, paths, sizes, strict=True):
        digest.update(f"{name}\0{size}\n".encode("utf-8", "surrogateescape"))
        if with_contents:
            try:
                digest.update(hashlib.sha256(path.read_bytes()).digest())
            except OSError as error:
                raise InputFileError(f"{path} cannot be read", got=error.strerror) from error
    return digest.hexdigest()
