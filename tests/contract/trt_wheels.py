"""TensorRT's own Python bindings, fetched once and imported where no TensorRT library is installed.

A bindings wheel holds one extension module that wants the libraries libnvinfer, libnvonnxparser, libnvinfer_plugin
(and libnvparsers before 10). Small stand-ins, compiled here, export the few functions that it names: enough to import
it and to read every class, docstring and enum member, not enough to call anything.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from hardnet_deploy.cache import cache_folder

DOWNLOAD_SECONDS: Final = 120
TOOLS: Final = ("cc", "nm")
DUMP_SCRIPT: Final = Path(__file__).with_name("dump_bindings.py")
RUN_SCRIPT: Final = Path(__file__).with_name("run_on_bindings.py")

# Distributions that the registry has said nothing about, with what is told of it: further versions are not asked for.
_unanswered: dict[str, str] = {}


class Unavailable(Exception):
    """What is missing here, as the reason of a skip."""


@dataclass(frozen=True)
class Wheel:
    """One release of the bindings: the family whose code it judges, the distribution and the exact version."""

    family: str
    distribution: str
    version: str

    @property
    def major(self) -> int:
        return int(self.version.split(".", maxsplit=1)[0])

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


WHEELS: Final = (
    Wheel("8.6", "tensorrt_bindings", "8.6.1"),
    Wheel("10", "tensorrt_cu12_bindings", "10.0.1"),
    Wheel("10", "tensorrt_cu12_bindings", "10.9.0.34"),
    Wheel("10", "tensorrt_cu12_bindings", "10.13.3.9"),
    Wheel("10", "tensorrt_cu12_bindings", "10.16.1.11"),
    Wheel("11", "tensorrt_cu12_bindings", "11.0.0.114"),
    Wheel("11", "tensorrt_cu12_bindings", "11.4.0.106"),
)


def python_tag() -> str:
    """The wheel tag of the running interpreter, as ``cp311``."""
    return f"cp{sys.version_info.major}{sys.version_info.minor}"


def api_of(wheel: Wheel) -> dict[str, Any]:
    """The interface of a release, as ``dump_bindings`` writes it.

    Raises:
        Unavailable: As of :func:`kept_bindings`.
    """
    api: dict[str, Any] = run_beside(wheel, DUMP_SCRIPT, str(kept_bindings(wheel)))
    assert api["version"] == wheel.version, f"{wheel} calls itself {api['version']}"
    return api


def kept_bindings(wheel: Wheel) -> Path:
    """A folder of the project's cache from which ``tensorrt_bindings`` of a release can be imported.

    Raises:
        Unavailable: The wheel cannot be had, or a compiler or ``nm`` is missing.
    """
    found = _bindings_or_reason(wheel)
    if isinstance(found, str):
        raise Unavailable(found)
    return found


@cache
def _bindings_or_reason(wheel: Wheel) -> Path | str:
    """Asked once in a test session, also where the answer is no: a registry that is silent takes its time."""
    try:
        return prepare(wheel, cache_folder() / "tensorrt-bindings")
    except Unavailable as reason:
        return str(reason)


def prepare(wheel: Wheel, folder: Path) -> Path:
    """Fetch a wheel into a folder, unpack it and put the stand-ins beside it, once for each Python.

    Raises:
        Unavailable: As of :func:`kept_bindings`; nothing is left in the folder then.
    """
    kept = folder / f"{wheel.distribution}-{wheel.version}-{python_tag()}"
    if kept.is_dir():
        return kept
    for tool in TOOLS:
        if shutil.which(tool) is None:
            raise Unavailable(f"{wheel} imports only over compiled stand-ins, and {tool!r} is not installed here")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as made:
            downloaded, unpacked = Path(made, "wheel"), Path(made, "unpacked")
            _download(wheel, downloaded)
            with zipfile.ZipFile(next(downloaded.glob("*.whl"))) as archive:
                archive.extractall(unpacked)
            _add_stubs(wheel, unpacked / "tensorrt_bindings")
            unpacked.rename(kept)
    except OSError as error:
        if not kept.is_dir():  # where it is, another process was faster
            raise Unavailable(f"{wheel} cannot be kept in {folder}: {error.strerror}") from error
    return kept


def _download(wheel: Wheel, into: Path) -> None:
    if wheel.distribution in _unanswered:
        raise Unavailable(f"{wheel} was not fetched: {_unanswered[wheel.distribution]}")
    options = ["--no-deps", "--only-binary", ":all:", "--disable-pip-version-check"]
    patience = ["--retries", "0", "--timeout", "15"]
    named = f"{wheel.distribution}=={wheel.version}"
    command = [sys.executable, "-m", "pip", "download", *options, *patience, "-d", str(into), named]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        _unanswered[wheel.distribution] = f"no package registry answered in {DOWNLOAD_SECONDS} s"
        raise Unavailable(f"{wheel} was not fetched: {_unanswered[wheel.distribution]}") from error
    if done.returncode == 0:
        return
    said = [line for line in done.stderr.splitlines() if line.strip()] or ["pip said nothing"]
    reason = next((line for line in said if line.startswith("ERROR")), said[-1])
    if "from versions: none" in done.stderr:
        _unanswered[wheel.distribution] = "no network, or no package registry that has the TensorRT bindings"
        raise Unavailable(f"{wheel} was not fetched: {_unanswered[wheel.distribution]}")
    raise Unavailable(
        f"{wheel} has no wheel for {python_tag()} on {platform.machine()}, or it was not fetched: {reason}"
    )


def undefined_symbols(library: Path) -> list[str]:
    """What the extension wants from TensorRT's libraries: undefined here, and neither Python's nor the C library's."""
    command = ["nm", "-D", "--undefined-only", str(library)]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    entries = [line.split() for line in listing.splitlines()]
    names = [entry[-1] for entry in entries if entry[0] == "U" and "@" not in entry[-1]]
    here = ctypes.CDLL(None)
    return [name for name in names if not name.startswith(("Py", "_Py")) and not hasattr(here, name)]


def _add_stubs(wheel: Wheel, package: Path) -> None:
    """Compile the stand-ins beside the extension, where it looks first."""
    others = ["nvonnxparser", "nvinfer_plugin", *(["nvparsers"] if wheel.major < 10 else [])]
    libraries = {f"lib{name}.so.{wheel.major}": "" for name in others}
    symbols = undefined_symbols(package / "tensorrt.so")
    libraries[f"libnvinfer.so.{wheel.major}"] = "".join(f"void *{name}(void) {{ return 0; }}\n" for name in symbols)
    for name, source in libraries.items():
        named = ["-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(package / name)]
        command = ["cc", *named, "-x", "c", "-"]
        done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Unavailable(f"the compiler makes no stand-in for {name}: {done.stderr.strip()[:300]}")


def run_beside(wheel: Wheel, script: Path, *arguments: str) -> Any:
    """The JSON that a script writes in a process of its own, where TensorRT's libraries are the stand-ins."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "LD_LIBRARY_PATH")}
    command = [sys.executable, "-W", "error", str(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=clean, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{script.name} fails on {wheel} over the stand-ins:\n{done.stderr}")
    return json.loads(done.stdout)
