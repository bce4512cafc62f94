"""``hardnet-deploy verify``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hardnet_deploy.artifacts import UNTRAINED
from hardnet_deploy.cli.common import Debug, Json, Trust, emit, emit_json, guarded, note, stages

if TYPE_CHECKING:
    from hardnet_deploy.workflows.verify_artifact import VerifyResult

OUTCOME_WIDTH = 11


@guarded
def verify(
    artifact: Annotated[Path, typer.Argument(help="An exported file, an engine, or a TensorRT plan.")],
    weights: Annotated[
        Path | None,
        typer.Option("--weights", help="Checkpoint that it was exported from, where it is no longer found."),
    ] = None,
    trust: Trust = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Check that a file is still what its manifest says, and still computes what it should."""
    from hardnet_deploy.workflows.verify_artifact import VerifyRequest, run_verify

    del debug
    with stages() as progress:
        result = run_verify(VerifyRequest(artifact=artifact, weights=weights, trust=trust), progress)
    if json:
        emit_json(result.as_dict())
    else:
        for line in summary(result):
            emit(line)
    error = result.error()
    if error is not None:  # not raised: with --json the document is out already, and holds it
        note("error: " + "\n".join(error.lines()))
        raise typer.Exit(error.exit_code)


def summary(result: VerifyResult) -> Iterator[str]:
    """A line for each check."""
    manifest = result.manifest
    told = [result.kind]
    if manifest is not None:
        told += [str(manifest.precision.get("requested")), str(manifest.model.get("name"))]
        told += [] if manifest.trained else [UNTRAINED]
    yield f"{result.path} ({', '.join(told)})"
    width = max(len(check.name) for check in result.checks)
    for check in result.checks:
        unmade = check.outcome == "not checked"
        yield f"{check.outcome:<{OUTCOME_WIDTH}}  {check.name:<{width}}  {f'({check.told})' if unmade else check.told}"
        if check.next_step is not None:
            yield f"{'':<{OUTCOME_WIDTH}}  {'':<{width}}  next: {check.next_step}"
    counts = (f"{result.count(outcome)} {outcome}" for outcome in ("held", "FAILED", "not checked"))
    yield ", ".join(counts)
