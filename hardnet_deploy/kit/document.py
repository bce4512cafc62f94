"""``kit.json``: what the device is to build, check and time, and with which files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from hardnet_deploy.artifacts import Manifest, versions
from hardnet_deploy.device import run_engine
from hardnet_deploy.errors import ArtifactMismatchError, InputFileError
from hardnet_deploy.files import sha256_file
from hardnet_deploy.kit.estimate import Estimate
from hardnet_deploy.kit.folder import entries
from hardnet_deploy.kit.json_record import Record, read_json
from hardnet_deploy.kit.layout import CACHE, INPUTS, KIND, KIT, MANIFEST, MODEL, RANGES, REFERENCE, RUNNER, SCHEMA
from hardnet_deploy.target_spec import Precision, Target
from hardnet_deploy.targets import TARGETS

PACKAGES = ("torch", "onnx", "onnxruntime-gpu", "onnxruntime", "numpy")
AGAIN: Final = "use the kit as hardnet-deploy kit wrote it"


@dataclass(frozen=True, kw_only=True)
class KitParts:
    """What a kit is made of, beside its files.

    Args:
        target: The device.
        precision: Of the engine.
        manifest: Of the ONNX file.
        workspace: Bytes for the builder; None for no limit.
        held_in_fp32: The build settings ``fp32_layers`` and ``fp32_outputs``.
        requested: What each node with weights is asked to compute in; those that are asked for a precision in which the
            device is no faster than in FP32 may stay there.
        data: What the samples are, in words.
        count: Number of samples.
        tolerances: See :func:`~hardnet_deploy.kit.tolerances.tolerances_for`.
        estimate: Of memory and disk.
        calibration: Where the INT8 ranges come from; None without INT8.
        notes: What whoever gets the kit should know.
        command: The command line.
    """

    target: Target
    precision: Precision
    manifest: Manifest
    workspace: int | None
    held_in_fp32: Mapping[str, list[str]]
    requested: Mapping[str, Precision]
    data: str
    count: int
    tolerances: Mapping[str, Any]
    estimate: Estimate
    calibration: Mapping[str, Any] | None
    notes: tuple[str, ...]
    command: tuple[str, ...]


def kit_document(parts: KitParts, folder: Path) -> dict[str, Any]:
    """The document for a folder that holds all files but itself and the README."""
    files = entries(folder)
    manifest = parts.manifest

    def entry(name: str) -> dict[str, Any]:
        return {"file": name, "sha256": files[name]["sha256"]}

    settings: dict[str, Any] = {
        "precision": parts.precision,
        "typed": False,
        "workspace_bytes": parts.workspace,
        **parts.held_in_fp32,
        "batch": None,
        "requested": dict(parts.requested),
        "may_stay_float": [
            name
            for name, asked in parts.requested.items()
            if asked != "fp32" and parts.target.precisions[asked] == "works"
        ],
    }
    if parts.precision == "int8":
        settings |= {"calibration_cache": entry(CACHE), "dynamic_ranges": entry(RANGES)}
    return {
        "schema": SCHEMA,
        "kind": KIND,
        "target": parts.target.name,
        "family": parts.target.tensorrt_families[0],
        "minimum_tensorrt": list(parts.target.minimum_tensorrt or ()),
        "compute_capability": list(parts.target.compute_capability or ()),
        "runtime": parts.target.runtime,
        "precision": parts.precision,
        "model": dict(manifest.model),
        "weights": dict(manifest.weights),
        "trained": manifest.trained,
        "onnx": entry(MODEL),
        "settings": settings,
        "preprocess": dict(manifest.preprocess),
        "class_names": list(manifest.class_names),
        "outputs": manifest.graph["outputs"],
        "thresholds": manifest.graph["thresholds"],
        "candidate_cap": parts.target.nms_candidate_cap,
        "samples": {
            "inputs": entry(INPUTS),
            "reference": entry(REFERENCE),
            "count": parts.count,
            "data": parts.data,
        },
        "tolerances": dict(parts.tolerances),
        "protocol": dict(run_engine.PROTOCOL),
        "estimate": asdict(parts.estimate),
        "calibration": parts.calibration,
        "notes": list(parts.notes),
        "runner": entry(RUNNER),
        "files": files,
        "versions": versions(PACKAGES),
        "command": list(parts.command),
    }


def kit_bytes(document: Mapping[str, Any]) -> bytes:
    """The document as it stands in ``kit.json``."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "backslashreplace")  # a path in the command line need not be UTF-8


@dataclass(frozen=True, kw_only=True)
class KitFolder:
    """A kit that was read: every file is what ``kit.json`` says.

    Args:
        folder: Where it is.
        document: ``kit.json``.
        sha256: Of ``kit.json``, which names the hashes of all other files.
    """

    folder: Path
    document: Mapping[str, Any]
    sha256: str


def read_kit(folder: Path) -> KitFolder:
    """Read a kit and hold its files against their hashes.

    Raises:
        InputFileError: There is no kit there, or its ``kit.json`` is not whole.
        ArtifactMismatchError: A file is missing or changed, or the kit has another schema.
    """
    path = folder / KIT
    if not folder.is_dir():
        raise InputFileError(
            f"{folder} is no kit: there is no such folder", next_step="name the folder that hardnet-deploy kit wrote"
        )
    if not path.exists():
        raise InputFileError(f"{folder} is no kit: it has no {KIT}", next_step="hardnet-deploy kit writes one")
    record = Record.of(read_json(path, what="a kit's", hint=AGAIN), str(path), hint=AGAIN)
    if record.values.get("kind") != KIND:
        raise InputFileError(f"{path} is no kit's", next_step="hardnet-deploy kit writes one")
    if record.values.get("schema") != SCHEMA:
        raise ArtifactMismatchError(
            f"{path} has another schema",
            got=f"schema {record.values.get('schema')}",
            wanted=f"schema {SCHEMA}",
            next_step="write the kit again with this version",
        )
    _refuse_incomplete(record)
    files = record.record("files")
    for name in files.values:
        if _digest(folder / name) != files.record(name).digest("sha256"):
            raise ArtifactMismatchError(f"{folder / name} is not what {KIT} says", next_step=AGAIN)
    return KitFolder(folder=folder, document=record.values, sha256=sha256_file(path))


def _refuse_incomplete(record: Record) -> None:
    """What an import reads of a kit is there and of its kind, and the files that a device needs are listed."""
    record.record("model").line("name")
    record.boolean("trained")
    record.texts("outputs")
    record.record("samples").count("count")
    for name in ("tolerances", "protocol"):
        record.record(name)
    target, precision = record.line("target"), record.record("settings").line("precision")
    if target not in TARGETS or not TARGETS[target].uses_tensorrt:
        record.refuse("target", "one of " + ", ".join(name for name, row in TARGETS.items() if row.uses_tensorrt))
    if precision not in TARGETS[target].precisions or record.values.get("precision") != precision:
        record.refuse("precision", "the same as 'settings.precision'")
    files = record.record("files")
    for name in files.values:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            record.refuse("files", "files in the kit's folder")
    for name in (MODEL, MANIFEST, RUNNER, INPUTS, REFERENCE):
        files.record(name).digest("sha256")
    if record.record("onnx").digest("sha256") != files.record(MODEL).digest("sha256"):
        record.record("onnx").refuse("sha256", f"that of {MODEL} in 'files'")


def _digest(path: Path) -> str | None:
    try:
        return sha256_file(path)
    except OSError:
        return None
