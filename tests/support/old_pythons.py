"""Other CPythons of this machine, and NumPy for the one of a Jetson Nano."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from hardnet_deploy.cache import cache_folder

NUMPY: Final = "1.19.5"
"""The last that has wheels for CPython 3.6."""
PLATFORMS: Final = {"x86_64": "manylinux2010_x86_64", "aarch64": "manylinux2014_aarch64"}
DOWNLOAD_SECONDS: Final = 120


@cache
def interpreter(version: str) -> str | None:
    """That Python: on the path, or kept by pyenv; None where there is none."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    kept = sorted(root.glob(f"{version}.*/bin/python")) if root.is_dir() else []
    for program in (*map(str, kept), shutil.which(f"python{version}")):
        if program is None:
            continue
        told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        if re.match(rf"Python {re.escape(version)}\.", told.stdout):
            return program
    return None


def old_python(version: str) -> str:
    """That Python; skips where there is none."""
    program = interpreter(version)
    if program is None:
        pytest.skip(f"needs CPython {version}; it is not installed here")
    return program


def numpy_for_python36() -> Path:
    """A folder for ``PYTHONPATH`` with NumPy for CPython 3.6, fetched once and kept in the project's cache.

    Skips where it cannot be had.
    """
    found = _numpy_or_reason()
    if isinstance(found, str):
        pytest.skip(found)
    return found


@cache
def _numpy_or_reason() -> Path | str:
    """Asked once in a test session, also where the answer is no: a registry that is silent takes its time."""
    machine = platform.machine()
    if machine not in PLATFORMS:
        return f"NumPy {NUMPY} has no wheel for CPython 3.6 on {machine}"
    kept = cache_folder() / "python36" / f"numpy-{NUMPY}-{machine}"
    if kept.is_dir():
        return kept
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as made:
            reason = _download(Path(made), PLATFORMS[machine])
            if reason:
                return reason
            unpacked = Path(made, "unpacked")
            with zipfile.ZipFile(next(Path(made).glob("*.whl"))) as archive:
                archive.extractall(unpacked)
            unpacked.rename(kept)
    except OSError as error:
        if not kept.is_dir():  # where it is, another process was faster
            return f"NumPy {NUMPY} for CPython 3.6 cannot be kept in {kept.parent}: {error.strerror}"
    return kept


def _download(into: Path, wheels_of: str) -> str:
    """Why there is no wheel; empty where there is one."""
    options = [
        "--no-deps",
        "--only-binary",
        ":all:",
        "--disable-pip-version-check",
        "--retries",
        "0",
        "--timeout",
        "15",
    ]
    options += ["--python-version", "3.6", "--implementation", "cp", "--abi", "cp36m", "--platform", wheels_of]
    command = [sys.executable, "-m", "pip", "download", *options, "-d", str(into), f"numpy=={NUMPY}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"NumPy {NUMPY} for CPython 3.6 was not fetched: no package registry answered in {DOWNLOAD_SECONDS} s"
    if done.returncode == 0:
        return ""
    said = [line for line in done.stderr.splitlines() if line.strip()] or ["pip said nothing"]
    reason = next((line for line in said if line.startswith("ERROR")), said[-1])
    return f"NumPy {NUMPY} for CPython 3.6 was not fetched: {reason}"
