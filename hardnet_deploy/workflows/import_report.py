"""``hardnet-deploy import-report``: what a device measured, held against itself and its kit, into the results."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hardnet_deploy.artifacts import hold_against_manifest, manifest_path, read_content
from hardnet_deploy.device import run_engine
from hardnet_deploy.errors import UsageError
from hardnet_deploy.files import refuse_unwritable, sha256_bytes, sha256_file
from hardnet_deploy.kit.device_report import read_report
from hardnet_deploy.kit.document import KitFolder, read_kit
from hardnet_deploy.kit.layout import KIT
from hardnet_deploy.kit.results import Row, label_of, merge
from hardnet_deploy.kit.trtexec_json import family_of, read_layer_info, read_profile, read_times
from hardnet_deploy.tensor_names import DETECTION_OUTPUTS

STORE: Final = Path("results.json")
WARM_UP_MS: Final = 200.0
DEFAULTS_OF_11: Final = "by its defaults since 11: CUDA graph, spin-wait, no transfers"


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """The options of ``hardnet-deploy import-report`` as typed; None means that the user left it out."""

    report: Path | None = None
    kit: Path | None = None
    times: Path | None = None
    profile: Path | None = None
    layer_info: Path | None = None
    tensorrt: str | None = None
    device: str | None = None
    date: str | None = None
    engine: Path | None = None
    warm_up_ms: float | None = None
    save: Path | None = None


@dataclass(frozen=True, kw_only=True)
class ImportResult:
    """An imported row.

    Args:
        row: As stored.
        new: False where the same report was there already.
        store: The file it is in.
        notes: What the user should know.
    """

    row: dict[str, Any]
    new: bool
    store: Path
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"store": str(self.store), "new": self.new, "row": self.row, "notes": list(self.notes)}


def run_import(request: ImportRequest) -> ImportResult:
    """Check what came from a device, and merge it into the results.

    Raises:
        UsageError: Options that cannot be meant.
        InputFileError: A file that cannot be read or is not what it should be.
        ArtifactMismatchError: Hashes or figures that disagree.
        OutputFileError: The results cannot be written.
    """
    store = request.save or STORE
    _refuse_options(request)
    refuse_unwritable(store)
    row = _from_trtexec(request) if request.report is None else read_report(request.report, _kit_of(request))
    stored, new = merge(store, row)
    notes = row.notes if new else (*row.notes, "the same report was imported before: its row was replaced")
    return ImportResult(row=stored, new=new, store=store, notes=notes)


def _refuse_options(request: ImportRequest) -> None:
    of_trtexec = {
        "--profile": request.profile,
        "--layer-info": request.layer_info,
        "--tensorrt": request.tensorrt,
        "--device": request.device,
        "--date": request.date,
        "--engine": request.engine,
        "--warm-up": request.warm_up_ms,
    }
    if (request.report is None) == (request.times is None):
        raise UsageError(
            "name one of: the report.json of a device, or --times with what trtexec exported",
            next_step="hardnet-deploy import-report report.json",
        )
    given = [name for name, value in of_trtexec.items() if value is not None]
    if request.report is not None and given:
        raise UsageError(
            f"a device's report says this itself: {', '.join(given)}", next_step="drop them, or give --times instead"
        )
    if request.times is None:
        return
    missing = [name for name in ("--tensorrt", "--device", "--date") if of_trtexec[name] is None]
    if missing:
        raise UsageError(f"trtexec does not write down {', '.join(missing)}", next_step="add what is missing")
    if request.engine is None and request.kit is None:
        raise UsageError(
            "trtexec does not write down which engine it timed", next_step="add --engine F, --kit DIR or both"
        )
    if request.warm_up_ms is not None and not 0 <= request.warm_up_ms < float("inf"):
        raise UsageError(f"--warm-up {request.warm_up_ms:g} is out of range", wanted="0 ms or more")


def _kit_of(request: ImportRequest) -> KitFolder | None:
    """``--kit``; without it the kit in the report's own folder, if there is one."""
    if request.kit is not None:
        return read_kit(request.kit)
    assert request.report is not None
    folder = request.report.absolute().parent
    return read_kit(folder) if (folder / KIT).exists() else None


def _from_trtexec(request: ImportRequest) -> Row:
    assert request.times is not None
    version, device = request.tensorrt or "", request.device or ""
    family = family_of(version)
    warm_up_ms = WARM_UP_MS if request.warm_up_ms is None else request.warm_up_ms
    date = _day(request.date or "")
    times, document = read_times(request.times, version, warm_up_ms=warm_up_ms)
    profile = None if request.profile is None else read_profile(request.profile)
    layers = None if request.layer_info is None else read_layer_info(request.layer_info, version)
    kit = None if request.kit is None else read_kit(request.kit)
    engine, model = _engine_of(request.engine) if request.engine else (None, None)
    known = kit.document if kit else {}
    label, simulated = label_of(device, version, date)
    facts: dict[str, Any] = {
        "model": known["model"]["name"] if kit else model,
        "trained": known["trained"] if kit else None,
        "target": known["target"] if kit else None,
        "compute_capability": None,
        "power_mode": None,
        "precision": known["precision"] if kit else None,
        "layers": layers,
        "parity": None,
        "profile": profile,
    }
    hashes = {
        "kit": kit.sha256 if kit else None,
        "onnx": known["onnx"]["sha256"] if kit else None,
        "engine": engine,
        "file": sha256_file(request.times),
    }
    identity = {"times": document, "tensorrt": version, "device": device, "date": date, "engine": engine}
    return Row(
        document=identity,
        label=label,
        source="trtexec",
        simulated=simulated,
        device=device,
        tensorrt=version,
        date=date,
        timing={
            **run_engine.summarise(times),
            "runs": len(times),
            "boundary": _boundary(known),
            "inputs": "not in this file; trtexec's default is random numbers",
            "protocol": {
                "warm_up_ms": warm_up_ms,
                "from": "trtexec --exportTimes" + (f", {DEFAULTS_OF_11}" if family == "11" else ""),
            },
            "gpu_compute_ms": times,
        },
        sha256=hashes,
        not_in_file=tuple(
            [name for name, value in facts.items() if value is None]
            + [f"sha256.{name}" for name, value in hashes.items() if value is None]
        ),
        notes=_said(facts, hashes),
        **facts,
    )


def _boundary(kit: Any) -> str:
    """What was timed; where the NMS is, only the kit knows."""
    if not kit:
        return "GPU compute; NMS in or out is not in this file"
    return "GPU compute, NMS in" if set(DETECTION_OUTPUTS) <= set(kit["outputs"]) else "GPU compute, NMS out"


def _said(facts: dict[str, Any], hashes: dict[str, str | None]) -> tuple[str, ...]:
    notes = ["parity: not in this file; trtexec compares nothing"]
    if hashes["engine"] is None:
        notes.append("the engine's hash: not in this file; add --engine F")
    else:
        notes.append("the engine's hash is of the file given; that trtexec timed it is your word")
    if facts["layers"] is None:
        notes.append("precision of the layers: not in this file; build with --profilingVerbosity=detailed")
    return tuple(notes)


def _engine_of(path: Path) -> tuple[str, str | None]:
    """Hash of the engine file, and the model's name where a manifest beside it says so."""
    content = read_content(path)
    if not manifest_path(path).exists():
        return sha256_bytes(content), None
    manifest = hold_against_manifest(path, content).manifest
    return sha256_bytes(content), str(manifest.model["name"]) if manifest and "name" in manifest.model else None


def _day(text: str) -> str:
    try:
        return dt.date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise UsageError(f"--date {text} is no date", wanted="as 2026-11-21") from error
