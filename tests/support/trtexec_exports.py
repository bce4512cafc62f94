"""What trtexec exported on a Jetson Nano, and the row that is made of it."""

from __future__ import annotations

import dataclasses
from datetime import date
from pathlib import Path
from typing import Any

from device_reports import times, write

from hardnet_deploy.kit.results import Row
from hardnet_deploy.workflows.import_trtexec import TrtexecFiles, row_of_trtexec

TODAY = date(2024, 5, 17)


def exported_files(folder: Path) -> TrtexecFiles:
    """Times, and an engine that has no manifest."""
    (folder / "trtexec.engine").write_bytes(b"a plan")
    return TrtexecFiles(
        times=write(folder / "times.json", times(end_to_end=True)),
        profile=None,
        layer_info=None,
        tensorrt="8.2.1",
        device="Jetson Nano",
        date="2024-05-16",
        engine=folder / "trtexec.engine",
        kit=None,
        warm_up_ms=None,
    )


def row_of(files: TrtexecFiles, **changes: Any) -> Row:
    """With other fields in place of its own."""
    return row_of_trtexec(dataclasses.replace(files, **changes), latest=TODAY)
