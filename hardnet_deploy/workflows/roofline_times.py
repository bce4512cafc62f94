"""Measured times that a roofline is held against: of a saved profile, or measured here in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hardnet_deploy.errors import ArtifactMismatchError, InputFileError
from hardnet_deploy.kit.json_record import LONGEST_MS, Record, read_json
from hardnet_deploy.nms.efficient import CANDIDATE_CAP
from hardnet_deploy.workflows.profile_result import KIND, SCHEMA
from hardnet_deploy.workflows.roofline_graph import RooflineGraph
from hardnet_deploy.workflows.seeded_inputs import seeded_pixels

AGAIN: Final = "hardnet-deploy profile ENGINE -o F.profile.json writes one"
ITERATIONS: Final = 20
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class LayerTimes:
    """Times of an engine's layers.

    Args:
        layers: (title, ms) of each.
        label: Of the engine, as it was typed.
        sha256: Of its file; None for PyTorch without one.
        source: Which engine, measured how.
        precision: That the engine was asked for; None where the profile does not tell.
        simulated: A stand-in ran; such times mean nothing.
        size: Input side; None where the profile does not tell.
        batch: Images in a run, likewise.
        processor: The CPU that ran it; None for a GPU's times.
        threads: On that CPU.
        device: The GPU that ran it, as its driver calls it; None for a CPU's times, and where it is not known.
        target: Name of the target whose kit the engine came from; None without.
        run_ms: Median of a whole run without the profiler; None where that was not measured.
        overhead_percent: What profiling added to a run; None where that was not measured.
        notes: What the profile says of its times.
    """

    layers: tuple[tuple[str, float], ...]
    label: str
    sha256: str | None
    source: str
    precision: str | None
    simulated: bool
    size: int | None
    batch: int | None
    processor: str | None = None
    threads: int | None = None
    device: str | None = None
    target: str | None = None
    run_ms: float | None = None
    overhead_percent: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def identity(self) -> dict[str, Any]:
        """Of the engine, for the document."""
        return {"label": self.label, "sha256": self.sha256, "precision": self.precision}

    def is_of(self, graph: RooflineGraph) -> bool:
        """Whether ``graph`` is what was timed: the same file, or the model by name, whatever its weights."""
        known, label = graph.identity["sha256"], graph.identity["label"]
        return bool(self.sha256 == known if known else self.label.partition("=")[0] == label)


def read_times(path: Path, graph: RooflineGraph) -> LayerTimes:
    """Times of a profile that ``hardnet-deploy profile -o`` wrote.

    Raises:
        InputFileError: It is no such file, or one from before profiles told their input size and device.
        ArtifactMismatchError: It is of another model than ``graph``.
    """
    document = read_json(path, what="a profile", hint=AGAIN)
    record = Record.of(document, str(path), hint=AGAIN)
    if record.values.get("kind") != KIND or record.values.get("schema") != SCHEMA:
        raise InputFileError(
            f"{path} is no profile of schema {SCHEMA}",
            got=f"kind {record.values.get('kind')}, schema {record.values.get('schema')}",
            next_step=AGAIN,
        )
    engine = record.record("engine")
    model = engine.values.get("model")
    if model != graph.identity["model"]:
        raise ArtifactMismatchError(
            f"{path} is the profile of another model",
            got=str(model),
            wanted=str(graph.identity["model"]),
            next_step="profile an engine of the same model",
        )
    layers, conditions = record.records("layers"), record.record("conditions")
    if not {"size", "device"} <= conditions.values.keys():
        raise InputFileError(
            f"{path} was written before profiles told their input size and device, so its times cannot be placed",
            next_step=AGAIN,
        )
    on_cpu = conditions.has("threads")
    return LayerTimes(
        layers=tuple((one.text("name"), _milliseconds(one, "ms")) for one in layers),
        label=engine.text("label"),
        sha256=engine.digest("sha256") if engine.has("sha256") else None,
        source=f"{record.text('source')}, {record.text('provenance')} ({path.name})",
        precision=engine.text("precision") if engine.has("precision") else None,
        simulated=record.boolean("simulated"),
        size=conditions.count("size") if conditions.has("size") else None,
        batch=conditions.count("batch") if conditions.has("batch") else None,
        processor=conditions.text("processor") if on_cpu else None,
        threads=conditions.count("threads") if on_cpu else None,
        device=conditions.line("device") if conditions.has("device") else None,
        target=conditions.line("target") if conditions.has("target") else None,
        run_ms=_milliseconds(record, "plain_run_ms") if record.has("plain_run_ms") else None,
        overhead_percent=(
            record.number("profiling_overhead_percent") if record.has("profiling_overhead_percent") else None
        ),
        notes=tuple(record.texts("notes")),
    )


def _milliseconds(record: Record, name: str) -> float:
    """A time; 0 for what is shorter than the clock's step."""
    value = record.number(name)
    return value if 0 <= value <= LONGEST_MS else record.refuse(name, "a time in ms, 0 or more and an hour at most")


def measured_here(graph: RooflineGraph, *, threads: int, progress: Progress) -> LayerTimes:
    """Times of the graph's layers in ONNX Runtime on this machine's CPU."""
    from hardnet_deploy.bench.profile_ort import profile_ort

    found = profile_ort(
        graph.model,
        [seeded_pixels(graph.preprocess, graph.identity["batch"])],
        iterations=ITERATIONS,
        candidate_cap=CANDIDATE_CAP,
        threads=threads,
        progress=lambda done, total: progress("profiling", done, total),
    )
    return LayerTimes(
        layers=tuple((one.name, one.ms) for one in found.layers),
        label=graph.identity["label"],
        sha256=graph.identity["sha256"],
        source=f"{found.source}, measured here, {threads} thread{'s' if threads > 1 else ''}",
        precision=None,
        simulated=False,
        size=graph.identity["size"],
        batch=graph.identity["batch"],
        run_ms=found.plain_median_ms,
        overhead_percent=found.overhead_percent,
        notes=found.notes,
    )
