"""The files for TensorRT of one ``hardnet-deploy calibrate``: all of them leave the same layers in float."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hardnet_deploy.workflows.build_options import float_units
from hardnet_deploy.workflows.calibrate_options import CalibrateRequest
from hardnet_deploy.workflows.calibration_faults import calibration_faults
from hardnet_deploy.workflows.engine_choice import choice_of
from hardnet_deploy.workflows.open_engine import OpenEngine
from hardnet_deploy.workflows.quantise import quantiser_for
from hardnet_deploy.workflows.save_engine import manifest_of
from hardnet_deploy.workflows.tensorrt_writings import (
    DEFAULT_CACHE_VERSION,
    Written,
    float_layers,
    write_cache_file,
    write_qdq,
    write_ranges,
)

if TYPE_CHECKING:
    from calibration.graph import GraphMap
    from calibration.table import CalibrationTable


def cache_version(request: CalibrateRequest) -> str:
    """Version of TensorRT that will read the cache."""
    return DEFAULT_CACHE_VERSION if request.tensorrt is None else request.tensorrt


def float_layers_asked(engine: OpenEngine, graph: GraphMap, request: CalibrateRequest) -> str | None:
    """Layers that ``--choice`` and ``--layer-precisions`` keep in float; None for nothing.

    Raises:
        UsageError: It cannot be read, names no layer, or leaves all of them in float.
        InputFileError: The engine of ``--choice`` cannot be read.
        ArtifactMismatchError: It is of another graph; or the graph has no manifest.
    """
    if request.qdq is not None:
        manifest_of(engine)
    chosen = None if request.choice is None else choice_of(request.choice, engine, trust=request.trust)
    asked = ",".join(filter(None, (chosen, request.layer_precisions))) or None
    with calibration_faults():
        float_units(asked, [unit.name for unit in graph.units])
    return asked


def write_for_tensorrt(
    engine: OpenEngine, table: CalibrationTable, table_path: Path, request: CalibrateRequest, asked: str | None
) -> tuple[tuple[Written, ...], tuple[str, ...]]:
    """Write ``--qdq``, ``--ranges`` and ``--cache``; also what the user should know of them.

    Args:
        engine: The float graph.
        table: Its ranges.
        table_path: Where they stand.
        request: What is wanted.
        asked: What :func:`float_layers_asked` gave.

    Raises:
        ArtifactMismatchError: The table is of another graph.
        ExportError: The target's lint refuses the Q/DQ graph.
        OutputFileError: A file cannot be written.
    """
    written = tuple(_files(engine, table, table_path, request, asked))
    if request.cache is None:
        return written, ()
    where = (
        f"whose values are layer_precisions and layer_output_types of {request.ranges}"
        if request.ranges
        else "whose values --ranges writes"
    )
    flags = f"--int8 --calib={request.cache} --precisionConstraints=obey --layerPrecisions=... --layerOutputTypes=..."
    return written, (
        f"a calibration cache names no float layers: with it, give trtexec (8.6 or later) {flags}, {where}",
    )


def _files(
    engine: OpenEngine, table: CalibrationTable, table_path: Path, request: CalibrateRequest, asked: str | None
) -> Iterator[Written]:
    if request.qdq is None and request.cache is None and request.ranges is None:
        return
    quantiser = quantiser_for(engine, table, concat_scales=request.concat_scales or "unified")
    left = float_layers(quantiser, asked)
    if request.qdq is not None:
        yield write_qdq(engine, quantiser, table_path, request.qdq, left=left, command=request.command)
    if request.ranges is not None:
        yield write_ranges(quantiser, request.ranges, left=left)
    if request.cache is not None:
        yield write_cache_file(quantiser, request.cache, tensorrt=cache_version(request))
