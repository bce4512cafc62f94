"""What stands in the rows of a bench: networks by name, and files, each opened and held against its manifest."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hardnet_deploy.artifacts import Manifest
from hardnet_deploy.bench.protocols import title_of
from hardnet_deploy.bench.rival_table import RIVALS
from hardnet_deploy.bench.sides import NETWORK_NMS, Boundary, boundary_of
from hardnet_deploy.errors import InputFileError, TargetError, UsageError
from hardnet_deploy.models import registry
from hardnet_deploy.nms.efficient import PLUGIN_OP
from hardnet_deploy.specs import ModelSpec, Thresholds
from hardnet_deploy.tensor_names import BOXES, DETECTION_OUTPUTS
from hardnet_deploy.workflows.bench_options import BenchRequest
from hardnet_deploy.workflows.export_options import read_classes
from hardnet_deploy.workflows.open_engine import OpenEngine, is_plan, open_engine, usual_thresholds
from hardnet_deploy.workflows.open_plan import read_plan

PLUGIN: Final = (
    f"its {PLUGIN_OP} runs as the NumPy reference of that plugin: the time is none of TensorRT's; an export with "
    "--nms onnx runs in ONNX Runtime alone"
)
USUAL_SIZE: Final = 224  # of backbones, as they were trained


@dataclass(frozen=True, kw_only=True)
class BenchFile:
    """An artifact that was held against its manifest.

    Args:
        path: Of the file.
        column: Which engine it is, as ``--engines`` would call it.
        boundary: What the file computes.
        batch: Images that it takes at once; None for any number.
        decodes: Whether softmax and decoding are in it and NMS is not, as with ``--outputs boxes``.
        sha256: Of its bytes.
        trained: None where nothing is known.
        why_not: Why it cannot be timed here; None where it can.
        notes: What ``--trust`` let pass.
    """

    path: Path
    column: str
    boundary: Boundary
    batch: int | None
    decodes: bool = False
    sha256: str
    trained: bool | None
    why_not: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What has one or more rows.

    Args:
        label: As the user names it, unique in a run.
        network: Name of the registry or of a rival; of a file, of the model in it.
        title: In tables.
        size: Side of the square input.
        spec: Of a registered model, at that size; None for rivals and files.
        weights: A checkpoint.
        classes: File with the class names of a detector's checkpoint; None for the usual ones.
        detects: True where boxes come out of it.
        thresholds: Of its NMS; None where there is none to time.
        file: Of an artifact.
    """

    label: str
    network: str
    title: str
    size: int
    spec: ModelSpec | None = None
    weights: Path | None = None
    classes: Path | None = None
    detects: bool = False
    thresholds: Thresholds | None = None
    file: BenchFile | None = None


def find_subject(text: str, request: BenchRequest, *, usual_size: int | None) -> Subject:
    """What ``text`` names.

    Args:
        text: A model, ``MODEL=CHECKPOINT``, a rival, or an artifact file.
        request: Its ``size``, ``trust``, ``code_line`` and ``classes`` count.
        usual_size: Of backbones, where the request has none; None for what they were trained at.

    Raises:
        UsageError: Nothing has that name, ``--size`` is for something whose size is fixed, or a class list that cannot
            be.
        InputFileError, ArtifactMismatchError: See :func:`~hardnet_deploy.workflows.open_engine.open_engine`.
    """
    name, equals, weights = text.partition("=")
    size = next(one for one in (request.size, usual_size, USUAL_SIZE) if one is not None)
    if name in registry.MODELS:
        return _model(text, registry.get(name), request, size=size, equals=bool(equals), weights=weights)
    if text in RIVALS:
        spec = registry.with_size(_ANY, size)
        return Subject(label=text, network=text, title=title_of(text), size=spec.preprocess.size)
    if not os.path.lexists(text) and (equals or not Path(text).suffix):
        close = difflib.get_close_matches(name, (*registry.MODELS, *RIVALS), n=1)
        raise UsageError(
            f"'{text}' is neither a file nor a network that is known here",
            wanted=f"perhaps '{close[0]}'" if close else f"a model, one of {', '.join(RIVALS)}, or a file",
            next_step="hardnet-deploy models lists the models; hardnet-deploy export writes a file",
        )
    return _file(Path(text), request)


_ANY: Final = registry.get("hardnet68")  # whose check of sizes serves every backbone


def _model(text: str, spec: ModelSpec, request: BenchRequest, *, size: int, equals: bool, weights: str) -> Subject:
    if equals and not weights:
        raise UsageError(f"'{text}' names no checkpoint", wanted=f"{spec.name}=CHECKPOINT.pth, or {spec.name} alone")
    if equals and not Path(weights).is_file():
        raise InputFileError(f"there is no checkpoint {weights}", next_step="check the path")
    if not spec.is_detector or request.size is not None:
        spec = registry.with_size(spec, size)
    classes = request.classes if equals and spec.is_detector else None
    if classes is not None:
        spec = registry.with_classes(spec, read_classes(classes))
    return Subject(
        label=text,
        network=spec.name,
        title=title_of(spec.name) + (f" ({Path(weights).name})" if equals else ""),
        size=spec.preprocess.size,
        spec=spec,
        weights=Path(weights) if equals else None,
        classes=classes,
        detects=spec.is_detector,
        thresholds=usual_thresholds(spec.dataset) if spec.is_detector else None,
    )


def _file(path: Path, request: BenchRequest) -> Subject:
    if is_plan(path):
        return _plan(path, request)
    engine = open_engine(str(path), trust=request.trust)
    precision = _precision(engine.manifest)
    why_not = None
    if precision == "fp16":
        why_not = "ONNX Runtime computes an fp16-typed graph in float32 on the CPU, so its time says nothing of fp16"
    return _of_file(
        path,
        engine.manifest,
        request,
        size=engine.preprocess.size,
        detects=engine.head is not None,
        thresholds=engine.thresholds,
        file=BenchFile(
            path=path,
            column=f"ort-{precision or 'file'}",
            boundary=boundary_of(engine.runner.outputs),
            decodes=BOXES in engine.runner.outputs,
            batch=engine.batch,
            sha256=engine.sha256 or "",
            trained=engine.trained,
            why_not=why_not,
            notes=_notes(engine),
        ),
    )


def _notes(engine: OpenEngine) -> tuple[str, ...]:
    notes = [engine.warning] if engine.warning else []
    if engine.model is not None and any(node.op_type == PLUGIN_OP for node in engine.model.graph.node):
        notes.append(PLUGIN)
    return tuple(notes)


def _plan(path: Path, request: BenchRequest) -> Subject:
    """A TensorRT plan: on a machine that cannot run it, what its manifest says of it."""
    artifact, manifest = read_plan(path, trust=request.trust)
    why_not, batch = None, None
    notes: tuple[str, ...] = (artifact.warning,) if artifact.warning else ()
    thresholds = manifest.thresholds()
    try:
        engine = open_engine(str(path), trust=request.trust)
        notes, batch, thresholds = _notes(engine), engine.batch, engine.thresholds
        with engine.runner:
            pass
    except TargetError as error:
        why_not = "; ".join(filter(None, (error.what, error.got)))
    told = manifest.graph.get("outputs")
    outputs = told if isinstance(told, list | tuple) else DETECTION_OUTPUTS
    return _of_file(
        path,
        manifest,
        request,
        size=manifest.preprocess_spec().size,
        detects=manifest.head is not None,
        thresholds=thresholds,
        file=BenchFile(
            path=path,
            column=f"trt-{_precision(manifest) or 'file'}",
            boundary=boundary_of(outputs),
            decodes=BOXES in outputs,
            batch=batch,
            sha256=artifact.sha256,
            trained=manifest.trained,
            why_not=why_not,
            notes=notes,
        ),
    )


def _of_file(
    path: Path,
    manifest: Manifest | None,
    request: BenchRequest,
    *,
    size: int,
    detects: bool,
    thresholds: Thresholds | None,
    file: BenchFile,
) -> Subject:
    if request.size is not None and request.size != size:
        raise UsageError(
            f"--size {request.size} is not the size of {path}, which is fixed",
            got=f"a file for {size} x {size}",
            next_step="drop --size, or export the model at that size",
        )
    if request.batch is not None and file.batch not in {None, request.batch}:
        raise UsageError(
            f"--batch {request.batch} is not the batch of {path}, which is fixed",
            got=f"a file for batches of {file.batch}",
            next_step="drop --batch, or export with --batch dynamic",
        )
    network = str(manifest.model.get("name") or "") if manifest is not None else ""
    return Subject(
        label=str(path),
        network=network or "unknown",
        title=str(path),
        size=size,
        detects=detects,
        thresholds=thresholds if file.boundary == NETWORK_NMS else None,
        file=file,
    )


def _precision(manifest: Manifest | None) -> str | None:
    """Of a file, as it was asked for; None where nothing says so."""
    requested = manifest.precision.get("requested") if manifest is not None else None
    return requested if isinstance(requested, str) and requested else None
