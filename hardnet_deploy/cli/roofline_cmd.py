"""``hardnet-deploy roofline``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hardnet_deploy.cli.common import Debug, Json, Trust, counting, emit, emit_json, guarded, note
from hardnet_deploy.cli.layer_options import Csv, Output, Picture, Top

if TYPE_CHECKING:
    from hardnet_deploy.bench.peaks import Peak
    from hardnet_deploy.bench.roofline import Roofline
    from hardnet_deploy.workflows.roofline import RooflineResult


@guarded
def roofline(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL|ONNX]", help="A model, or a file that hardnet-deploy wrote.")
    ] = None,
    target: Annotated[
        str, typer.Option("--target", help="gtx-1080ti, jetson-nano, h200, gpu, here (this CPU, measured) or all.")
    ] = "all",
    size: Annotated[int | None, typer.Option("--size", help="Input side of a backbone; default 224.")] = None,
    precision: Annotated[
        Literal["fp32", "fp16", "int8"] | None,
        typer.Option("--precision", help="Default: all that the target has; of one with FP16 or INT8 layers its own."),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Time the layers here, in ONNX Runtime, and show the share reached.")
    ] = False,
    times: Annotated[
        Path | None, typer.Option("--times", help="F.profile.json of hardnet-deploy profile: show the share reached.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", help="Of what is measured here; default one a core.")
    ] = None,
    top: Top = 12,
    csv: Csv = None,
    picture: Picture = None,
    output: Output = None,
    trust: Trust = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Bound each layer's time by arithmetic and memory on each target, and say which it is."""
    from hardnet_deploy.workflows.roofline import RooflineRequest, run_roofline

    del debug
    request = RooflineRequest(
        model=model,
        target=target,
        size=size,
        precision=precision,
        measure=measure,
        times=times,
        threads=threads,
        csv=csv,
        picture=picture,
        output=output,
        trust=trust,
        command=("hardnet-deploy", *sys.argv[1:]),
    )
    with counting(unit="runs", units={"measuring this machine's peaks": "measurements"}) as progress:
        result = run_roofline(request, progress)
    for path in result.files.values():
        note(f"wrote {path}")
    if json:
        emit_json(result.as_dict())
        return
    for line in summary(result, top):
        emit(line)


def summary(result: RooflineResult, top: int) -> Iterator[str]:
    """A line for each target, then the parts and layers of the first that has times, else of the first."""
    identity, rooflines = result.graph.identity, result.rooflines
    side, first = identity["size"], rooflines[0]
    total = sum(one.flops for one in first.layers)
    yield (
        f"{identity['label']}, {side} x {side}, batch {identity['batch']}: {result.macs / 1e9:.3f} GMACs,"
        f" {total / 1e9:.3f} billion operations"
    )
    yield ""
    wide = max(9, *(len(one.precision) for one in rooflines))
    yield (
        f"{'target':<34} {'precision':<{wide}} {'MB':>7} {'bound':>11} {'no concat':>11} {'by memory':>9}"
        f" {'measured':>11} {'share':>6}"
    )
    for one in rooflines:
        moved = sum(layer.bytes for layer in one.layers) / 1e6
        measured = "" if one.whole_ms is None else f"{one.whole_ms:8.3f} ms"
        share = "" if one.share is None else f"{100 * one.share:4.0f} %"
        yield (
            f"{one.device.title:<34} {one.precision:<{wide}} {moved:>7.1f} {one.bound_ms:>8.3f} ms"
            f" {one.bound_ms_free_concatenation:>8.3f} ms {one.memory_percent:>7.0f} % {measured:>11} {share:>6}"
        ).rstrip()
    for one in {roof.device.name: roof for roof in rooflines}.values():
        for kind, peak in one.peaks.items():
            yield f"peak     {one.device.title}, {kind}: {_peak(peak)}"
    shown = next((one for one in rooflines if one.measured_ms is not None), first)
    yield ""
    yield from _layers(shown, top)
    if result.times is not None:
        yield f"times    {result.times.source}"
    for text in result.notes:
        yield f"note     {text}"


def _peak(peak: Peak) -> str:
    return f"{peak.flops / 1e9:.4g} billion operations/s, {peak.bandwidth / 1e9:.4g} GB/s; {peak.source}"


def _layers(roof: Roofline, top: int) -> Iterator[str]:
    yield f"{roof.device.title}, {roof.precision}: the layers of the longest bounds"
    longest = sorted(roof.layers, key=lambda one: -one.bound_ms)[:top]
    names = [one.module if one.module and len(one.name) > 40 else one.name for one in longest]
    width = max(len(name) for name in names)
    yield (
        f"{'layer':<{width}} {'part':<20} {'Mops':>9} {'MB':>7} {'ops/B':>7} {'bound':>11} {'bound by':<10}"
        f" {'measured':>11} {'share':>6}"
    ).rstrip()
    for name, one in zip(names, longest, strict=True):
        measured = "" if one.measured_ms is None else f"{one.measured_ms:8.3f} ms"
        share = "" if one.share is None else f"{100 * one.share:4.0f} %"
        yield (
            f"{name:<{width}} {one.group:<20} {one.flops / 1e6:>9.1f} {one.bytes / 1e6:>7.2f} {one.intensity:>7.1f}"
            f" {one.bound_ms:>8.4f} ms {one.bound_by:<10} {measured:>11} {share:>6}"
        ).rstrip()
    if roof.unplaced_ms:
        yield f"{'(in no layer: layout changes)':<{width}} {roof.unplaced_ms:.3f} ms measured"
