"""``hardnet-deploy demo``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hardnet_deploy.artifacts import UNTRAINED
from hardnet_deploy.cli.common import Debug, Json, counting, emit, emit_json, guarded, note
from hardnet_deploy.cli.int8_options import UNITS
from hardnet_deploy.cli.parity_table import too_few

if TYPE_CHECKING:
    from hardnet_deploy.workflows.bench_result import BenchResult
    from hardnet_deploy.workflows.demo_result import DemoResult
    from hardnet_deploy.workflows.parity_result import ParityResult


@guarded
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for everything it makes.")] = Path("demo-out"),
    count: Annotated[
        int | None, typer.Option("--count", help="Scenes of the validation split to compare on; default 200.")
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Take the trained demo detector the whole way on the CPU: export, INT8, parity, timing, and a report of it all."""
    from hardnet_deploy.workflows.demo import IMAGES, run_demo

    del debug
    with counting(units=units()) as progress:
        result = run_demo(output, IMAGES if count is None else count, ("hardnet-deploy", *sys.argv[1:]), progress)
    if json:
        emit_json(result.as_dict())
    else:
        prefix = "" if result.trained else f"{UNTRAINED}: "
        for line in summary(result):
            emit((prefix + line).rstrip())
    error = result.error
    if error is not None:  # not raised: the result is out already, and says so
        note("error: " + "\n".join(error.lines()))
        raise typer.Exit(error.exit_code)


def units() -> dict[str, str]:
    """What the tasks count that count no images."""
    from hardnet_deploy.workflows.bench import LOADING, TIMING
    from hardnet_deploy.workflows.demo_result import INT8_NAME

    bench = {f"bench: {LOADING}": "engines", f"bench: {TIMING}": "rounds"}
    int8 = {f"{INT8_NAME}: {what}": unit for what, unit in UNITS.items()}
    return {"exporting and verifying": "exports", **bench, **int8}


def summary(result: DemoResult) -> Iterator[str]:
    """A row for PyTorch, for each export and for the INT8 engine."""
    from hardnet_deploy.workflows.demo_result import INT8_NAME

    data = result.runs[0].parity.dataset
    yield f"{result.model} on {data.name} (digest {data.digest[:12]})"
    yield ""
    yield f"{'':<21} {'mAP':>6}  {'relative drop (95 %)':<28} {'matched':>9}  {'worst layer':>11}  parity"
    reference = result.reference_map
    yield f"{'PyTorch':<21} {'none' if reference is None else f'{reference:.4f}':>6}"
    yield from (_row(run.variant.name, run.parity) for run in result.runs)
    int8 = result.int8
    yield _row(INT8_NAME, int8.parity)
    yield from too_few(len(data))
    yield ""
    yield from speed(result.bench)
    yield ""
    for run in result.runs:
        yield f"{run.variant.file:<21} {run.export.path} with its manifest; report {run.report.name}"
    share = 100 * int8.build.macs_int8
    yield f"{int8.build.plan.output.name:<21} {int8.build.plan.output}, {share:.1f} % of the arithmetic in INT8"
    yield f"{'picture':<21} {result.picture}"
    yield f"{'report':<21} {result.page}"


def speed(bench: BenchResult) -> Iterator[str]:
    """A line for each engine timed, all in turn, marked as the tables of a bench are."""
    from hardnet_deploy.bench.table_cells import HIGH, UNSTABLE, Ratios, is_unstable

    threads = bench.document["protocol"]["threads"]
    ratios = Ratios(bench.rows)
    on = f"{threads} thread{'' if threads == 1 else 's'}"
    times = {}
    for row in bench.rows:
        if row["measured"] is not None:
            marks = (HIGH if row["measured"].get("cov_flagged") else "", UNSTABLE if is_unstable(row) else "")
            times[row["key"]] = " ".join(filter(None, (f"{row['measured']['median']:.1f} ms", *marks)))
    wide = max(18, *(len(time) for time in times.values()), 0)
    yield f"{'':<21} {'median':>{wide}}  gain over PyTorch eager (95 %), NMS included, timed in turn, {on} each"
    for row in bench.rows:
        name = "PyTorch" if row["engine"] == "eager" else Path(row["artifact"]["file"] or row["title"]).name
        if row["key"] not in times:
            yield f"{name:<21} {row['provenance']}"
            continue
        gain = ratios.over_eager(row) if row["gain_over_eager"] else ""
        yield f"{name:<21} {times[row['key']]:>{wide}}  {gain}".rstrip()
    yield from (f"{'':<21} {line}" for line in ratios.legend())


def _row(name: str, parity: ParityResult) -> str:
    metric, detections = parity.metric, parity.detections
    candidate = metric.separation.own.candidate if metric else None
    drop = metric.drop if metric else None
    change = "none"
    if drop is not None:
        low, high = drop.two_sided
        change = f"{drop.drop:+.1e} ({low:+.1e} to {high:+.1e})"
    boxes = detections.everything if detections else None
    share = f"{100 * boxes.matched_reference / boxes.reference:.2f} %" if boxes and boxes.reference else "none"
    worst = parity.tensors.layers.worst
    layer = f"{worst[0].error:.1e}" if worst else "none"
    verdict = "passed" if parity.passed else f"FAILED, exit code {parity.exit_code}"
    figure = "none" if candidate is None else f"{candidate:.4f}"
    return f"{name:<21} {figure:>6}  {change:<28} {share:>9}  {layer:>11}  {verdict}"
