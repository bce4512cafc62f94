"""What an engine build is to do: its options with every default decided, the impossible refused before it begins."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hardnet_deploy.artifacts import manifest_path
from hardnet_deploy.data.sources import spells_split
from hardnet_deploy.errors import TargetError, UsageError
from hardnet_deploy.evaluate.bootstrap import DropType
from hardnet_deploy.files import refuse_unwritable
from hardnet_deploy.models import registry
from hardnet_deploy.target_spec import Precision, Target
from hardnet_deploy.targets import get_target

if TYPE_CHECKING:
    from calibration.ranges import ConcatScales
    from calibration.table import Method

PRECISIONS: Final = ("fp32", "int8")
SPLITS_APART: Final = {  # by layout: what engines are judged on by default, and splits to search in and calibrate on
    "coco": ("val2017", "train2017", "unlabeled2017"),
    "voc": ("2007-test", "2007-val", "2007-train"),
}


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """The options of ``hardnet-deploy build-engine`` as typed; None means that the user left it to the defaults."""

    source: str | None = None
    weights: Path | None = None
    code_line: str = registry.CODE_LINES[0]
    int8: bool = False
    fp16: bool = False
    target: str | None = None
    calib: Path | None = None
    data: str | None = None
    count: int | None = None
    seed: int | None = None
    method: Method | None = None
    concat_scales: ConcatScales = "unified"
    layer_precisions: str | None = None
    reduce_range: bool = False
    max_drop: float | None = None
    drop_type: DropType = "relative"
    search_data: str | None = None
    search_count: int | None = None
    allow_fallback: bool = False
    dry_run: bool = False
    trust: bool = False
    output: Path | None = None
    command: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """What will be built, every default decided.

    Args:
        source: An ONNX file, or a model's name.
        is_model: True for a model's name.
        chosen: What stands in for what the user left out, in words; None where nothing was.
        target: Which device.
        precision: Of the engine.
        output: The engine file.
    """

    source: str
    is_model: bool
    chosen: str | None
    target: Target
    precision: Precision
    output: Path


def plan_build(request: BuildRequest) -> BuildPlan:
    """Decide every default and refuse the impossible.

    Raises:
        UsageError: Options that cannot be meant, or that would do nothing.
        TargetError: The target or this machine cannot do it.
        OutputFileError: The engine clearly cannot be written.
    """
    if request.int8 and request.fp16 and request.target in {None, "cpu"}:
        raise UsageError("--int8 and --fp16 exclude each other on the CPU", next_step="--int8 is the faster one")
    precision: Precision = "int8" if request.int8 else "fp16" if request.fp16 else "fp32"
    target, chosen = _target(request)
    target.require_precision(precision)
    if target.uses_tensorrt:
        raise TargetError(
            f"engines for target '{target.name}' are built by TensorRT, which this version does not drive yet",
            next_step="hardnet-deploy calibrate --qdq and --cache write what trtexec takes; or --target cpu",
        )
    if precision == "fp16":
        raise TargetError(
            target.precision_warning("fp16") or "fp16 is not faster on the CPU",
            got="--fp16",
            wanted="--int8, or fp32 without either",
        )
    _refuse_idle(request, precision)
    source = request.source
    if source is None:
        source = registry.DEMO_MODEL
        chosen.insert(0, f"no model or file is named: {source}, the trained demo detector")
    is_model = source in registry.MODELS
    if not is_model and request.weights is not None:
        raise UsageError("--weights is for a model's name; a file has its weights", next_step="drop --weights")
    if not is_model and request.code_line != registry.CODE_LINES[0]:
        raise UsageError("--code-line is for a model's name; a file has it in its graph", next_step="drop --code-line")
    stem = source if is_model else Path(source).stem.removesuffix(".fp32")
    output = request.output or Path(f"{stem}.{precision}.onnx")
    sources = () if is_model else (Path(source), manifest_path(Path(source)))
    for written in (output, manifest_path(output)):
        refuse_unwritable(written)
        for read in filter(None, (request.weights, request.calib, *sources)):
            if os.path.realpath(written) == os.path.realpath(read):
                raise UsageError(f"-o {output} would overwrite {read}, which it reads", next_step="choose another -o")
    return BuildPlan(
        source=source,
        is_model=is_model,
        chosen="; ".join(chosen) or None,
        target=target,
        precision=precision,
        output=output,
    )


def _target(request: BuildRequest) -> tuple[Target, list[str]]:
    if request.target is not None:
        return get_target(request.target), []
    from hardnet_deploy.workflows.doctor import inspect_environment

    name = inspect_environment().default_target
    if get_target(name).uses_tensorrt:  # which this version does not drive
        return get_target("cpu"), [f"no --target is named: 'cpu', since engines for '{name}' are not built yet"]
    return get_target(name), [f"no --target is named: '{name}', what this machine can run"]


def _refuse_idle(request: BuildRequest, precision: Precision) -> None:
    """Options that would silently do nothing are refused."""
    if precision == "int8":
        measuring = {"--data": request.data, "--count": request.count, "--seed": request.seed}
        both = [name for name, value in measuring.items() if value is not None]
        if request.calib is not None and both:
            raise UsageError(
                f"--calib brings its ranges, so {' and '.join(both)} would do nothing", next_step="drop one of them"
            )
        if request.max_drop is not None and not 0 < request.max_drop < 1:
            raise UsageError(f"--max-drop {request.max_drop:g} is out of range", wanted="above 0, below 1")
        searching = [
            name
            for name, value in (
                ("--drop-type", request.drop_type if request.drop_type != "relative" else None),
                ("--search-data", request.search_data),
                ("--search-count", request.search_count),
            )
            if value is not None
        ]
        if request.max_drop is None and searching:
            raise UsageError(
                f"without --max-drop {' and '.join(searching)} would do nothing", next_step="add --max-drop"
            )
        _refuse_default_split(request.search_data)
        return
    given = {
        "--calib": request.calib,
        "--data": request.data,
        "--count": request.count,
        "--seed": request.seed,
        "--method": request.method,
        "--layer-precisions": request.layer_precisions,
        "--max-drop": request.max_drop,
        "--drop-type": request.drop_type if request.drop_type != "relative" else None,
        "--concat-scales": request.concat_scales if request.concat_scales != "unified" else None,
        "--allow-fallback": request.allow_fallback or None,
        "--search-data": request.search_data,
        "--search-count": request.search_count,
        "--reduce-range": request.reduce_range or None,
    }
    idle = [name for name, value in given.items() if value is not None]
    if idle:
        raise UsageError(f"without --int8 these would do nothing: {', '.join(idle)}", next_step="add --int8")


def _refuse_default_split(search_data: str | None) -> None:
    """Refuse to search, unasked, in the very split that engines are judged on by default."""
    text = search_data or ""
    kind, _, root = text.partition(":")
    if kind in SPLITS_APART and root and not spells_split(text):
        judged, search, calibration = SPLITS_APART[kind]
        plain = text.rstrip(":")
        raise UsageError(
            f"--search-data {text} names no split, and {judged}, the usual one, is what engines are judged on",
            wanted=f"{plain}:SPLIT, with a split whose mAP you will not report",
            next_step=f"--search-data {plain}:{search}, with ranges of other images, as of {plain}:{calibration}",
        )


def float_units(text: str | None, names: Sequence[str]) -> frozenset[str]:
    """The layers that ``--layer-precisions`` leaves in float.

    Args:
        text: ``NAME:PRECISION,...`` with ``*`` for any characters and ``fp32`` or ``int8``; a later entry overrides
            an earlier one. TensorRT's spelling of ``--layerPrecisions``.
        names: Of all layers that can be INT8.

    Raises:
        UsageError: It cannot be read, names no layer, or leaves all of them in float.
    """
    found: set[str] = set()
    for entry in filter(None, (text or "").split(",")):
        pattern, colon, precision = entry.rpartition(":")
        if not colon or precision not in PRECISIONS:
            raise UsageError(
                f"--layer-precisions '{entry}' cannot be read", wanted=f"NAME:{' or NAME:'.join(PRECISIONS)}"
            )
        matched = fnmatch.filter(names, pattern)
        if not matched:
            raise UsageError(
                f"no layer is called '{pattern}'", wanted=f"{names[0]}, ...", next_step="hardnet-deploy sensitivity"
            )
        found = found | set(matched) if precision == "fp32" else found - set(matched)
    if found.issuperset(names):
        raise UsageError(
            "--layer-precisions leaves every layer in float", next_step="drop --int8, or name fewer layers"
        )
    return frozenset(found)
