"""What ``trtexec`` exported, as a row of the results: what its files do not say stays open unless an engine ties it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hardnet_deploy.device import run_engine
from hardnet_deploy.errors import ArtifactMismatchError, UsageError
from hardnet_deploy.files import sha256_file
from hardnet_deploy.kit.document import KitFolder, read_kit
from hardnet_deploy.kit.json_record import LONGEST_LINE, is_line
from hardnet_deploy.kit.labels import SIMULATED_VERSION, is_simulated, label_of
from hardnet_deploy.kit.possible import FIRST_DAY, impossibility, latest_day, version_numbers
from hardnet_deploy.kit.results import Row
from hardnet_deploy.kit.trtexec_json import LayerInfo, family_of, read_layer_info, read_profile, read_times
from hardnet_deploy.tensor_names import DETECTION_OUTPUTS
from hardnet_deploy.workflows.shown_precision import (
    asked_of_kit,
    asked_of_manifest,
    convolutions,
    node_names,
    refuse_other_precision,
    shortfall,
)
from hardnet_deploy.workflows.timed_engine import TimedEngine, read_timed_engine

WARM_UP_MS: Final = 200.0
DEFAULTS_OF_11: Final = "by its defaults since 11: CUDA graph, spin-wait, no transfers"
UNSAID: Final = ("model", "trained", "target", "precision", "compute_capability")


@dataclass(frozen=True, kw_only=True)
class TrtexecFiles:
    """What trtexec exported, and what it does not write down.

    Args:
        times: Of ``--exportTimes``.
        profile: Of ``--exportProfile``.
        layer_info: Of ``--exportLayerInfo``.
        tensorrt: Version that wrote them.
        device: The GPU's or board's name.
        date: As 2026-11-21.
        engine: The plan that was timed; None where it is not at hand, and then nothing of the kit is filed.
        kit: The folder that the plan was built from.
        warm_up_ms: Of that run; None for trtexec's default.
    """

    times: Path
    profile: Path | None
    layer_info: Path | None
    tensorrt: str
    device: str
    date: str
    engine: Path | None
    kit: Path | None
    warm_up_ms: float | None


def row_of_trtexec(files: TrtexecFiles, *, latest: dt.date | None = None) -> Row:
    """The row.

    The kit's model, target and ONNX hash are filed only where ``engine`` is given; the precision only where the
    engine's manifest or the kit says it and every layer that was to compute in it does, as far as layers are told.
    What a stand-in built is filed as a stand-in's. What stays open is null and stands in ``not_in_file``.

    Args:
        files: The files, and what the user says of them.
        latest: No run is of a later day; None for today.

    Raises:
        UsageError: A version, name or day that cannot be, alone or with the kit and the engine.
        InputFileError: A file that cannot be read or is not what it should be.
        ArtifactMismatchError: Hashes or figures that disagree.
    """
    family, date = family_of(files.tensorrt), _day(files.date, latest or latest_day())
    if not is_line(files.device):
        raise UsageError(
            "--device is no name", wanted=f"one printable line, {LONGEST_LINE} characters at most", next_step="name it"
        )
    kit = None if files.kit is None else read_kit(files.kit)
    engine = None if files.engine is None else read_timed_engine(files.engine)
    _refuse_impossible(files, kit, engine)
    warm_up_ms = WARM_UP_MS if files.warm_up_ms is None else files.warm_up_ms
    times, document = read_times(files.times, files.tensorrt, warm_up_ms=warm_up_ms)
    profile = None if files.profile is None else read_profile(files.profile)
    layers = None if files.layer_info is None else read_layer_info(files.layer_info, files.tensorrt)
    if kit is not None:
        _refuse_other_graph(kit, layers, profile)
    facts, notes = _facts(kit, engine, layers)
    if kit is not None and engine is not None and engine.manifest is not None:
        _refuse_other_engine(kit, engine, files)
    outputs = facts.pop("outputs")
    hashes: dict[str, str | None] = {
        "kit": kit.sha256 if kit and engine else None,
        "onnx": facts.pop("onnx"),
        "engine": engine.sha256 if engine else None,
        "file": sha256_file(files.times),
    }
    facts |= {"power_mode": None, "parity": None, "profile": profile}
    device, tensorrt = _ran(files, engine)
    label, simulated = label_of(device, tensorrt, date)
    if (device, tensorrt) != (files.device, files.tensorrt):
        notes = (*notes, f"a stand-in built the engine, so it is filed as of TensorRT {tensorrt} on '{device}'")
    return Row(
        document={
            "times": document,
            "profile": profile,
            "layer_info": layers.document if layers else None,
            "tensorrt": tensorrt,
            "device": device,
            "date": date,
            "warm_up_ms": warm_up_ms,
            "engine": hashes["engine"],
            "kit": hashes["kit"],
        },
        label=label,
        source="trtexec",
        simulated=simulated,
        device=device,
        tensorrt=tensorrt,
        date=date,
        timing={
            **run_engine.summarise(times),
            "runs": len(times),
            "boundary": _boundary(outputs),
            "inputs": "not in this file; trtexec's default is random numbers",
            "protocol": {
                "warm_up_ms": warm_up_ms,
                "from": "trtexec --exportTimes" + (f", {DEFAULTS_OF_11}" if family == "11" else ""),
            },
            "conditions": None,
            "gpu_compute_ms": times,
        },
        sha256=hashes,
        not_in_file=tuple(
            [name for name, value in facts.items() if value is None]
            + [f"sha256.{name}" for name, value in hashes.items() if value is None]
        ),
        notes=notes,
        **facts,
    )


def _ran(files: TrtexecFiles, engine: TimedEngine | None) -> tuple[str, str]:
    """Device and version as typed; those of a stand-in's engine as the engine says."""
    if engine is None or not engine.simulated:
        return files.device, files.tensorrt
    device = engine.gpu if is_simulated(engine.gpu or "", "") else None
    typed = files.tensorrt if is_simulated("", files.tensorrt) else files.tensorrt.partition("+")[0] + SIMULATED_VERSION
    return device or files.device, typed


def _day(text: str, latest: dt.date) -> str:
    try:
        day = dt.date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"--date {text} is no date", wanted="as 2026-11-21", next_step="give the day of the run"
        ) from error
    if not FIRST_DAY <= day <= latest:
        why = "has not come" if day > latest else "is before TensorRT 8.2, the oldest version known here"
        raise UsageError(
            f"--date {text} {why}",
            wanted=f"{FIRST_DAY.isoformat()} to {latest.isoformat()}",
            next_step="give the day of the run",
        )
    return day.isoformat()


def _refuse_impossible(files: TrtexecFiles, kit: KitFolder | None, engine: TimedEngine | None) -> None:
    """Hold the version and the device's name against what kit and engine are for."""
    manifest = engine.manifest if engine else None
    targets = [
        target for target in (kit.document["target"] if kit else None, manifest.target if manifest else None) if target
    ]
    for target in targets or [None]:
        reason = impossibility(
            tensorrt=files.tensorrt,
            target=target,
            device=files.device,
            capability=engine.capability if engine else None,
        )
        if reason:
            raise UsageError(
                f"--tensorrt {files.tensorrt} on --device '{files.device}' cannot have been",
                got=reason,
                next_step="give the version that trtexec printed, the device that it ran on, and their kit",
            )
    built = engine.tensorrt if engine else None
    if built and version_numbers(built) != version_numbers(files.tensorrt):
        raise UsageError(
            f"TensorRT {files.tensorrt} cannot have timed {files.engine}",
            got=f"built by TensorRT {built}, as its manifest says: a plan fits one version",
            next_step=f"use --tensorrt {built}, or name the plan that was timed",
        )


def _refuse_other_engine(kit: KitFolder, engine: TimedEngine, files: TrtexecFiles) -> None:
    assert engine.manifest is not None
    pairs = (
        ("ONNX file", engine.source, kit.document["onnx"]["sha256"]),
        ("precision", engine.manifest.precision.get("requested"), kit.document["precision"]),
    )
    for what, got, wanted in pairs:
        if got != wanted:
            raise ArtifactMismatchError(
                f"{files.engine} is not of the kit {kit.folder}: it has another {what}",
                got=str(got)[:80],
                wanted=str(wanted)[:80],
                next_step="name the kit that it was built from, or leave --kit out",
            )


def _refuse_other_graph(kit: KitFolder, layers: LayerInfo | None, profile: Mapping[str, Any] | None) -> None:
    """Layers of which none is named after a convolution of the kit's graph are of another one."""
    named = (*(layers.names if layers else ()), *(layer["name"] for layer in (profile or {"layers": ()})["layers"]))
    wanted = set(convolutions(kit))
    if named and wanted and not wanted & set(node_names(named)):
        raise ArtifactMismatchError(
            f"the layers are not of the kit {kit.folder}: none has the name of one of its {len(wanted)} convolutions",
            got=", ".join(named)[:80],
            wanted=f"such as {min(wanted)}",
            next_step="name the kit that the engine was built from, or leave --kit out",
        )


def _facts(
    kit: KitFolder | None, engine: TimedEngine | None, layers: LayerInfo | None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What is known beside the times, ``onnx`` and ``outputs`` among it, and what to say of it."""
    facts: dict[str, Any] = dict.fromkeys((*UNSAID, "onnx", "outputs"))
    facts["layers"] = layers.precisions if layers else None
    notes = ["parity: not in this file; trtexec compares nothing"]
    if engine is None:
        notes.append("the engine's hash: not in this file; add --engine F")
        if kit is not None:
            notes.append("nothing ties these times to the kit, so nothing of it was filed; add --engine F")
    else:
        notes.append("the engine's hash is of the file given; that trtexec timed it is your word")
        if engine.manifest is not None:
            facts |= engine.facts()
        if kit is not None:
            facts |= {name: kit.document[name] for name in ("trained", "target", "outputs")}
            facts |= {"model": kit.document["model"]["name"], "onnx": kit.document["onnx"]["sha256"]}
        if kit is not None and engine.manifest is None:
            notes.append("that the engine was built from the kit is your word: it has no manifest")
        facts["precision"], more = _precision(kit, engine, layers)
        notes += more
    if facts["layers"] is None:
        notes.append("precision of the layers: not in this file; build with --profilingVerbosity=detailed")
    return facts, tuple(notes)


def _precision(
    kit: KitFolder | None, engine: TimedEngine, layers: LayerInfo | None
) -> tuple[str | None, tuple[str, ...]]:
    """The precision that manifest or kit say and the layers bear out, else None; and what to say of it.

    Raises:
        ArtifactMismatchError: The layers show another than the kit's.
    """
    manifest = engine.manifest
    if manifest is not None:
        said, achieved = engine.facts()["precision"], engine.achieved
    elif kit is not None and layers is not None and layers.precisions:
        refuse_other_precision(kit, layers.precisions)
        said, achieved = str(kit.document["precision"]), layers.by_layer
    else:
        return None, ()
    asked = asked_of_manifest(manifest.precision) if manifest else ()
    asked = asked or (asked_of_kit(kit) if kit else ())
    if said is None or not achieved or not asked:
        return said, ()
    short = shortfall(said, asked, achieved)
    return (said, ()) if short is None else (None, (f"{short}, so the precision is left open; see layers",))


def _boundary(outputs: Sequence[str] | None) -> str:
    """What was timed."""
    if outputs is None:
        return "GPU compute; NMS in or out is not in this file"
    return "GPU compute, NMS in" if set(DETECTION_OUTPUTS) <= set(outputs) else "GPU compute, NMS out"
