"""Whether the artifacts are still the files that their manifests describe, and that were compared."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from hardnet_deploy.files import sha256_file
from hardnet_deploy.report.documents import Document
from hardnet_deploy.report.runs import Engine, Runs

UNCHANGED: Final = "unchanged"
CHANGED: Final = "changed since its manifest was written"
NOT_THERE: Final = "not beside its manifest"
MOST_FILES: Final = 256
"""Files whose hash is kept, so that one that several parts of a page ask about is read once."""


@dataclass(frozen=True, kw_only=True)
class ComparedFile:
    """What has become of the file that was compared.

    Args:
        others: Files in its place that are other ones now.
        found: Whether it, or another one in its place, is there at all.
    """

    others: tuple[Path, ...]
    found: bool


def file_state(manifest: Document) -> str:
    """Of the file beside ``manifest``: :data:`UNCHANGED`, :data:`CHANGED` or :data:`NOT_THERE`."""
    actual = _sha256_now(manifest.artifact)
    if actual is None:
        return NOT_THERE
    return UNCHANGED if actual == manifest.content.text("sha256") else CHANGED


def compared_file(engine: Engine, runs: Runs) -> ComparedFile | None:
    """Look for the file that ``engine`` was compared as; None where no document names one.

    It is looked for beside each document that names it, where the document may have been moved with it, and as it was
    named there, where that is a whole path or nothing lies beside the document. A file of that name that another
    engine of these runs went by, under another path, is that engine's.
    """
    called = list(_called(engine))
    if not called or engine.in_pytorch:
        return None
    same: dict[Path, bool] = {}
    for label, document in called:
        named = Path(label)
        beside = document.path.parent / named.name
        actual = _sha256_now(beside)
        if actual is not None and _is_anothers(actual, label, engine, runs):
            actual = None
        if actual is not None:
            same[beside] = actual in engine.ids
        if actual is None or named.is_absolute():
            there = _sha256_now(named)
            if there is not None:
                same[named] = there in engine.ids
    others = {os.path.realpath(path): path for path, is_same in same.items() if not is_same}
    return ComparedFile(others=tuple(others.values()), found=bool(same))


def _is_anothers(sha256: str, label: str, engine: Engine, runs: Runs) -> bool:
    """Whether a file is another engine of that file name, which went by another path."""
    other = runs.find(sha256)
    if other is None or other is engine:
        return False
    labels = {one for one, _ in _called(other)}
    return label not in labels and any(Path(one).name == Path(label).name for one in labels)


def _called(engine: Engine) -> Iterator[tuple[str, Document]]:
    """Paths by which comparisons, evaluations and timings name the file of ``engine``, each with the document."""
    for found, part in (
        (engine.parity, "candidate"),
        (engine.reference_of, "reference"),
        (engine.evaluations, "engine"),
    ):
        for document in found:
            side = document.content.part(part)
            label = side.text("engine")
            if label and side.text("sha256"):
                yield label, document
    for timing in engine.timings:
        label = timing.source.part("artifact").text("file")
        if label:
            yield label, timing.document


def _sha256_now(path: Path) -> str | None:
    """Of a file as it is now; None where there is none that can be read."""
    try:
        known = path.stat()
        return _sha256(path, known.st_ino, known.st_size, known.st_mtime_ns) if path.is_file() else None
    except (OSError, ValueError):  # a label need not be a path: it may be too long, or hold a NUL
        return None


@lru_cache(maxsize=MOST_FILES)
def _sha256(path: Path, inode: int, size: int, modified_ns: int) -> str:
    """Of the file as it is at that size and time; another time is another file."""
    return sha256_file(path)
