"""TensorRT's layers: their times by IProfiler or from trtexec's files, and what the engine inspector says of them.

Source of the file's forms: NVIDIA/TensorRT, samples/common/sampleReporting.cpp at 8.2.1, v8.6.1 and v11.1; of the
inspector's, https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/advanced.html (Engine Inspector).
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hardnet_deploy.bench.layer_times import EngineLayer, EngineProfile, Progress
from hardnet_deploy.runners.trt import TrtRunner
from hardnet_deploy.specs import F32

_METADATA: Final = re.compile(r"\[ONNX Layer: (.*?)\]")


@dataclass(frozen=True, kw_only=True)
class InspectedLayer:
    """One layer of an engine.

    Args:
        name: Its title.
        kind: The inspector's ``LayerType``; empty where the engine was built without detailed profiling.
        nodes: ONNX nodes in it, from its metadata (8.6 and later).
        reads: Names of the tensors that it reads.
        makes: Names of the tensors that it makes.
    """

    name: str
    kind: str
    nodes: tuple[str, ...]
    reads: tuple[str, ...]
    makes: tuple[str, ...]


def inspected(document: Mapping[str, Any]) -> tuple[InspectedLayer, ...]:
    """Layers of an engine inspector's JSON, of any version.

    Args:
        document: With ``Layers``: a list of objects, or of names alone.
    """
    found = []
    for layer in document["Layers"]:
        record = layer if isinstance(layer, dict) else {"Name": str(layer)}
        found.append(
            InspectedLayer(
                name=str(record.get("Name", "?")),
                kind=str(record.get("LayerType", "")),
                nodes=tuple(_METADATA.findall(str(record.get("Metadata", "")))),
                reads=_names(record.get("Inputs")),
                makes=_names(record.get("Outputs")),
            )
        )
    return tuple(found)


def _names(tensors: Any) -> tuple[str, ...]:
    records = tensors if isinstance(tensors, list) else []
    return tuple(str(one["Name"]) for one in records if isinstance(one, dict) and "Name" in one)


def profile_plan(
    runner: TrtRunner,
    batches: Sequence[F32],
    *,
    iterations: int,
    layers: Sequence[InspectedLayer] = (),
    progress: Progress | None = None,
) -> EngineProfile:
    """Time each layer of a plan by IProfiler, and the whole without it by CUDA events.

    Args:
        runner: Of the plan.
        batches: Inputs [N, 3, S, S]; each is profiled as often.
        iterations: Profiled runs, at least; as many for each input.
        layers: What the inspector says of them.
        progress: Told (inputs done, inputs).

    Raises:
        HardnetDeployError: TensorRT could not run it.
    """
    each = -(-iterations // len(batches))
    name = runner.inputs[0].name
    times: dict[str, list[float]] = {}
    whole: list[float] = []
    for number, images in enumerate(batches):
        for layer, found in runner.engine.profile({name: images}, each).items():
            times.setdefault(layer, []).extend(found)
        whole += runner.engine.bench({name: images}, iterations=each)["gpu_compute_ms"]
        if progress:
            progress(number + 1, len(batches))
    runs = each * len(batches)
    known = {layer.name: layer for layer in layers}
    return EngineProfile(
        layers=tuple(
            _layer(title, sum(found) / runs, len(found) / runs, known.get(title)) for title, found in times.items()
        ),
        source=f"IProfiler of {runner.name}",
        runs=runs,
        run_ms=statistics.fmean(whole),
        plain_median_ms=statistics.median(whole),
        notes=(
            "IProfiler waits after every layer: the layers are held against a run without it, and can sum up to more",
        ),
    )


def profile_of_file(
    document: Mapping[str, Any], *, source: str, layers: Sequence[InspectedLayer] = ()
) -> EngineProfile:
    """What ``trtexec --exportProfile`` wrote.

    Args:
        document: As :func:`hardnet_deploy.kit.trtexec_json.read_profile` gives it.
        source: Where it came from.
        layers: What ``--exportLayerInfo`` says of them.
    """
    known = {layer.name: layer for layer in layers}
    return EngineProfile(
        layers=tuple(
            _layer(str(one["name"]), float(one["average_ms"]), 1, known.get(str(one["name"])))
            for one in document["layers"]
        ),
        source=source,
        runs=int(document["runs"]),
        notes=("the time of the whole run is not in this file; the profiler makes it longer",),
    )


def _layer(title: str, ms: float, calls: float, known: InspectedLayer | None) -> EngineLayer:
    return EngineLayer(
        name=title,
        op=known.kind if known else "",
        ms=ms,
        calls=calls,
        nodes=(known.nodes or known.makes) if known else (),
    )
