"""Whether one engine may be deployed, by the runs' own verdicts, and why not."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from hardnet_deploy.evaluate.bootstrap import LEAST_FOR_INTERVAL
from hardnet_deploy.report.documents import Document
from hardnet_deploy.report.file_states import CHANGED, compared_file, file_state
from hardnet_deploy.report.lineage import State, references, state_of, why_void
from hardnet_deploy.report.runs import Engine, Runs
from hardnet_deploy.report.scored import Scoring, scoring_of_parity
from hardnet_deploy.report.texts import counted, drop_in_words

LEAST_TO_RECOMMEND: Final = 50
"""Images. Here that shortness is 3.5 %, and small beside the interval itself."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What an engine loses against its reference, as a parity comparison measured it.

    Args:
        reference: mAP of the reference, in [0, 1].
        candidate: mAP of the engine.
        drop: From the one to the other.
        low: Of its two-sided interval; None where there is none, or too few images for one.
        high: Likewise.
        kind: ``relative`` or ``absolute``.
        limit: The largest accepted drop.
        separated: Whether the interval lies on one side of the limit.
        data: Name of the images.
        digest: Of the images.
        scoring: How the engine's mAP was measured.
        images: How many.
    """

    reference: float | None
    candidate: float | None
    drop: float
    low: float | None
    high: float | None
    kind: str
    limit: float | None
    separated: bool | None
    data: str
    digest: str
    scoring: Scoring
    images: int

    @property
    def in_words(self) -> str:
        """The drop with its interval."""
        text = drop_in_words(self.drop, self.kind)
        if self.low is None or self.high is None:
            return f"{text} (no interval)"
        return f"{text} ({drop_in_words(self.low, self.kind)} to {drop_in_words(self.high, self.kind)})"

    @property
    def mean_ap_interval(self) -> tuple[float, float] | None:
        """The engine's mAP if the reference's stood fast: the drop's interval, taken from the reference's mAP."""
        if self.low is None or self.high is None or self.reference is None:
            return None
        unit = 1.0 if self.kind == "absolute" else self.reference
        return self.reference - unit * self.high, self.reference - unit * self.low


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One engine.

    Args:
        engine: It.
        state: By the comparisons that lead back to PyTorch: one that failed outweighs those that passed.
        why_not: What forbids to recommend it; empty where nothing does.
        cost: As measured on most images; None where no mAP was compared.
        reference: What it was held against.
    """

    engine: Engine
    state: State
    why_not: tuple[str, ...]
    cost: Cost | None
    reference: Engine | None

    @property
    def eligible(self) -> bool:
        """True where it passed and nothing speaks against it."""
        return self.state == "passed" and not self.why_not


def judge(engine: Engine, runs: Runs) -> Verdict:
    """Put together what the comparisons of ``engine`` say."""
    state = state_of(engine, runs)
    voids = [why_void(document, runs) for document in engine.parity]
    counting = [document for document, void in zip(engine.parity, voids, strict=True) if void is None]
    most = max(counting, key=_weight, default=None)
    cost = cost_of(most) if most else None
    held_against = references(engine, runs)
    nearest = [runs.side(document.content.part("reference")) for document in counting]
    reasons = [*_against(engine, state, held_against, [void for void in voids if void]), *_file_changed(engine, runs)]
    if state == "passed" and most:
        reasons += _thin_evidence(most, cost, (engine, *held_against))
    return Verdict(
        engine=engine,
        state=state,
        why_not=tuple(dict.fromkeys(reasons)),
        cost=cost,
        reference=next((one for one in (*nearest, *held_against) if one), None),
    )


def cost_of(parity: Document) -> Cost | None:
    """What a comparison says of mAP; None where it scored none."""
    metric, data = parity.content.part("metric"), parity.content.part("data")
    drop = metric.part("drop")
    value = drop.number("drop")
    if value is None:
        return None
    interval, images = drop.numbers("two_sided"), data.count("images")
    low, high = interval if len(interval) == 2 and images >= LEAST_FOR_INTERVAL else (None, None)
    return Cost(
        reference=metric.number("reference"),
        candidate=metric.number("candidate"),
        drop=value,
        low=low,
        high=high,
        kind=metric.text("drop_type") or drop.text("kind") or "relative",
        limit=metric.number("max_drop"),
        separated=metric.flag("separated"),
        data=data.text("name") or "images that are not named",
        digest=data.text("digest") or "",
        scoring=scoring_of_parity(parity, "candidate"),
        images=images,
    )


def _weight(parity: Document) -> tuple[bool, int]:
    """What a comparison is worth beside others: one with mAP more than one without, then by its images."""
    return cost_of(parity) is not None, parity.content.part("data").count("images")


def _file_changed(engine: Engine, runs: Runs) -> Iterator[str]:
    told = set()
    for manifest in engine.manifests:
        if file_state(manifest) == CHANGED:
            told.add(os.path.realpath(manifest.artifact))
            yield f"{manifest.artifact} has changed since its manifest was written, and is another file now"
    compared = compared_file(engine, runs)
    for path in compared.others if compared else ():
        if os.path.realpath(path) not in told:
            yield f"{path} is another file now than the one that was compared"


def _thin_evidence(parity: Document, cost: Cost | None, engines: Sequence[Engine]) -> Iterator[str]:
    """What a comparison that passed is too weak for. A backbone has no mAP to lose."""
    if cost is None:
        if _of_detector(parity, engines):
            yield "no mAP was compared, so what it loses is not known"
    elif cost.images < LEAST_TO_RECOMMEND:
        yield (
            f"its mAP was compared on {counted(cost.images, 'image')} alone, and a recommendation wants "
            f"{LEAST_TO_RECOMMEND} or more: compare again with a larger --count"
        )
    elif cost.low is None or cost.high is None:
        yield "its drop of mAP has no interval"


def _of_detector(parity: Document, engines: Sequence[Engine]) -> bool:
    content = parity.content
    with_head = any(one.content.part("head") for engine in engines for one in engine.manifests)
    return with_head or bool(content.part("detections")) or content.part("data").text("metric") is not None


def _against(engine: Engine, state: State, held_against: Sequence[Engine], voids: Sequence[str]) -> Iterator[str]:
    if state == "not compared":
        yield from voids or ("never compared with its reference",)
    if state == "failed":
        told = [failure.text("what") for document in engine.parity for failure in document.content.parts("failures")]
        told += [what for row in engine.device_rows for what in row.part("parity").texts("failures")]
        yield f"parity failed: {told[0]}" if told and told[0] else "parity failed"
    if False in engine.trained or any(False in one.trained for one in held_against):
        yield "untrained: its weights are drawn from a seed, so nothing that it detects means anything"
    elif True not in engine.trained:
        yield "not known to be trained"
    if engine.simulated:
        yield "simulated: a stand-in ran it, not the device"
    if any(one.simulated for one in held_against):
        yield "compared with a simulated reference"
    for warning in engine.warnings:
        yield f"taken with --trust: {warning}"
    for warning in [warning for one in held_against for warning in one.warnings]:
        yield f"compared with a reference taken with --trust: {warning}"
