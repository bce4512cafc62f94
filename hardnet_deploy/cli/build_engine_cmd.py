"""``hardnet-deploy build-engine``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hardnet_deploy.artifacts import manifest_path
from hardnet_deploy.cli import int8_options
from hardnet_deploy.cli.common import Debug, Json, Trust, counting, emit, emit_json, guarded, note

if TYPE_CHECKING:
    from hardnet_deploy.workflows.save_engine import BuildResult

MIB = 1024**2
INT8 = "INT8"
SEARCH = "Accuracy search"


@guarded
def build_engine(
    source: Annotated[
        str | None,
        typer.Argument(metavar="[ONNX|MODEL]", help="Exported file or model; default: the trained demo detector."),
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Quantise; ranges from --calib, or measured on --data.")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Half precision, where the target has it.")] = False,
    target: Annotated[
        str | None, typer.Option("--target", help="cpu, gtx-1080ti, jetson-nano or gpu; default: this machine.")
    ] = None,
    weights: Annotated[Path | None, typer.Option("--weights", help="Checkpoint of a MODEL.")] = None,
    code_line: Annotated[
        str, typer.Option("--code-line", help="Which repository trained the checkpoint: pingolh or lzx1413.")
    ] = "pingolh",
    calib: Annotated[
        Path | None, typer.Option("--calib", help="Calibration table of this very graph.", rich_help_panel=INT8)
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", help=f"To calibrate on: {int8_options.IMAGES}", rich_help_panel=INT8),
    ] = None,
    count: Annotated[int | None, typer.Option("--count", help=int8_options.COUNT, rich_help_panel=INT8)] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help=f"{int8_options.SEED[:-1]}; default 0.", rich_help_panel=INT8)
    ] = None,
    method: Annotated[
        int8_options.MethodName | None,
        typer.Option("--method", help="How ranges are clipped; default entropy, or the table's.", rich_help_panel=INT8),
    ] = None,
    concat_scales: Annotated[
        int8_options.ConcatName,
        typer.Option("--concat-scales", help=f"{int8_options.CONCAT_SCALES}.", rich_help_panel=INT8),
    ] = "unified",
    layer_precisions: Annotated[
        str | None,
        typer.Option(
            *int8_options.LAYER_PRECISIONS,
            help="NAME:fp32 or NAME:int8, separated by commas; * stands for anything.",
            rich_help_panel=INT8,
        ),
    ] = None,
    reduce_range: Annotated[
        bool, typer.Option("--reduce-range", help="7-bit weights, for CPUs without VNNI.", rich_help_panel=INT8)
    ] = False,
    max_drop: Annotated[
        float | None,
        typer.Option("--max-drop", help="Return layers to float until mAP drops by no more.", rich_help_panel=SEARCH),
    ] = None,
    drop_type: Annotated[
        Literal["relative", "absolute"],
        typer.Option("--drop-type", help="--max-drop as a share of the mAP, or in mAP.", rich_help_panel=SEARCH),
    ] = "relative",
    search_data: Annotated[
        str | None,
        typer.Option(
            "--search-data",
            help="Labelled images of the search: demo (its search split), coco:ROOT:SPLIT or voc:ROOT:YEAR-SPLIT.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    search_count: Annotated[
        int | None, typer.Option("--search-count", help="Only the first so many of them.", rich_help_panel=SEARCH)
    ] = None,
    allow_fallback: Annotated[
        bool, typer.Option("--allow-fallback", help="Take an engine with layers that stayed float unasked.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything that can be, build nothing.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", "--saveEngine", help="Engine file; default MODEL.PRECISION.onnx.")
    ] = None,
    trust: Trust = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Build an engine; with --int8 from ranges measured on real images, each layer as asked for or an error."""
    from hardnet_deploy.workflows.build_engine import run_build
    from hardnet_deploy.workflows.build_options import BuildRequest

    del debug
    request = BuildRequest(
        source=source,
        weights=weights,
        code_line=code_line,
        int8=int8,
        fp16=fp16,
        target=target,
        calib=calib,
        data=data,
        count=count,
        seed=seed,
        method=method,
        concat_scales=concat_scales,
        layer_precisions=layer_precisions,
        reduce_range=reduce_range,
        max_drop=max_drop,
        drop_type=drop_type,
        search_data=search_data,
        search_count=search_count,
        allow_fallback=allow_fallback,
        dry_run=dry_run,
        trust=trust,
        output=output,
        command=("hardnet-deploy", *sys.argv[1:]),
    )
    with counting() as progress:
        result = run_build(request, progress)
    for line in result.notes:
        note(f"note: {line}")
    if json:
        emit_json(result.as_dict())
        return
    for line in summary(result, weights):
        emit(line)


def summary(result: BuildResult, weights: Path | None) -> Iterator[str]:
    """The result for a person."""
    plan, manifest = result.plan, result.manifest
    if manifest is None or result.optimised is None:
        yield f"would build {plan.output} from {plan.source}: {plan.precision} for target {plan.target.name}"
        return
    before, after = result.source_bytes / MIB, result.size_bytes / MIB
    yield f"wrote    {plan.output} ({after:.1f} MiB, from {before:.1f}) and {manifest_path(plan.output).name}"
    yield f"engine   {plan.precision} for target {plan.target.name}, {manifest.model['name']}"
    total = len(result.optimised.achieved)
    integer = sum(kind == "int8" for kind in result.optimised.achieved.values())
    if plan.precision == "int8":
        yield f"layers   {integer} of {total} convolutions in INT8, {100 * result.macs_int8:.1f} % of the arithmetic"
        asked = manifest.precision["asked_to_stay_float"]
        if asked:
            yield f"float    asked to stay float: {', '.join(asked[:5])}" + (" ..." if len(asked) > 5 else "")
        search = manifest.precision["search"]
        if search:
            yield from _searched(search)
        record = manifest.precision["calibration"]
        yield f"ranges   {record['method']}, {record['images']} images of {record['data']}; {result.table}"
    reference = f"{plan.source}={weights}" if weights else plan.source
    yield f"next     hardnet-deploy parity {reference} {plan.output} --data ..."


def _searched(search: dict[str, Any]) -> Iterator[str]:
    """The curve of accuracy against cost."""
    unit = "%" if search["drop_type"] == "relative" else "points"
    yield f"search   budget {100 * search['budget']:g} {unit} ({search['drop_type']}), {search['data']['name']}"
    yield "         float layers  INT8 arithmetic  drop of mAP, at most (95 %)   median"
    point = search["float_point"]
    yield f"         {'all':>12}  {0:>13.1f} %  {'+0.000':>8}, {'+0.000':>8} {unit:<6}  {point['median_ms']:>7.1f} ms"
    for trial in search["trials"]:
        mark = "  chosen" if trial == search["best"] else ""
        yield (
            f"         {len(trial['float_layers']):>12}  {100 * trial['macs_int8']:>13.1f} %  "
            f"{100 * trial['drop']['drop']:>+8.3f}, {100 * trial['drop']['at_most']:>+8.3f} {unit:<6}  "
            f"{trial['median_ms']:>7.1f} ms{mark}"
        )
