"""``hardnet-deploy profile``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hardnet_deploy.artifacts import UNTRAINED
from hardnet_deploy.bench.layer_times import overhead_told
from hardnet_deploy.cli.common import Debug, Json, Trust, counting, emit, emit_json, guarded, note
from hardnet_deploy.cli.layer_options import Csv, Output, Picture, Top
from hardnet_deploy.cli.model_options import Classes

if TYPE_CHECKING:
    from hardnet_deploy.workflows.profile_result import ProfileResult

IMPORT = "From trtexec instead"


@guarded
def profile(
    engine: Annotated[
        str | None,
        typer.Argument(help="Artifact, MODEL or MODEL=CHECKPOINT.pth; with --trtexec-profile what was profiled."),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="random (the default) or demo[:SPLIT]: NMS depends on the boxes.")
    ] = None,
    iterations: Annotated[int | None, typer.Option("--iterations", help="Profiled runs; default 30.")] = None,
    threads: Annotated[int | None, typer.Option("--threads", help="On the CPU; default one a core.")] = None,
    trtexec_profile: Annotated[
        Path | None,
        typer.Option("--trtexec-profile", "--exportProfile", help="JSON of --exportProfile.", rich_help_panel=IMPORT),
    ] = None,
    layer_info: Annotated[
        Path | None,
        typer.Option("--layer-info", "--exportLayerInfo", help="JSON of --exportLayerInfo.", rich_help_panel=IMPORT),
    ] = None,
    kit: Annotated[
        Path | None, typer.Option("--kit", help="The kit that the engine was built from.", rich_help_panel=IMPORT)
    ] = None,
    classes: Classes = None,
    top: Top = 15,
    csv: Csv = None,
    picture: Picture = None,
    output: Output = None,
    trust: Trust = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Time every layer of an engine, by part of the network: blocks, concatenations, heads, NMS."""
    from hardnet_deploy.workflows.profile import ProfileRequest, run_profile

    del debug
    request = ProfileRequest(
        engine=engine,
        data=data,
        iterations=iterations,
        threads=threads,
        trtexec_profile=trtexec_profile,
        layer_info=layer_info,
        kit=kit,
        classes=classes,
        output=output,
        csv=csv,
        picture=picture,
        trust=trust,
        command=("hardnet-deploy", *sys.argv[1:]),
    )
    with counting(unit="runs", units={"drawing the demo data": "images"}) as progress:
        result = run_profile(request, progress)
    if result.simulated:
        note("warning: a stand-in of TensorRT ran: these times say nothing about any device")
    if result.engine["warning"]:
        note(f"warning: {result.engine['warning']}")
    for path in result.files.values():
        note(f"wrote {path}")
    if json:
        emit_json(result.as_dict())
        return
    prefix = f"{UNTRAINED}: " if result.untrained else ""
    for line in summary(result, top):
        emit((prefix + line).rstrip())


def summary(result: ProfileResult, top: int) -> Iterator[str]:
    """Groups, the slowest layers and the lints."""
    from hardnet_deploy.workflows.profile_result import HASH_DIGITS

    table, profile_ = result.table, result.table.profile
    digest = result.sha256[:HASH_DIGITS] if result.sha256 else "unknown"
    yield f"{result.engine['label']} (SHA-256 {digest}): {result.provenance}"
    runs = _counted(profile_.runs, "run")
    yield f"source   {profile_.source}; mean of {runs}; {result.conditions['data']}{_threads(result)}"
    yield f"time     {_account(result)}"
    yield ""
    yield f"{'part of the network':<24} {'layers':>6} {'ms':>9} {'%':>6}"
    for group in table.groups():
        yield f"{group.group:<24} {group.layers:>6} {group.ms:>9.3f} {group.percent:>6.1f}"
    yield ""
    slowest = table.slowest()[:top]
    width = min(max((len(one.label) for one in slowest), default=5), 48)
    yield f"{'layer':<{width}} {'operator':<18} {'part':<20} {'ms':>9} {'%':>6}"
    for one in slowest:
        name, op = one.label[:width], one.layer.op[:18]
        yield f"{name:<{width}} {op:<18} {one.place.group:<20} {one.layer.ms:>9.3f} {one.percent:>6.1f}"
    for text in sorted({one.place.reason for one in table.layers if one.place.group == "other" and one.place.reason}):
        yield f"other    {text}"
    for lint in result.lints:
        share = "" if lint.percent is None else f" ({lint.percent:.1f} % of the time)"
        yield f"TensorRT {lint.rule}: {lint.message}{share}"
    for text in profile_.notes:
        yield f"note     {text}"


def _threads(result: ProfileResult) -> str:
    threads = result.conditions.get("threads")
    return f"; {_counted(threads, 'thread')}" if threads else ""


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _account(result: ProfileResult) -> str:
    table = result.table
    found = f"{table.layers_ms:.3f} ms in {_counted(len(table.layers), 'layer')}"
    if table.profile.run_ms is None:
        return f"{found}; the time of the whole run is not in this file"
    found += f", {table.accounted_percent:.1f} % of a run's {table.profile.run_ms:.3f} ms"
    if table.profile.overhead_percent is not None:
        found += f"; {overhead_told(table.profile.overhead_percent)}"
    if table.profile.plain_median_ms is not None:
        found += f"; without the profiler {table.profile.plain_median_ms:.3f} ms (median)"
    return found
