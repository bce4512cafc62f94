"""The JSON that ``trtexec`` exports, of TensorRT 8.2, 8.6, 10 and 11.

Source: NVIDIA/TensorRT, samples/common/sampleReporting.cpp at 8.2.1, v8.6.1, and v11.1. ``--exportTimes`` is a list of
runs; 8.2 writes ``endToEndMs`` too and keeps the warm-up, the others leave it out. ``--exportProfile`` is a list of
``{"count": N}`` and one entry a layer, with ``medianMs`` since 8.4.1. ``--exportLayerInfo`` is the engine inspector's
document: ``Layers`` and ``Bindings``, which are called ``I/O Tensors`` in 11.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hardnet_deploy.device import run_engine
from hardnet_deploy.errors import ArtifactMismatchError, InputFileError, UsageError
from hardnet_deploy.kit.json_record import LONGEST_MS, Record, read_json
from hardnet_deploy.kit.possible import version_numbers

AGAIN: Final = "take the file as trtexec exported it, or export it again"
WITH_WARM_UP: Final = "8.2"
FAMILIES: Final = (WITH_WARM_UP, "8.6", "10", "11")
END_TO_END: Final = "endToEndMs"
DIGITS: Final = 1e-5
"""Relative: trtexec prints six digits of times that count from the program's start."""
LEAST_ERROR: Final = 1e-3
PERCENT: Final = 2.0
"""The shares of a profile are rounded to a tenth or so, and add up to 100."""


def family_of(version: str) -> str:
    """``8.2``, ``8.6``, ``10`` or ``11`` of a version such as 8.6.1.

    Raises:
        UsageError: No version, or one whose files are not known here.
    """
    numbers = version_numbers(version)
    if numbers is not None:
        family = str(numbers[0]) if numbers[0] >= 10 else f"{numbers[0]}.{numbers[1]}"
        if family in FAMILIES:
            return family
    raise UsageError(
        f"--tensorrt {version} is not a version whose trtexec files are known",
        wanted="8.2.x, 8.6.x, 10.x or 11.x",
        next_step="trtexec's first line has it: [TensorRT v8201] is 8.2.1, [TensorRT v101300] is 10.13.0",
    )


def read_times(path: Path, version: str, *, warm_up_ms: float) -> tuple[list[float], Any]:
    """GPU compute time of each run after the warm-up, and the whole document.

    Args:
        path: Of ``--exportTimes``.
        version: Which TensorRT's ``trtexec`` wrote it.
        warm_up_ms: Its ``--warmUp``; 8.2 writes the warm-up down too.

    Raises:
        InputFileError: It is no such file, or not of that version.
        ArtifactMismatchError: Its times contradict each other.
        UsageError: Nothing is left after the warm-up.
    """
    document = read_json(path, what="trtexec's --exportTimes", hint=AGAIN)
    if not isinstance(document, list) or not document:
        raise InputFileError(f"{path} is no --exportTimes of trtexec", wanted="a list of runs", next_step=AGAIN)
    runs = [Record.of(run, str(path), f"run {number}", hint=AGAIN) for number, run in enumerate(document)]
    family = family_of(version)
    for run in runs:
        if run.has(END_TO_END) != (family == WITH_WARM_UP):
            raise InputFileError(
                f"{path} was not written by trtexec {version}",
                got=f"runs {'with' if run.has(END_TO_END) else 'without'} '{END_TO_END}', which only 8.2 writes",
                next_step="name the version that wrote it: --tensorrt",
            )
        _refuse_contradiction(run, path)
    kept = [run for run in runs if family != WITH_WARM_UP or run.number("startComputeMs") >= warm_up_ms]
    if not kept:
        raise UsageError(
            f"no run of {path} began after the warm-up of {warm_up_ms:g} ms",
            next_step="give the --warmUp that trtexec had: --warm-up",
        )
    return [run.number("computeMs") for run in kept], document


def _refuse_contradiction(run: Record, path: Path) -> None:
    start, end, stated = run.number("startComputeMs"), run.number("endComputeMs"), run.number("computeMs")
    parts = sum(run.number(name) for name in ("h2dMs", "computeMs", "d2hMs"))
    slack = LEAST_ERROR + DIGITS * max(abs(start), abs(end))
    if not 0 < stated <= LONGEST_MS or not math.isclose(end - start, stated, rel_tol=0, abs_tol=slack):
        raise ArtifactMismatchError(
            f"{path} does not hold together; nothing was imported",
            got=f"{run.where} computes from {start:g} to {end:g} ms, and says that this takes {stated:g} ms",
            next_step=AGAIN,
        )
    latency = run.number("latencyMs")
    if not math.isclose(parts, latency, rel_tol=0, abs_tol=slack):
        raise ArtifactMismatchError(
            f"{path} does not hold together; nothing was imported",
            got=f"{run.where} has a latency of {latency:g} ms, but its parts take {parts:g} ms",
            next_step=AGAIN,
        )


def read_profile(path: Path) -> dict[str, Any]:
    """Time of each layer.

    Raises:
        InputFileError: It is no ``--exportProfile``.
        ArtifactMismatchError: Its figures contradict each other.
    """
    document = read_json(path, what="trtexec's --exportProfile", hint=AGAIN)
    source = str(path)
    if not isinstance(document, list) or len(document) < 2 or not _is_head(document[0]):
        raise InputFileError(
            f"{path} is no --exportProfile of trtexec",
            wanted='a list of {"count": N} and one entry a layer',
            next_step=AGAIN,
        )
    runs = Record.of(document[0], source, "its first entry", hint=AGAIN).count("count")
    entries = [
        Record.of(entry, source, f"entry {number}", hint=AGAIN) for number, entry in enumerate(document[1:], start=1)
    ]
    layers = []
    for entry in entries:
        total, average = entry.number("timeMs"), entry.number("averageMs")
        if runs and not math.isclose(total, runs * average, rel_tol=1e-3, abs_tol=runs * LEAST_ERROR):
            raise ArtifactMismatchError(
                f"{path} does not hold together; nothing was imported",
                got=f"layer {entry.text('name')} takes {total:g} ms in {runs} runs, and {average:g} ms in each",
                next_step=AGAIN,
            )
        layers.append(
            {
                "name": entry.text("name"),
                "average_ms": average,
                "median_ms": entry.number("medianMs") if entry.has("medianMs") else None,
                "percent": entry.number("percentage"),
            }
        )
    shares = sum(entry.number("percentage") for entry in entries)
    if not runs or abs(shares - 100) > PERCENT:
        raise ArtifactMismatchError(
            f"{path} does not hold together; nothing was imported",
            got=f"the layers of {runs} runs have {shares:g} % of the time",
            wanted="100 %",
            next_step=AGAIN,
        )
    return {"runs": runs, "layers": layers}


def _is_head(entry: Any) -> bool:
    return isinstance(entry, dict) and set(entry) == {"count"}


@dataclass(frozen=True, kw_only=True)
class LayerInfo:
    """What ``--exportLayerInfo`` says.

    Args:
        names: Of the engine's layers; a merged one has the names of all its nodes.
        by_layer: Precision of each layer by its name; empty where the engine was built without detailed profiling.
        document: The whole file.
    """

    names: tuple[str, ...]
    by_layer: dict[str, str]
    document: Any

    @property
    def precisions(self) -> dict[str, int] | None:
        """Number of layers by precision; None where that is not known."""
        return dict(Counter(self.by_layer.values())) or None


def read_layer_info(path: Path, version: str) -> LayerInfo:
    """Names and precisions of an engine's layers.

    Raises:
        InputFileError: It is no ``--exportLayerInfo``, or not of that version.
    """
    document = read_json(path, what="trtexec's --exportLayerInfo", hint=AGAIN)
    layers = document.get("Layers") if isinstance(document, dict) else None
    tensors = "I/O Tensors" if family_of(version) == "11" else "Bindings"
    foreign = InputFileError(f"{path} is no --exportLayerInfo of trtexec", wanted="'Layers', a list", next_step=AGAIN)
    if not isinstance(layers, list) or not layers or not _are_layers(layers):
        raise foreign
    if tensors not in document:
        raise InputFileError(
            f"{path} was not written by trtexec {version}",
            got=", ".join(sorted(document))[:80],
            wanted=f"'{tensors}' beside 'Layers'",
            next_step="name the version that wrote it: --tensorrt",
        )
    try:
        by_layer = run_engine.layer_precisions(json.dumps(document))
    except (AttributeError, TypeError) as error:  # tensors that are no objects
        raise foreign from error
    names = tuple(layer if isinstance(layer, str) else str(layer["Name"]) for layer in layers)
    return LayerInfo(names=names, by_layer=by_layer, document=document)


def _are_layers(layers: Sequence[Any]) -> bool:
    return all(isinstance(layer, str) or (isinstance(layer, dict) and "Name" in layer) for layer in layers)
