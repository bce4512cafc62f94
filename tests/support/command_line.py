"""Running the installed command as a user's shell does, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

COMMAND = Path(sys.executable).with_name("hardnet-deploy")


def shell(*words: str | bytes | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """``hardnet-deploy WORDS``; stdout and stderr are read as UTF-8 unless ``options`` say otherwise."""
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8", "env": environment()}
    return subprocess.run([COMMAND, *words], check=False, **{**settings, **options})


def environment(**changes: str) -> dict[str, str]:
    """The environment, with buffered streams as in a user's shell, where faults of a pipe may come at the very end."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | changes


def shell_without_reader(*words: str | Path, both: bool = False, **options: Any) -> subprocess.CompletedProcess[str]:
    """The same, with nobody at the other end of stdout (and, if ``both``, of stderr): what ``| head`` leaves."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return shell(*words, stdout=writing, stderr=writing if both else subprocess.PIPE, **options)
    finally:
        os.close(writing)


def files(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder``, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
