"""Measured times that a roofline is held against: of a saved profile, or measured here in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

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
        source: Which engine, measured how.
        precision: That the engine was asked for; None where the profile does not tell.
        simulated: A stand-in ran; such times mean nothing.
        processor: The CPU that ran it; None for a GPU's times.
        threads: On that CPU.
    """

    layers: tuple[tuple[str, float], ...]
    source: str
    precision: str | None
    simulated: bool
    processor: str | None = None
    threads: int | None = None


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
        source=f"{record.text('source')}, {record.text('provenance')} ({path.name})",
        precision=engine.text("precision") if engine.has("precision") else None,
        simulated=record.boolean("simulated"),
        processor=conditions.text("processor") if on_cpu else None,
        threads=conditions.count("threads") if on_cpu else None,
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
        source=f"{found.source}, measured here, {threads} thread{'s' if threads > 1 else ''}",
        precision=None,
        simulated=False,
    )
