"""Measured times that a roofline is held against: of a saved profile, or measured here in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hardnet_deploy.errors import ArtifactMismatchError, InputFileError
from hardnet_deploy.kit.json_record import Record, read_json
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
        processor: The CPU that ran it; None for a GPU's times.
        threads: On that CPU.
    """

    layers: tuple[tuple[str, float], ...]
    label: str
    sha256: str | None
    source: str
    precision: str | None
    simulated: bool
    processor: str | None = None
    threads: int | None = None

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
        InputFileError: It is no such file.
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
    on_cpu = conditions.has("threads")
    return LayerTimes(
        layers=tuple((one.text("name"), one.number("ms")) for one in layers),
        label=engine.text("label"),
        sha256=engine.digest("sha256") if engine.has("sha256") else None,
        source=f"{record.text('source')}, {record.text('provenance')} ({path.name})",
        precision=engine.text("precision") if engine.has("precision") else None,
        simulated=record.boolean("simulated"),
        processor=conditions.text("processor") if on_cpu else None,
        threads=conditions.count("threads") if on_cpu else None,
    )


def refuse_other_precision(times: LayerTimes, graph: RooflineGraph, typed: str) -> None:
    """Refuse the times of another file whose arithmetic is not that of ``graph``.

    A plan cannot be named instead, so the times of one are held against the graph that it was built from.

    Args:
        times: Of a profile.
        graph: Held against them.
        typed: What most of its arithmetic runs in.

    Raises:
        ArtifactMismatchError: They differ.
    """
    if times.is_of(graph) or times.processor is None or times.precision in {None, typed}:
        return
    raise ArtifactMismatchError(
        f"the profile is of an engine in {times.precision}, {graph.identity['label']} is typed in {typed}",
        got=f"times of {times.label}",
        next_step="name the file that was profiled",
    )


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
    )
