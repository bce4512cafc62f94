"""Writing outputs so that nothing is ever half there: a temporary name beside the target, then a rename."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from hardnet_deploy.errors import OutputFileError


def sha256_bytes(data: bytes) -> str:
    """SHA-256 as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content as 64 hexadecimal digits."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def refuse_unwritable(path: Path) -> None:
    """Fail before anything long runs where ``path`` clearly cannot be written.

    Raises:
        OutputFileError: It is a folder, its folder is a file, or there is no permission.
    """
    if path.is_dir():
        raise OutputFileError(f"{path} is a folder", wanted="a file name", next_step=f"-o {path / 'model.onnx'}")
    parent = path.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise OutputFileError(f"{path} cannot be written: {parent} is a file, not a folder")
    if not os.access(parent, os.W_OK):
        raise OutputFileError(f"{path} cannot be written: no permission in {parent}", next_step="choose another -o")


@contextlib.contextmanager
def atomic_output(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` and rename it on success; on any error or interrupt remove it.

    Folders on the way are made. An older file at ``path`` stays as it was until the rename.

    Raises:
        OutputFileError: No space, no permission, or another fault of the file system.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise OutputFileError(
                f"no space left to write {path}",
                next_step=f"free some space, or choose another folder than {path.parent}",
            ) from error
        raise OutputFileError(f"{path} cannot be written", got=error.strerror or str(error)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data`` in one step, flushed to disk first.

    Raises:
        OutputFileError: As for :func:`atomic_output`.
    """
    with atomic_output(path) as temporary, temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
