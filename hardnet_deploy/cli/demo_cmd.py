"""``hardnet-deploy demo``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hardnet_deploy.artifacts import UNTRAINED
from hardnet_deploy.cli.common import Debug, Json, counting, emit, emit_json, guarded, note

if TYPE_CHECKING:
    from hardnet_deploy.workflows.demo import DemoResult, DemoRun


@guarded
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for everything it makes.")] = Path("demo-out"),
    count: Annotated[
        int | None, typer.Option("--count", help="Scenes of the validation split to compare on; default 200.")
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Take the trained demo detector the whole way on the CPU: export it three ways, hold each against PyTorch."""
    from hardnet_deploy.workflows.demo import IMAGES, run_demo

    del debug
    with counting() as progress:
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


def summary(result: DemoResult) -> Iterator[str]:
    """A row for PyTorch and for each export."""
    data = result.runs[0].parity.dataset
    yield f"{result.model} on {data.name} (digest {data.digest[:12]})"
    yield ""
    yield f"{'':<21} {'mAP':>6}  {'relative drop (95 %)':<28} {'matched':>9}  {'worst layer':>11}  parity"
    reference = result.reference_map
    yield f"{'PyTorch':<21} {'none' if reference is None else f'{reference:.4f}':>6}"
    yield from (_row(run) for run in result.runs)
    yield ""
    for run in result.runs:
        yield f"{run.variant.file:<21} {run.export.path} with its manifest; report {run.report.name}"
    yield f"{'picture':<21} {result.picture}"


def _row(run: DemoRun) -> str:
    metric, detections = run.parity.metric, run.parity.detections
    candidate = metric.separation.own.candidate if metric else None
    drop = metric.drop if metric else None
    change = "none"
    if drop is not None:
        low, high = drop.two_sided
        change = f"{drop.drop:+.1e} ({low:+.1e} to {high:+.1e})"
    boxes = detections.everything if detections else None
    share = f"{100 * boxes.matched_reference / boxes.reference:.2f} %" if boxes and boxes.reference else "none"
    worst = run.parity.tensors.layers.worst
    layer = f"{worst[0].error:.1e}" if worst else "none"
    verdict = "passed" if run.parity.passed else f"FAILED, exit code {run.parity.exit_code}"
    figure = "none" if candidate is None else f"{candidate:.4f}"
    return f"{run.variant.name:<21} {figure:>6}  {change:<28} {share:>9}  {layer:>11}  {verdict}"
