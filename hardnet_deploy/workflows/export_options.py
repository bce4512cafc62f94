"""From what a user typed to what is exported: defaults by precedence, and everything refusable refused early."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from hardnet_deploy.artifacts import manifest_path
from hardnet_deploy.errors import InputFileError, TargetError, UsageError
from hardnet_deploy.export.options import MAX_OPSET, MIN_OPSET, GraphOptions, Outputs
from hardnet_deploy.export.parser_table import WEAKLY_TYPED
from hardnet_deploy.files import refuse_unwritable
from hardnet_deploy.models import registry
from hardnet_deploy.nms.efficient import SMALLEST_SCORE_THRESHOLD
from hardnet_deploy.specs import ModelSpec, Thresholds
from hardnet_deploy.targets import DEFAULT_OPSET, NmsKind, Target, get_target

Preset = Literal["eval", "deploy"]
GraphPrecision = Literal["fp32", "fp16"]

# Upstream's evaluation (train_test.py of PingoLH/PytorchSSD-HarDNet), and what an application wants to see.
UPSTREAM_IOU: Final = 0.45
EVAL_SCORE: Final = {"coco": 0.02, "demo": 0.02, "voc": 0.03}
MAX_DETECTIONS: Final = {"coco": 200, "demo": 200, "voc": 300}
DEPLOY_SCORE: Final = 0.3
SMALLEST_IOU: Final = 1e-6  # less would be 0 in float32, at which EfficientNMS_TRT has no meaning
MAX_BATCH: Final = 64  # every export is verified at its batch size, in memory


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """The options of ``hardnet-deploy export`` as typed; None means that the user left it to the defaults."""

    model: str | None = None
    weights: Path | None = None
    code_line: str = registry.CODE_LINES[0]
    classes: Path | None = None
    fuse_bn: bool = True
    outputs: Outputs | None = None
    nms: NmsKind | None = None
    preset: Preset | None = None
    score_threshold: float | None = None
    iou_threshold: float | None = None
    max_detections: int | None = None
    precision: GraphPrecision = "fp32"
    target: str | None = None
    opset: int | None = None
    batch: str = "1"
    size: int | None = None
    output: Path | None = None
    command: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """What will be exported, every default decided.

    Args:
        spec: The model, with the user's classes and size.
        weights: Checkpoint, or None for weights from the fixed seed.
        code_line: Which repository trained them.
        fuse_bn: Whether batch norms are folded.
        graph: What the graph looks like.
        precision: ``fp16`` for an fp16-typed graph.
        warning: What the user should know of that precision on the target.
        target: The target named by the user, None where none was.
        output: The ONNX file to write.
        command: The command line, for the manifest.
    """

    spec: ModelSpec
    weights: Path | None
    code_line: str
    fuse_bn: bool
    graph: GraphOptions
    precision: GraphPrecision
    warning: str | None
    target: Target | None
    output: Path
    command: tuple[str, ...]


def plan_export(request: ExportRequest) -> ExportPlan:
    """Decide every default (explicit option, then the target's, then the project's) and refuse the impossible.

    Raises:
        UsageError: Options that cannot be meant.
        TargetError: The target cannot do it.
        InputFileError: The class list cannot be read.
        OutputFileError: The output clearly cannot be written.
    """
    spec = _spec(request)
    target = get_target(request.target) if request.target is not None else None
    batch = parse_batch(request.batch)
    opset = request.opset if request.opset is not None else DEFAULT_OPSET
    if not MIN_OPSET <= opset <= MAX_OPSET:
        raise UsageError(
            f"--opset {opset} is out of range",
            wanted=f"{MIN_OPSET} to {MAX_OPSET}",
            next_step="--opset 13 suits all targets",
        )
    outputs: Outputs = request.outputs or "detections"
    nms = request.nms or (target.default_nms if target else "efficient")
    has_nms = spec.is_detector and outputs == "detections"
    _refuse_idle_options(request, spec, outputs)
    thresholds = resolve_thresholds(request, spec) if has_nms else None
    if thresholds and nms == "efficient":
        _refuse_for_plugin(thresholds)
    if target:
        target.require_opset(opset)
        target.require_batch(batch)
        if has_nms:
            target.require_nms(nms)
        if request.precision == "fp16":
            _refuse_weakly_typed(target)
    output = request.output or Path(f"{spec.name}.onnx")
    refuse_unwritable(output)
    refuse_unwritable(manifest_path(output))
    for written in (output, manifest_path(output)):
        for read in filter(None, (request.weights, request.classes)):
            if os.path.realpath(written) == os.path.realpath(read):
                raise UsageError(f"-o {output} would overwrite {read}, which it reads", next_step="choose another -o")
    return ExportPlan(
        spec=spec,
        weights=request.weights,
        code_line=request.code_line,
        fuse_bn=request.fuse_bn,
        graph=GraphOptions(outputs=outputs, nms=nms, thresholds=thresholds, opset=opset, batch=batch),
        precision=request.precision,
        warning=target.precision_warning(request.precision) if target else None,
        target=target,
        output=output,
        command=request.command,
    )


def _refuse_weakly_typed(target: Target) -> None:
    """A target whose TensorRT takes precision from its build flags, not from the graph."""
    target.require_precision("fp16")
    if not WEAKLY_TYPED.intersection(target.tensorrt_families):
        return
    warning = target.precision_warning("fp16")
    raise TargetError(
        f"target '{target.name}' ({target.runtime}) takes fp16 as a flag of the build, not as an fp16-typed graph",
        got="--precision fp16" + (f"; {warning}" if warning else ""),
        wanted="--precision fp32, the default",
        next_step=f"export without --precision, then: hardnet-deploy build-engine --fp16 --target {target.name}",
    )


def parse_batch(text: str) -> int | None:
    """Images in a batch from ``N`` or ``dynamic`` (None).

    Raises:
        UsageError: Neither.
    """
    if text == "dynamic":
        return None
    if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_BATCH)) and 1 <= int(text) <= MAX_BATCH:
        return int(text)
    raise UsageError(f"--batch {text} is not a batch", wanted=f"a number from 1 to {MAX_BATCH}, or dynamic")


def _spec(request: ExportRequest) -> ModelSpec:
    spec = registry.get(registry.DEFAULT_MODEL if request.model is None else request.model)
    if request.code_line not in registry.CODE_LINES:
        raise UsageError(
            f"unknown code line '{request.code_line}'", wanted=" or ".join(registry.CODE_LINES), next_step="see --help"
        )
    if not spec.is_detector and request.code_line != registry.CODE_LINES[0]:
        raise UsageError(f"--code-line is for detectors; {spec.name} has only one", next_step="drop --code-line")
    if request.classes is not None:
        spec = registry.with_classes(spec, read_classes(request.classes))
    if request.size is not None:
        spec = registry.with_size(spec, request.size)
    return spec


def read_classes(path: Path) -> tuple[str, ...]:
    """Class names from a text file, one a line, without background; empty lines at the end are ignored.

    Raises:
        InputFileError: The file cannot be read as text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a mark in front
    except (OSError, UnicodeDecodeError) as error:
        raise InputFileError(
            f"the class list {path} cannot be read", got=str(error), wanted="a text file with one class name a line"
        ) from error
    return tuple(text.rstrip().splitlines())


def _refuse_idle_options(request: ExportRequest, spec: ModelSpec, outputs: Outputs) -> None:
    """Options that would silently do nothing are refused."""
    numbers = {
        "--score-threshold": request.score_threshold,
        "--iou-threshold": request.iou_threshold,
        "--max-detections": request.max_detections,
        "--nms": request.nms,
        "--thresholds": request.preset,
    }
    given = [name for name, value in numbers.items() if value is not None]
    if not spec.is_detector:
        given += ["--outputs"] if request.outputs is not None else []
        if given:
            raise UsageError(f"{spec.name} is a backbone with the one output 'logits'", got=", ".join(given))
    elif outputs != "detections" and given:
        raise UsageError(
            f"--outputs {outputs} ends before the NMS, so these would do nothing: {', '.join(given)}",
            next_step="drop them, or use --outputs detections",
        )


def resolve_thresholds(request: ExportRequest, spec: ModelSpec) -> Thresholds:
    """The preset's thresholds, overridden by what was typed.

    Raises:
        UsageError: A value out of range.
    """
    dataset = spec.dataset
    score = request.score_threshold
    if score is None:
        score = DEPLOY_SCORE if request.preset == "deploy" else EVAL_SCORE[dataset]
    iou = UPSTREAM_IOU if request.iou_threshold is None else request.iou_threshold
    kept = MAX_DETECTIONS[dataset] if request.max_detections is None else request.max_detections
    if not 0.0 <= score < 1.0 or np.float32(score) >= 1:  # graphs store it as float32
        raise UsageError(f"--score-threshold {score!r} is out of range", wanted="0 or more, below 1 in float32")
    if not SMALLEST_IOU <= iou <= 1.0:
        raise UsageError(f"--iou-threshold {iou:g} is out of range", wanted=f"{SMALLEST_IOU:g} to 1")
    if spec.head is not None and not 1 <= kept <= spec.head.num_priors:
        raise UsageError(f"--max-detections {kept} is out of range", wanted=f"1 to {spec.head.num_priors}")
    return Thresholds(score=score, iou=iou, max_detections=kept)


def _refuse_for_plugin(thresholds: Thresholds) -> None:
    """A threshold that EfficientNMS_TRT does not honour."""
    if thresholds.score < SMALLEST_SCORE_THRESHOLD:
        raise UsageError(
            f"a score threshold of {thresholds.score:g} cannot be used with EfficientNMS_TRT",
            got=f"below {SMALLEST_SCORE_THRESHOLD} the plugin can emit rows of score -32768 as detections",
            wanted=f"{SMALLEST_SCORE_THRESHOLD} or more",
            next_step="raise --score-threshold, or use --nms onnx",
        )
