"""``hardnet-deploy bench``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from hardnet_deploy.cli.bench_progress import bench_progress
from hardnet_deploy.cli.common import INTERRUPTED, Debug, Json, Trust, emit, emit_json, guarded, note
from hardnet_deploy.cli.model_options import Classes
from hardnet_deploy.errors import HardnetDeployError

OUT = "Outputs"
TIMING = "How long"


@guarded
def bench(
    engines_or_models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL|ENGINE",
            help="Models, MODEL=CHECKPOINT, resnet50 and the like, artifact files; default those of the protocol.",
            show_default=False,
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option("--protocol", help="1080ti-1024 (the published table, default), nano-320 or ssd-512."),
    ] = None,
    engines: Annotated[
        str | None,
        typer.Option(
            "--engines",
            help="Comma-separated: eager, fused, channels-last, compile, fp16, bf16, cuda-graph, ort-fp32, ort-int8, "
            "trt-fp32, trt-fp16, trt-int8; default what runs here.",
        ),
    ] = None,
    boundary: Annotated[
        str | None,
        typer.Option("--boundary", help="network, network+nms, or end-to-end (with pre-processing and copies)."),
    ] = None,
    size: Annotated[int | None, typer.Option("--size", help="Side of the input; backbones only.")] = None,
    batch: Annotated[int | None, typer.Option("--batch", help="Images at once; default 1.")] = None,
    data: Annotated[
        str, typer.Option("--data", help="random, demo[:SPLIT], coco:ROOT[:SPLIT], voc:ROOT or a folder of images.")
    ] = "random",
    threads: Annotated[
        int | None, typer.Option("--threads", help="Of each engine on the CPU; default one per core.")
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Fewer engines, and a minute of timing a network or five rounds.", rich_help_panel=TIMING
        ),
    ] = False,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            "--duration",
            help="Timing in all, such as 90s or 10m, loading not counted; on a CPU 10m or five rounds unless "
            "--iterations is given.",
            rich_help_panel=TIMING,
        ),
    ] = None,
    iterations: Annotated[
        int | None, typer.Option("--iterations", help="Of every row; default the protocol's.", rich_help_panel=TIMING)
    ] = None,
    rounds: Annotated[
        int | None, typer.Option("--rounds", help="Turns of every row; default until stable.", rich_help_panel=TIMING)
    ] = None,
    warm_up: Annotated[
        float | None,
        typer.Option("--warm-up", "--warmUp", help="Before each turn, ms; default 200.", rich_help_panel=TIMING),
    ] = None,
    allow_unstable: Annotated[
        bool,
        typer.Option(
            "--allow-unstable",
            help="Take times that did not settle, marked, instead of exit 7.",
            rich_help_panel=TIMING,
        ),
    ] = False,
    code_line: Annotated[
        str, typer.Option("--code-line", help="For MODEL=CHECKPOINT: pingolh or lzx1413.")
    ] = "pingolh",
    classes: Classes = None,
    trust: Trust = False,
    save: Annotated[
        Path | None, typer.Option("--save", help="Write the document, on the way too.", rich_help_panel=OUT)
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="Write the table as Markdown.", rich_help_panel=OUT)
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write every row as CSV.", rich_help_panel=OUT)] = None,
    results: Annotated[
        Path | None,
        typer.Option("--results", help="Store of import-report: its rows stand beside, marked.", rich_help_panel=OUT),
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Time networks and engines beside each other; every figure says what it timed, where, and of which file.

    Without a model the published protocol is run: HarDNet against ResNet and VGG at 1024 x 1024.
    """
    from hardnet_deploy.workflows.bench import run_bench
    from hardnet_deploy.workflows.bench_options import BenchRequest

    del debug
    request = BenchRequest(
        subjects=tuple(engines_or_models or ()),
        protocol=protocol,
        iterations=iterations,
        rounds=rounds,
        quick=quick,
        budget=budget,
        engines=engines,
        boundary=boundary,
        size=size,
        batch=batch,
        data=data,
        threads=threads,
        warm_up_ms=warm_up,
        allow_unstable=allow_unstable,
        code_line=code_line,
        classes=classes,
        trust=trust,
        save=save,
        markdown=markdown,
        csv=csv,
        results=results,
        command=("hardnet-deploy", *sys.argv[1:]),
    )
    with bench_progress() as progress:
        result = run_bench(request, progress, tell=note)
    # Files first: whoever reads the table may be gone by now, and must not take the result along.
    written, unwritten = result.write(request)
    for line in result.notes:
        note(f"note: {line}")
    if json:
        emit_json(result.document)
    elif not (result.interrupted and result.empty):
        for line in result.lines():
            emit(line)
    for path in written:
        note(f"wrote {path}")
    if result.interrupted:
        note(_interrupted(result.rounds, empty=result.empty))
    elif result.empty and any((save, markdown, csv)):
        note("nothing was measured and nothing was written")
    faults: list[HardnetDeployError] = [*unwritten, *([result.error] if result.error else [])]
    for fault in faults:
        note("error: " + "\n".join(fault.lines()))
    if result.interrupted or faults:
        raise typer.Exit(INTERRUPTED if result.interrupted else faults[0].exit_code)


def _interrupted(rounds: int, *, empty: bool) -> str:
    if empty:
        return "interrupted: nothing was measured and nothing was written"
    return f"interrupted after {rounds} round{'' if rounds == 1 else 's'}: what was measured is above"
