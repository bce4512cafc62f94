"""What code touches of TensorRT, where, and what a release would have refused."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

HERE: Final = str(Path(__file__).parent)


@dataclass(frozen=True, order=True)
class Touch:
    """One use: ``owner`` is a class or ``tensorrt`` itself, ``how`` is get, set, call, implement or ask."""

    owner: str
    name: str
    how: str


@dataclass
class Record:
    """What was touched and where, and what the release would have refused."""

    touches: dict[Touch, set[tuple[str, int]]] = field(default_factory=dict)
    violations: dict[str, None] = field(default_factory=dict)

    def note(self, owner: str, name: str, how: str) -> None:
        self.touches.setdefault(Touch(owner, name, how), set()).add(place())

    def refuse(self, what: str) -> str:
        file, line = place()
        self.violations[f"{file}:{line}: {what}"] = None
        return what


def place() -> tuple[str, int]:
    """File name and line of the code under test: the nearest frame outside of this folder."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(HERE):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno
