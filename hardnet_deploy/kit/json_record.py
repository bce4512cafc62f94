"""Reading JSON that others wrote: every part is what it must be, or one sentence says where it is not."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from hardnet_deploy.errors import InputFileError

MOST_BYTES: Final = 100_000_000
"""A report has some 30 KB, a hundred thousand runs of trtexec 30 MB."""
MOST: Final = 2**53
"""Whole numbers up to it are floating-point numbers too."""
LONGEST_LINE: Final = 200
LONGEST_MS: Final = 3_600_000.0


def read_json(path: Path, *, what: str, hint: str) -> Any:
    """A JSON file.

    Args:
        path: It.
        what: What it should be, in words.
        hint: What to do where its content is not that.

    Raises:
        InputFileError: It is missing, a folder, empty or too large, is cut short or no JSON, or holds numbers that are
            none.
    """
    content = _content(path, what)
    if not content.strip():
        raise InputFileError(f"{path} cannot be read as {what}", got="an empty file", next_step=hint)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputFileError(
            f"{path} cannot be read as {what}", got="bytes that are no UTF-8 text", wanted="JSON", next_step=hint
        ) from error
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError as error:
        raise InputFileError(f"{path} cannot be read as {what}", got="endless nesting", next_step=hint) from error
    except ValueError as error:
        raise InputFileError(f"{path} cannot be read as {what}", got=str(error), next_step=hint) from error


def _content(path: Path, what: str) -> bytes:
    try:
        if path.is_dir():
            raise InputFileError(f"{path} is a folder, not {what}", next_step="name the file in it")
        if path.exists() and not path.is_file():
            raise InputFileError(f"{path} is a device or a pipe, not {what}", next_step="save it as a file first")
        if path.is_file() and path.stat().st_size > MOST_BYTES:
            raise InputFileError(
                f"{path} is too large for {what}",
                got=f"{path.stat().st_size / 1e6:.0f} MB",
                wanted=f"at most {MOST_BYTES / 1e6:.0f} MB",
                next_step="check the path",
            )
        return path.read_bytes()
    except OSError as error:
        raise InputFileError(
            f"{path} cannot be read as {what}", got=error.strerror, next_step="check the path and its permissions"
        ) from error


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"it holds {text}, which is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"it holds {text[:40]}, which is beyond all numbers")
    return value


def is_line(text: str) -> bool:
    """True for one line that can be shown: not empty, not long, no control characters, no halves of a character."""
    return 0 < len(text) <= LONGEST_LINE and text.isprintable() and not text.isspace()


@dataclass(frozen=True)
class Record:
    """A JSON object whose parts are asked for by name and kind.

    Args:
        values: The object.
        where: Its place in the document; empty for the whole.
        source: File and kind, for messages.
        hint: What to do where a part is not what it must be, for messages.
    """

    values: Mapping[str, Any]
    where: str
    source: str
    hint: str

    @classmethod
    def of(cls, value: Any, source: str, where: str = "", *, hint: str) -> Record:
        """The object ``value``.

        Raises:
            InputFileError: It is none.
        """
        if not isinstance(value, dict):
            raise InputFileError(
                f"{source}: {where or 'the document'} is no JSON object", got=_shown(value), next_step=hint
            )
        return cls(value, where, source, hint)

    def has(self, name: str) -> bool:
        """True where there is such a part and it is not null."""
        return self.values.get(name) is not None

    def text(self, name: str) -> str:
        """A text that is not empty."""
        value = self.values.get(name)
        return value if isinstance(value, str) and value else self.refuse(name, "a text")

    def line(self, name: str) -> str:
        """A text as :func:`is_line` has it: it stands in labels and tables."""
        value = self.text(name)
        return value if is_line(value) else self.refuse(name, f"one printable line, {LONGEST_LINE} characters at most")

    def digest(self, name: str) -> str:
        """A SHA-256: 64 hexadecimal digits."""
        value = self.text(name)
        if len(value) != 64 or not set(value) <= set("0123456789abcdef"):
            self.refuse(name, "a SHA-256 of 64 hexadecimal digits")
        return value

    def boolean(self, name: str) -> bool:
        """True or false."""
        value = self.values.get(name)
        return value if isinstance(value, bool) else self.refuse(name, "true or false")

    def number(self, name: str) -> float:
        """A number."""
        return value if (value := _as_number(self.values.get(name))) is not None else self.refuse(name, "a number")

    def count(self, name: str) -> int:
        """A number of things."""
        value = self.values.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST:
            return value
        return self.refuse(name, "a count")

    def times(self, name: str) -> list[float]:
        """A list of times in milliseconds, at least one; nothing runs in no time, and no network for an hour."""
        value = self.values.get(name)
        found = [_as_number(one) for one in value] if isinstance(value, list) else []
        numbers = [one for one in found if one is not None and 0 < one <= LONGEST_MS]
        return (
            numbers
            if found and len(numbers) == len(found)
            else self.refuse(name, "times in ms, each more than 0 and an hour at most")
        )

    def texts(self, name: str) -> list[str]:
        """A list of texts; it may be empty."""
        value = self.values.get(name)
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            self.refuse(name, "a list of texts")
        return list(value)

    def record(self, name: str) -> Record:
        """An object in this one."""
        return Record.of(self.values.get(name), self.source, self._place(name), hint=self.hint)

    def records(self, name: str) -> list[Record]:
        """A list of objects."""
        value = self.values.get(name)
        if not isinstance(value, list):
            self.refuse(name, "a list")
        return [
            Record.of(one, self.source, f"{self._place(name)}[{index}]", hint=self.hint)
            for index, one in enumerate(value)
        ]

    def refuse(self, name: str, wanted: str) -> NoReturn:
        """Say that the part ``name`` is not what was wanted.

        Raises:
            InputFileError: Always.
        """
        got = _shown(self.values[name]) if name in self.values else "nothing"
        raise InputFileError(
            f"{self.source}: '{self._place(name)}' cannot be read", got=got, wanted=wanted, next_step=self.hint
        )

    def _place(self, name: str) -> str:
        return f"{self.where}.{name}" if self.where else name


def _as_number(value: Any) -> float | None:
    """The number; None for anything else, for true and false, and for a number beyond all floats."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    with contextlib.suppress(OverflowError):
        return float(value) if math.isfinite(value) else None
    return None


def _shown(value: Any) -> str:
    return json.dumps(value)[:60]
