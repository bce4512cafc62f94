"""Cells of the tables of a bench document, with what a figure must not be read without."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from hardnet_deploy.bench.engine_columns import EAGER
from hardnet_deploy.bench.stats import FLAGGED_COV

Row = Mapping[str, Any]
UNTRAINED: Final = "untrained"
NOTHING: Final = "-"
HIGH: Final = "HIGH"
UNSTABLE: Final = "UNSTABLE"
NUMPY_NMS: Final = "eager's NMS in NumPy"
ONE_NUMPY_NMS: Final = "one NMS in NumPy"
_BY_NUMPY: Final = frozenset({"numpy", "plugin-by-numpy"})
HASH_DIGITS: Final = 12


def network(row: Row) -> str:
    """Title, and whether nobody trained it."""
    return str(row["title"]) + (f" ({UNTRAINED})" if row["trained"] is False else "")


def ms(value: float | None) -> str:
    """Three digits or more."""
    if value is None:
        return NOTHING
    return f"{value:.1f}" if value >= 100 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def cov(row: Row) -> str:
    """Variation, marked where it is high and where the times did not settle."""
    measured = row["measured"]
    if not measured or measured["cov_percent"] is None:
        return NOTHING
    marks = (HIGH if measured.get("cov_flagged") else "", UNSTABLE if is_unstable(row) else "")
    return " ".join(filter(None, (f"{measured['cov_percent']:.1f}", *marks)))


def is_unstable(row: Row) -> bool:
    """Whether its times did not settle."""
    return bool(row["measured"]) and row["measured"]["stable"] is False


def published_ratio(row: Row) -> str:
    """Of the published times."""
    value = (row["ratio_to_reference"] or {}).get("published")
    return NOTHING if value is None else f"{value:.2f}"


def digest(row: Row) -> str:
    """The beginning of the artifact's hash."""
    return row["artifact"]["sha256"][:HASH_DIGITS] if row["artifact"] else NOTHING


class Ratios:
    """Ratios and gains of one document's rows: they are worth what the rows are that they divide.

    Args:
        rows: All.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = {row["key"]: row for row in rows}

    def to_reference(self, row: Row) -> str:
        """The measured ratio with its interval; and whether NumPy did the NMS of one of its rows alone."""
        found = row["ratio_to_reference"] or {}
        reference = self._rows.get(found.get("reference", ""))
        text = self._text(row, found.get("measured"), reference)
        uneven = reference is not None and (row.get("nms") in _BY_NUMPY) is not (reference.get("nms") in _BY_NUMPY)
        return f"{text}, {ONE_NUMPY_NMS}" if found.get("measured") and uneven else text

    def over_eager(self, row: Row) -> str:
        """The gain with its interval; and whether eager's NMS was none that anybody deploys."""
        eager = self._eager(row)
        text = self._text(row, row["gain_over_eager"], eager)
        return f"{text}, {NUMPY_NMS}" if row["gain_over_eager"] and eager and eager.get("nms") == "numpy" else text

    def statistics(self) -> str:
        """What the ratios to the reference are of; medians where the document does not say."""
        told = [row["ratio_to_reference"] for row in self._rows.values() if row["ratio_to_reference"]]
        return " or ".join(sorted({f"{one.get('statistic', 'median')}s" for one in told if one["measured"]}))

    def legend(self) -> Iterator[str]:
        """What the marks mean, as far as there are any."""
        rows = self._rows.values()
        if any((row["measured"] or {}).get("cov_flagged") for row in rows):
            yield f"{HIGH}: the runs vary by more than {FLAGGED_COV} % (CoV), from where trtexec warns of its times"
        if any(UNSTABLE in text for row in rows for text in (self.to_reference(row), self.over_eager(row))):
            yield f"{UNSTABLE} beside a ratio: one of the two rows that it divides did not settle"
        if any(ONE_NUMPY_NMS in self.to_reference(row) for row in rows):
            yield f"{ONE_NUMPY_NMS}: a reference in NumPy did it for one of the two rows, which nobody deploys"

    def _eager(self, row: Row) -> Row | None:
        """The row that its gain is over: as it says, else the eager one of the same work."""
        named = (row["gain_over_eager"] or {}).get("eager")
        if named is not None:
            return self._rows.get(named)
        work = ("network", "size", "batch", "boundary")
        return next(
            (
                other
                for other in self._rows.values()
                if other["engine"] == EAGER and all(other[name] == row[name] for name in work)
            ),
            None,
        )

    @staticmethod
    def _text(row: Row, found: Mapping[str, Any] | None, divisor: Row | None) -> str:
        if not found:
            return NOTHING
        ends = "no interval" if found["low"] is None else f"{found['low']:.2f} to {found['high']:.2f}"
        unsettled = is_unstable(row) or (divisor is not None and is_unstable(divisor))
        return f"{found['ratio']:.2f} ({ends})" + (f" {UNSTABLE}" if unsettled else "")
