"""Whether the figures of a bench document are those of its own times: what does not follow from them is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hardnet_deploy.bench.document_intervals import Blocks, interval
from hardnet_deploy.bench.engine_columns import EAGER
from hardnet_deploy.bench.sides import Device
from hardnet_deploy.bench.stability import is_stable, rule
from hardnet_deploy.bench.stats import FLAGGED_COV, Rounds, Statistic, Summary, summarise
from hardnet_deploy.kit.json_record import Record

SAME: Final = 1e-6
"""Relative: the figures are float64 and computed again from the very times, so only the order of additions is left."""
SAME_PERCENT: Final = 1e-6
"""Of a coefficient of variation, absolute: of times that are all the same it is 0 but for the rounding."""
_FIGURES: Final = ("median", "mean", "p90", "p95", "p99", "min", "max")
_SAME_WORK: Final = ("network", "size", "batch", "boundary", "device")
Fault = tuple[str, str]
"""The field that is wrong, and what it would have to be."""


def check_figures(rows: Sequence[Record], protocol: Record) -> None:
    """Compute figures, ratios and their intervals again from the times of every run.

    Args:
        rows: All of a document, each checked by itself. Rows without ``rounds_ms`` have nothing to be held against.
        protocol: Of the document. ``stable`` is held against today's rule where it says that it was the rule.

    Raises:
        InputFileError: A figure or a ratio is not that of the times, or a ratio is over no row that it can be over.
    """
    by_key = {row.values["key"]: row for row in rows}
    groups = protocol.values.get("groups") or []
    timed = {key: _Timed(row, groups) for key, row in by_key.items() if row.has("rounds_ms")}
    for row in rows:
        if row.has("measured"):
            _check_measured(row.record("measured"), timed.get(row.values["key"]), protocol.values["stability"])
        if row.has("ratio_to_reference"):
            ratio = row.record("ratio_to_reference")
            reference = ratio.values["reference"]
            if reference not in by_key or reference == row.values["key"]:
                ratio.refuse("reference", "the key of another row of this document")
            if ratio.has("measured"):
                statistic: Statistic = "mean" if ratio.values.get("statistic") == "mean" else "median"
                pair = (timed.get(row.values["key"]), timed.get(reference))
                _check_ratio(ratio.record("measured"), [pair], statistic)
        if row.has("gain_over_eager"):
            gain = row.record("gain_over_eager")
            pairs = [(timed.get(one.values["key"]), timed.get(row.values["key"])) for one in _eager(row, gain, by_key)]
            _check_ratio(gain, pairs, "median")


class _Timed:
    """A row with its times.

    Args:
        row: It has ``rounds_ms``.
        groups: Keys of the rows that were timed together.
    """

    def __init__(self, row: Record, groups: Sequence[Sequence[str]]) -> None:
        self.row = row
        self.rounds: Rounds = row.values["rounds_ms"]
        self.loadings: Sequence[int] = row.values.get("loadings") or ()
        self.groups = {number for number, keys in enumerate(groups) if row.values["key"] in keys}
        self.summary = summarise(self.rounds)
        self._blocks: dict[int, Blocks] = {}

    def first(self, count: int) -> Summary:
        """Of the first so many rounds."""
        return self.summary if count == len(self.rounds) else summarise(self.rounds[:count])

    def blocks(self, count: int) -> Blocks:
        """Of the first so many rounds."""
        if count not in self._blocks:
            self._blocks[count] = Blocks(self.rounds[:count], self.loadings[:count])
        return self._blocks[count]


def _check_measured(measured: Record, timed: _Timed | None, told_rule: str) -> None:
    cov = measured.values.get("cov_percent")
    if timed is not None:
        _check_summary(measured, timed.summary)
        cov = timed.summary.cov_percent if cov is None else cov
        device: Device = "cuda" if timed.row.values.get("device") == "cuda" else "cpu"
        if any(rule(device, loadings=count) in told_rule for count in (1, 2)):
            stable = is_stable(timed.rounds, device, timed.loadings)
            if measured.values.get("stable") is not stable:
                measured.refuse("stable", f"{str(stable).lower()}, which 'rounds_ms' gives by the rule of 'protocol'")
    if measured.has("cov_flagged") and cov is not None and measured.values["cov_flagged"] is not (cov > FLAGGED_COV):
        measured.refuse("cov_flagged", f"{str(cov > FLAGGED_COV).lower()}, as 'cov_percent' is {cov:.6g}")


def _check_summary(measured: Record, summary: Summary) -> None:
    for name in _FIGURES:
        own = getattr(summary, name)
        if measured.has(name) and (own is None or not _same(measured.values[name], own)):
            measured.refuse(name, "null of so few runs" if own is None else f"{own:.6g}, which 'rounds_ms' gives")
    cov = summary.cov_percent
    given = measured.values.get("cov_percent")
    if given is not None and not math.isclose(given, cov, rel_tol=SAME, abs_tol=SAME_PERCENT):
        measured.refuse("cov_percent", f"{cov:.6g}, which 'rounds_ms' gives")


def _check_ratio(ratio: Record, pairs: Sequence[tuple[_Timed | None, _Timed | None]], statistic: Statistic) -> None:
    """Refuse a ratio of the first over the second that follows from none of ``pairs``; of none it cannot be told."""
    faults: list[Fault] = []
    for above, below in pairs:
        if above is None or below is None:
            faults.append(("ratio", "null, as one of the two rows was not timed here"))
            continue
        fault = _fault(ratio.values, above, below, statistic)
        if fault is None:
            return
        faults.append(fault)
    if not faults:
        return
    name = faults[0][0]
    ratio.refuse(name, " or ".join(dict.fromkeys(wanted for other, wanted in faults if other == name)))


def _fault(ratio: Mapping[str, Any], above: _Timed, below: _Timed, statistic: Statistic) -> Fault | None:
    """What of a ratio does not follow from the times of its two rows; None where all does.

    A ratio of some rounds alone cannot be told where a row was in several groups: which rounds were common is not
    recorded. Rows of one group have their first rounds in common.
    """
    rounds, most = ratio["rounds"], min(len(above.rounds), len(below.rounds))
    if above.groups and below.groups and not above.groups & below.groups:
        most = 0
    together = above.groups == below.groups and len(above.groups) == 1
    if rounds > most or (together and rounds != most):
        return "rounds", f"{most if together else f'{most} at most'}, as the two rows have rounds"
    if rounds == 0:
        value = getattr(above.summary, statistic) / getattr(below.summary, statistic)
        return _point_fault(ratio, value, statistic) or _interval_fault(ratio, (None, None))
    if not together and not len(above.rounds) == len(below.rounds) == rounds:
        return None
    value = getattr(above.first(rounds), statistic) / getattr(below.first(rounds), statistic)
    if list(above.loadings[:rounds]) != list(below.loadings[:rounds]):
        return "rounds", "rounds of the same loadings of both rows"
    wanted = interval(above.blocks(rounds), below.blocks(rounds), statistic)
    return _point_fault(ratio, value, statistic) or (None if wanted is None else _interval_fault(ratio, wanted))


def _point_fault(ratio: Mapping[str, Any], value: float, statistic: Statistic) -> Fault | None:
    if _same(ratio["ratio"], value):
        return None
    return "ratio", f"{value:.6g}, which the {statistic}s of the two rows' 'rounds_ms' give"


def _interval_fault(ratio: Mapping[str, Any], wanted: tuple[float | None, float | None]) -> Fault | None:
    for name, end in zip(("low", "high"), wanted, strict=True):
        given = ratio.get(name)
        if end is None and given is not None:
            return name, "null: of so few rounds or loadings there is no interval"
        if end is not None and (given is None or not _same(given, end)):
            return name, f"{end:.6g}, which the two rows' 'rounds_ms' give"
    return None


def _same(given: float, own: float) -> bool:
    return math.isclose(given, own, rel_tol=SAME)


def _eager(row: Record, gain: Record, by_key: Mapping[str, Record]) -> list[Record]:
    """The rows that a gain can be over: the one it names, which must be eager PyTorch, else those of the same work."""
    named = gain.values.get("eager")
    if named is None:
        return [
            one
            for one in by_key.values()
            if one.values["engine"] == EAGER
            and one is not row
            and all(one.values.get(name) == row.values.get(name) for name in _SAME_WORK)
        ]
    found = by_key.get(named)
    if found is None or found is row or found.values["engine"] != EAGER or not found.has("measured"):
        gain.refuse("eager", f"the key of a row of this document that times {EAGER}")
    return [found]
