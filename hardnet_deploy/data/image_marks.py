"""Images told by their files' contents: under another name, in another folder or behind a link they stay the same."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from hardnet_deploy.errors import InputFileError

DIGITS: Final = 12  # 48 bits: of a million pairs of different files of one size, any looks alike by a chance of 4e-9


def marks_of(paths: Iterable[Path]) -> tuple[str, ...]:
    """One mark for each different file, sorted: ``BYTES-DIGITS``, its size and the first digits of its SHA-256.

    Raises:
        InputFileError: A file cannot be read.
    """
    marks = set()
    for path in paths:
        try:
            marks.add(_mark(path.read_bytes()))
        except OSError as error:
            raise InputFileError(f"{path} cannot be read", got=error.strerror) from error
    return tuple(sorted(marks))


def marked_among(paths: Iterable[Path], marks: Collection[str]) -> tuple[Path, ...]:
    """Those of ``paths`` that have one of ``marks``.

    Only files as large as a marked one are read: of photographs, few. A file that cannot be read has no mark.
    """
    known = frozenset(marks)
    sizes = {mark.partition("-")[0] for mark in known}
    return tuple(path for path in paths if _has_mark(path, known, sizes))


def _has_mark(path: Path, marks: Collection[str], sizes: Collection[str]) -> bool:
    try:
        return f"{path.stat().st_size:x}" in sizes and _mark(path.read_bytes()) in marks
    except OSError:
        return False


def _mark(content: bytes) -> str:
    return f"{len(content):x}-{hashlib.sha256(content).hexdigest()[:DIGITS]}"
