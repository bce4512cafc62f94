"""Reading JSON that others wrote: every part is what it must be, or one sentence says where it is not."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from hardnet_deploy.errors import InputFileError


def read_json(path: Path, *, what: str) -> Any:
    """A JSON file.

    Args:
        path: It.
        what: What it should be, in words.

    Raises:
        InputFileError: It cannot be read, is cut short or no JSON, or holds numbers that are none.
    """

    def refuse(text: str) -> NoReturn:
        raise ValueError(f"it holds {text}, which is no number")

    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputFileError(f"{path} cannot be read as {what}", got=reason) from error


@dataclass(frozen=True)
class Record:
    """A JSON object whose parts are asked for by name and kind.

    Args:
        values: The object.
        where: Its place in the document; empty for the whole.
        source: File and kind, for messages.
    """

    values: Mapping[str, Any]
    where: str
    source: str

    @classmethod
    def of(cls, value: Any, source: str, where: str = "") -> Record:
        """The object ``value``.

        Raises:
            InputFileError: It is none.
        """
        if not isinstance(value, dict):
            raise InputFileError(f"{source}: {where or 'the document'} is no JSON object", got=_shown(value))
        return cls(value, where, source)

    def has(self, name: str) -> bool:
        """True where there is such a part and it is not null."""
        return self.values.get(name) is not None

    def text(self, name: str) -> str:
        """A text that is not empty."""
        value = self.values.get(name)
        return value if isinstance(value, str) and value else self._refuse(name, "a text")

    def digest(self, name: str) -> str:
        """A SHA-256: 64 hexadecimal digits."""
        value = self.text(name)
        if len(value) != 64 or not set(value) <= set("0123456789abcdef"):
            self._refuse(name, "a SHA-256 of 64 hexadecimal digits")
        return value

    def boolean(self, name: str) -> bool:
        """True or false."""
        value = self.values.get(name)
        return value if isinstance(value, bool) else self._refuse(name, "true or false")

    def number(self, name: str) -> float:
        """A number."""
        return value if (value := _as_number(self.values.get(name))) is not None else self._refuse(name, "a number")

    def count(self, name: str) -> int:
        """A number of things."""
        value = self.values.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        return self._refuse(name, "a count")

    def numbers(self, name: str) -> list[float]:
        """A list of numbers that are not negative, at least one."""
        value = self.values.get(name)
        found = [_as_number(one) for one in value] if isinstance(value, list) else []
        numbers = [one for one in found if one is not None and one >= 0]
        return numbers if found and len(numbers) == len(found) else self._refuse(name, "numbers, none negative")

    def record(self, name: str) -> Record:
        """An object in this one."""
        return Record.of(self.values.get(name), self.source, self._place(name))

    def records(self, name: str) -> list[Record]:
        """A list of objects."""
        value = self.values.get(name)
        if not isinstance(value, list):
            self._refuse(name, "a list")
        return [Record.of(one, self.source, f"{self._place(name)}[{index}]") for index, one in enumerate(value)]

    def _place(self, name: str) -> str:
        return f"{self.where}.{name}" if self.where else name

    def _refuse(self, name: str, wanted: str) -> NoReturn:
        got = _shown(self.values[name]) if name in self.values else "nothing"
        raise InputFileError(f"{self.source}: '{self._place(name)}' cannot be read", got=got, wanted=wanted)


def _as_number(value: Any) -> float | None:
    """The number; None for anything else, for true and false, and for a number beyond all floats."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    with contextlib.suppress(OverflowError):
        return float(value) if math.isfinite(value) else None
    return None


def _shown(value: Any) -> str:
    return json.dumps(value)[:60]
