"""Finding the documents: files as named, folders with everything below them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hardnet_deploy.errors import InputFileError
from hardnet_deploy.report.consistency import check_document
from hardnet_deploy.report.documents import Document, ForeignFileError, Kind, read_document

LARGEST: Final = 64 << 20  # bytes: a data set's annotations are larger, no document of ours is
MARKS: Final = (b'"kind"', b'"schema"')
BEGINNING: Final = 512  # bytes of a file in which a document of ours has one of these
_NOT_ENTERED: Final = frozenset({"node_modules", "__pycache__", "site-packages"})


@dataclass(frozen=True, kw_only=True)
class Collection:
    """What was found.

    Args:
        documents: Each once, in the order of the runs as named and of the paths below them.
        unread: Files in folders that are documents of ours and cannot be used, each with the reason.
        foreign: JSON files in folders that are something else.
    """

    documents: tuple[Document, ...]
    unread: tuple[tuple[Path, str], ...] = ()
    foreign: int = 0

    def of(self, kind: Kind) -> tuple[Document, ...]:
        """Those of one kind."""
        return tuple(document for document in self.documents if document.kind == kind)


def collect(runs: Sequence[Path]) -> Collection:
    """Read ``runs``.

    A file that is named must be a document; in a folder, what is none is passed over, and what begins like one and
    cannot be used, or is above :data:`LARGEST`, is remembered. Hidden folders are not looked at. A document in two
    places, the same to the byte, counts once; a manifest counts in each place, as it is about the file beside it.

    Raises:
        InputFileError: A run that is not there, or a named file that is no document or cannot be used.
    """
    documents: dict[object, Document] = {}
    unread: list[tuple[Path, str]] = []
    foreign = 0
    for run in runs:
        if run.is_dir():
            for path in _json_files(run):
                try:
                    document = _read(path) if path.stat().st_size <= LARGEST else None
                except ForeignFileError:
                    foreign += 1
                    continue
                except InputFileError as error:
                    document, why = None, error.what + (f": {error.got}" if error.got else "")
                else:
                    why = f"it is larger than the {LARGEST >> 20} MiB that are looked at"
                if document is not None:
                    documents.setdefault(_identity(document), document)
                elif _may_be_ours(path):
                    unread.append((path, why))
                else:
                    foreign += 1
        else:
            document = _named(run)
            documents.setdefault(_identity(document), document)
    return Collection(documents=tuple(documents.values()), unread=tuple(unread), foreign=foreign)


def _may_be_ours(path: Path) -> bool:
    """Whether a file that cannot be read as a document begins like one: annotations and settings do not."""
    try:
        with path.open("rb") as file:
            beginning = file.read(BEGINNING)
            return any(mark in beginning for mark in MARKS)
    except OSError:
        return True


def _identity(document: Document) -> object:
    """What two places of one document share."""
    if document.kind != "manifest":
        return document.sha256
    return Path(os.path.realpath(document.path.parent), document.path.name)


def _named(run: Path) -> Document:
    if not os.path.lexists(run):
        raise InputFileError(
            f"there is no file or folder {run}", next_step="name what a run has written, or its folder"
        )
    return _read(run)


def _read(path: Path) -> Document:
    document = read_document(path)
    check_document(document)
    return document


def _json_files(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _NOT_ENTERED and not name.startswith("."))
        for name in sorted(files):
            path = Path(root, name)
            if name.endswith(".json") and not name.startswith(".") and path.is_file():
                yield path
