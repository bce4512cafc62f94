"""``hardnet-deploy demo``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from hardnet_deploy.artifacts import UNTRAINED
from hardnet_deploy.cli.common import Debug, Json, emit, emit_json, guarded, stages


@guarded
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for everything it makes.")] = Path("demo-out"),
    image: Annotated[
        Path | None, typer.Option("--image", help="Your own photograph; default one that scikit-image ships.")
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Take the default model the whole way on the CPU: fold, export with either NMS, verify, detect on a photograph."""
    from hardnet_deploy.cli.export_cmd import summary
    from hardnet_deploy.workflows.demo import run_demo

    del debug
    with stages(prefix=f"{UNTRAINED}: ") as progress:
        result = run_demo(output, image, ("hardnet-deploy", *sys.argv[1:]), progress)
    if json:
        emit_json(
            {
                "model": result.model,
                "trained": result.trained,
                "runs": [run.as_dict() for run in result.runs],
                "matched_between_nms_kinds": result.matched,
            }
        )
        return
    prefix = "" if result.trained else f"{UNTRAINED}: "
    for run in result.runs:
        for line in summary(run.export):
            emit(prefix + line)
        emit(f"{prefix}detect   {len(run.found.detections)} detections in {run.found.path.name}")
        emit(prefix)
    counts = " and ".join(f"{len(run.found.detections)} with --nms {run.nms}" for run in result.runs)
    emit(f"{prefix}compare  {counts}; {result.matched} are the same box, class and score")
    if not result.trained:
        emit(f"{prefix}         the weights come from a fixed seed: the boxes show that the chain works, nothing else")
    emit(f"{prefix}pictures {', '.join(str(run.picture) for run in result.runs)}")
