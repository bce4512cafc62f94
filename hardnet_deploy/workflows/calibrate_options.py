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


@dataclass(frozen=True, kw_only=True)
class CalibrateRequest:
    """The options of ``hardnet-deploy calibrate`` as typed; None means that the user left it to the defaults."""

    onnx: Path
    data: str | None = None
    method: Method = "entropy"
    count: int | None = None
    seed: int = SEED
    output: Path | None = None
    threads: int | None = None
    workers: int | None = None
    qdq: Path | None = None
    cache: Path | None = None
    ranges: Path | None = None
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
        UsageError: One of them is given without the output that it is for.
    """
    for option, value, files in (
        ("--tensorrt", request.tensorrt, {"--cache": request.cache}),
        ("--layer-precisions", request.layer_precisions, {"--qdq": request.qdq, "--ranges": request.ranges}),
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


def refuse_overlaps(request: CalibrateRequest, output: Path) -> None:
    """Refuse outputs that cannot be written, or of which one would overwrite another or the graph.

    Raises:
        OutputFileError: One clearly cannot be written.
        UsageError: One would overwrite another, or the graph.
    """
    taken = {os.path.realpath(path) for path in (request.onnx, manifest_path(request.onnx))}
    qdq = () if request.qdq is None else (request.qdq, manifest_path(request.qdq))
    for path in filter(None, (output, *qdq, request.cache, request.ranges)):
        refuse_unwritable(path)
        place = os.path.realpath(path)
        if place in taken:
            raise UsageError(
                f"{path} would overwrite the graph, its manifest or another output", next_step="choose another name"
            )
        taken.add(place)
