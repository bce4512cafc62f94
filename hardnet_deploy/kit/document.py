"""``kit.json``: what the device is to build, check and time, and with which files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hardnet_deploy.artifacts import Manifest, versions
from hardnet_deploy.device import run_engine
from hardnet_deploy.errors import ArtifactMismatchError, InputFileError
from hardnet_deploy.files import sha256_file
from hardnet_deploy.kit.estimate import Estimate
from hardnet_deploy.kit.folder import entries
from hardnet_deploy.kit.layout import CACHE, INPUTS, KIND, KIT, MODEL, RANGES, REFERENCE, RUNNER, SCHEMA
from hardnet_deploy.target_spec import Precision, Target

PACKAGES = ("torch", "onnx", "onnxruntime-gpu", "onnxruntime", "numpy")


@dataclass(frozen=True, kw_only=True)
class KitParts:
    """What a kit is made of, beside its files.

    Args:
        target: The device.
        precision: Of the engine.
        manifest: Of the ONNX file.
        workspace: Bytes for the builder; None for no limit.
        held_in_fp32: The build settings ``fp32_layers`` and ``fp32_outputs``.
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
    }
    if parts.precision == "int8":
        settings |= {"calibration_cache": entry(CACHE), "dynamic_ranges": entry(RANGES)}
    return {
        "schema": SCHEMA,
        "kind": KIND,
        "target": parts.target.name,
        "family": parts.target.tensorrt_families[0],
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
        InputFileError: There is no kit there.
        ArtifactMismatchError: A file is missing or changed, or the kit has another schema.
    """
    path = folder / KIT
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputFileError(
            f"{folder} is no kit: its {KIT} cannot be read", got=str(error), next_step="hardnet-deploy kit writes one"
        ) from error
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise InputFileError(f"{path} is no kit's", next_step="hardnet-deploy kit writes one")
    files = document.get("files")
    if document.get("schema") != SCHEMA or not isinstance(files, dict):
        raise ArtifactMismatchError(
            f"{path} has another schema",
            got=f"schema {document.get('schema')}",
            wanted=f"schema {SCHEMA}",
            next_step="write the kit again with this version",
        )
    for name, entry in files.items():
        if not isinstance(entry, dict) or _digest(folder / name) != entry.get("sha256"):
            raise ArtifactMismatchError(
                f"{folder / name} is not what {KIT} says", next_step="use the kit as it was written"
            )
    return KitFolder(folder=folder, document=document, sha256=sha256_file(path))


def _digest(path: Path) -> str | None:
    try:
        return sha256_file(path)
    except OSError:
        return None
