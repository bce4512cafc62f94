"""From timed sides to the rows of a bench document: figures, ratios with their intervals, provenance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from hardnet_deploy.bench.document import ENDED_EARLY, EXPORTED, MEASURED_HERE, not_here, not_measured
from hardnet_deploy.bench.protocols import Protocol
from hardnet_deploy.bench.sides import NETWORK, Boundary, limits_text
from hardnet_deploy.bench.timing import SideTiming
from hardnet_deploy.workflows.bench_plan import PlannedRow
from hardnet_deploy.workflows.bench_prepare import Prepared
from hardnet_deploy.workflows.bench_ratios import Ratios

BOUNDARY_TEXTS: Final[Mapping[Boundary, str]] = {
    "network": "input tensor to raw outputs, without NMS",
    "network+NMS": "input tensor to detections",
    "end-to-end": "8-bit image in the computer's memory to results there",
}
SEEN_BY_A_TRAINED_ONE: Final = "a trained detector's images have far fewer (the demo detector's scenes 24 to 200)"
"""Of the first 100 scenes of demo:val, at a score threshold of 0.02."""
FED: Final = "fed with "
"""How a side's note on its inputs begins."""
NOT_YET: Final = "the timing ended before its turn"


class RowMaker:
    """Makes the rows of one run; again after each round.

    Args:
        rows: What was planned.
        protocol: With its reference, and what was published.
        prepared: What came of the plan.
    """

    def __init__(self, rows: Sequence[PlannedRow], protocol: Protocol, prepared: Prepared) -> None:
        self._rows, self._protocol, self._prepared = rows, protocol, prepared
        self._ratios = Ratios(rows, protocol)
        self._by_key = {row.key: row for row in rows}

    def rows(self, timings: Mapping[str, SideTiming]) -> list[dict[str, Any]]:
        """Every row, in the plan's order.

        Args:
            timings: Of the sides, by key; a key that is missing was not timed.
        """
        return [self._row(row, timings) for row in self._rows]

    def references(self) -> tuple[str, ...]:
        """Keys of timed rows that other rows are compared with."""
        return tuple(key for key in self._prepared.sides if self._by_key[key].subject.label == self._protocol.reference)

    def _row(self, row: PlannedRow, timings: Mapping[str, SideTiming]) -> dict[str, Any]:
        timing = timings.get(row.key)
        summary = timing.summary if timing is not None else None
        told = list(self._notes(row, timing))
        notes = [text for text in told if not text.startswith(FED)]
        to_reference = self._ratios.to_reference(row, timings, notes)
        over_eager = self._ratios.over_eager(row, timings, notes)
        subject, published = row.subject, self._ratios.published(row)
        return {
            "key": row.key,
            "network": subject.network,
            "title": subject.title,
            "engine": row.column,
            "runtime": (timing.engine if timing else "") or None,
            "precision": (timing.precision_note if timing else "") or None,
            "boundary": row.boundary,
            "boundary_text": (timing.boundary_text if timing else "") or _boundary_text(row),
            "nms": timing.nms if timing else None,
            "nms_candidates": timing.nms_candidates if timing else None,
            "size": subject.size,
            "batch": row.batch,
            "input": self._input(row, told),
            "device": timing.side.device if timing and summary else None,
            "provenance": MEASURED_HERE if summary else self._why_not(row, timing),
            "published": published.as_dict() if published else None,
            "measured": {**summary.as_dict(), "stable": timing.stable} if summary and timing else None,
            "rounds_ms": [list(one) for one in timing.rounds_ms] if summary and timing else None,
            "loadings": list(timing.loadings) if summary and timing and timing.loadings else None,
            "ratio_to_reference": to_reference,
            "gain_over_eager": over_eager,
            "artifact": self._artifact(row, timing),
            "source": self._source(row, timing),
            "trained": timing.trained if timing and timing.source else subject.file.trained if subject.file else None,
            "parameters": timing.parameters if timing else None,
            "macs": timing.macs if timing else None,
            "peak_rss_bytes": timing.peak_rss_bytes if timing else None,
            "notes": list(dict.fromkeys(notes)),
        }

    def _why_not(self, row: PlannedRow, timing: SideTiming | None) -> str:
        known = row.why_not or self._prepared.why_not.get(row.key) or (timing.problem if timing else None)
        return not_here(known) if known else not_measured(NOT_YET)

    def _notes(self, row: PlannedRow, timing: SideTiming | None) -> Iterator[str]:
        yield from self._prepared.notes.get(row.key, ())
        if timing is not None:
            yield from timing.notes
            yield from _untrained_nms(timing)
            if timing.problem and timing.rounds_ms:
                yield f"{ENDED_EARLY}{timing.problem}"

    def _input(self, row: PlannedRow, told: Sequence[str]) -> str | None:
        """What the side says it was fed with; it does not know of images that are repeated."""
        fed = next((text[len(FED) :] for text in told if text.startswith(FED)), None)
        return None if fed is None else self._prepared.repeated.get(row.key, fed)

    def _artifact(self, row: PlannedRow, timing: SideTiming | None) -> dict[str, Any] | None:
        file = row.subject.file
        digest = timing.artifact_sha256 if timing else None
        digest = digest or (file.sha256 if file else None)
        return {"file": str(file.path) if file else None, "sha256": digest} if digest else None

    def _source(self, row: PlannedRow, timing: SideTiming | None) -> str | None:
        """Where the network comes from. What was exported for this run alone has no file to name."""
        if timing is None or not timing.source:
            return str(row.subject.file.path) if row.subject.file else None
        if row.key in self._prepared.sources:
            return self._prepared.sources[row.key] + EXPORTED
        return timing.source


def _boundary_text(row: PlannedRow) -> str:
    """Of a row that nobody loaded."""
    text, limits = BOUNDARY_TEXTS[row.boundary], row.subject.thresholds
    return text if limits is None or row.boundary == NETWORK else f"{text}, NMS in ({limits_text(limits)})"


def _untrained_nms(timing: SideTiming) -> Iterator[str]:
    """That the NMS of a detector nobody trained has another load than any detector's."""
    if timing.nms is None or timing.trained is not False:
        return
    counted = timing.nms_candidates
    seen = "an unknown number of" if counted is None else str(counted)
    yield f"untrained weights: the NMS sees {seen} candidates above the threshold, {SEEN_BY_A_TRAINED_ONE}"
