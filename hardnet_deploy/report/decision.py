"""Which engine to deploy, for each model and machine, and what is missing where that cannot be said.

The rule: of the engines that passed every comparison and have nothing against them (see ``verdicts``), the one with the
smallest median time in one run on one machine; where the intervals of two gains overlap, timing does not tell them
apart, and the one that loses less mAP comes first. An engine that is no faster than PyTorch eager gains nothing and is
not recommended. Times of two machines, two runs or two boundaries are never compared.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hardnet_deploy.report.blocks import Cell, Column, Status, Table
from hardnet_deploy.report.decision_words import cost_told, gain_told, passes_told
from hardnet_deploy.report.runs import Engine, Runs, Timing
from hardnet_deploy.report.texts import NONE, between, mean_ap, milliseconds, ratio, short
from hardnet_deploy.report.verdicts import State, Verdict, judge

SIGNS: dict[State, Status] = {"passed": "pass", "failed": "fail", "not compared": "warn"}
NO_ENGINE = "No engine can be recommended yet"
COMPLETENESS = ("end-to-end", "network+nms", "network")  # of a boundary, the most complete first


@dataclass(frozen=True, kw_only=True)
class Missing:
    """What is not there, and the command that makes it."""

    what: str
    command: str


@dataclass(frozen=True, kw_only=True)
class Option:
    """One engine in the table below the decision; its time is that of the decision's machine, if it has one."""

    verdict: Verdict
    timing: Timing | None
    chosen: bool = False

    @property
    def name(self) -> str:
        """Of the engine."""
        return self.verdict.engine.name


@dataclass(frozen=True, kw_only=True)
class Decision:
    """For one model on one machine.

    Args:
        subject: What the engines were compared with.
        where: The machine; None where nothing was timed.
        headline: One short sentence.
        paragraph: Which engine, what it gains, what it costs, whether it passes; or why nothing is recommended.
        options: Every engine, the chosen one first.
        missing: What would have to be known too.
    """

    subject: str
    where: str | None
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
        columns = [Column(title="engine"), Column(title="recommended"), Column(title="parity")]
        columns += [
            Column(title=title, figures=True) for title in ("mAP", "cost in mAP (95 %)", "median ms", "gain (95 %)")
        ]
        where = f", {self.where}" if self.where else ""
        return Table(
            caption=f"The engines, against {self.subject}{where}",
            columns=[*columns, Column(title="why not")],
            rows=[_row(option, self.chosen) for option in self.options],
        )


def _row(option: Option, chosen: Option | None) -> list[Cell]:
    verdict, timing = option.verdict, option.timing
    cost = verdict.cost
    gain = timing.gain if timing else None
    interval = between(gain[1], gain[2]) if gain else ""
    reasons = list(verdict.why_not)
    if timing and timing.stable is False:
        reasons.append("its timing is not stable")
    if timing and timing.simulated:
        reasons.append("a stand-in for the device was timed")
    if not timing:
        reasons.append("not timed in that run")
    return [
        Cell(text=option.name),
        Cell(text="yes", status="pass") if option.chosen else Cell(text="no"),
        Cell(text=verdict.state, status=SIGNS[verdict.state]),
        Cell(text=mean_ap(cost.candidate if cost else None)),
        Cell(text=cost.in_words if cost else NONE),
        Cell(text=milliseconds(timing.median_ms if timing else None)),
        Cell(text=f"{ratio(gain[0])} ({interval or 'no interval'})" if gain else NONE),
        Cell(text="; ".join(reasons) or _outdone(option, chosen)),
    ]


def _outdone(option: Option, chosen: Option | None) -> str:
    """Why an engine with nothing against it is not the one."""
    if option.chosen:
        return NONE
    if chosen is None:
        return "no faster than PyTorch eager"
    return "slower" if _ms(option) > _ms(chosen) else "no faster beyond doubt, and costs more mAP"


def decide(runs: Runs) -> tuple[Decision, ...]:
    """One decision for each reference and machine; one without a recommendation where nothing was compared."""
    subjects: dict[str, tuple[str, list[Verdict]]] = {}
    for engine in runs.candidates:
        verdict = judge(engine, runs)
        reference = verdict.reference
        name = reference.name if reference else _kit_reference(engine)
        subjects.setdefault(name, (name, []))[1].append(verdict)
    compared = [item for item in subjects.values() if any(verdict.state != "not compared" for verdict in item[1])]
    rest = [verdict for item in subjects.values() if item not in compared for verdict in item[1]]
    if not compared:
        return (_nothing_compared(rest),)
    if rest:
        compared[0][1].extend(rest)
    found = []
    for name, verdicts in compared:
        groups: list[tuple[str, str] | None] = [
            *_groups([verdict for verdict in verdicts if verdict.state == "passed"] or verdicts)
        ]
        found += [_decision(name, verdicts, group) for group in groups or [None]]
    return tuple(sorted(found, key=lambda one: one.chosen is None))


def _kit_reference(engine: Engine) -> str:
    """What an engine was held against on a device: the outputs in its kit."""
    models = [model for row in engine.device_rows if row.part("parity") and (model := row.text("model"))]
    return f"the reference outputs in the kit of {models[0]}" if models else "no reference"


def _groups(verdicts: Sequence[Verdict]) -> list[tuple[str, str]]:
    """One boundary of each platform: the one that most engines have, the most complete of several."""
    counts: dict[str, dict[tuple[str, str], int]] = {}
    for verdict in verdicts:
        for group in {timing.group for timing in verdict.engine.timings}:
            of_platform = counts.setdefault(group[0], {})
            of_platform[group] = of_platform.get(group, 0) + 1
    return [max(groups, key=lambda group: (groups[group], -_completeness(group[1]))) for groups in counts.values()]


def _completeness(boundary: str) -> int:
    return next((place for place, name in enumerate(COMPLETENESS) if boundary.lower().startswith(name)), 3)


def _decision(subject: str, verdicts: Sequence[Verdict], group: tuple[str, str] | None) -> Decision:
    options = [Option(verdict=verdict, timing=_timing(verdict.engine, group)) for verdict in verdicts]
    chosen = _choose(options)
    timed = [option.timing for option in options if option.timing]
    ordered = sorted(options, key=lambda one: (one is not chosen, not one.verdict.eligible, _ms(one)))
    headline, paragraph = _told(subject, options, chosen)
    if timed:
        headline += f" on {timed[0].where}"
    return Decision(
        subject=subject,
        where=timed[0].where if timed else None,
        headline=headline,
        paragraph=paragraph,
        options=tuple(Option(verdict=one.verdict, timing=one.timing, chosen=one is chosen) for one in ordered),
        missing=tuple(_missing(options)),
    )


def _timing(engine: Engine, group: tuple[str, str] | None) -> Timing | None:
    found = [timing for timing in engine.timings if timing.group == group]
    return min(found, key=lambda timing: timing.median_ms, default=None)


def _ms(option: Option) -> float:
    return option.timing.median_ms if option.timing else float("inf")


def _usable(option: Option) -> bool:
    timing = option.timing
    return option.verdict.eligible and timing is not None and timing.stable is not False and not timing.simulated


def _choose(options: Sequence[Option]) -> Option | None:
    usable = sorted((option for option in options if _usable(option)), key=_ms)
    gaining = [one for one in usable if one.timing and (one.timing.gain is None or one.timing.gain[0] > 1.0)]
    if not gaining:
        return None
    fastest = gaining[0]
    rivals = [one for one in gaining if one is fastest or _overlap(fastest.timing, one.timing)]
    return min(rivals, key=lambda one: (_loss(one), _ms(one)))


def _loss(option: Option) -> float:
    return option.verdict.cost.drop if option.verdict.cost else float("inf")


def _overlap(one: Timing | None, other: Timing | None) -> bool:
    ours, theirs = one.gain if one else None, other.gain if other else None
    if not ours or not theirs or None in (*ours, *theirs):
        return False
    return bool(ours[1] <= theirs[2] and theirs[1] <= ours[2])  # type: ignore[operator]  # None is ruled out above


def _told(subject: str, options: Sequence[Option], chosen: Option | None) -> tuple[str, str]:
    if chosen is None or chosen.timing is None:
        return NO_ENGINE, _why_none(subject, options)
    name, timing, cost = chosen.name, chosen.timing, chosen.verdict.cost
    inputs = f", {timing.inputs}" if timing.inputs else ""
    sentences = [
        f"Deploy {name} (SHA-256 {short(chosen.verdict.engine.sha256)}).",
        f"It takes {milliseconds(timing.median_ms)} ms (median; {timing.boundary}{inputs}; {timing.where}).",
        gain_told(timing),
        cost_told(cost),
        "It passes parity." if cost is None else passes_told(cost),
    ]
    others = [one for one in options if one is not chosen and one.verdict.eligible and one.timing]
    apart = [one.name for one in others if _overlap(timing, one.timing)]
    if apart:
        sentences.append(
            f"Timing does not tell it apart from {', '.join(apart)}; it loses less mAP, or was measured to."
        )
    return f"Deploy {name}", " ".join(sentences)


def _why_none(subject: str, options: Sequence[Option]) -> str:
    eligible = [one for one in options if one.verdict.eligible]
    if not eligible:
        reasons = "; ".join(f"{one.name}: {', '.join(one.verdict.why_not)}" for one in options)
        return f"None of the engines compared with {subject} may be recommended. {reasons}."
    names = ", ".join(one.name for one in eligible)
    timed = [one for one in eligible if one.timing]
    if not timed:
        return f"{names} passed against {subject}, but how fast they are is not known: none was timed."
    if not [one for one in timed if _usable(one)]:
        why = "are not stable" if any(one.timing and not one.timing.simulated for one in timed) else "are of a stand-in"
        return f"{names} passed against {subject}, but the times that are known {why}."
    return f"{names} passed against {subject}, but none was faster than PyTorch eager in the same run."


def _missing(options: Sequence[Option]) -> Iterator[Missing]:
    files = [one.verdict.engine for one in options if one.verdict.state == "passed" and not one.timing]
    if files:
        names = " ".join(shlex.quote(engine.labels[0]) for engine in files if engine.labels)
        what = f"times of {', '.join(engine.name for engine in files)}"
        yield Missing(what=what, command=f"hardnet-deploy bench {names} --save bench.json")
    shaky = [one.name for one in options if one.timing and one.timing.stable is False]
    if shaky:
        yield Missing(what=f"stable times of {', '.join(shaky)}", command="the bench command below, on an idle machine")
    for one in options:
        engine = one.verdict.engine
        if one.verdict.state == "not compared" and engine.labels:
            yield Missing(
                what=f"whether {engine.name} detects what its reference does",
                command=f"hardnet-deploy parity REFERENCE {shlex.quote(engine.labels[0])} --data DATA -o parity.json",
            )
        if one.verdict.cost and one.verdict.cost.separated is False:
            yield Missing(
                what=f"enough images to separate the drop of {engine.name} from its limit",
                command="the parity command below with a larger --count",
            )


def _nothing_compared(verdicts: Sequence[Verdict]) -> Decision:
    options = tuple(Option(verdict=verdict, timing=None) for verdict in verdicts)
    missing = tuple(_missing(options)) or (
        Missing(
            what="a comparison of an engine with its reference",
            command="hardnet-deploy parity REFERENCE CANDIDATE --data DATA -o parity.json",
        ),
    )
    return Decision(
        subject="nothing",
        where=None,
        headline=NO_ENGINE,
        paragraph="No engine in these runs was compared with a reference; without that, none is recommended.",
        options=options,
        missing=missing,
    )
