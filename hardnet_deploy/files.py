"""Writing outputs so that nothing is ever half there: a temporary name beside the target, then a rename."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
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
        OutputFileError: It is a folder, a device or a pipe, its name is too long, its folder is a file, or there is no
            permission.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        mode = stat.S_IFREG
    except OSError as error:
        raise OutputFileError(f"{path} cannot be written", got=error.strerror) from error
    if stat.S_ISDIR(mode):
        raise OutputFileError(f"{path} is a folder", wanted="a file name", next_step=f"name a file inside {path}")
    if not stat.S_ISREG(mode):
        raise OutputFileError(f"{path} is a device or a pipe, which a finished file cannot replace", wanted="a file")
    parent = path.absolute().parent
    while not os.path.lexists(parent):
        parent = parent.parent
    if not parent.is_dir():
        raise OutputFileError(f"{path} cannot be written: {parent} is not a folder")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputFileError(f"{path} cannot be written: no permission in {parent}", next_step="choose another folder")


@contextlib.contextmanager
def atomic_output(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` and rename it on success; on any error or interrupt remove it.

    Folders on the way are made. An older file at ``path`` stays as it was until the rename.

    Raises:
        OutputFileError: No space, no permission, or another fault of the file system.
    """
    # Named by a hash, so that the longest name that path may have leaves room for the rest.
    temporary = path.with_name(f".{sha256_bytes(os.fsencode(path.name))[:16]}.{os.getpid()}.tmp")
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


def write_durably(path: Path, data: bytes) -> None:
    """Write ``data`` and flush it to the disk, so that a rename after it never shows an empty file.

    Raises:
        OSError: As the file system says.
    """
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
