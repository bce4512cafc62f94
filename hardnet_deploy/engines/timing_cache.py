"""TensorRT's timing cache as a file: how fast each kernel was, of one TensorRT version on one GPU."""

from __future__ import annotations

from pathlib import Path

from hardnet_deploy.errors import InputFileError
from hardnet_deploy.files import atomic_output, write_durably


def read_timing_cache(path: Path) -> bytes | None:
    """A cache that an earlier build left; None where there is none yet.

    Raises:
        InputFileError: It is there and cannot be read.
    """
    try:
        return path.read_bytes() or None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputFileError(f"the timing cache {path} cannot be read", got=error.strerror) from error


def keep_timing_cache(path: Path, content: bytes) -> None:
    """Replace the cache in one step.

    Raises:
        OutputFileError: No space or no permission; the older one stays.
    """
    with atomic_output(path) as temporary:
        write_durably(temporary, content)
