"""``hardnet-deploy import-report``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hardnet_deploy.artifacts import UNTRAINED
from hardnet_deploy.cli.common import Debug, Json, emit, emit_json, guarded, note

if TYPE_CHECKING:
    from hardnet_deploy.workflows.import_report import ImportResult

TRTEXEC = "From trtexec instead"
MISSING = "not in this file"


@guarded
def import_report(
    report: Annotated[
        Path | None, typer.Argument(metavar="[REPORT]", help="report.json that run_engine.py wrote on the device.")
    ] = None,
    kit: Annotated[
        Path | None,
        typer.Option("--kit", help="The kit that it comes from; default the report's own folder, if it is one."),
    ] = None,
    times: Annotated[
        Path | None, typer.Option("--times", help="JSON of trtexec --exportTimes.", rich_help_panel=TRTEXEC)
    ] = None,
    profile: Annotated[
        Path | None, typer.Option("--profile", help="JSON of --exportProfile.", rich_help_panel=TRTEXEC)
    ] = None,
    layer_info: Annotated[
        Path | None, typer.Option("--layer-info", help="JSON of --exportLayerInfo.", rich_help_panel=TRTEXEC)
    ] = None,
    tensorrt: Annotated[
        str | None,
        typer.Option("--tensorrt", help="Version that wrote them: 8.2.x, 8.6.x, 10.x, 11.x.", rich_help_panel=TRTEXEC),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="The GPU's or board's name.", rich_help_panel=TRTEXEC)
    ] = None,
    date: Annotated[str | None, typer.Option("--date", help="As 2026-11-21.", rich_help_panel=TRTEXEC)] = None,
    engine: Annotated[
        Path | None,
        typer.Option(
            "--engine",
            help="The engine that was timed; without it nothing of the kit is filed.",
            rich_help_panel=TRTEXEC,
        ),
    ] = None,
    warm_up: Annotated[
        float | None,
        typer.Option("--warm-up", "--warmUp", help="Of that run, ms; default 200.", rich_help_panel=TRTEXEC),
    ] = None,
    save: Annotated[Path | None, typer.Option("--save", help="The results to add to; default results.json.")] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Check what a device measured and add it to the results, labelled imported (device, date)."""
    from hardnet_deploy.workflows.import_report import ImportRequest, run_import

    del debug
    request = ImportRequest(
        report=report,
        kit=kit,
        times=times,
        profile=profile,
        layer_info=layer_info,
        tensorrt=tensorrt,
        device=device,
        date=date,
        engine=engine,
        warm_up_ms=warm_up,
        save=save,
    )
    result = run_import(request)
    for line in result.notes:
        note(f"note: {line}")
    if json:
        emit_json(result.as_dict())
        return
    for line in summary(result):
        emit(line)


def summary(result: ImportResult) -> Iterator[str]:
    """The row for a person."""
    row = result.row
    columns = ("model", "precision", "TensorRT", "median ms", "mean", "p99", "CoV %", "parity", "engine", "origin")
    cells = _cells(row)
    widths = [max(len(head), len(cell)) for head, cell in zip(columns, cells, strict=True)]
    for line in (columns, cells):
        yield "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
    timing = row["timing"]
    yield f"timed    {timing['boundary']}; inputs: {timing['inputs']}; {timing['runs']} runs"
    if row["layers"]:
        yield "layers   " + ", ".join(f"{count} in {name}" for name, count in sorted(row["layers"].items()))
    if row["profile"]:
        slowest = sorted(row["profile"]["layers"], key=lambda layer: -layer["average_ms"])[:3]
        yield "slowest  " + ", ".join(f"{layer['name']} {layer['average_ms']:.3f} ms" for layer in slowest)
    if row["not_in_file"]:
        yield f"missing  {', '.join(row['not_in_file'])}: {MISSING}"
    yield f"{'added to' if result.new else 'already in'} {result.store}"


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    timing, parity = row["timing"], row["parity"]
    model = row["model"] or MISSING
    return (
        f"{UNTRAINED}: {model}" if row["trained"] is False else model,
        row["precision"] or MISSING,
        row["tensorrt"],
        f"{timing['median']:.3f}",
        f"{timing['mean']:.3f}",
        f"{timing['p99']:.3f}",
        f"{timing['cov_percent']:.2f}" + ("" if timing["stable"] else " UNSTABLE"),
        MISSING if parity is None else "passed" if parity["passed"] else "FAILED",
        row["sha256"]["engine"][:12] if row["sha256"]["engine"] else MISSING,
        row["label"],
    )
