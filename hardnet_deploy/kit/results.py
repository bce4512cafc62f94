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
       "timing": {"median", "mean", "p99", "min", "max": ms; "cov_percent"; "stable"; "runs"; "boundary"; "inputs";
                  "protocol"; "gpu_compute_ms": raw times},
       "parity": {"passed", "failures", "samples", "matched", "missing", "extra", "worst_iou",
                  "worst_score_difference", "tolerances"} | null,
       "profile": {"runs", "layers": [{"name", "average_ms", "median_ms" | null, "percent"}]} | null,
       "sha256": {"kit" | null, "onnx" | null, "engine" | null, "file": of what was imported},
       "not_in_file": names of what is null because the file does not have it,
       "notes": sentences}]}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from hardnet_deploy.errors import InputFileError
from hardnet_deploy.files import atomic_output, sha256_bytes, write_durably
from hardnet_deploy.kit.json_record import read_json

SCHEMA: Final = 1
KIND: Final = "device-results"
SIMULATED_VERSION: Final = "+simulated"
SIMULATED_DEVICE: Final = "Simulated "


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


def label_of(device: str, tensorrt: str, date: str) -> tuple[str, bool]:
    """``imported (device, date)``, and whether a stand-in ran, which the label then says."""
    simulated = SIMULATED_VERSION in tensorrt or device.startswith(SIMULATED_DEVICE)
    return f"imported ({device}, {date})" + (", simulated" if simulated else ""), simulated


def read_rows(store: Path) -> list[dict[str, Any]]:
    """The rows of a store; none where there is no file yet.

    Raises:
        InputFileError: The file is no such store, or of another schema; it stays as it is.
    """
    if not store.exists():
        return []
    document = read_json(store, what="a store of results")
    rows = document.get("rows") if isinstance(document, dict) and document.get("kind") == KIND else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "id" in row for row in rows):
        raise InputFileError(
            f"{store} is no store of results, so nothing was written", next_step="choose another --save"
        )
    if document.get("schema") != SCHEMA:
        raise InputFileError(
            f"{store} has another schema, so nothing was written",
            got=f"schema {document.get('schema')}",
            wanted=f"schema {SCHEMA}",
        )
    return rows


def merge(store: Path, row: Row) -> tuple[dict[str, Any], bool]:
    """Add a row to a store, or put it in the place of the same one.

    Returns:
        The row as stored, and whether it is new.

    Raises:
        InputFileError: See :func:`read_rows`.
        OutputFileError: It cannot be written; the store stays as it was.
    """
    rows, stored = read_rows(store), row.as_dict()
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
