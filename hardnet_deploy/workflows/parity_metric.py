"""The metric part of parity: mAP of both sides, how sure its drop is, and what of it the NMS alone has done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from hardnet_deploy.data.dataset import Dataset, Metric
from hardnet_deploy.errors import HardnetDeployError
from hardnet_deploy.evaluate.bootstrap import DropInterval, DropType, paired_drop
from hardnet_deploy.evaluate.match_table import MatchTable
from hardnet_deploy.evaluate.metrics import match_tables
from hardnet_deploy.evaluate.weighted_ap import mean_average_precision
from hardnet_deploy.workflows.parity_run import COMMON, OWN, UPSTREAM, SideDetections

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class PostProcessed:
    """mAP of both sides under one post-processing, in [0, 1].

    Args:
        postprocess: Which.
        reference: None where it is not available.
        candidate: None where it is not available.
        why: Why one is not; None where both are.
    """

    postprocess: str
    reference: float | None
    candidate: float | None
    why: str | None = None

    @property
    def change(self) -> float | None:
        """From the reference to the candidate, in mAP; negative where the candidate is worse."""
        if self.reference is None or self.candidate is None:
            return None
        return self.candidate - self.reference


@dataclass(frozen=True, kw_only=True)
class Separation:
    """What changed mAP: the network, or the NMS behind it. All in mAP, negative where the candidate is worse.

    Args:
        own: Each side with its own NMS: the whole change.
        common: Both with one EfficientNMS: what remains is the network's doing.
        upstream: Both with the authors' post-processing: likewise.
    """

    own: PostProcessed
    common: PostProcessed
    upstream: PostProcessed

    @property
    def network(self) -> float | None:
        """The change under the common EfficientNMS."""
        return self.common.change

    @property
    def nms(self) -> float | None:
        """The remainder of the whole change."""
        return None if self.own.change is None or self.network is None else self.own.change - self.network

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        rows = {
            name: {**asdict(row), "change": row.change}
            for name, row in (("own", self.own), ("common", self.common), ("upstream", self.upstream))
        }
        return {
            **rows,
            "effect_of_network": self.network,
            "effect_of_nms": self.nms,
            "effect_of_network_under_upstream": self.upstream.change,
        }


@dataclass(frozen=True, kw_only=True)
class MetricParity:
    """mAP on the labelled data.

    Args:
        metric: Of the data set.
        reference: mAP in [0, 1]; None where it cannot be had.
        candidate: Likewise.
        drop: From the one to the other, with its interval; None where it cannot be had.
        limit: The largest accepted drop, of the kind ``drop_type``.
        drop_type: Whether the limit is relative to the reference's mAP or in mAP itself.
        separation: What of it is whose doing.
        why: Why there is no drop; None where there is.
    """

    metric: Metric
    reference: float | None
    candidate: float | None
    drop: DropInterval | None
    limit: float
    drop_type: DropType
    separation: Separation
    why: str | None = None

    @property
    def within(self) -> bool:
        """True where the drop is known and within the limit."""
        return self.drop is not None and self.drop.drop <= self.limit

    def verdict(self) -> str:
        """The gate in words: the drop, its interval, the limit, and whether the interval separates the two."""
        if self.drop is None:
            return f"no drop of mAP can be measured: {self.why}"
        show = _percent if self.drop_type == "relative" else _points
        low, high = (show(bound) for bound in self.drop.two_sided)
        text = (
            f"mAP drops by {show(self.drop.drop)} ({self.drop_type}; {self.drop.confidence:.0%} interval {low} to "
            f"{high}), {'within' if self.within else 'beyond'} the {show(self.limit)} of --max-drop"
        )
        clear = self.drop.separates(self.limit)
        return text + ("" if clear else "; the interval does not separate the drop from that limit: more images would")

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "metric": self.metric,
            "reference": self.reference,
            "candidate": self.candidate,
            "drop": self.drop.as_dict() if self.drop else None,
            "max_drop": self.limit,
            "drop_type": self.drop_type,
            "within": self.within,
            "separated": None if self.drop is None else self.drop.separates(self.limit),
            "not_available": self.why,
            "separation": self.separation.as_dict(),
        }


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def _points(value: float) -> str:
    return f"{100 * value:.2f} points"


def compare_metric(
    dataset: Dataset,
    reference: SideDetections,
    candidate: SideDetections,
    *,
    judged: str,
    limit: float,
    drop_type: DropType,
    resamples: int,
    seed: int,
    progress: Progress,
) -> MetricParity:
    """Score both sides and measure the drop.

    Args:
        dataset: What is there.
        reference: What the reference found.
        candidate: What the candidate found.
        judged: Name of the post-processing whose detections the gate is about.
        limit: The largest accepted drop.
        drop_type: Its kind.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
        progress: Told of (what runs, how much is done, how much there is).
    """
    scorer = _Scorer(dataset, (("reference", reference), ("candidate", candidate)), progress)
    rows = {name: scorer.row(name) for name in (OWN, COMMON, UPSTREAM)}
    drop, why = None, rows[judged].why
    if why is None:
        ours, theirs = (scorer.tables(side, judged) for side in (reference, candidate))
        drop = paired_drop(
            ours,
            theirs,
            dataset.metric,
            kind=drop_type,
            resamples=resamples,
            seed=seed,
            progress=partial(progress, "resampling the images"),
        )
        why = None if drop else f"the reference's mAP is {rows[judged].reference}: there is nothing to keep"
    return MetricParity(
        metric=dataset.metric,
        reference=rows[judged].reference,
        candidate=rows[judged].candidate,
        drop=drop,
        limit=limit,
        drop_type=drop_type,
        separation=Separation(own=rows[OWN], common=rows[COMMON], upstream=rows[UPSTREAM]),
        why=why,
    )


class _Scorer:
    """Judges every list of detections once, however many rows it stands in."""

    def __init__(self, dataset: Dataset, sides: Sequence[tuple[str, SideDetections]], progress: Progress) -> None:
        self._progress = progress
        self._dataset = dataset
        self._sides = sides
        self._known: dict[int, tuple[MatchTable, ...]] = {}

    def tables(self, side: SideDetections, name: str) -> tuple[MatchTable, ...]:
        """The judgement of one side under one post-processing."""
        store = side.stores[name]
        if id(store) not in self._known:
            title = f"scoring detections, list {len(self._known) + 1}"
            self._known[id(store)] = match_tables(self._dataset, store, progress=partial(self._progress, title))
        return self._known[id(store)]

    def row(self, name: str) -> PostProcessed:
        """Both sides under one post-processing."""
        values: list[float | None] = []
        reasons: list[str] = []
        for label, side in self._sides:
            values.append(None)
            if name not in side.stores:
                reasons.append(f"not available: the {label} has no boxes and scores before its NMS")
                continue
            try:
                tables = self.tables(side, name)
            except HardnetDeployError as error:
                reasons.append(f"not available for the {label}: {error.what}")
                continue
            once = np.ones((1, len(self._dataset)), np.int64)
            values[-1] = float(mean_average_precision(tables, once, self._dataset.metric)[0])
        why = "; ".join(reasons) if reasons else None
        return PostProcessed(postprocess=name, reference=values[0], candidate=values[1], why=why)
