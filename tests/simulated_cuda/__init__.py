"""A stand-in for libcudart, for tests alone: compiled from ``cudart.c`` with the compiler that is there.

What is measured with it is a CPU's time and never reported as a GPU's.
"""

from __future__ import annotations

import atexit
import ctypes
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

SOURCE: Final = Path(__file__).with_name("cudart.c")
KINDS: Final = ("memory", "streams", "events", "graphs", "launchable graphs")
Variant = Literal["10.2", "12"]


def compiler() -> str | None:
    """A C compiler; None where there is none, and then there is no stand-in."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


@cache
def compiled(variant: Variant = "12") -> Path:
    """The shared library, made once a process: with CUDA 12's functions, or with those that 10.2 has."""
    program = compiler()
    assert program is not None, "no C compiler: ask compiler() first"
    folder = tempfile.mkdtemp(prefix="simulated-cuda-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    library = Path(folder) / f"libcudart-{variant}.so"
    options = ["-DCUDA_10"] if variant == "10.2" else []
    subprocess.run(
        [program, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", *options, "-o", str(library), str(SOURCE)], check=True
    )
    return library


class Watch:
    """What lives in the library of this process."""

    def __init__(self, library: Path) -> None:
        self._library: Any = ctypes.CDLL(str(library))
        self._library.simulated_reset()

    def live(self) -> dict[str, int]:
        """Of each kind the number of things that were made and not given back; kinds with none are left out."""
        counts = {kind: self._library.simulated_live(number) for number, kind in enumerate(KINDS)}
        return {kind: count for kind, count in counts.items() if count}

    def launches(self) -> int:
        """Graphs launched."""
        return int(self._library.simulated_launches())
