"""A row of the results as it was stored: whole, and its figures still follow from its raw times."""

from __future__ import annotations

from datetime import date
from typing import Final

from hardnet_deploy.device.run_engine import summarise
from hardnet_deploy.errors import InputFileError
from hardnet_deploy.kit.json_record import Record
from hardnet_deploy.kit.labels import label_of
from hardnet_deploy.kit.possible import capability_of, impossibility
from hardnet_deploy.kit.time_statistics import first_difference

SOURCES: Final = ("device report", "trtexec")
PRECISIONS: Final = ("fp32", "fp16", "int8")
MAY_BE_NULL: Final = ("model", "target", "compute_capability", "power_mode")
HASHES: Final = ("kit", "onnx", "engine", "file")
COUNTS: Final = ("samples", "matched", "missing", "extra")


def refuse_broken_row(row: Record) -> None:
    """Hold a stored row against what ``kit.results`` says of one.

    Raises:
        InputFileError: A part is missing, of another kind, or contradicts another.
    """
    row.digest("id")
    for name in ("device", "tensorrt", "date", *(name for name in MAY_BE_NULL if _there(row, name))):
        row.line(name)
    if row.line("source") not in SOURCES:
        row.refuse("source", " or ".join(SOURCES))
    label, simulated = label_of(row.line("device"), row.line("tensorrt"), row.line("date"))
    if row.boolean("simulated") != simulated:
        row.refuse("simulated", str(simulated).lower())
    if row.text("label") != label:
        row.refuse("label", label)
    _refuse_impossible(row)
    if _there(row, "trained"):
        row.boolean("trained")
    if _there(row, "precision") and row.line("precision") not in PRECISIONS:
        row.refuse("precision", " or ".join(PRECISIONS))
    if _there(row, "layers"):
        layers = row.record("layers")
        for name in layers.values:
            layers.count(name)
    _refuse_broken_timing(row.record("timing"))
    if _there(row, "parity"):
        _refuse_broken_parity(row.record("parity"))
    if _there(row, "profile"):
        _refuse_broken_profile(row.record("profile"))
    hashes = row.record("sha256")
    for name in HASHES:
        if name == "file" or _there(hashes, name):
            hashes.digest(name)
    row.texts("not_in_file")
    row.texts("notes")


def _refuse_impossible(row: Record) -> None:
    """The day is one, and version, target, GPU and precision fit each other."""
    try:
        date.fromisoformat(row.line("date"))
    except ValueError:
        row.refuse("date", "as 2026-11-21")
    capability = capability_of(row.line("compute_capability")) if row.has("compute_capability") else None
    if row.has("compute_capability") and capability is None:
        row.refuse("compute_capability", "as 5.3")
    reason = impossibility(
        tensorrt=row.line("tensorrt"),
        target=row.line("target") if row.has("target") else None,
        capability=capability,
        device=row.line("device"),
        precision=row.line("precision") if row.has("precision") else None,
    )
    if reason:
        raise InputFileError(f"{row.source}: {row.where} cannot be true", got=reason, next_step=row.hint)


def _there(row: Record, name: str) -> bool:
    """True where the part is not null; a part that is left out altogether is a fault."""
    if name not in row.values:
        row.refuse(name, "a value, or null")
    return row.has(name)


def _refuse_broken_timing(timing: Record) -> None:
    times = timing.times("gpu_compute_ms")
    figures = {name: timing.number(name) for name in summarise(times) if name != "stable"}
    wrong = first_difference({**figures, "stable": timing.boolean("stable")}, times)
    if wrong is not None:
        raise InputFileError(
            f"{timing.source}: '{timing.where}.{wrong}' does not follow from the raw times beside it",
            next_step="remove the row, and import its report again",
        )
    if timing.count("runs") != len(times):
        timing.refuse("runs", str(len(times)))
    timing.line("boundary")
    timing.line("inputs")
    timing.record("protocol")
    if _there(timing, "conditions"):
        timing.record("conditions")


def _refuse_broken_parity(parity: Record) -> None:
    if parity.boolean("passed") == bool(parity.texts("failures")):
        parity.refuse("passed", "true where there are no failures, else false")
    for name in COUNTS:
        parity.count(name)
    for name in ("worst_iou", "worst_score_difference"):
        if _there(parity, name):
            parity.number(name)
    parity.record("tolerances")


def _refuse_broken_profile(profile: Record) -> None:
    profile.count("runs")
    for layer in profile.records("layers"):
        layer.text("name")
        layer.number("average_ms")
        layer.number("percent")
        if _there(layer, "median_ms"):
            layer.number("median_ms")
