"""Detections of many images on disk, written in chunks as they come, so that memory is flat and a run can continue.

A store is a folder. ``key.json`` says whose detections they are; each chunk file holds those of consecutive images and
appears by a rename, whole or not at all. Boxes and scores are float32, as engines compute them: nothing is rounded.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
import zipfile
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, overload

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.errors import OutputFileError, UsageError
from hardnet_deploy.files import atomic_output, sha256_bytes
from hardnet_deploy.nms.matching import DetectionSet
from hardnet_deploy.specs import F32

CHUNK_IMAGES: Final = 64
CHUNK_SECONDS: Final = 10.0  # a slow engine loses no more than this when it is killed
_DAMAGED: Final = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True, kw_only=True)
class ImageRecord:
    """What is kept of one image.

    Args:
        rows: Shape (n, 6): class, x1, y1, x2, y2 in pixels, score.
        width: Of the image as read; 0 where it could not be read.
        height: Likewise.
        error: Why the image could not be read; empty where it could.
    """

    rows: F32
    width: int
    height: int
    error: str = ""


class DetectionStore(Sequence[DetectionSet]):
    """The store: a sequence of the images' detections, read from disk as they are asked for.

    Args:
        folder: Where stores are kept; None for a temporary one that ends with this store.
        key: Whose detections these are, as JSON; a store with an equal key is continued.

    Raises:
        UsageError: Another process is writing the same store.
        OutputFileError: It cannot be written.
    """

    def __init__(self, folder: Path | None, key: Mapping[str, Any]) -> None:
        text = json.dumps(key, sort_keys=True, indent=2)
        self._temporary = folder is None
        self._chunks: list[Path] = []
        self._starts: list[int] = []
        self._sizes: list[tuple[int, int]] = []
        self._errors: list[tuple[int, str]] = []
        self._pending: list[ImageRecord] = []
        self._written = time.monotonic()
        self._loaded: tuple[int, tuple[F32, NDArray[np.int64]]] | None = None
        self._lock: IO[bytes] | None = None
        if folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="hardnet-deploy-run-"))
            return
        self._folder = folder / sha256_bytes(text.encode())[:32]
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self._folder)
            record = self._folder / "key.json"
            if not record.is_file() or record.read_text(encoding="utf-8") != text:
                with atomic_output(record) as temporary:
                    temporary.write_text(text, encoding="utf-8")
        except OSError as error:
            raise OutputFileError(
                f"detections cannot be kept in {self._folder}", got=error.strerror, next_step="use --no-resume"
            ) from error
        self._adopt()

    def _adopt(self) -> None:
        """Take over what is there, up to the first chunk that is missing or damaged."""
        for path in sorted(self._folder.glob("*.npz")):
            start = len(self._sizes)
            if path.name != _chunk_name(start):
                path.unlink()
                continue
            try:
                with path.open("rb") as file, np.load(file, allow_pickle=False) as chunk:
                    sizes, counts, rows = chunk["sizes"], chunk["counts"], chunk["rows"]
                    errors = json.loads(str(chunk["errors"]))
                if sizes.shape != (len(counts), 2) or rows.shape != (counts.sum(), 6):
                    raise ValueError
            except _DAMAGED:
                path.unlink()
                continue
            self._chunks.append(path)
            self._starts.append(start)
            self._sizes += [(int(width), int(height)) for width, height in sizes]
            self._errors += [(start + int(place), str(error)) for place, error in errors]

    @property
    def sizes(self) -> Sequence[tuple[int, int]]:
        """(width, height) of each image as it was read."""
        return self._sizes

    @property
    def errors(self) -> tuple[tuple[int, str], ...]:
        """Index of each image that could not be read, and why."""
        return tuple(self._errors)

    def append(self, record: ImageRecord) -> None:
        """Add the next image.

        Raises:
            OutputFileError: It cannot be written.
        """
        if record.error:
            self._errors.append((len(self._sizes), record.error))
        self._sizes.append((record.width, record.height))
        self._pending.append(record)
        if len(self._pending) >= CHUNK_IMAGES or time.monotonic() - self._written > CHUNK_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is not on disk yet.

        Raises:
            OutputFileError: It cannot be written.
        """
        self._written = time.monotonic()
        if not self._pending:
            return
        start = len(self._sizes) - len(self._pending)
        path = self._folder / _chunk_name(start)
        pending, self._pending = self._pending, []
        with atomic_output(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                counts=np.array([len(record.rows) for record in pending], np.int64),
                rows=np.concatenate([record.rows for record in pending]).astype(np.float32),
                sizes=np.array([(record.width, record.height) for record in pending], np.int64),
                errors=np.array(
                    json.dumps([(place, record.error) for place, record in enumerate(pending) if record.error])
                ),
            )
        self._chunks.append(path)
        self._starts.append(start)

    def __len__(self) -> int:
        return len(self._sizes)

    @overload
    def __getitem__(self, index: int) -> DetectionSet: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[DetectionSet]: ...

    def __getitem__(self, index: int | slice) -> DetectionSet | Sequence[DetectionSet]:
        """The detections of one image, or of several.

        Raises:
            IndexError: There is no such image.
        """
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        self.flush()
        place = index % len(self)
        number = bisect_right(self._starts, place) - 1
        if self._loaded is None or self._loaded[0] != number:
            with np.load(self._chunks[number], allow_pickle=False) as chunk:
                ends = np.concatenate(([0], np.cumsum(chunk["counts"])))
                self._loaded = (number, (chunk["rows"], ends))
        rows, ends = self._loaded[1]
        inside = place - self._starts[number]
        return DetectionSet.from_rows(rows[ends[inside] : ends[inside + 1]])

    def close(self, *, keep: bool) -> None:
        """Let go of the folder; ``keep`` leaves it for a later run, unless it is temporary or empty.

        Raises:
            OutputFileError: What is to be kept cannot be written.
        """
        try:
            if keep and len(self) and not self._temporary:
                self.flush()
            else:
                shutil.rmtree(self._folder, ignore_errors=True)
        finally:
            if self._lock is not None:
                self._lock.close()
                self._lock = None


def _chunk_name(start: int) -> str:
    return f"{start:09d}.npz"


def _locked(folder: Path) -> IO[bytes] | None:
    """The folder's lock, held until it is closed or the process ends; None where the system has no such locks."""
    try:
        import fcntl
    except ImportError:
        return None
    lock = (folder / "lock").open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise UsageError(
            "the same engine is already running over the same data, in another process",
            got=f"a lock on {folder}",
            next_step="wait for it, or use --no-resume",
        ) from error
    return lock
