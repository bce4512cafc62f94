"""Whether the figures of a bench document are those of its own times: what does not follow from them is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from hardnet_deploy.bench.engine_columns import EAGER
from hardnet_deploy.bench.stats import Statistic, Summary, summarise
from hardnet_deploy.kit.json_record import Record

SAME: Final = 1e-6
"""Relative: the figures are float64 and computed again from the very times, so only the order of additions is left."""
SAME_PERCENT: Final = 1e-6
"""Of a coefficient of variation, absolute: of times that are all the same it is 0 but for the rounding."""
_FIGURES: Final = ("median", "mean", "p90", "p95", "p99", "min", "max")
_SAME_WORK: Final = ("network", "size", "batch", "boundary", "device")


def check_figures(rows: Sequence[Record]) -> None:
    """Compute figures and ratios again from the times of every run.

    The ends of an interval are not: they follow from draws.

    Args:
        rows: All of a document, each checked by itself. Rows without ``rounds_ms`` have nothing to be held against.

    Raises:
        InputFileError: A figure or a ratio is not that of the times, or a gain is over no row of PyTorch.
    """
    timed = {row.values["key"]: _Timed(row) for row in rows if row.has("rounds_ms")}
    for one in timed.values():
        _check_measured(one.row.record("measured"), one.summary)
    by_key = {row.values["key"]: row for row in rows}
    for row in rows:
        if row.has("ratio_to_reference") and row.record("ratio_to_reference").has("measured"):
            ratio = row.record("ratio_to_reference")
            above, below = timed.get(row.values["key"]), timed.get(ratio.values["reference"])
            _check_ratio(ratio.record("measured"), above, [below], ratio.values.get("statistic") or "median")
        if row.has("gain_over_eager"):
            gain = row.record("gain_over_eager")
            eager = [timed[one.values["key"]] for one in _eager(row, gain, by_key) if one.values["key"] in timed]
            _check_ratio(gain, timed.get(row.values["key"]), eager, "median", inverse=True)


class _Timed:
    """A row with its times."""

    def __init__(self, row: Record) -> None:
        self.row = row
        self.rounds = len(row.values["rounds_ms"])
        self.summary = summarise(row.values["rounds_ms"])


def _check_measured(measured: Record, summary: Summary) -> None:
    for name in _FIGURES:
        own = getattr(summary, name)
        if measured.has(name) and (own is None or not math.isclose(measured.values[name], own, rel_tol=SAME)):
            measured.refuse(name, "null of so few runs" if own is None else f"{own:.6g}, which 'rounds_ms' gives")
    cov = summary.cov_percent
    given = measured.values.get("cov_percent")
    if given is not None and not math.isclose(given, cov, rel_tol=SAME, abs_tol=SAME_PERCENT):
        measured.refuse("cov_percent", f"{cov:.6g}, which 'rounds_ms' gives")


def _check_ratio(
    ratio: Record, row: _Timed | None, others: Sequence[_Timed | None], statistic: Statistic, *, inverse: bool = False
) -> None:
    """Refuse a ratio of ``row`` over one of ``others`` that follows from none of them.

    A ratio of some rounds alone cannot be told: which ones these were is not recorded.
    """
    wanted = []
    for other in others:
        if row is None or other is None or not _of_all_runs(ratio, row, other):
            return
        value = getattr(row.summary, statistic) / getattr(other.summary, statistic)
        wanted.append(1 / value if inverse else value)
    if wanted and not any(math.isclose(ratio.values["ratio"], value, rel_tol=SAME) for value in wanted):
        told = " or ".join(f"{value:.6g}" for value in wanted)
        ratio.refuse("ratio", f"{told}, which the {statistic}s of the two rows' 'rounds_ms' give")


def _of_all_runs(ratio: Record, row: _Timed, other: _Timed) -> bool:
    """Whether every run of both is in it: all rounds are common, or none are."""
    rounds = ratio.values.get("rounds")
    return rounds == 0 or (row.rounds == other.rounds and rounds in {None, row.rounds})


def _eager(row: Record, gain: Record, by_key: Mapping[str, Record]) -> list[Record]:
    """The rows that a gain can be over: the one it names, which must be eager PyTorch, else those of the same work."""
    named = gain.values.get("eager")
    if named is None:
        return [
            one
            for one in by_key.values()
            if one.values["engine"] == EAGER
            and all(one.values.get(name) == row.values.get(name) for name in _SAME_WORK)
        ]
    found = by_key.get(named)
    if found is None or found.values["engine"] != EAGER or not found.has("measured"):
        gain.refuse("eager", f"the key of a row of this document that times {EAGER}")
    return [found]
