"""NMS in a table of times: what does it, and how many candidates it sees. No other part's time depends on the image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from hardnet_deploy.report.documents import Part
from hardnet_deploy.report.texts import NONE, counted

IN_WORDS: Final[Mapping[str, str]] = {
    "in-graph": "in the graph",
    "plugin-by-numpy": "its plugin by NumPy",
    "numpy": "NumPy",
    "torchvision": "torchvision",
}
CANDIDATES: Final = (
    "Candidates: pairs of a box and a class, background out, that reach the score threshold of the NMS; mean of images."
)


def nms_of(row: Part) -> str:
    """What does the NMS of a row, and its candidates; a dash where nothing was timed."""
    said, seen = row.text("nms"), row.number("nms_candidates")
    if said is None:
        return "none recorded" if row.part("measured") else NONE
    return f"{IN_WORDS[said]}, {'candidates not counted' if seen is None else counted(seen, 'candidate')}"


def nms_differs(rows: Iterable[Part]) -> bool:
    """Whether the rows that record an NMS record different ones: then each says it, else one note for all."""
    return len({nms_of(row) for row in _recorded(rows)}) > 1


def nms_notes(rows: Iterable[Part]) -> Iterator[str]:
    """What belongs below a table of these rows."""
    recorded = _recorded(rows)
    if recorded and not nms_differs(recorded):
        yield f"NMS of every row that records one: {nms_of(recorded[0])}."
    if any(row.number("nms_candidates") is not None for row in recorded):
        yield CANDIDATES


def _recorded(rows: Iterable[Part]) -> list[Part]:
    return [row for row in rows if row.text("nms") is not None]
