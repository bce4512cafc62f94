"""The file in which trials are kept: a record for each thing that was measured, so that one does not cost another."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from hardnet_deploy.files import atomic_output, sha256_bytes, write_durably

if TYPE_CHECKING:
    from calibration.table import CalibrationTable

UNREADABLE: Final = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records, the last that was written first; none where the file cannot be read as such."""
    try:
        records = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)["records"]
        return [{**record, "identity": record["identity"]} for record in records]
    except UNREADABLE:
        return []


def keep_record(path: Path, record: dict[str, Any]) -> None:
    """Put ``record`` in the place of the one with the same ``identity``; the others stay.

    Raises:
        OutputFileError: The file cannot be written; it stays as it was.
    """
    others = [other for other in read_records(path) if other["identity"] != record["identity"]]
    text = json.dumps({"records": [record, *others]}, indent=1, allow_nan=False)
    with atomic_output(path) as temporary:
        write_durably(temporary, text.encode())


def ranges_digest(table: CalibrationTable) -> str:
    """Of the ranges, the method and what was measured: the command line that did it changes no trial."""
    bare = dataclasses.replace(table, command=(), versions={}, snapshots={}, image_marks=())
    return sha256_bytes(bare.to_json().encode())


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
