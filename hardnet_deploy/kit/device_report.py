"""``report.json`` from a device: is it whole, do its figures follow from what it measured, is it of this kit?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from hardnet_deploy.device import run_engine
from hardnet_deploy.errors import ArtifactMismatchError, InputFileError
from hardnet_deploy.files import sha256_file
from hardnet_deploy.kit.document import KitFolder
from hardnet_deploy.kit.json_record import Record, read_json
from hardnet_deploy.kit.results import Row, label_of

SCHEMA: Final = 1
KIND: Final = "device-report"
ROUNDING: Final = 1e-9
"""Relative: Python 3.12 and later sum floating-point numbers more exactly than 3.6 does."""
COUNTS: Final = ("matched", "missing", "extra")


def read_report(path: Path, kit: KitFolder | None) -> Row:
    """A report as a row of the results.

    Args:
        path: ``report.json``.
        kit: The kit it is said to come from; None where it is not at hand, and then the report's own word is taken for
            the kit's model, training and target.

    Raises:
        InputFileError: It cannot be read, or is no report.
        ArtifactMismatchError: Another schema or another kit, or figures that do not follow from the raw ones.
    """
    document = read_json(path, what="a device's report")
    report = Record.of(document, str(path))
    if report.values.get("kind") != KIND:
        raise InputFileError(
            f"{path} is no device's report",
            got=str(report.values.get("kind") or "another JSON document"),
            wanted=f"the report.json that {run_engine.__name__.rpartition('.')[2]}.py all wrote",
            next_step="for trtexec's files use --times",
        )
    if report.values.get("schema") != SCHEMA:
        raise ArtifactMismatchError(
            f"{path} has another schema", got=f"{report.values.get('schema')}", wanted=f"schema {SCHEMA}"
        )
    timing, parity = _timing(report), _parity(report)
    if kit is not None:
        _refuse_other_kit(report, kit)
    device, build = report.record("device"), report.record("build")
    capability = device.values.get("compute_capability")
    if not (isinstance(capability, list) and len(capability) == 2 and all(type(one) is int for one in capability)):
        raise InputFileError(f"{path}: 'device.compute_capability' cannot be read", wanted="[major, minor]")
    layers = build.record("layers").values
    known = _copied_from_kit(report)
    name, version, date = device.text("name"), report.text("tensorrt"), _day(report)
    label, simulated = label_of(name, version, date)
    return Row(
        document=document,
        label=label,
        source="device report",
        simulated=simulated,
        **known,
        device=name,
        compute_capability=f"{capability[0]}.{capability[1]}",
        power_mode=device.text("power_mode") if device.has("power_mode") else None,
        tensorrt=version,
        date=date,
        precision=build.text("precision"),
        layers=dict(Counter(str(kind) for kind in layers.values())) or None,
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
        notes=_notes(parity, timing),
    )


def _copied_from_kit(report: Record) -> dict[str, Any]:
    """``model``, ``trained`` and ``target`` of a row; None where the report does not have it."""
    return {
        "model": report.record("model").text("name") if report.has("model") else None,
        "trained": report.boolean("trained") if report.has("trained") else None,
        "target": report.text("target") if report.has("target") else None,
    }


def _day(report: Record) -> str:
    text = report.text("date")
    try:
        return datetime.fromisoformat(text).date().isoformat()
    except ValueError as error:
        raise InputFileError(f"{report.source}: 'date' is no date", got=text, wanted="as 2026-11-21") from error


def _notes(parity: dict[str, Any], timing: dict[str, Any]) -> tuple[str, ...]:
    notes = []
    if not parity["passed"]:
        notes.append("parity FAILED on the device: " + "; ".join(parity["failures"][:3]))
    if not timing["stable"]:
        notes.append(f"the timing did not settle: {timing['cov_percent']:.1f} % of variation")
    return tuple(notes)


def _timing(report: Record) -> dict[str, Any]:
    """The times, after every figure was computed again from the raw ones."""
    timing = report.record("timing")
    times = timing.numbers("gpu_compute_ms")
    protocol = timing.record("protocol")
    if len(times) < protocol.count("iterations"):
        raise _refused(report, f"{len(times)} raw times", f"{protocol.count('iterations')} iterations")
    summary = run_engine.summarise(times)
    for name, value in summary.items():
        if name == "stable":
            continue
        stated = timing.number(name)
        if not math.isclose(stated, value, rel_tol=ROUNDING, abs_tol=ROUNDING):
            raise _refused(report, f"{name} {stated:g}", f"{value:g}, from its {len(times)} raw times")
    if timing.boolean("stable") != summary["stable"]:
        raise _refused(report, f"stable: {timing.boolean('stable')}", f"{summary['cov_percent']:.2f} % of variation")
    return {
        **summary,
        "runs": len(times),
        "boundary": timing.text("boundary"),
        "inputs": timing.text("inputs"),
        "protocol": dict(protocol.values),
        "gpu_compute_ms": times,
    }


def _parity(report: Record) -> dict[str, Any]:
    """The comparison, after its counts and its verdict were held against its samples and tolerances."""
    parity = report.record("parity")
    detections, samples = parity.record("detections"), parity.records("samples")
    for name in COUNTS:
        total = sum(sample.count(name) for sample in samples if sample.has(name))
        if detections.count(name) != total:
            raise _refused(report, f"{name} {detections.count(name)}", f"{total}, from its samples")
    failures = parity.values.get("failures")
    if not isinstance(failures, list):
        raise InputFileError(f"{report.source}: 'parity.failures' cannot be read", wanted="a list")
    broken = _broken_rules(parity)
    if parity.boolean("passed") != (not failures) or (broken and not failures):
        raise _refused(
            report, f"parity {'passed' if parity.boolean('passed') else 'failed'}", broken or f"failures: {failures}"
        )
    return {
        "passed": parity.boolean("passed"),
        "failures": [str(one) for one in failures],
        "samples": len(samples),
        **{name: detections.count(name) for name in COUNTS},
        "worst_iou": detections.values.get("worst_iou"),
        "worst_score_difference": detections.values.get("worst_score_difference"),
        "tolerances": dict(parity.record("tolerances").values),
    }


def _broken_rules(parity: Record) -> str:
    """What the counts say against the tolerances; empty where nothing does."""
    detections, tolerances = parity.record("detections"), parity.record("tolerances")
    matched, missing, extra = (detections.count(name) for name in COUNTS)
    counts = {"detections": ((matched + missing, matched), (matched + extra, matched))}
    if detections.has("shown"):
        shown = detections.record("shown")
        counts["shown"] = tuple(
            (shown.count(side), shown.count(f"matched_{side}")) for side in ("reference", "candidate")
        )  # type: ignore[assignment]  # two pairs
    for key, sides in counts.items():
        if not tolerances.has(key):
            continue
        share = tolerances.record(key).number("share")
        for total, found in sides:
            if found < share * total:
                return f"{found} of {total} matched, which is less than the share of {share:g} for '{key}'"
    for sample in parity.records("samples"):
        outputs = sample.record("outputs").values if sample.has("outputs") else {}
        wrong = [name for name, entry in outputs.items() if isinstance(entry, dict) and entry.get("passed") is False]
        if wrong:
            return f"output '{wrong[0]}' of a sample is outside of its tolerance"
    return ""


def _refused(report: Record, stated: str, found: str) -> ArtifactMismatchError:
    return ArtifactMismatchError(
        f"{report.source} does not hold together; nothing was imported",
        got=f"it says {stated}, but has {found}",
        next_step="take report.json as the device wrote it, or run python3 run_engine.py all again",
    )


def _protocol(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values.get(name) for name in run_engine.PROTOCOL}


def _refuse_other_kit(report: Record, kit: KitFolder) -> None:
    document = kit.document
    pairs = (
        ("kit.json", report.digest("kit_sha256"), kit.sha256),
        ("ONNX file", report.digest("onnx_sha256"), document["onnx"]["sha256"]),
        *((name, report.values.get(name), document.get(name)) for name in ("model", "trained", "target")),
        ("precision", report.record("build").text("precision"), document["settings"]["precision"]),
        ("number of samples", len(report.record("parity").records("samples")), document["samples"]["count"]),
        ("protocol", _protocol(report.record("timing").record("protocol").values), _protocol(document["protocol"])),
        ("tolerances", report.record("parity").record("tolerances").values, document["tolerances"]),
    )
    for what, got, wanted in pairs:
        if got != wanted:
            raise ArtifactMismatchError(
                f"{report.source} is not of the kit {kit.folder}: it has another {what}",
                got=str(got)[:80],
                wanted=str(wanted)[:80],
                next_step="name the kit that was taken to the device: --kit DIR",
            )
