"""``report.json`` from a device: is it whole, do its figures follow from what it measured, is it of this kit?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from hardnet_deploy.device import run_engine
from hardnet_deploy.device.run_engine import variation_text
from hardnet_deploy.errors import ArtifactMismatchError, InputFileError
from hardnet_deploy.files import sha256_file
from hardnet_deploy.kit.document import KitFolder
from hardnet_deploy.kit.json_record import Record, read_json
from hardnet_deploy.kit.labels import label_of
from hardnet_deploy.kit.layout import REFERENCE
from hardnet_deploy.kit.possible import FIRST_DAY, impossibility, latest_day
from hardnet_deploy.kit.report_parity import AGAIN, WRITER, read_parity, refused
from hardnet_deploy.kit.report_precision import ASKED, read_precisions
from hardnet_deploy.kit.results import Row
from hardnet_deploy.kit.time_statistics import first_difference
from hardnet_deploy.tensor_names import DETECTION_OUTPUTS

SCHEMA: Final = run_engine.REPORT_SCHEMA
KIND: Final = "device-report"
BOUNDARIES: Final = (run_engine.BOUNDARY, run_engine.BOUNDARY.replace("NMS in", "NMS out"))


def read_report(path: Path, kit: KitFolder | None, *, latest: date | None = None) -> Row:
    """A report as a row of the results.

    Args:
        path: ``report.json``.
        kit: The kit it is said to come from; None where it is not at hand, and then the report's own word is taken for
            the kit's model, training and target.
        latest: No report is of a later day; None for today.

    Raises:
        InputFileError: It cannot be read, or is no report.
        ArtifactMismatchError: Another schema or another kit, figures that do not follow from the raw ones, or what its
            target cannot have: another TensorRT, GPU or precision; a day that has not come.
    """
    document = read_json(path, what="a device's report", hint=AGAIN)
    report = Record.of(document, str(path), hint=AGAIN)
    if report.values.get("kind") != KIND:
        raise InputFileError(
            f"{path} is no device's report",
            got=str(report.values.get("kind") or "another JSON document"),
            wanted=f"the report.json that {WRITER} all wrote",
            next_step="for trtexec's files use --times",
        )
    if report.values.get("schema") != SCHEMA:
        raise ArtifactMismatchError(
            f"{path} has another schema",
            got=f"schema {report.values.get('schema')}",
            wanted=f"schema {SCHEMA}",
            next_step="import it with the version of hardnet-deploy that wrote the kit",
        )
    timing, parity = _timing(report), read_parity(report)
    if kit is not None:
        _refuse_other_kit(report, kit)
    device, build = report.record("device"), report.record("build")
    layers = Counter(build.record("layers").line(name) for name in build.record("layers").values)
    known = _copied_from_kit(report)
    name, version, capability = device.line("name"), report.line("tensorrt"), _capability(device)
    precision, day = build.line("precision"), _day(report, latest or latest_day())
    contradiction = impossibility(
        tensorrt=version, target=known["target"], capability=capability, device=name, precision=precision
    )
    if contradiction:
        raise ArtifactMismatchError(f"{path} cannot be true; nothing was imported", got=contradiction, next_step=AGAIN)
    label, simulated = label_of(name, version, day.isoformat())
    return Row(
        document=document,
        label=label,
        source="device report",
        simulated=simulated,
        **known,
        device=name,
        compute_capability=f"{capability[0]}.{capability[1]}",
        power_mode=device.line("power_mode") if device.has("power_mode") else None,
        tensorrt=version,
        date=day.isoformat(),
        precision=precision,
        layers=dict(layers) or None,
        timing=timing,
        parity=parity,
        profile=None,
        sha256={
            "kit": report.digest("kit_sha256"),
            "onnx": report.digest("onnx_sha256"),
            "engine": report.digest("engine_sha256"),
            "file": sha256_file(path),
        },
        not_in_file=tuple(key for key, value in known.items() if value is None),
        notes=(*_doubts(parity, timing, day, alone=kit is None), *read_precisions(report, layers)),
    )


def _copied_from_kit(report: Record) -> dict[str, Any]:
    """``model``, ``trained`` and ``target`` of a row; None where the report does not have it."""
    return {
        "model": report.record("model").line("name") if report.has("model") else None,
        "trained": report.boolean("trained") if report.has("trained") else None,
        "target": report.line("target") if report.has("target") else None,
    }


def _capability(device: Record) -> tuple[int, int]:
    found = device.values.get("compute_capability")
    if not (isinstance(found, list) and len(found) == 2 and all(type(one) is int and one >= 0 for one in found)):
        device.refuse("compute_capability", "[major, minor]")
    return found[0], found[1]


def _day(report: Record, latest: date) -> date:
    text = report.text("date")
    try:
        day = datetime.fromisoformat(text).date()
    except ValueError:
        report.refuse("date", "a date as 2026-11-21")
    if day > latest:
        raise ArtifactMismatchError(
            f"{report.source} is of a day that has not come; nothing was imported",
            got=text,
            wanted=f"{latest.isoformat()} at the latest",
            next_step=f"set the device's clock, and run python3 {WRITER} all again",
        )
    return day


def _doubts(parity: dict[str, Any], timing: dict[str, Any], day: date, *, alone: bool) -> tuple[str, ...]:
    notes = []
    if not parity["passed"]:
        notes.append("parity FAILED on the device: " + "; ".join(parity["failures"][:3]))
    if not timing["stable"]:
        notes.append(f"the timing did not settle: {variation_text(timing['cov_percent'])} % of variation")
    if timing["runs"] < run_engine.PROTOCOL["iterations"]:
        notes.append(f"{timing['runs']} runs were timed; the protocol has {run_engine.PROTOCOL['iterations']}")
    if day < FIRST_DAY:
        notes.append(f"the device's clock was not set: {day.isoformat()} is before its TensorRT was published")
    if alone:
        notes.append(
            "no kit was at hand: its model, target and hashes are the report's own word; --kit DIR checks them"
        )
    return tuple(notes)


def _timing(report: Record) -> dict[str, Any]:
    """The times, after every figure was computed again from the raw ones."""
    timing = report.record("timing")
    times = timing.times("gpu_compute_ms")
    protocol = timing.record("protocol")
    if len(times) < protocol.count("iterations"):
        raise refused(report, f"{len(times)} raw times", f"{protocol.count('iterations')} iterations")
    for name in ("warm_up_ms", "duration_ms"):
        protocol.number(name)
    protocol.boolean("cuda_graph")
    if timing.line("boundary") not in BOUNDARIES:
        timing.refuse("boundary", " or ".join(BOUNDARIES))
    summary = run_engine.summarise(times)
    stated = {name: timing.number(name) for name in summary if name != "stable"}
    wrong = first_difference({**stated, "stable": timing.boolean("stable")}, times)
    if wrong == "stable":
        raise refused(
            report, f"stable: {timing.boolean('stable')}", f"{variation_text(summary['cov_percent'])} % of variation"
        )
    if wrong is not None:
        raise refused(report, f"{wrong} {stated[wrong]:g}", f"{summary[wrong]:g}, from its {len(times)} raw times")
    return {
        **summary,
        "runs": len(times),
        "boundary": timing.line("boundary"),
        "inputs": timing.line("inputs"),
        "protocol": dict(protocol.values),
        "conditions": dict(timing.record("conditions").values) if timing.has("conditions") else None,
        "gpu_compute_ms": times,
    }


def _protocol(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values.get(name) for name in run_engine.PROTOCOL}


def _refuse_other_kit(report: Record, kit: KitFolder) -> None:
    document = kit.document
    pairs: tuple[tuple[str, Any, Any], ...] = (
        ("kit.json", report.digest("kit_sha256"), kit.sha256),
        ("ONNX file", report.digest("onnx_sha256"), document["onnx"]["sha256"]),
        *((name, report.values.get(name), document.get(name)) for name in ("model", "trained", "target")),
        ("precision", report.record("build").text("precision"), document["settings"]["precision"]),
        *((name, report.record("build").values.get(name), document["settings"].get(name)) for name in ASKED),
        ("number of samples", len(report.record("parity").records("samples")), document["samples"]["count"]),
        ("protocol", _protocol(report.record("timing").record("protocol").values), _protocol(document["protocol"])),
        ("tolerances", report.record("parity").record("tolerances").values, document["tolerances"]),
        ("number of reference detections", _references_of(report), _references_in(kit)),
        ("boundary", report.record("timing").text("boundary"), BOUNDARIES[not _detects(document)]),
    )
    for what, got, wanted in pairs:
        if got != wanted:
            raise ArtifactMismatchError(
                f"{report.source} is not of the kit {kit.folder}: it has another {what}",
                got=str(got)[:80],
                wanted=str(wanted)[:80],
                next_step="name the kit that was taken to the device: --kit DIR",
            )


def _detects(document: Mapping[str, Any]) -> bool:
    return set(DETECTION_OUTPUTS) <= set(document["outputs"])


def _references_of(report: Record) -> tuple[int, int] | None:
    """PyTorch's detections that the device compared with: all, and those shown; None for a backbone."""
    detections = report.record("parity").record("detections")
    if not report.record("parity").record("tolerances").has("shown"):
        return None
    return detections.count("matched") + detections.count("missing"), detections.record("shown").count("reference")


def _references_in(kit: KitFolder) -> tuple[int, int] | None:
    """The same, of the kit's own references."""
    rule, least = kit.document["tolerances"].get("shown"), kit.document["tolerances"].get("shown_score", 0.0)
    if not rule:
        return None
    with np.load(kit.folder / REFERENCE) as stored:
        scores = [stored[name].reshape(-1, 6)[:, 5] for name in stored.files if name.startswith("detections_")]
    return sum(map(len, scores)), sum(int((one.astype(np.float64) >= float(least)).sum()) for one in scores)
