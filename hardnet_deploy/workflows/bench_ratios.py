"""Ratios of a bench: which row may be divided by which other one, by what statistic, and why there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from hardnet_deploy.bench.engine_columns import EAGER
from hardnet_deploy.bench.protocols import OWN, Protocol
from hardnet_deploy.bench.published import PublishedTime
from hardnet_deploy.bench.sides import NETWORK, limits_text
from hardnet_deploy.bench.stats import Statistic
from hardnet_deploy.bench.timing import SideTiming
from hardnet_deploy.workflows.bench_plan import PlannedRow

OTHER_WEIGHTS: Final = "it ran other weights (MODEL=CHECKPOINT times those of a checkpoint)"
UNKNOWN_WEIGHTS: Final = "whether both ran the same weights is not known"
Timed = Mapping[str, SideTiming]


class Ratios:
    """Compares the rows of one run.

    A published ratio is one of the protocol's statistic, so the measured one beside it is too; everything else is of
    medians.

    Args:
        rows: What was planned.
        protocol: With its reference, and what was published.
    """

    def __init__(self, rows: Sequence[PlannedRow], protocol: Protocol) -> None:
        self._rows, self._protocol = rows, protocol
        self._statistic: Statistic = protocol.statistic if protocol.published else "median"

    def published(self, row: PlannedRow) -> PublishedTime | None:
        """The authors' time of the row's network; None beside another size, batch or boundary than theirs."""
        theirs = (self._protocol.size, self._protocol.batch, NETWORK)
        same = (row.subject.size, row.batch, row.boundary) == theirs
        return self._protocol.published.get(row.subject.network) if same else None

    def to_reference(self, row: PlannedRow, timings: Timed, notes: list[str]) -> dict[str, Any] | None:
        """The row's time over that of the reference network; what keeps it from being compared goes to ``notes``."""
        reference = self._reference_of(row, notes)
        if reference is None or reference.key == row.key:
            return None
        one, other = self.published(row), self.published(reference)
        measured = None
        if reference.batch != row.batch:
            notes.append(f"batches of {row.batch}: not compared with {reference.key}, in batches of {reference.batch}")
        else:
            measured = _over(timings.get(row.key), timings.get(reference.key), notes, self._statistic)
            if measured:
                notes += _unlike(row, reference, timings)
        return {
            "reference": reference.key,
            "statistic": self._statistic,
            "published": one.ms / other.ms if one and other else None,
            "measured": measured,
        }

    def _reference_of(self, row: PlannedRow, notes: list[str]) -> PlannedRow | None:
        """The reference network by the same engine; outside a protocol, where it has but one row, that one."""
        candidates = [
            other
            for other in self._rows
            if other.subject.label == self._protocol.reference and other.boundary == row.boundary
        ]
        same = [other for other in candidates if other.column == row.column]
        if same or not candidates:
            return same[0] if same else None
        if self._protocol.name == OWN:
            return candidates[0] if len(candidates) == 1 else None
        notes.append(f"no ratio to {self._protocol.reference}, which has no row by {row.column} here")
        return None

    def over_eager(self, row: PlannedRow, timings: Timed, notes: list[str]) -> dict[str, Any] | None:
        """How many times faster than eager PyTorch: on the same device, with the same weights and NMS limits."""
        mine = timings.get(row.key)
        if row.column == EAGER or mine is None:
            return None
        refused = []
        for other in self._rows:
            eager = timings.get(other.key)
            if other.column != EAGER or eager is None or not _same_work(row, other):
                continue
            if mine.side.device != eager.side.device or not mine.rounds_ms or not eager.rounds_ms:
                continue
            why_not = _why_not(mine, eager)
            if why_not is not None:
                refused.append(f"no gain over {other.key}: {why_not}")
                continue
            if mine.weights_sha256 is None or eager.weights_sha256 is None:
                notes.append(f"the weights are taken for those of {other.key}: nothing here has a hash of them")
            found = _over(eager, mine, notes, "median")
            if found is not None:
                notes += _decoding(row, other)
            return None if found is None else {**found, "eager": other.key}
        notes += refused[:1]
        return None


def _same_work(row: PlannedRow, other: PlannedRow) -> bool:
    one, two = row.subject, other.subject
    return (one.network, one.size, row.boundary, row.batch) == (two.network, two.size, other.boundary, other.batch)


def _why_not(mine: SideTiming, eager: SideTiming) -> str | None:
    """Why a gain over ``eager`` would compare different things; None where it does not."""
    hashes = (mine.weights_sha256, eager.weights_sha256)
    if (None not in hashes and hashes[0] != hashes[1]) or {mine.trained, eager.trained} == {True, False}:
        return OTHER_WEIGHTS
    if mine.trained is not eager.trained or (None in hashes and mine.trained is None):
        return UNKNOWN_WEIGHTS
    limits = _other_limits(mine, eager)
    return None if limits is None else f"its NMS has other limits ({limits})"


def _other_limits(mine: SideTiming, other: SideTiming) -> str | None:
    """Both NMS limits where they differ; None where they do not, or where there are none."""
    if mine.thresholds == other.thresholds or mine.thresholds is None or other.thresholds is None:
        return None
    return f"{limits_text(other.thresholds)}; here {limits_text(mine.thresholds)}"


def _unlike(row: PlannedRow, reference: PlannedRow, timings: Timed) -> Iterator[str]:
    """What else than the network differs between two rows that a ratio is of."""
    mine, other = timings[row.key], timings[reference.key]
    if reference.subject.size != row.subject.size:
        sizes = f"{row.subject.size} x {row.subject.size}, {reference.key} at {reference.subject.size}"
        yield f"the ratio is of different inputs: {sizes}"
    if (row.column, row.device) != (reference.column, reference.device):
        on = [f" on {one.device}" if row.device != reference.device else "" for one in (row, reference)]
        by = f"{row.key} is by {row.column}{on[0]}, {reference.key} by {reference.column}{on[1]}"
        yield f"the ratio is of different engines: {by}"
    limits = _other_limits(mine, other)
    if limits is not None:
        yield f"the ratio is of different NMS limits: {reference.key} has {limits}"
    yield from _decoding(row, reference)


def _decoding(row: PlannedRow, other: PlannedRow) -> Iterator[str]:
    """That softmax and decoding are timed in one of two rows alone."""
    one, two = (bool(each.subject.file and each.subject.file.decodes) for each in (row, other))
    if one is not two and row.boundary == NETWORK:
        with_it, without = (row, other) if one else (other, row)
        yield f"softmax and decoding are timed in {with_it.key} and not in {without.key}"


def _over(
    above: SideTiming | None, below: SideTiming | None, notes: list[str], statistic: Statistic
) -> dict[str, Any] | None:
    """One time over another, from common rounds; of all runs and without an interval where there are none."""
    if above is None or below is None or not above.rounds_ms or not below.rounds_ms:
        return None
    found = above.over(below, statistic=statistic)
    if found is not None:
        return found.as_dict()
    assert above.summary is not None
    assert below.summary is not None
    notes.append(f"{above.side.key} and {below.side.key} were timed in different rounds: their ratio has no interval")
    value = getattr(above.summary, statistic) / getattr(below.summary, statistic)
    return {"ratio": value, "low": None, "high": None, "rounds": 0}
