"""The calibration table as a JSON file: one fixed order of keys, and a reader that says what is damaged.

::

    {"kind": "calibration-table", "schema": 1, "method": ..., "fingerprint": {...},
     "tensors": {NAME: {"minimum", "maximum", "elements", "thresholds": {METHOD: t}, "saturated": {METHOD: share}}},
     "snapshots": {METHOD: [{"images": n, "thresholds": {NAME: t}}]}, "versions": {...}, "command": [...],
     "image_marks": "MARK MARK ..."}

Numbers are written with the fewest digits that read back as the same float64. Every key but "image_marks", which older
tables lack, must be there and no other may be: a file that was edited or merged by hand says so instead of losing a
field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any, Final, TypeVar

from calibration.errors import CalibrationError
from calibration.table import (
    AGAIN,
    KIND,
    METHODS,
    CalibrationTable,
    Fingerprint,
    Method,
    Snapshot,
    TensorStatistics,
    as_method,
    fault,
)

SCHEMA: Final = 1
MARKS: Final = "image_marks"

_TABLE_KEYS: Final = ("kind", "schema", "method", "fingerprint", "tensors", "snapshots", "versions", "command")
_TENSOR_KEYS: Final = ("minimum", "maximum", "elements", "thresholds", "saturated")
_FINGERPRINT_KEYS: Final = ("graph", "weights", "preprocess", "data", "images", "count", "seed")

T = TypeVar("T")


def is_table(text: str) -> bool:
    """Whether ``text`` is, or was before it was damaged, what :meth:`CalibrationTable.to_json` writes."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return text.lstrip().startswith("{") and re.search(rf'"kind"\s*:\s*"{KIND}"', text) is not None
    return isinstance(document, dict) and document.get("kind") == KIND


def write_table(table: CalibrationTable) -> str:
    """The table as JSON text that ends with a newline; the same table always gives the same text."""
    document = {
        "kind": KIND,
        "schema": SCHEMA,
        "method": table.method,
        "fingerprint": asdict(table.fingerprint),
        "tensors": {name: _tensor_document(tensor) for name, tensor in table.tensors.items()},
        "snapshots": {
            method: [
                {"images": int(row.images), "thresholds": {name: float(t) for name, t in row.thresholds.items()}}
                for row in table.snapshots[method]
            ]
            for method in METHODS
            if method in table.snapshots
        },
        "versions": dict(sorted(table.versions.items())),
        "command": list(table.command),
        **({MARKS: " ".join(table.image_marks)} if table.image_marks else {}),
    }
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def read_table(text: str, *, source: str) -> CalibrationTable:
    """What :func:`write_table` wrote, every number to the bit.

    Args:
        text: The JSON.
        source: The file's name, for messages.

    Raises:
        CalibrationError: The text is not JSON, cut short, no calibration table, of another schema, or damaged.
    """
    try:
        return _table(_document(text))
    except CalibrationError as error:
        raise CalibrationError(
            f"{source}: {error.what}", got=error.got, wanted=error.wanted, next_step=error.next_step or AGAIN
        ) from error


def _tensor_document(tensor: TensorStatistics) -> dict[str, Any]:
    return {
        "minimum": float(tensor.minimum),
        "maximum": float(tensor.maximum),
        "elements": int(tensor.elements),
        "thresholds": {method: float(tensor.thresholds[method]) for method in METHODS},
        "saturated": {method: float(tensor.saturated[method]) for method in METHODS},
    }


def _document(text: str) -> Mapping[str, Any]:
    try:
        document = json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        if _is_cut_short(text, error):
            raise CalibrationError("The calibration table is cut short: its JSON does not end.") from error
        raise CalibrationError("This is not a calibration table: it is not JSON.", got=str(error)) from error
    except (ValueError, RecursionError) as error:
        raise CalibrationError("This is not a calibration table: it is not JSON.", got=str(error)) from error
    kind = document.get("kind") if isinstance(document, dict) else None
    if kind != KIND:
        raise CalibrationError("This is not a calibration table.", got=f"kind {kind!r}", wanted=f"kind {KIND!r}")
    schema = document.get("schema")
    if type(schema) is not int or schema != SCHEMA:
        raise CalibrationError(
            "The calibration table has another schema.",
            got=f"schema {schema!r}",
            wanted=f"schema {SCHEMA}",
            next_step="calibrate again, or use the version that wrote it",
        )
    return _object(document, "top level", _TABLE_KEYS, optional=(MARKS,))


def _is_cut_short(text: str, error: json.JSONDecodeError) -> bool:
    """Whether a JSON object began and never ended: whole ones close with the brace that opened them."""
    body = text.strip()
    at_its_end = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
    return body.startswith("{") and (not body.endswith("}") or at_its_end)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _value in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise CalibrationError(f'The calibration table has the key "{twice}" twice in one place.')
    return found


def _refuse_constant(name: str) -> float:
    raise CalibrationError("The calibration table holds a number that is not finite.", got=name)


def _table(document: Mapping[str, Any]) -> CalibrationTable:
    command = _typed(document["command"], "command", list, "a list of texts")
    return CalibrationTable(
        method=as_method(_text(document["method"], "method"), "method"),
        fingerprint=_fingerprint(_object(document["fingerprint"], "fingerprint", _FINGERPRINT_KEYS)),
        tensors={
            name: _tensor(value, f'tensors["{name}"]')
            for name, value in _mapping(document["tensors"], "tensors").items()
        },
        snapshots={
            as_method(method, "snapshots"): _snapshots(rows, f"snapshots.{method}")
            for method, rows in _mapping(document["snapshots"], "snapshots").items()
        },
        versions={
            name: _text(value, f'versions["{name}"]')
            for name, value in _mapping(document["versions"], "versions").items()
        },
        command=tuple(_text(part, f"command[{index}]") for index, part in enumerate(command)),
        image_marks=tuple(_text(document.get(MARKS, ""), MARKS).split()),
    )


def _fingerprint(value: Mapping[str, Any]) -> Fingerprint:
    seed = value["seed"]
    return Fingerprint(
        graph=_text(value["graph"], "fingerprint.graph"),
        weights=_text(value["weights"], "fingerprint.weights"),
        preprocess=_mapping(value["preprocess"], "fingerprint.preprocess"),
        data=_text(value["data"], "fingerprint.data"),
        images=_text(value["images"], "fingerprint.images"),
        count=_integer(value["count"], "fingerprint.count"),
        seed=None if seed is None else _integer(seed, "fingerprint.seed"),
    )


def _tensor(value: object, where: str) -> TensorStatistics:
    fields = _object(value, where, _TENSOR_KEYS)
    return TensorStatistics(
        minimum=_number(fields["minimum"], f"{where}.minimum"),
        maximum=_number(fields["maximum"], f"{where}.maximum"),
        elements=_integer(fields["elements"], f"{where}.elements"),
        thresholds=_by_method(fields["thresholds"], f"{where}.thresholds"),
        saturated=_by_method(fields["saturated"], f"{where}.saturated"),
    )


def _by_method(value: object, where: str) -> dict[Method, float]:
    fields = _object(value, where, METHODS)
    return {method: _number(fields[method], f"{where}.{method}") for method in METHODS}


def _snapshots(value: object, where: str) -> tuple[Snapshot, ...]:
    rows = []
    for index, row in enumerate(_typed(value, where, list, "a list")):
        here = f"{where}[{index}]"
        fields = _object(row, here, ("images", "thresholds"))
        thresholds = _mapping(fields["thresholds"], f"{here}.thresholds")
        rows.append(
            Snapshot(
                images=_integer(fields["images"], f"{here}.images"),
                thresholds={name: _number(t, f'{here}.thresholds["{name}"]') for name, t in thresholds.items()},
            )
        )
    return tuple(rows)


def _object(value: object, where: str, keys: Collection[str], *, optional: Collection[str] = ()) -> dict[str, Any]:
    fields = _mapping(value, where)
    for key in keys:
        if key not in fields:
            raise fault(where, f'has no "{key}"')
    for key in fields:
        if key not in keys and key not in optional:
            raise fault(where, f'has "{key}", which is not known', wanted=", ".join(keys))
    return fields


def _mapping(value: object, where: str) -> dict[str, Any]:
    return _typed(value, where, dict, "an object")


def _text(value: object, where: str) -> str:
    return _typed(value, where, str, "a text")


def _integer(value: object, where: str) -> int:
    return _typed(value, where, int, "a whole number")


def _number(value: object, where: str) -> float:
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError as error:
            raise fault(where, "is too large for a number") from error
    return _typed(value, where, float, "a number")


def _typed(value: object, where: str, kind: type[T], told: str) -> T:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise fault(where, f"is {json.dumps(value)[:40]}", wanted=told)
    return value
