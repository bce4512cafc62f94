"""Pages of made-up documents, as text and as trees."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from html_outline import Element, read_page
from made_up_runs import save

from hardnet_deploy.report.collect import collect
from hardnet_deploy.report.page import make_page, render
from hardnet_deploy.report.runs import join

MADE = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)


def html(folder: Path, *documents: dict[str, Any]) -> str:
    for number, document in enumerate(documents):
        save(folder / f"{number}.json", document)
    return render(make_page(join(collect([folder]))), made=MADE, command=("hardnet-deploy", "report", "a b"))


def page(folder: Path, *documents: dict[str, Any]) -> Element:
    return read_page(html(folder, *documents))


def table(root: Element, caption: str) -> dict[str, list[str]]:
    """Rows of the table whose caption begins so, by their first cell."""
    (found,) = (one for one in root.all("table") if one.all("caption")[0].text.startswith(caption))
    rows = [[cell.text for cell in row.all("th", "td")] for row in found.all("tr")]
    return {row[0]: row[1:] for row in rows}
