"""Results as files: a document as JSON, a table as CSV, each whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hardnet_deploy.errors import UsageError
from hardnet_deploy.files import atomic_output, refuse_unwritable, write_durably


def refuse_outputs(outputs: Mapping[str, Path | None], read: Iterable[Path]) -> None:
    """Refuse, before anything long runs, files that could not be written in the end or would overwrite another one.

    Args:
        outputs: By option; None is not written.
        read: What the same command reads.

    Raises:
        UsageError: One that is read, or two options that name one file.
        OutputFileError: Somewhere that clearly cannot be written.
    """
    taken = {os.path.realpath(path): path for path in read}
    for option, path in outputs.items():
        if path is None:
            continue
        refuse_unwritable(path)
        place = os.path.realpath(path)
        if place in taken:
            raise UsageError(
                f"{option} {path} would overwrite {taken[place]}, which is read or written too",
                next_step=f"choose another {option}",
            )
        taken[place] = path


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
