"""``hardnet-deploy kit``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hardnet_deploy.artifacts import UNTRAINED
from hardnet_deploy.cli import int8_options as int8
from hardnet_deploy.cli.common import Debug, Json, counting, emit, emit_json, guarded, note

if TYPE_CHECKING:
    from hardnet_deploy.workflows.make_kit import KitResult

MIB = 1024**2
INT8 = "For INT8"


@guarded
def kit(
    target: Annotated[str, typer.Option("--target", help="jetson-nano or gtx-1080ti.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")],
    model: Annotated[str | None, typer.Argument(help="Model; default ssd512-hardnet68-coco.")] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", help="Checkpoint (.pth). Without it shipped weights, or untrained ones."),
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16", "int8"] | None,
        typer.Option("--precision", help="Default fp16 for jetson-nano, int8 for gtx-1080ti."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="Images for samples and INT8 ranges: demo, coco:ROOT, voc:ROOT or a folder; default demo, but for INT8"
            " of another model than the demo's.",
        ),
    ] = None,
    samples: Annotated[int, typer.Option("--samples", help="Images that the device compares with PyTorch.")] = 8,
    thresholds: Annotated[
        Literal["eval", "deploy"] | None,
        typer.Option("--thresholds", help="eval (default): scores from 0.02 (COCO) or 0.03 (VOC); deploy: 0.3."),
    ] = None,
    workspace: Annotated[
        str | None, typer.Option("--workspace", help="Limit for the builder, such as 256M; default the target's.")
    ] = None,
    classes: Annotated[
        Path | None, typer.Option("--classes", help="Your own class list: a name a line, without background.")
    ] = None,
    size: Annotated[int | None, typer.Option("--size", help="Backbones only: side of the input; default 224.")] = None,
    code_line: Annotated[
        str, typer.Option("--code-line", help="Which repository trained the checkpoint: pingolh or lzx1413.")
    ] = "pingolh",
    calib: Annotated[
        Path | None,
        typer.Option("--calib", help="A table of hardnet-deploy calibrate.", rich_help_panel=INT8),
    ] = None,
    count: Annotated[int | None, typer.Option("--count", help=int8.COUNT, rich_help_panel=INT8)] = None,
    layer_precisions: Annotated[
        str | None,
        typer.Option(
            *int8.LAYER_PRECISIONS,
            help="NAME:fp32,... for layers beside the first that stay float.",
            rich_help_panel=INT8,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write where a kit is already; that one is kept as NAME.old.")
    ] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a folder that builds, checks and times the model on a Jetson Nano or a GTX 1080 Ti."""
    from hardnet_deploy.workflows.kit_options import KitRequest
    from hardnet_deploy.workflows.make_kit import run_kit

    del debug
    request = KitRequest(
        target=target,
        folder=output,
        model=model,
        weights=weights,
        code_line=code_line,
        classes=classes,
        preset=thresholds,
        size=size,
        precision=precision,
        workspace=workspace,
        data=data,
        samples=samples,
        calib=calib,
        count=count,
        layer_precisions=layer_precisions,
        force=force,
        command=("hardnet-deploy", *sys.argv[1:]),
    )
    with counting() as progress:
        result = run_kit(request, progress)
    for line in result.notes:
        note(f"note: {line}")
    if json:
        emit_json(result.as_dict())
        return
    prefix = "" if result.document["trained"] else f"{UNTRAINED}: "
    for line in summary(result):
        emit(prefix + line)


def summary(result: KitResult) -> Iterator[str]:
    """The result for a person."""
    document, sizes = result.document, result.bytes_by_file
    estimate, samples = document["estimate"], document["samples"]
    total, model = sum(sizes.values()) / MIB, sizes[document["onnx"]["file"]] / MIB
    yield f"wrote    {result.folder}: {len(sizes)} files, {total:.1f} MiB, of which {model:.1f} are the model"
    if result.kept is not None:
        yield f"kept     the older kit, as {result.kept}"
    yield f"engine   {document['model']['name']} in {document['precision']} for {document['runtime']}"
    yield f"float    {len(document['settings']['fp32_layers'])} layers stay in FP32"
    if result.table is not None:
        record = document["calibration"]
        yield f"ranges   {record['method']}, {record['images']} images of {record['data']}; {result.table}"
    yield f"samples  {samples['data']}"
    yield (
        f"needs    about {estimate['build_memory_bytes'] / MIB:.0f} MiB of memory to build,"
        f" {estimate['disk_bytes'] / MIB:.0f} MiB of disk (estimated)"
    )
    yield "next     copy the folder to the device and follow its README.md: python3 run_engine.py all"
