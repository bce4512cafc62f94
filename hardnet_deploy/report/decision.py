"""Which engine to deploy, for each model and machine, and what is missing where that cannot be said.

The rule: of the engines that passed every comparison and have nothing against them (see ``verdicts``), and that are
faster than PyTorch in the same run beyond doubt (see ``options``), the one with the smallest median time; where timing
does not tell two apart, one that loses less mAP beyond doubt comes first (see ``choice``). An engine whose gain was not
measured is not recommended. Times of two machines, runs, batches, sizes, inputs or boundaries are never compared; of
several runs on one machine, one decides (see ``which_run``). Of a candidate that PyTorch runs only the eager row is its
time: what the others run was not compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from hardnet_deploy.report.blocks import Table
from hardnet_deploy.report.choice import choose, why_outdone
from hardnet_deploy.report.decision_words import no_recommendation, recommendation
from hardnet_deploy.report.next_steps import Missing, missing, nothing_compared
from hardnet_deploy.report.options import Option, option_table
from hardnet_deploy.report.runs import Engine, Runs
from hardnet_deploy.report.timings import Group, Timing
from hardnet_deploy.report.verdicts import Verdict, judge
from hardnet_deploy.report.which_run import OfRun, by_machine, deciding, disagreement

NO_ENGINE = "No engine can be recommended yet"
COMPLETENESS = ("end-to-end", "network+nms", "network")  # of a boundary, the most complete first


@dataclass(frozen=True, kw_only=True)
class Decision:
    """For one model on one machine.

    Args:
        subject: What the engines were compared with.
        where: The machine; None where nothing was timed.
        timed: What was timed, fed with what, when; None where nothing was.
        headline: One short sentence.
        paragraph: Which engine, what it gains, what it costs, whether it passes; or why nothing is recommended.
        options: Every engine, the chosen one first.
        missing: What would have to be known too.
    """

    subject: str
    where: str | None
    timed: str | None
    headline: str
    paragraph: str
    options: tuple[Option, ...]
    missing: tuple[Missing, ...]

    @property
    def chosen(self) -> Option | None:
        """The recommended engine."""
        return next((option for option in self.options if option.chosen), None)

    @property
    def table(self) -> Table:
        """Every engine in one row."""
        where = f", {self.where}; {self.timed}" if self.where else ""
        return option_table(f"The engines, against {self.subject}{where}", self.options)


def decide(runs: Runs) -> tuple[Decision, ...]:
    """One decision for each reference and machine; one without a recommendation where nothing was compared.

    Recommendations come first, of the latest run before those of older ones.
    """
    compared, rest = _subjects(runs)
    if not compared:
        return (_nothing_compared(rest, runs),)
    kept = [deciding(found) for found in by_machine(_of_runs(compared))]
    latest_first = sorted(kept, key=lambda one: one.date, reverse=True)
    decisions = [_decision(one, runs) for one in latest_first]
    return tuple(sorted(decisions, key=lambda one: one.chosen is None))


def disagreements(runs: Runs) -> Iterator[str]:
    """Where runs on one machine lead to different decisions, and by which of them the decision is."""
    for found in by_machine(_of_runs(_subjects(runs)[0])):
        told = disagreement(found)
        if told:
            yield told


def _subjects(runs: Runs) -> tuple[list[tuple[str, list[Verdict]]], list[Verdict]]:
    """Verdicts by what was compared with, and, where no comparison counts at all, the rest."""
    subjects: dict[str, tuple[str, list[Verdict]]] = {}
    for engine in runs.candidates:
        verdict = judge(engine, runs)
        reference = verdict.reference
        name = reference.name if reference else _kit_reference(engine)
        subjects.setdefault(name, (name, []))[1].append(verdict)
    compared = [item for item in subjects.values() if any(verdict.state != "not compared" for verdict in item[1])]
    rest = [verdict for item in subjects.values() if item not in compared for verdict in item[1]]
    if compared and rest:
        compared[0][1].extend(rest)
    return compared, rest


def _kit_reference(engine: Engine) -> str:
    """What an engine was held against on a device: the outputs in its kit."""
    models = [model for row in engine.device_rows if row.part("parity") and (model := row.text("model"))]
    return f"the reference outputs in the kit of {models[0]}" if models else "no reference"


def _of_runs(compared: Sequence[tuple[str, Sequence[Verdict]]]) -> Iterator[OfRun]:
    """The engines with the times of each run by itself; without times where there are none."""
    for name, verdicts in compared:
        groups = _groups([verdict for verdict in verdicts if verdict.state == "passed"] or verdicts)
        for group in groups or [None]:
            options = tuple(Option(verdict=verdict, timing=_timing(verdict.engine, group)) for verdict in verdicts)
            yield OfRun(subject=name, group=group, options=options, chosen=choose(options))


def _groups(verdicts: Sequence[Verdict]) -> list[Group | None]:
    """One boundary of all that has a decision of its own: that of most engines, the most complete of several."""
    counts: dict[tuple[str | None, ...], dict[Group, int]] = {}
    for verdict in verdicts:
        for group in dict.fromkeys(timing.group for timing in verdict.engine.timings):
            alike = counts.setdefault(group.apart, {})
            alike[group] = alike.get(group, 0) + 1
    return [
        max(groups, key=lambda group: (groups[group], -_completeness(group.boundary))) for groups in counts.values()
    ]


def _completeness(boundary: str) -> int:
    return next((place for place, name in enumerate(COMPLETENESS) if boundary.lower().startswith(name)), 3)


def _decision(of_run: OfRun, runs: Runs) -> Decision:
    options, chosen, timed = of_run.options, of_run.chosen, of_run.timed
    ordered = sorted(options, key=lambda one: (one is not chosen, not one.verdict.eligible, one.ms))
    if chosen is not None and chosen.timing and chosen.gain:
        headline = f"Deploy {chosen.name}"
        paragraph = recommendation(chosen, chosen.timing, chosen.gain, options)
    else:
        headline, paragraph = NO_ENGINE, no_recommendation(of_run.subject, options)
    return Decision(
        subject=of_run.subject,
        where=timed.where if timed else None,
        timed=timed.of_what if timed else None,
        headline=f"{headline} on {timed.where}" if timed else headline,
        paragraph=paragraph,
        options=tuple(
            replace(one, chosen=one is chosen, outdone=why_outdone(one, chosen) if chosen and one.usable else "")
            for one in ordered
        ),
        missing=tuple(missing(options, runs, of_run.group)),
    )


def _timing(engine: Engine, group: Group | None) -> Timing | None:
    found = [timing for timing in engine.timings if timing.group == group]
    return min(found, key=lambda timing: timing.median_ms, default=None)


def _nothing_compared(verdicts: Sequence[Verdict], runs: Runs) -> Decision:
    options = tuple(Option(verdict=verdict, timing=None) for verdict in verdicts)
    return Decision(
        subject="nothing",
        where=None,
        timed=None,
        headline=NO_ENGINE,
        paragraph="No engine in these runs was compared with a reference that leads back to PyTorch; without that, "
        "none is recommended.",
        options=options,
        missing=tuple(missing(options, runs, None)) or (nothing_compared(runs),),
    )
