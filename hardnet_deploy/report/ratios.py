"""Times as multiples of the reference network's, published and measured: what can be compared across devices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hardnet_deploy.report import texts
from hardnet_deploy.report.blocks import Block, Cell, Column, Table
from hardnet_deploy.report.documents import Document, Part
from hardnet_deploy.report.plots import Point, rows_plot
from hardnet_deploy.report.timings import row_title, run_doubts

RATIO_KEY = (("diamond", "published"), ("circle", "measured, with its 95 % interval"))


def ratios(rows: Sequence[Part], ident: str, name: str, document: Document) -> Iterator[Block]:
    """The drawing and the table.

    Args:
        rows: Those that have a ratio.
        ident: Of the drawing, unique on the page.
        name: Of the run, for captions.
        document: That the rows are of.
    """
    cells, drawn, told = [], [], []
    keys = [text for row in rows if (text := row.part("ratio_to_reference").text("reference"))]
    by_key = {row.text("key"): row for row in document.content.parts("rows")}
    first = by_key.get(keys[0]) if keys else None
    reference = row_title(first) if first else keys[0] if keys else "the reference"
    in_doubt = bool(list(run_doubts(document)))
    for row in rows:
        ratio = row.part("ratio_to_reference")
        published, measured = ratio.number("published"), ratio.part("measured")
        value, low, high = measured.number("ratio"), measured.number("low"), measured.number("high")
        title = row_title(row)
        cells.append(
            [
                Cell(text=title),
                Cell(text=texts.ratio(published)),
                _measured(value, in_doubt=in_doubt or _unsettled(by_key.get(ratio.text("reference")))),
                Cell(text=texts.between(low, high) or texts.NONE),
                Cell(text=row.text("provenance") or "not recorded"),
            ]
        )
        points = [Point(x=published, y=0, shape="diamond")] if published is not None else []
        if value is not None:
            spread = (low, high) if low is not None and high is not None else None
            points.append(Point(x=value, y=0, shape="circle", x_range=spread))
        if points:
            drawn.append((title, points))
            told.append(f"{title}: published {texts.ratio(published)}, measured {cells[-1][2].text}")
    if drawn:
        yield rows_plot(
            drawn,
            ident=ident,
            title=f"Time as a multiple of {reference}'s, {name}",
            description="; ".join(told),
            x_label=f"time divided by {reference}'s; less is faster",
            key=[one for one in RATIO_KEY if any(point.shape == one[0] for _, points in drawn for point in points)],
        )
    titles = ("network, engine", "published", "measured", "95 % interval", "provenance")
    columns = [Column(title=one, figures=one in titles[1:4]) for one in titles]
    caption = f"Time as a multiple of {reference}'s, {name}"
    notes = list(_statistics(rows, document.content.part("protocol").text("statistic")))
    yield Table(caption=caption, columns=columns, rows=cells, notes=notes).without(texts.NONE)


def _statistics(rows: Sequence[Part], of_published: str | None) -> Iterator[str]:
    """What of the runs is divided. Rows of before they said so have medians."""
    ratios_of = [(row, row.part("ratio_to_reference")) for row in rows]
    of_measured: dict[str, list[str]] = {}
    for row, ratio in ratios_of:
        if ratio.part("measured"):
            of_measured.setdefault(ratio.text("statistic") or "median", []).append(row_title(row))
    published = any(ratio.number("published") is not None for _, ratio in ratios_of)
    if published and list(of_measured) == [of_published]:
        yield f"Published and measured ratios are of {of_published}s."
        return
    if published and of_published:
        yield f"Published ratios are of {of_published}s."
    for statistic, titles in of_measured.items():
        where = f": {'; '.join(titles)}" if len(of_measured) > 1 else ""
        yield f"Measured ratios are of {statistic}s{where}."


def _measured(value: float | None, *, in_doubt: bool) -> Cell:
    marked = in_doubt and value is not None
    return Cell(text=f"{texts.ratio(value)}{', in doubt' if marked else ''}", status="warn" if marked else "none")


def _unsettled(reference: Part | None) -> bool:
    return reference is not None and reference.part("measured").flag("stable") is False
