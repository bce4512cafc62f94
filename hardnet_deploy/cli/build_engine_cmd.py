"""``hardnet-deploy build-engine``."""

from __future__ import annotations

import shlex
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hardnet_deploy.artifacts import manifest_path
from hardnet_deploy.cli import int8_options
from hardnet_deploy.cli.common import Debug, Json, Trust, counting, emit, emit_json, guarded, note

if TYPE_CHECKING:
    from hardnet_deploy.artifacts import Manifest
    from hardnet_deploy.workflows.save_engine import BuildResult
    from hardnet_deploy.workflows.tensorrt_plan import Estimate, TensorRTPlan

MIB = 1024**2
INT8 = "INT8"
SEARCH = "Accuracy search"
TENSORRT = "TensorRT"
LABEL_WIDTH = 12
UNBROKEN: Any = {"break_long_words": False, "break_on_hyphens": False}


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
    workspace: Annotated[
        str | None,
        typer.Option(
            "--workspace",
            "--memPoolSize",
            metavar="SIZE",
            help="Limit of the builder's workspace, such as 4G or 256M; a number alone is MiB.",
            rich_help_panel=TENSORRT,
        ),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option("--batch", metavar="MIN,OPT,MAX", help="Make the batch dynamic.", rich_help_panel=TENSORRT),
    ] = None,
    timing_cache: Annotated[
        Path | None,
        typer.Option(
            "--timing-cache",
            "--timingCacheFile",
            help="Read and written; default: one for each TensorRT, GPU and sm in the cache folder.",
            rich_help_panel=TENSORRT,
        ),
    ] = None,
    locked: Annotated[
        bool,
        typer.Option("--locked", help="Fail on a layer that the timing cache does not know.", rich_help_panel=TENSORRT),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done and refuse the impossible; build nothing.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            "--saveEngine",
            help="Engine file; default MODEL.PRECISION.onnx, or .engine with TensorRT.",
        ),
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
        workspace=workspace,
        batch=batch,
        timing_cache=timing_cache,
        locked=locked,
        dry_run=dry_run,
        trust=trust,
        output=output,
        command=("hardnet-deploy", *sys.argv[1:]),
    )
    with counting(units=int8_options.UNITS) as progress:
        result = run_build(request, progress, lambda step: note(f"step: {step}"))
    for line in result.notes:
        note(f"note: {line}")
    if json:
        emit_json(document(result))
        return
    for line in summary(result, weights):
        emit(line)


def document(result: BuildResult) -> dict[str, Any]:
    """The result for a program; of TensorRT with the plan."""
    plan = result.plan.tensorrt
    return {**result.as_dict(), **({} if plan is None else {"plan": plan.as_dict()})}


def summary(result: BuildResult, weights: Path | None) -> Iterator[str]:
    """The result for a person."""
    plan, manifest = result.plan, result.manifest
    if manifest is None:
        kinds = " + ".join(plan.tensorrt.precisions) if plan.tensorrt else ""
        yield f"would build {plan.output} from {plan.source}: {kinds or plan.precision} for target {plan.target.name}"
        if plan.tensorrt is not None:
            yield from _planned(plan.tensorrt, plan.target.tensorrt_families)
        return
    before, after = result.source_bytes / MIB, result.size_bytes / MIB
    yield f"wrote    {plan.output} ({after:.1f} MiB, from {before:.1f}) and {manifest_path(plan.output).name}"
    yield f"engine   {plan.precision} for target {plan.target.name}, {manifest.model['name']}"
    built = manifest.versions
    if "compute_capability" in built:
        sm = built["compute_capability"].replace(".", "")
        yield f"built by TensorRT {built['tensorrt']} on {built['gpu']} (sm_{sm})"
    yield from _precisions(result, manifest.precision)
    reference = f"{plan.source}={weights}" if weights else plan.source
    yield f"next     hardnet-deploy parity {reference} {plan.output} --data ..."
    if manifest.precision.get("search") and result.table and not plan.target.uses_tensorrt:
        for line in _for_tensorrt(result, manifest, weights):
            yield f"         {line}"


def _for_tensorrt(result: BuildResult, manifest: Manifest, weights: Path | None) -> Iterator[str]:
    """The commands that write what the search found for TensorRT."""
    plan, precision = result.plan, manifest.precision
    graph = plan.source
    if plan.is_model:
        graph = f"{plan.source}.onnx"
        given = ["--weights", str(weights)] if weights else []
        line = manifest.model.get("code_line")
        given += ["--code-line", line] if line and weights else []
        yield shlex.join(["hardnet-deploy", "export", plan.source, *given, "-o", graph])
    stem = plan.output.with_suffix("")
    words = ["calibrate", graph, "--calib", str(result.table), "--method", precision["calibration"]["method"]]
    words += ["--concat-scales", precision["concat_scales"], "--choice", str(plan.output)]
    words += ["--qdq", f"{stem}.qdq.onnx", "--ranges", f"{stem}.ranges.json"]
    yield shlex.join(["hardnet-deploy", *words])


def _precisions(result: BuildResult, precision: Mapping[str, Any]) -> Iterator[str]:
    """What the layers compute in."""
    achieved = list(precision["achieved"].values())
    if result.plan.precision == "int8":
        share = f", {100 * result.macs_int8:.1f} % of the arithmetic" if result.table else ""
        yield f"layers   {achieved.count('int8')} of {len(achieved)} convolutions in INT8{share}"
    elif result.plan.precision == "fp16":
        yield f"layers   {achieved.count('fp16')} of {len(achieved)} layers with weights in FP16"
    asked = precision.get("asked_to_stay_float")
    if asked:
        yield f"float    asked to stay float: {', '.join(asked[:5])}" + (" ..." if len(asked) > 5 else "")
    if precision.get("search"):
        yield from _searched(precision["search"])
    record = precision.get("calibration")
    if record and result.table:
        yield f"ranges   {record['method']}, {record['images']} images of {record['data']}; {result.table}"
    elif record:
        yield f"ranges   {record['file']}, {record['header']}"


def _planned(plan: TensorRTPlan, families: tuple[str, ...]) -> Iterator[str]:
    """What the preflight decided, as a table, and the steps."""
    sm = "" if plan.compute_capability is None else ", sm_{}{}".format(*plan.compute_capability)
    family = plan.family if len(plan.precisions) > 1 else " or ".join(families)
    islands = f"; {plan.islands_text} in fp32" if plan.islands else ""
    workspace = "TensorRT's own limit" if plan.workspace_bytes is None else f"{plan.workspace_bytes / MIB:,.0f} MiB"
    rows = {
        "builds on": f"{plan.gpu or 'another machine'}{sm}",
        "tensorrt": plan.tensorrt or f"{family} (the target's; none that serves it is here)",
        "typing": ("strong" if plan.typed else "weak") + islands,
        "graph": f"opset {plan.opset}, NMS {plan.nms or 'none'}",
        "int8 scales": f"{plan.calibration}, from the {plan.scales_from}" if plan.calibration else None,
        "batch": ", ".join(map(str, plan.batch)) if plan.batch else None,
        "workspace": workspace,
        "timings": f"{plan.timing_cache or 'kept where it is built'}{', locked' if plan.locked else ''}",
        "needs about": _needs(plan.estimate),
    }
    for label, text in rows.items():
        if text is not None:
            yield f"  {label.ljust(LABEL_WIDTH)}{text}"
    yield "steps"
    for number, step in enumerate(plan.steps, start=1):
        yield from textwrap.wrap(step, 116, initial_indent=f"  {number}. ", subsequent_indent="     ", **UNBROKEN)


def _needs(estimate: Estimate) -> str:
    host, disk = estimate.host_bytes / MIB, estimate.disk_bytes / MIB
    if estimate.device_bytes is None:
        return f"{host:,.0f} MiB of memory, which CPU and GPU share, {disk:,.0f} MiB of disk (estimated)"
    device = estimate.device_bytes / MIB
    return f"{host:,.0f} MiB of memory, {device:,.0f} MiB of GPU memory, {disk:,.0f} MiB of disk (estimated)"


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
