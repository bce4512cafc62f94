"""A profile that ``trtexec`` wrote elsewhere: held against its kit or engine, and never taken for one measured here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hardnet_deploy.artifacts import PLAN_KIND, Manifest, hold_against_manifest, read_content
from hardnet_deploy.bench.layer_times import EngineProfile
from hardnet_deploy.bench.profile_trt import InspectedLayer, inspected, profile_of_file
from hardnet_deploy.engines.inspector import UNKNOWN, achieved_precisions
from hardnet_deploy.errors import ArtifactMismatchError, InputFileError, UsageError
from hardnet_deploy.kit.document import read_kit
from hardnet_deploy.kit.json_record import read_json
from hardnet_deploy.kit.labels import SIMULATED_DEVICE, SIMULATED_VERSION
from hardnet_deploy.kit.layout import MODEL
from hardnet_deploy.kit.trtexec_json import read_profile
from hardnet_deploy.tensor_names import LOGITS

if TYPE_CHECKING:
    import onnx

AGAIN: Final = "export it again with trtexec --exportLayerInfo"
_IMAGES: Final = len("NCHW")


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A profile and what is known of the engine that it is of.

    Args:
        profile: As trtexec wrote it.
        layers: From ``--exportLayerInfo``; empty without.
        detector: Whether the network is one.
        model: The graph that the engine was built from; None where only the plan is known.
        identity: Label, hashes, model, precision.
        conditions: Input ``size`` and ``batch``, and the ``device`` or ``target`` that ran it; None for what is not
            known.
        requested: Precision asked for, by convolution; empty where that is not known.
        achieved: What it runs in; empty where that is not known.
        provenance: ``imported (device)``.
        simulated: A stand-in wrote it.
    """

    profile: EngineProfile
    layers: tuple[InspectedLayer, ...]
    detector: bool
    model: onnx.ModelProto | None
    identity: Mapping[str, Any]
    conditions: Mapping[str, Any]
    requested: Mapping[str, str]
    achieved: Mapping[str, str]
    provenance: str
    simulated: bool


def simulated_by(name: str) -> bool:
    """True where a stand-in calls itself ``name``."""
    return SIMULATED_VERSION in name or SIMULATED_DEVICE in name


def read_inspector(path: Path) -> tuple[InspectedLayer, ...]:
    """Layers of ``--exportLayerInfo``, of any TensorRT.

    Raises:
        InputFileError: It is no such file.
    """
    return inspected(_inspector(path))


def _inspector(path: Path) -> dict[str, Any]:
    document = read_json(path, what="trtexec's --exportLayerInfo", hint=AGAIN)
    layers = document.get("Layers") if isinstance(document, dict) else None
    if not isinstance(layers, list) or not layers or not all(isinstance(one, str | dict) for one in layers):
        raise InputFileError(
            f"{path} is no --exportLayerInfo of trtexec", wanted="'Layers', a list of layers", next_step=AGAIN
        )
    return dict(document)


def import_profile(
    path: Path, *, layer_info: Path | None, kit: Path | None, engine: Path | None, trust: bool
) -> Imported:
    """Read ``--exportProfile``, and what tells which engine it is of.

    Args:
        path: The profile.
        layer_info: ``--exportLayerInfo`` of the same engine.
        kit: The kit that the engine was built from.
        engine: The plan, or the graph that it was built from; never loaded.
        trust: Take an engine whose manifest is missing or disagrees.

    Raises:
        UsageError: Neither kit nor engine.
        InputFileError: A file that cannot be read.
        ArtifactMismatchError: A file, kit or manifest that disagrees; a layer info of another engine.
    """
    if kit is None and engine is None:
        raise UsageError("trtexec does not write down which engine it profiled", next_step="add ENGINE or --kit DIR")
    found = _of_engine(engine, trust=trust) if engine is not None else _of_kit(kit or Path())
    document = read_profile(path)
    text = None if layer_info is None else _inspector(layer_info)
    layers = () if text is None else inspected(text)
    titles = {str(one["name"]) for one in document["layers"]}
    if layers and not titles & {one.name for one in layers}:
        raise ArtifactMismatchError(
            f"{layer_info} and {path} are of different engines",
            got="no layer that both name",
            next_step="export both in one run of trtexec",
        )
    requested, achieved = found.requested, found.achieved
    if text is not None and requested:
        told = achieved_precisions(json.dumps(text), list(requested))
        achieved = {name: word for name, word in told.items() if word != UNKNOWN} or achieved
    return Imported(
        profile=profile_of_file(document, source=f"trtexec --exportProfile ({path.name})", layers=layers),
        layers=layers,
        detector=found.detector,
        model=found.model,
        identity=found.identity,
        conditions=found.conditions,
        requested=requested,
        achieved=achieved,
        provenance=f"imported ({found.told_device}{', simulated' if found.simulated else ''})",
        simulated=found.simulated,
    )


@dataclass(frozen=True, kw_only=True)
class _Known:
    identity: Mapping[str, Any]
    detector: bool
    size: int | None
    batch: int | None
    device: str | None = None
    target: str | None = None
    simulated: bool = False
    model: onnx.ModelProto | None = None
    requested: Mapping[str, str]
    achieved: Mapping[str, str]

    @property
    def conditions(self) -> dict[str, Any]:
        return {"size": self.size, "batch": self.batch, "device": self.device, "target": self.target}

    @property
    def told_device(self) -> str:
        return self.device or (f"{self.target}, by the kit" if self.target else "device not in the file")


def _of_kit(folder: Path) -> _Known:
    from hardnet_deploy.runners.graph import parse_model

    kit = read_kit(folder).document
    graph = folder / MODEL
    model = parse_model(read_content(graph), source=str(graph))
    size, batch = _input(model)
    return _Known(
        identity={
            "label": str(folder),
            "sha256": kit["onnx"]["sha256"],
            "state_sha256": None,
            "model": kit["model"]["name"],
            "precision": kit["precision"],
            "trained": kit["trained"],
            "warning": "the hash is of the kit's graph: the plan that was built from it is not in the kit",
        },
        detector=LOGITS not in kit["outputs"],
        size=size,
        batch=batch,
        target=kit["target"],
        model=model,
        requested=_asked(model, kit["precision"], kit["settings"].get("fp32_layers") or ()),
        achieved={},
    )


def _of_engine(path: Path, *, trust: bool) -> _Known:
    from hardnet_deploy.runners.graph import parse_model

    content = read_content(path)
    artifact = hold_against_manifest(path, content, trust=trust)
    manifest = artifact.manifest
    if manifest is None:
        raise ArtifactMismatchError(
            f"{path} has no manifest that can be read, so nothing tells which network it is of",
            next_step="name the file that hardnet-deploy wrote, with its manifest beside it",
        )
    is_plan = manifest.kind == PLAN_KIND
    gpu = manifest.versions.get("gpu") if is_plan else None
    simulated = simulated_by(f"{manifest.versions.get('tensorrt', '')} {gpu or ''}")
    model = None if is_plan else parse_model(content, source=str(path))
    size, batch = _plan_input(manifest) if model is None else _input(model)
    return _Known(
        identity={
            "label": str(path),
            "sha256": artifact.sha256,
            "state_sha256": None,
            "model": manifest.model.get("name"),
            "precision": manifest.precision.get("requested") if is_plan else None,  # a graph can be built in any
            "trained": manifest.trained,
            "warning": artifact.warning,
        },
        detector=manifest.head is not None,
        size=size,
        batch=batch,
        device=gpu,
        simulated=simulated,
        model=model,
        requested=_words(manifest, "requested_by_layer") if is_plan else {},
        achieved=_words(manifest, "achieved") if is_plan else {},
    )


def _input(model: onnx.ModelProto) -> tuple[int | None, int | None]:
    """Side and batch of the images that a graph takes; None for what it leaves open."""
    from hardnet_deploy.runners.graph import tensor_infos

    shape = next((one.shape for one in tensor_infos(model.graph.input) if len(one.shape) == _IMAGES), None)
    if shape is None:
        return None, None
    batch, _, side, _ = (number if number > 0 else None for number in shape)
    return side, batch


def _plan_input(manifest: Manifest) -> tuple[int | None, int | None]:
    """The same of a plan; with a range of batches trtexec was told which, and does not write it down."""
    batch = None if manifest.graph.get("profile") else manifest.graph.get("batch")
    size = manifest.preprocess.get("size")
    return (size if isinstance(size, int) else None), (batch if isinstance(batch, int) else None)


def _words(manifest: Manifest, key: str) -> dict[str, str]:
    found = manifest.precision.get(key)
    return {str(name): str(word) for name, word in found.items()} if isinstance(found, Mapping) else {}


def _asked(model: onnx.ModelProto, precision: str, held: Any) -> dict[str, str]:
    """Precision that each convolution of a kit was to be built in."""
    names = [node.name for node in model.graph.node if node.op_type == "Conv" and node.name]
    return {name: "fp32" if name in set(held) else precision for name in names}
