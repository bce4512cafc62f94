"""``hardnet-deploy report``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hardnet_deploy.cli.common import Debug, Json, emit, emit_json, guarded, note

if TYPE_CHECKING:
    from hardnet_deploy.workflows.report import ReportResult


@guarded
def report(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RUN]...", help="Documents of runs, or folders that hold some; default this folder."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The page.")] = Path("report.html"),
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Put what runs have measured on one page: which engine to deploy, what it gains and costs, and why."""
    from hardnet_deploy.workflows.report import ReportRequest, run_report

    del debug
    request = ReportRequest(
        runs=tuple(runs or [Path()]),
        output=output,
        made=datetime.now(timezone.utc),
        command=("hardnet-deploy", *sys.argv[1:]),
    )
    result = run_report(request)
    for text in result.page.cautions:
        note(f"warning: {text}")
    if json:
        emit_json(result.as_dict())
        return
    for line in summary(result):
        emit(line)


def summary(result: ReportResult) -> Iterator[str]:
    """The decisions, what is absent, the page."""
    for decision in result.page.decisions:
        yield decision.paragraph
        for missing in decision.missing:
            yield f"  missing: {missing.in_words}" + (f": {missing.command}" if missing.command else "")
    if result.absent:
        yield f"absent   {', '.join(result.absent)}"
    yield f"report   {result.path}"
