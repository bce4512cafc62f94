"""Of several runs on one machine, which one decides: one that settled, of those the one with most engines, the latest.

A run that settled has its word even where it recommends nothing: that a gain is not there is found out too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hardnet_deploy.report.options import Option
from hardnet_deploy.report.timings import Group, Timing


@dataclass(frozen=True, kw_only=True)
class OfRun:
    """The engines of one model with the times of one run.

    Args:
        subject: What they were compared with.
        group: What the times share; None where nothing was timed.
        options: Every engine.
        chosen: The one to deploy by this run.
    """

    subject: str
    group: Group | None
    options: tuple[Option, ...]
    chosen: Option | None

    @property
    def timed(self) -> Timing | None:
        """One of the times, for machine and day."""
        return next((option.timing for option in self.options if option.timing), None)

    @property
    def date(self) -> str:
        """Of the run, as it is recorded; empty where it is not."""
        timed = self.timed
        return (timed.document.content.text("date") or timed.date) if timed else ""

    @property
    def settled(self) -> bool:
        """Whether a decision can rest on it: an engine that may be deployed has a stable time and an undoubted gain."""
        return any(
            one.verdict.eligible
            and not one.for_plugin
            and one.timing is not None
            and one.timing.stable is True
            and one.gain is not None
            and not one.gain.doubts
            for one in self.options
        )

    @property
    def engines_timed(self) -> int:
        """How many engines that may be deployed have a time in it."""
        return sum(one.verdict.eligible and not one.for_plugin and one.timing is not None for one in self.options)

    @property
    def told(self) -> str:
        """The document, and what comes of it."""
        timed, group = self.timed, self.group
        known = (group.boundary, group.shape, timed.date) if timed and group else ()
        document = str(timed.document.path) if timed else "no run"
        leads_to = self.chosen.name if self.chosen else "no engine"
        return f"{document} ({', '.join(text for text in known if text)}): {leads_to}"


def by_machine(runs: Iterable[OfRun]) -> list[list[OfRun]]:
    """Those that answer one question together; what a device has timed stands by itself, as nothing is gained there."""
    found: dict[object, list[OfRun]] = {}
    for one in runs:
        group, timed = one.group, one.timed
        alike = group is not None and group.here and timed is not None
        key = (one.subject, timed.where, group.power_mode, group.shape) if alike and group and timed else id(one)
        found.setdefault(key, []).append(one)
    return list(found.values())


def deciding(runs: Sequence[OfRun]) -> OfRun:
    """The run that decides, of one machine's."""
    return max(runs, key=lambda one: (one.settled, one.engines_timed, one.date))


def disagreement(runs: Sequence[OfRun]) -> str | None:
    """That runs on one machine do not lead to the same engine; None where they do, or one alone says anything."""
    kept = deciding(runs)
    others = [one for one in runs if one is not kept and (one.chosen or one.settled)]
    own = kept.chosen.name if kept.chosen else None
    if all((one.chosen.name if one.chosen else None) == own for one in others) or kept.timed is None:
        return None
    told = "; ".join(one.told for one in (kept, *others))
    return (
        f"Runs on {kept.timed.where} do not lead to the same engine: {told}. The decision is by the first named: of "
        "the runs that settled and timed the most engines, the latest."
    )
