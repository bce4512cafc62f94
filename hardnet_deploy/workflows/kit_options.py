"""What a kit is to be: its options with every default decided, the impossible and the idle refused."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hardnet_deploy.errors import TargetError, UsageError
from hardnet_deploy.kit import layout
from hardnet_deploy.models import registry
from hardnet_deploy.specs import ModelSpec
from hardnet_deploy.target_spec import MIB, Precision, Target
from hardnet_deploy.targets import get_target
from hardnet_deploy.workflows.export_options import ExportRequest, Preset, plan_export

DEFAULT_PRECISION: Final[dict[str, Precision]] = {"jetson-nano": "fp16", "gtx-1080ti": "int8"}
SAMPLES: Final = 8
MOST_SAMPLES: Final = 200


@dataclass(frozen=True, kw_only=True)
class KitRequest:
    """The options of ``hardnet-deploy kit`` as typed; None means that the user left it to the defaults."""

    target: str
    folder: Path
    model: str | None = None
    weights: Path | None = None
    code_line: str = registry.CODE_LINES[0]
    classes: Path | None = None
    preset: Preset | None = None
    size: int | None = None
    precision: Precision | None = None
    workspace: str | None = None
    data: str | None = None
    samples: int = SAMPLES
    calib: Path | None = None
    count: int | None = None
    layer_precisions: str | None = None
    force: bool = False
    command: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class KitPlan:
    """What will be written.

    Args:
        spec: The model, with the user's classes and size.
        target: The device.
        precision: Of its engine.
        warning: What the user should know of that precision there.
        workspace: Bytes for the builder; None for no limit.
        data: Images to take samples from, and to calibrate on.
        folder: The kit.
    """

    spec: ModelSpec
    target: Target
    precision: Precision
    warning: str | None
    workspace: int | None
    data: str
    folder: Path


def plan_kit(request: KitRequest) -> KitPlan:
    """Decide every default and refuse the impossible.

    Raises:
        UsageError: Options that cannot be meant, or that would do nothing.
        TargetError: The device cannot do it, or needs no kit.
        InputFileError: The class list cannot be read.
    """
    target = get_target(request.target)
    if target.name not in DEFAULT_PRECISION:
        raise TargetError(
            f"there is no kit for target '{target.name}': its engines are built where they run",
            wanted=" or ".join(DEFAULT_PRECISION),
            next_step=f"on the machine itself: {_build_command(request, target.name)}",
        )
    precision = request.precision or DEFAULT_PRECISION[target.name]
    target.require_precision(precision)
    _refuse_idle(request, precision)
    export = plan_export(
        ExportRequest(
            model=request.model,
            weights=request.weights,
            code_line=request.code_line,
            classes=request.classes,
            preset=request.preset,
            size=request.size,
            target=target.name,
            output=request.folder / layout.MODEL,
        )
    )
    if precision == "int8" and request.calib is None and request.data is None and export.spec.dataset != "demo":
        raise UsageError(
            f"INT8 needs ranges, and nothing is named to measure those of {export.spec.name} on",
            wanted="--data with images like those the engine will see, or --calib with a table",
            next_step="add --data coco:ROOT, voc:ROOT or a folder of images",
        )
    return KitPlan(
        spec=export.spec,
        target=target,
        precision=precision,
        warning=target.precision_warning(precision),
        workspace=_workspace(request.workspace, target),
        data=request.data or "demo",
        folder=request.folder,
    )


def _refuse_idle(request: KitRequest, precision: Precision) -> None:
    """Options out of range, and such as would silently do nothing."""
    if not 1 <= request.samples <= MOST_SAMPLES:
        raise UsageError(
            f"--samples {request.samples} is out of range",
            wanted=f"1 to {MOST_SAMPLES}",
            next_step=f"leave it out for {SAMPLES}",
        )
    if request.count is not None and request.count < 1:
        raise UsageError(
            f"--count {request.count} leaves no image to measure INT8 ranges on",
            wanted="1 or more",
            next_step="say how many, or leave it out",
        )
    options = {
        "--calib": request.calib,
        "--count": request.count,
        "--layer-precisions": request.layer_precisions,
    }
    given = [name for name, value in options.items() if value is not None]
    if precision != "int8" and given:
        raise UsageError(
            f"without INT8 these would do nothing: {', '.join(given)}",
            got=f"precision {precision}",
            next_step="drop them, or use --precision int8 on a target that has it",
        )
    if request.calib is not None and request.count is not None:
        raise UsageError("--calib brings its ranges, so --count would do nothing", next_step="drop one of them")


def _workspace(text: str | None, target: Target) -> int | None:
    """Bytes of ``256M`` and the like; the target's own limit where nothing is given.

    Raises:
        UsageError: It is no size, or less than a MiB.
        TargetError: It is more than the device can give.
    """
    if text is None:
        return target.max_workspace
    found = re.fullmatch(r"(\d+)([MG])i?B?", text, flags=re.IGNORECASE)
    size = int(found[1]) * MIB * (1024 if found[2].upper() == "G" else 1) if found else 0
    if not size:
        raise UsageError(f"--workspace {text} is no size", wanted="such as 256M or 2G")
    if target.max_workspace is not None and size > target.max_workspace:
        raise TargetError(
            f"target '{target.name}' cannot give the builder so much workspace",
            got=text,
            wanted=f"at most {target.max_workspace // MIB}M",
            next_step=f"use --workspace {target.max_workspace // MIB}M, or leave it out",
        )
    return size


def _build_command(request: KitRequest, target: str) -> str:
    """The build that stands in for a kit where there is none."""
    words = ["hardnet-deploy", "build-engine", request.model or registry.DEFAULT_MODEL]
    words += ["--weights", str(request.weights)] if request.weights is not None else []
    words += [f"--{request.precision}"] if request.precision in {"fp16", "int8"} else []
    return shlex.join([*words, "--target", target])
