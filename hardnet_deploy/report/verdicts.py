"""Whether one engine may be deployed, by the runs' own verdicts, and why not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hardnet_deploy.report.documents import Document
from hardnet_deploy.report.lineage import State, references, state_of, why_void
from hardnet_deploy.report.runs import Engine, Runs
from hardnet_deploy.report.texts import drop_in_words


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What an engine loses against its reference, as a parity comparison measured it.

    Args:
        reference: mAP of the reference, in [0, 1].
        candidate: mAP of the engine.
        drop: From the one to the other.
        low: Of its two-sided interval.
        high: Likewise.
        kind: ``relative`` or ``absolute``.
        limit: The largest accepted drop.
        separated: Whether the interval lies on one side of the limit.
        data: Name of the images.
        digest: Of the images.
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
    most = max(counting, key=lambda one: one.content.part("data").count("images"), default=None)
    held_against = references(engine, runs)
    nearest = [runs.side(document.content.part("reference")) for document in counting]
    reasons = _against(engine, state, held_against, [void for void in voids if void])
    return Verdict(
        engine=engine,
        state=state,
        why_not=tuple(dict.fromkeys(reasons)),
        cost=cost_of(most) if most else None,
        reference=next((one for one in (*nearest, *held_against) if one), None),
    )


def cost_of(parity: Document) -> Cost | None:
    """What a comparison says of mAP; None where it scored none."""
    metric, data = parity.content.part("metric"), parity.content.part("data")
    drop = metric.part("drop")
    value = drop.number("drop")
    if value is None:
        return None
    interval = drop.numbers("two_sided")
    low, high = interval if len(interval) == 2 else (None, None)
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
    )


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
