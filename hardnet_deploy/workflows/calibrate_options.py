"""What a calibration is to do: its options as typed, the impossible and the idle refused before it begins."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hardnet_deploy.artifacts import manifest_path
from hardnet_deploy.errors import UsageError
from hardnet_deploy.files import refuse_unwritable

if TYPE_CHECKING:
    from calibration.ranges import ConcatScales
    from calibration.table import Method

SEED: Final = 0
METHOD: Final[Method] = "entropy"


@dataclass(frozen=True, kw_only=True)
class CalibrateRequest:
    """The options of ``hardnet-deploy calibrate`` as typed; None means that the user left it to the defaults."""

    onnx: Path
    data: str | None = None
    calib: Path | None = None
    method: Method | None = None
    count: int | None = None
    seed: int | None = None
    output: Path | None = None
    threads: int | None = None
    workers: int | None = None
    qdq: Path | None = None
    cache: Path | None = None
    ranges: Path | None = None
    choice: Path | None = None
    layer_precisions: str | None = None
    tensorrt: str | None = None
    concat_scales: ConcatScales | None = None
    trust: bool = False
    restart: bool = False
    command: tuple[str, ...] = ()


def default_output(onnx: Path) -> Path:
    """``F.calib.json`` for ``F.onnx``."""
    return onnx.with_suffix(".calib.json")


def refuse_idle(request: CalibrateRequest) -> None:
    """Refuse options that would silently do nothing.

    Raises:
        UsageError: One is given without the output that it is for, or beside a table that is there; or it is out of
            range.
    """
    for option, number in (("--threads", request.threads), ("--workers", request.workers)):
        if number is not None and number < 1:
            raise UsageError(f"{option} {number} is out of range", wanted="1 or more")
    if request.calib is not None:
        _refuse_measuring(request)
    for option, value, files in (
        ("--tensorrt", request.tensorrt, {"--cache": request.cache}),
        ("--choice", request.choice, {"--qdq": request.qdq, "--ranges": request.ranges}),
        ("--layer-precisions", request.layer_precisions, {"--qdq": request.qdq, "--ranges": request.ranges}),
        ("--calib", request.calib, {"--qdq": request.qdq, "--cache": request.cache, "--ranges": request.ranges}),
        (
            "--concat-scales",
            request.concat_scales,
            {"--qdq": request.qdq, "--cache": request.cache, "--ranges": request.ranges},
        ),
    ):
        if value is not None and all(file is None for file in files.values()):
            raise UsageError(
                f"without {' or '.join(files)} {option} would do nothing",
                next_step=f"add {'one of them' if len(files) > 1 else 'it'}, or drop {option}",
            )


def _refuse_measuring(request: CalibrateRequest) -> None:
    given = {
        "--data": request.data,
        "--count": request.count,
        "--seed": request.seed,
        "--threads": request.threads,
        "--workers": request.workers,
        "--restart": request.restart or None,
        "--output": request.output,
    }
    idle = [option for option, value in given.items() if value is not None]
    if idle:
        raise UsageError(
            f"--calib brings its ranges, so {' and '.join(idle)} would do nothing", next_step="drop one of them"
        )


def refuse_overlaps(request: CalibrateRequest, output: Path | None) -> None:
    """Refuse outputs that cannot be written, or of which one would overwrite another or what is read.

    Args:
        request: The options.
        output: The table; None where it is there already.

    Raises:
        OutputFileError: One clearly cannot be written.
        UsageError: One would overwrite another, or what is read.
    """
    read = [request.onnx, manifest_path(request.onnx), *filter(None, (request.calib, request.choice))]
    if request.choice is not None:
        read.append(manifest_path(request.choice))
    taken = {os.path.realpath(path) for path in read}
    qdq = () if request.qdq is None else (request.qdq, manifest_path(request.qdq))
    for path in filter(None, (output, *qdq, request.cache, request.ranges)):
        refuse_unwritable(path)
        place = os.path.realpath(path)
        if place in taken:
            raise UsageError(
                f"{path} would overwrite what is read, a manifest or another output", next_step="choose another name"
            )
        taken.add(place)
