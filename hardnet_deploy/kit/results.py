"""The results store: one JSON file of rows that came from devices, each once.

Schema 1::

    {"schema": 1, "kind": "device-results", "rows": [
      {"id": SHA-256 over what was imported (without the file's layout): the same report twice is one row,
       "label": "imported (DEVICE, DATE)", with ", simulated" behind it where a stand-in ran,
       "source": "device report" | "trtexec", "simulated": bool,
       "model": name | null, "trained": bool | null, "target": name | null,
       "device": name, "compute_capability": "5.3" | null, "power_mode": name | null,
       "tensorrt": version, "date": "2026-11-21",
       "precision": "fp32" | "fp16" | "int8" | null, "layers": {precision: number of layers} | null,
       "timing": {"median", "mean", "p90", "p95", "p99", "min", "max": ms; "cov_percent"; "stable"; "runs"; "boundary";
                  "inputs"; "protocol"; "conditions": {"before", "after"} (temperatures, clocks) | null;
                  "gpu_compute_ms": raw times}; ``time_statistics`` says how each is defined,
       "parity": {"passed", "failures", "samples", "matched", "missing", "extra", "worst_iou",
                  "worst_score_difference", "tolerances"} | null,
       "profile": {"runs", "layers": [{"name", "average_ms", "median_ms" | null, "percent"}]} | null,
       "sha256": {"kit" | null, "onnx" | null, "engine" | null, "file": of what was imported},
       "not_in_file": names of what is null because the file does not have it,
       "notes": sentences}]}
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from hardnet_deploy.errors import InputFileError
from hardnet_deploy.files import atomic_output, sha256_bytes, write_durably
from hardnet_deploy.kit.json_record import Record, read_json
from hardnet_deploy.kit.stored_row import refuse_broken_row

SCHEMA: Final = 1
KIND: Final = "device-results"
AGAIN: Final = "check the files that were imported, and the engine's manifest"
ANOTHER: Final = "hardnet-deploy import-report writes such a file; name it, or another --save"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One result of one device; see the module for what each field is.

    Args:
        document: What was imported, for the row's identity; not stored.
    """

    document: Any
    label: str
    source: str
    simulated: bool
    model: str | None
    trained: bool | None
    target: str | None
    device: str
    compute_capability: str | None
    power_mode: str | None
    tensorrt: str
    date: str
    precision: str | None
    layers: Mapping[str, int] | None
    timing: Mapping[str, Any]
    parity: Mapping[str, Any] | None
    profile: Mapping[str, Any] | None
    sha256: Mapping[str, str | None]
    not_in_file: tuple[str, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The row as it is stored."""
        canonical = json.dumps(self.document, sort_keys=True, separators=(",", ":"))
        fields = asdict(self)
        del fields["document"]
        return {
            "id": sha256_bytes(canonical.encode("utf-8", "backslashreplace")),
            **fields,
            "not_in_file": list(self.not_in_file),
            "notes": list(self.notes),
        }


def read_rows(store: Path) -> list[dict[str, Any]]:
    """The rows of a store, as the module has them, each held against itself; none where there is no file yet.

    Every part is there and of its kind, the figures of ``timing`` follow from ``gpu_compute_ms``, and the label says
    what ran: ``imported (device, date)``, with ``, simulated`` behind it where a stand-in did.

    Args:
        store: Of :func:`merge`.

    Raises:
        InputFileError: The file is no such store, of another schema, or a row is broken; it stays as it is.
    """
    if not os.path.lexists(store):
        return []
    document = read_json(store, what="a store of results", hint=ANOTHER)
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise InputFileError(f"{store} is no store of results", next_step=ANOTHER)
    if document.get("schema") != SCHEMA:
        raise InputFileError(
            f"{store} has another schema",
            got=f"schema {document.get('schema')}",
            wanted=f"schema {SCHEMA}",
            next_step="use the version of hardnet-deploy that wrote it, or another --save",
        )
    rows = Record.of(document, str(store), hint=ANOTHER).records("rows")
    for row in rows:
        refuse_broken_row(row)
    ids = [row.values["id"] for row in rows]
    if len(set(ids)) != len(ids):
        raise InputFileError(f"{store} has the same row twice", next_step="remove one of them")
    return [dict(row.values) for row in rows]


def merge(store: Path, row: Row) -> tuple[dict[str, Any], bool]:
    """Add a row to a store, or put it in the place of the same one.

    Returns:
        The row as stored, and whether it is new.

    Raises:
        InputFileError: See :func:`read_rows`; also where ``row`` could not be read back.
        OutputFileError: It cannot be written; the store stays as it was.
    """
    rows, stored = read_rows(store), row.as_dict()
    refuse_broken_row(Record.of(json.loads(json.dumps(stored)), "what was imported", "the row", hint=AGAIN))
    places = [place for place, other in enumerate(rows) if other["id"] == stored["id"]]
    if places:
        rows[places[0]] = stored
    else:
        rows.append(stored)
    document = {"schema": SCHEMA, "kind": KIND, "rows": rows}
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_output(store) as temporary:
        write_durably(temporary, text.encode("utf-8", "backslashreplace"))
    return stored, not places
