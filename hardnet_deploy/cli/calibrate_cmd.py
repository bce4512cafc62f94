"""``hardnet-deploy calibrate``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hardnet_deploy.cli import int8_options as int8
from hardnet_deploy.cli.common import Debug, Json, Trust, counting, emit, emit_json, guarded, note

if TYPE_CHECKING:
    from hardnet_deploy.workflows.calibrate import CalibrateResult

SHOWN = 5
TENSORRT = "For TensorRT"


@guarded
def calibrate(
    onnx: Annotated[Path, typer.Argument(metavar="ONNX", help="A file that hardnet-deploy export wrote.")],
    data: Annotated[
        str | None,
        typer.Option("--data", help=int8.IMAGES),
    ] = None,
    calib: Annotated[
        Path | None,
        typer.Option("--calib", help="A table that is there: nothing is measured.", rich_help_panel=TENSORRT),
    ] = None,
    method: Annotated[
        int8.MethodName | None,
        typer.Option(
            "--method",
            help="How ranges are clipped; another method later takes no new measurement. Default entropy, or that of "
            "--calib.",
        ),
    ] = None,
    count: Annotated[int | None, typer.Option("--count", help=int8.COUNT)] = None,
    seed: Annotated[int | None, typer.Option("--seed", help=f"{int8.SEED[:-1]}; default 0.")] = None,
    threads: Annotated[int | None, typer.Option("--threads", help="Of ONNX Runtime; default one a core.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Threads that read images.")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Measure anew, whatever is there already.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The table; default F.calib.json beside F.onnx.")
    ] = None,
    qdq: Annotated[
        Path | None,
        typer.Option("--qdq", help="Also write the int8 Q/DQ graph for TensorRT 10 and 11.", rich_help_panel=TENSORRT),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", help="Also write TensorRT's own calibration cache.", rich_help_panel=TENSORRT),
    ] = None,
    ranges: Annotated[
        Path | None,
        typer.Option(
            "--ranges", help="Also write dynamic ranges and layer precisions as JSON.", rich_help_panel=TENSORRT
        ),
    ] = None,
    choice: Annotated[
        Path | None,
        typer.Option(
            "--choice",
            metavar="ENGINE",
            help="Of --qdq and --ranges: the float layers of this engine, as build-engine --max-drop found them.",
            rich_help_panel=TENSORRT,
        ),
    ] = None,
    layer_precisions: Annotated[
        str | None,
        typer.Option(
            *int8.LAYER_PRECISIONS,
            help="Of --qdq and --ranges: NAME:fp32 or NAME:int8, separated by commas; * stands for anything.",
            rich_help_panel=TENSORRT,
        ),
    ] = None,
    tensorrt: Annotated[
        str | None,
        typer.Option(
            "--tensorrt",
            help="Version that will read --cache: 8.x or 10.x; default 8.6.1.",
            rich_help_panel=TENSORRT,
        ),
    ] = None,
    concat_scales: Annotated[
        int8.ConcatName | None,
        typer.Option(
            "--concat-scales",
            help=f"Of --qdq, --cache and --ranges: {int8.CONCAT_SCALES}; default unified.",
            rich_help_panel=TENSORRT,
        ),
    ] = None,
    trust: Trust = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure the ranges that INT8 needs, on real images, once for every kind of engine."""
    from hardnet_deploy.workflows.calibrate import run_calibrate
    from hardnet_deploy.workflows.calibrate_options import CalibrateRequest

    del debug
    request = CalibrateRequest(
        onnx=onnx,
        data=data,
        calib=calib,
        method=method,
        count=count,
        seed=seed,
        threads=threads,
        workers=workers,
        restart=restart,
        output=output,
        qdq=qdq,
        cache=cache,
        ranges=ranges,
        choice=choice,
        layer_precisions=layer_precisions,
        tensorrt=tensorrt,
        concat_scales=concat_scales,
        trust=trust,
        command=("hardnet-deploy", *sys.argv[1:]),
    )
    with counting(units=int8.UNITS) as progress:
        result = run_calibrate(request, progress)
    for line in result.notes:
        note(f"note: {line}")
    if json:
        emit_json(result.as_dict())
        return
    for line in summary(result):
        emit(line)


def summary(result: CalibrateResult) -> Iterator[str]:
    """The result for a person."""
    table, mark = result.table, result.table.fingerprint
    done = "wrote" if result.origin == "measured" else "read"
    yield f"{done:<8} {result.path}: ranges of {len(table.tensors)} tensors, method {table.method}"
    yield f"images   {mark.count} of {mark.data} (digest {mark.images[:12]})"
    if result.origin == "reused":
        yield "reused   the same images had been measured: nothing was run again"
    elif result.origin == "measured":
        resumed = f", {result.resumed} by an interrupted run before" if result.resumed else ""
        yield f"ran      {result.measured} images in {result.seconds:.1f} s{resumed}"
    for one in result.written:
        yield f"wrote    {one.path}: {one.what}"
    groups, members = result.families
    yield f"concat   {groups} families of {members} tensors that meet in concatenations"
    rows = result.movements
    if rows:
        yield f"settled  {'images':>6}  {'median':>7}  {'worst':>7}  within 5 %  of the final thresholds"
        for row in rows:
            yield (
                f"         {row.images:>6}  {100 * row.median:>5.1f} %  {100 * row.worst:>5.1f} %  "
                f"{100 * row.settled:>8.0f} %  worst: {row.tensor}"
            )
    clipped, clipping = result.saturating, result.clipping
    for name, share in clipped[:SHOWN]:
        yield f"clipped  {100 * share:.2f} % of {name}"
    if len(clipped) > SHOWN:
        yield f"clipped  more than {100 * clipping.notable:g} % of {len(clipped) - SHOWN} tensors more"
    if clipped:
        yield f"         {clipping.why}"
