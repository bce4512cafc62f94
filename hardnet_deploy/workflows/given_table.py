"""``--calib`` where only our own table will do: TensorRT's calibration cache is told apart from it by content."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hardnet_deploy.errors import InputFileError
from hardnet_deploy.workflows.quantise import read_table

if TYPE_CHECKING:
    from calibration.table import CalibrationTable


def is_cache_file(path: Path) -> bool:
    """True for a calibration cache of TensorRT; False for anything else, and for what cannot be read."""
    from calibration.trt_cache import is_cache

    try:
        return is_cache(path.read_bytes().decode("utf-8", "replace"))
    except OSError:
        return False


def given_table(path: Path, *, lacks: str) -> CalibrationTable:
    """The table of ``--calib``.

    Args:
        path: The file.
        lacks: What a TensorRT calibration cache does not have and is needed here, in words.

    Raises:
        InputFileError: It is such a cache, cannot be read, or is no table.
    """
    if is_cache_file(path):
        raise InputFileError(
            f"{path} is a calibration cache of TensorRT: it has no {lacks}",
            got="one symmetric scale for each tensor",
            wanted="the table F.calib.json",
            next_step="hardnet-deploy calibrate writes the table, and with --cache the same ranges for TensorRT",
        )
    return read_table(path)
