"""Decisions and pages of made-up documents, as text and as trees."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from html_outline import Element, read_page
from made_up_runs import save

from hardnet_deploy.report.collect import collect
from hardnet_deploy.report.contradictions import contradictions, file_states
from hardnet_deploy.report.decision import Decision, decide
from hardnet_deploy.report.options import Option
from hardnet_deploy.report.page import make_page, render
from hardnet_deploy.report.runs import Runs, join

MADE = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)


def joined(folder: Path, *documents: dict[str, Any]) -> Runs:
    for number, document in enumerate(documents):
        save(folder / f"{number}.json", document)
    return join(collect([folder]))


def decision(folder: Path, *documents: dict[str, Any]) -> Decision:
    (one,) = decide(joined(folder, *documents))
    return one


def cautions(folder: Path, *documents: dict[str, Any]) -> str:
    runs = joined(folder, *documents)
    return "\n".join(contradictions(runs, file_states(runs)))


def option(one: Decision, name: str) -> Option:
    (found,) = (option for option in one.options if option.name == name)
    return found


def why_not(one: Decision, name: str) -> str:
    found = option(one, name)
    return "; ".join([*found.verdict.why_not, *found.obstacles])


def html(folder: Path, *documents: dict[str, Any]) -> str:
    runs = joined(folder, *documents)
    return render(make_page(runs), made=MADE, command=("hardnet-deploy", "report", "a b"))


def page(folder: Path, *documents: dict[str, Any]) -> Element:
    return read_page(html(folder, *documents))


def table(root: Element, caption: str) -> dict[str, list[str]]:
    """Rows of the table whose caption begins so, by their first cell."""
    (found,) = (one for one in root.all("table") if one.all("caption")[0].text.startswith(caption))
    rows = [[cell.text for cell in row.all("th", "td")] for row in found.all("tr")]
    return {row[0]: row[1:] for row in rows}
