"""From what was measured to a table, and from a table to advice: do the ranges stand still, which tensors saturate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from calibration.collect import Measured
from calibration.methods import thresholds
from calibration.table import METHODS, CalibrationTable, Method, Snapshot, TensorStatistics

FIRST_SNAPSHOT: Final = 32
SETTLED: Final = (
    0.05  # of the final threshold: a scale that moves less changes a rounding by less than a tenth of a step
)


@dataclass(frozen=True, kw_only=True)
class Clipping:
    """What clipping means under one method.

    Args:
        notable: The share of a tensor's values beyond which its clipping is worth a line.
        why: What the method clips, and what a user can do.
    """

    notable: float
    why: str


CLIPPING: Final[Mapping[Method, Clipping]] = {
    "minmax": Clipping(notable=0.0, why="minmax clips nothing"),
    "percentile": Clipping(
        notable=2 / (100 * 100),  # twice the share that the method is told to clip
        why="percentile clips 0.01 % of every tensor by design",
    ),
    "entropy": Clipping(
        notable=0.001,  # ten times what percentile takes
        why="entropy clips on purpose, for finer steps; if mAP suffers, try --method minmax, which clips nothing",
    ),
    "mse": Clipping(
        notable=0.001,
        why="mse clips on purpose, for a smaller error; if mAP suffers, try --method minmax, which clips nothing",
    ),
}


def statistics(measured: Mapping[str, Measured]) -> dict[str, TensorStatistics]:
    """Ranges of every tensor by every method.

    Raises:
        CalibrationError: Nothing was measured.
    """
    found = {}
    for name, one in measured.items():
        by_method: dict[Method, float] = dict(thresholds(one.histogram, one.largest))
        found[name] = TensorStatistics(
            minimum=one.minimum,
            maximum=one.maximum,
            elements=one.histogram.total,
            thresholds=by_method,
            saturated={method: _share_above(one, by_method[method]) for method in METHODS},
        )
    return found


def _share_above(one: Measured, threshold: float) -> float:
    """Share of the values beyond a threshold: none at the maximum, where the histogram would split its last bin."""
    return one.histogram.share_above(threshold) if threshold < one.largest else 0.0


def wants_snapshot(images: int) -> bool:
    """True after 32, 64, 128, ... images."""
    return images >= FIRST_SNAPSHOT and images & (images - 1) == 0


def snapshot(measured: Mapping[str, Measured], images: int) -> dict[Method, Snapshot]:
    """The thresholds as they stand now, by method."""
    now = {name: thresholds(one.histogram, one.largest) for name, one in measured.items()}
    return {
        method: Snapshot(images=images, thresholds={name: values[method] for name, values in now.items()})
        for method in METHODS
    }


def too_few(table: CalibrationTable) -> str | None:
    """What to say of a table of so few images that they cannot tell whether its ranges stand still; None of more."""
    images = table.fingerprint.count
    if images >= FIRST_SNAPSHOT:
        return None
    return f"ranges of {images} images: too few to see whether they settle, which {FIRST_SNAPSHOT} or more show"


@dataclass(frozen=True, kw_only=True)
class Movement:
    """How far the thresholds after fewer images were from the final ones.

    Args:
        images: After how many.
        median: Of all tensors, the relative distance in the middle.
        worst: The largest relative distance.
        tensor: Whose that is.
        settled: Share of the tensors within ``SETTLED``.
    """

    images: int
    median: float
    worst: float
    tensor: str
    settled: float


def movements(table: CalibrationTable) -> tuple[Movement, ...]:
    """One row for each snapshot of the method in use; empty for fewer images than the first one takes."""
    rows = []
    for row in table.snapshots.get(table.method, ()):
        away = {
            name: abs(value - final) / final
            for name, value in row.thresholds.items()
            if (final := table.threshold(name)) > 0
        }
        if not away:
            continue
        ordered = sorted(away.values())
        worst = max(away, key=away.__getitem__)
        rows.append(
            Movement(
                images=row.images,
                median=ordered[len(ordered) // 2],
                worst=away[worst],
                tensor=worst,
                settled=sum(value <= SETTLED for value in ordered) / len(ordered),
            )
        )
    return tuple(rows)


def saturating(table: CalibrationTable) -> tuple[tuple[str, float], ...]:
    """Tensors of which the method in use clips more than is worth a line under it, with that share, most first."""
    shares = {name: tensor.saturated[table.method] for name, tensor in table.tensors.items()}
    found = [(name, share) for name, share in shares.items() if share > CLIPPING[table.method].notable]
    return tuple(sorted(found, key=lambda one: -one[1]))
