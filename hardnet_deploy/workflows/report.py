"""``hardnet-deploy report``: one page from what the runs have left."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from hardnet_deploy.errors import InputFileError, OutputFileError, UsageError
from hardnet_deploy.files import atomic_output, refuse_unwritable, write_durably
from hardnet_deploy.report.collect import Collection, collect
from hardnet_deploy.report.page import Page, is_page, make_page, render
from hardnet_deploy.report.runs import join
from hardnet_deploy.workflows.document_files import refuse_outputs


@dataclass(frozen=True, kw_only=True)
class ReportRequest:
    """The options as typed.

    Args:
        runs: Documents, or folders that hold some.
        output: The page.
        made: When; the page says so.
        command: The command line, for the page.
    """

    runs: tuple[Path, ...]
    output: Path
    made: datetime
    command: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ReportResult:
    """What was written.

    Args:
        path: The page.
        size: In bytes.
        page: What stands on it.
        collection: What it was made of.
    """

    path: Path
    size: int
    page: Page
    collection: Collection

    @property
    def absent(self) -> tuple[str, ...]:
        """Titles of sections that only say what is missing."""
        return tuple(section.title for section in self.page.sections if section.empty)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "report": str(self.path),
            "bytes": self.size,
            "decisions": [
                {
                    "subject": one.subject,
                    "where": one.where,
                    "timed": one.timed,
                    "recommended": one.chosen.name if one.chosen else None,
                    "sha256": one.chosen.verdict.engine.sha256 if one.chosen else None,
                    "paragraph": one.paragraph,
                    "missing": [
                        {"what": each.what, "command": each.command, "not_found": list(each.not_found)}
                        for each in one.missing
                    ],
                }
                for one in self.page.decisions
            ],
            "cautions": list(self.page.cautions),
            "absent": list(self.absent),
            "documents": [
                {"file": str(one.path), "kind": one.kind, "sha256": one.sha256} for one in self.collection.documents
            ],
        }


def run_report(request: ReportRequest) -> ReportResult:
    """Read, judge by the runs' own verdicts, write.

    Raises:
        UsageError: The page would take the place of what it is made of, or of a file that is no page.
        InputFileError: Nothing that a report can show, or a document that cannot be used.
        OutputFileError: The page cannot be written; an older one stays as it was.
    """
    refuse_unwritable(request.output)
    collection = collect(request.runs)
    if not collection.documents:
        reasons = "; ".join(why for _, why in collection.unread) or None
        raise InputFileError(
            f"there is nothing to report in {', '.join(str(run) for run in request.runs)}",
            got=reasons,
            next_step=f"hardnet-deploy demo -o {shlex.quote('demo-out')} makes everything that a report shows",
        )
    refuse_outputs({"-o": request.output}, _read(request, collection))
    _refuse_another_file(request.output)
    page = make_page(join(collection))
    text = render(page, made=request.made, command=request.command)
    content = text.encode("utf-8", "backslashreplace")  # names that are not UTF-8 hold lone surrogates
    with atomic_output(request.output) as temporary:
        write_durably(temporary, content)
    return ReportResult(path=request.output, size=len(content), page=page, collection=collection)


def _read(request: ReportRequest, collection: Collection) -> Iterator[Path]:
    """What the page is made of, and what that is about."""
    yield from request.runs
    for document in collection.documents:
        yield document.path
        if document.kind == "manifest":
            yield document.artifact
    yield from (path for path, _ in collection.unread)


def _refuse_another_file(output: Path) -> None:
    """Only an older page, or a file with nothing in it, makes room for the page."""
    try:
        lost = output.exists() and output.stat().st_size > 0 and not is_page(output)
    except OSError as error:
        raise OutputFileError(f"{output} cannot be written", got=error.strerror) from error
    if lost:
        raise UsageError(
            f"-o {output} would overwrite a file that is no page of a report",
            next_step="name another file, such as report.html, or remove this one",
        )
