"""``hardnet-deploy sensitivity``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hardnet_deploy.cli.common import Debug, Json, Trust, counting, emit, emit_json, guarded
from hardnet_deploy.cli.int8_options import UNITS

if TYPE_CHECKING:
    from hardnet_deploy.workflows.sensitivity import SensitivityResult


@guarded
def sensitivity(
    onnx: Annotated[Path, typer.Argument(metavar="ONNX", help="A file that hardnet-deploy export wrote.")],
    calib: Annotated[
        Path | None, typer.Option("--calib", help="Its calibration; default F.calib.json beside F.onnx.")
    ] = None,
    data: Annotated[
        str, typer.Option("--data", help="Labelled images: demo (its search split), coco:ROOT or voc:ROOT.")
    ] = "demo",
    count: Annotated[int, typer.Option("--count", help="Images for mAP.")] = 200,
    with_map: Annotated[
        bool, typer.Option("--map/--no-map", help="Measure each layer's drop of mAP too, not its noise alone.")
    ] = True,
    concat_scales: Annotated[
        Literal["unified", "separate"],
        typer.Option("--concat-scales", help="One scale for tensors that are concatenated."),
    ] = "unified",
    top: Annotated[int, typer.Option("--top", min=1, help="Layers to print; the report holds all.")] = 15,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Report; default F.sensitivity.json; a picture beside it.")
    ] = None,
    trust: Trust = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Quantise each layer alone and rank the layers by what that costs."""
    from hardnet_deploy.workflows.sensitivity import SensitivityRequest, run_sensitivity

    del debug
    request = SensitivityRequest(
        onnx=onnx,
        calib=calib,
        data=data,
        count=count,
        with_map=with_map,
        concat_scales=concat_scales,
        output=output,
        trust=trust,
    )
    with counting(units=UNITS) as progress:
        result = run_sensitivity(request, progress)
    if json:
        emit_json(result.as_dict())
        return
    for line in summary(result, top):
        emit(line)


def summary(result: SensitivityResult, top: int) -> Iterator[str]:
    """The most harmful layers."""
    yield f"{len(result.layers)} layers of {result.engine.label}, each alone in INT8, on {result.dataset.name}"
    yield f"{'layer':<28} {'noise in heads':>15}  {'drop of mAP (95 % interval)':<32} arithmetic"
    total = max(sum(one.noise.macs for one in result.layers), 1)
    for one in result.layers[:top]:
        drop = "not measured"
        if one.trial:
            low, high = (100 * bound for bound in one.trial.drop.two_sided)
            drop = f"{100 * one.trial.drop.drop:+.3f} % ({low:+.3f} to {high:+.3f})"
        share = 100 * one.noise.macs / total
        yield f"{one.noise.name:<28} {one.noise.worst:>12.1f} dB  {drop:<32} {share:>8.1f} %"
    yield f"report   {result.report}"
    yield f"picture  {result.picture}"
