"""The documents that a report is made of, told apart by what they hold, never by their names.

Every document of ours says its ``kind`` and ``schema``. Evaluations, parity comparisons and sensitivity rankings that
were written before they did are known by their keys.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NoReturn, get_args

from hardnet_deploy.bench.document import check_bench
from hardnet_deploy.errors import InputFileError
from hardnet_deploy.files import sha256_bytes
from hardnet_deploy.kit.json_record import Record, read_json
from hardnet_deploy.kit.stored_row import refuse_broken_row

Kind = Literal[
    "manifest", "evaluation", "parity", "sensitivity", "calibration", "bench", "profile", "roofline", "device-results"
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
SCHEMA: Final = 1  # of every kind, so far
_IMPORT_AGAIN: Final = "import the device's report again, or leave this document out"
_OTHER_NAMES: Final[dict[str, Kind]] = {"onnx": "manifest", "tensorrt": "manifest", "calibration-table": "calibration"}
_BY_KEYS: Final[dict[Kind, frozenset[str]]] = {
    "parity": frozenset({"passed", "reference", "candidate", "tensors", "failures"}),
    "evaluation": frozenset({"mAP", "metric", "per_class", "engine", "postprocess"}),
    "sensitivity": frozenset({"engine", "data", "layers", "picture"}),
}


@dataclass(frozen=True)
class Part:
    """A JSON object of a document. What is absent or null is None or empty; what is of another type is refused.

    Args:
        values: The object.
        source: The file and the place in it, for messages.
    """

    values: Mapping[str, Any]
    source: str

    def __bool__(self) -> bool:
        """False where there is nothing in it."""
        return bool(self.values)

    def text(self, name: str) -> str | None:
        """A text."""
        value: str | None = self._typed(name, str, "a text")
        return value

    def flag(self, name: str) -> bool | None:
        """True or false."""
        value: bool | None = self._typed(name, bool, "true or false")
        return value

    def number(self, name: str) -> float | None:
        """A finite number."""
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= sys.float_info.max:
            self._refuse(name, "a number")
        return value

    def count(self, name: str) -> int:
        """A number of things; 0 where it is absent."""
        value = self.number(name)
        return 0 if value is None else int(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        values = self._typed(name, list, "a list of texts") or []
        return tuple(value if isinstance(value, str) else self._refuse(name, "a list of texts") for value in values)

    def numbers(self, name: str) -> tuple[float, ...]:
        """A list of numbers."""
        values = self._typed(name, list, "a list of numbers") or []
        numbers = {str(place): value for place, value in enumerate(values)}
        found = [Part(numbers, f"{self.source}: {name}").number(place) for place in numbers]
        return tuple(one for one in found if one is not None)

    def part(self, name: str) -> Part:
        """An object in this one; an empty one where there is none."""
        return Part(self._typed(name, dict, "an object") or {}, f"{self.source}: {name}")

    def parts(self, name: str) -> tuple[Part, ...]:
        """A list of objects."""
        values = self._typed(name, list, "a list of objects") or []
        if not all(isinstance(value, dict) for value in values):
            self._refuse(name, "a list of objects")
        return tuple(Part(value, f"{self.source}: {name}[{place}]") for place, value in enumerate(values))

    def _typed(self, name: str, kind: type, wanted: str) -> Any:
        value = self.values.get(name)
        return value if value is None or isinstance(value, kind) else self._refuse(name, wanted)

    def _refuse(self, name: str, wanted: str) -> NoReturn:
        raise InputFileError(
            f"{self.source}: '{name}' cannot be read",
            got=repr(self.values[name])[:60],
            wanted=wanted,
            next_step="make the document again, or leave it out of the report",
        )


@dataclass(frozen=True)
class Document:
    """One document.

    Args:
        kind: What it is.
        path: The file.
        sha256: Of the file.
        content: What it holds.
    """

    kind: Kind
    path: Path
    sha256: str
    content: Part

    @property
    def artifact(self) -> Path:
        """What a manifest describes: ``F`` of ``F.json``."""
        return self.path.with_name(self.path.name.removesuffix(".json"))


class ForeignFileError(InputFileError):
    """A JSON file that is none of the documents a report is made of."""


def read_document(path: Path) -> Document:
    """Read one file.

    Raises:
        ForeignFileError: It is JSON of something else.
        InputFileError: It cannot be read, is no JSON, is of another schema than this version knows, or holds times or
            results of devices that cannot be true.
    """
    record = read_json(path, what="a document of a run", hint="leave it out, or make it again")
    kind = _kind(record)
    if kind is None:
        raise ForeignFileError(
            f"{path} is no document that a report can show",
            wanted=f"JSON of one of these kinds: {', '.join(KINDS)}",
            next_step="for what came back from a device, hardnet-deploy import-report first",
        )
    schema = record.get("schema", SCHEMA)
    if schema != SCHEMA or isinstance(schema, bool):
        raise InputFileError(
            f"{path} is of another schema of '{kind}'",
            got=f"schema {schema!r}"[:60],
            wanted=f"schema {SCHEMA}",
            next_step="make it again with this version",
        )
    if kind == "bench":
        check_bench(record, source=str(path))
    elif kind == "device-results":
        _check_device_rows(record, str(path))
    return Document(kind=kind, path=path, sha256=sha256_bytes(path.read_bytes()), content=Part(record, str(path)))


def _check_device_rows(record: Mapping[str, Any], source: str) -> None:
    """Hold each row against itself, as ``bench --results`` does."""
    rows = [] if record.get("rows") is None else Record.of(record, source, hint=_IMPORT_AGAIN).records("rows")
    for row in rows:
        refuse_broken_row(row)
    if len({row.values["id"] for row in rows}) != len(rows):
        raise InputFileError(f"{source} has the same row twice", next_step="remove one of them")


def _kind(record: Any) -> Kind | None:
    if not isinstance(record, dict):
        return None
    named = record.get("kind")
    if isinstance(named, str):
        if named in _OTHER_NAMES and (named == "calibration-table" or {"sha256", "precision"} <= record.keys()):
            return _OTHER_NAMES[named]
        return next((kind for kind in KINDS if kind == named and kind not in {"manifest", "calibration"}), None)
    return next((kind for kind, keys in _BY_KEYS.items() if keys <= record.keys()), None) if named is None else None
