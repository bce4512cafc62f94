"""Results as files: a document as JSON, a table as CSV, each whole or not at all."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hardnet_deploy.files import atomic_output, write_durably


def save_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document.

    Raises:
        OutputFileError: It cannot be written.
    """
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_output(path) as temporary:
        write_durably(temporary, text.encode("utf-8", "backslashreplace"))


def save_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a table with a head line.

    Raises:
        OutputFileError: It cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with atomic_output(path) as temporary:
        write_durably(temporary, text.getvalue().encode("utf-8", "backslashreplace"))
