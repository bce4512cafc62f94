"""Sentences of the decision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from hardnet_deploy.report.choice import loses_less, losses_compare, slower, time_ratio
from hardnet_deploy.report.options import Option
from hardnet_deploy.report.texts import between, drop_in_words, mean_ap, milliseconds, ratio, short
from hardnet_deploy.report.timings import Gain, Timing
from hardnet_deploy.report.verdicts import Cost

SHOWN_DIGITS: Final = 2
"""Of a drop in percent or points."""


def recommendation(chosen: Option, timing: Timing, gain: Gain, options: Sequence[Option]) -> str:
    """Which engine, what it gains and costs, that it passes, and what it cannot be told apart from."""
    cost = chosen.verdict.cost
    sentences = [
        f"Deploy {chosen.name} (SHA-256 {short(chosen.verdict.engine.sha256)}).",
        f"It takes {milliseconds(timing.median_ms)} ms (median; {timing.of_what}; {timing.where}).",
        gain_told(gain),
        cost_told(cost),
        "It passes parity." if cost is None else passes_told(cost),
    ]
    return " ".join([*sentences, *ties_told(chosen, options)])


def ties_told(chosen: Option, options: Sequence[Option]) -> Iterator[str]:
    """From which engines timing does not tell it apart, and what has decided instead; a sentence for each reason."""
    by_reason: dict[str, list[Option]] = {}
    for one in options:
        if one is not chosen and one.usable and not slower(one, chosen):
            by_reason.setdefault(_tie_breaker(chosen, one), []).append(one)
    for reason, found in by_reason.items():
        yield f"Timing does not tell it apart from {', '.join(_multiple(one, chosen) for one in found)}; {reason}."


def _multiple(option: Option, chosen: Option) -> str:
    found = time_ratio(option, chosen)
    return f"{option.name} ({between(found.low, found.high)} times as long)" if found else option.name


def _tie_breaker(chosen: Option, option: Option) -> str:
    if loses_less(chosen, option):
        return "it loses less mAP, as the intervals of the losses do not meet"
    first = ", and it has the smaller median time" if chosen.ms < option.ms else ""
    if losses_compare(chosen, option):
        return f"their losses of mAP are not told apart either, as their intervals meet{first}"
    alike = "images, metric, NMS, unit, interval"
    return f"their losses of mAP were not measured alike ({alike}) and are not compared{first}"


def no_recommendation(subject: str, options: Sequence[Option]) -> str:
    """Why there is none, and what is known of the engines that passed."""
    eligible = [one for one in options if one.verdict.eligible]
    if not eligible:
        reasons = "; ".join(f"{one.name}: {', '.join(one.verdict.why_not)}" for one in options)
        return f"None of the engines compared with {subject} may be recommended. {reasons}."
    timed = [one for one in eligible if one.timing]
    if not timed:
        names = ", ".join(one.name for one in eligible)
        return f"{names} passed against {subject}, but how fast they are is not known: none was timed."
    by_reason: dict[tuple[str, ...], list[Option]] = {}
    for one in timed:
        by_reason.setdefault(one.obstacles, []).append(one)
    told = "; ".join(
        f"{', '.join(one.name for one in found)} passed against {subject}, but {', and '.join(reasons)}"
        for reasons, found in by_reason.items()
    )
    known = [(one, one.timing) for one in timed if one.timing and not one.for_plugin]
    times = "; ".join(_time_told(one, timing) for one, timing in known)
    times = f" Times as they stand ({known[0][1].of_what}; {known[0][1].where}): {times}." if known else ""
    repeated = [one for one in timed if one.to_repeat]
    doubts = any(one.gain and one.gain.doubts for one in repeated)  # the commands below say what for
    again = "" if not repeated else " Run the bench again." if doubts else " Run the bench again, on an idle machine."
    return f"No recommendation: {told}.{again}{times}"


def _time_told(option: Option, timing: Timing) -> str:
    gain = f", against {option.gain.against} {option.gain.in_words}" if option.gain else ""
    return f"{option.name} {milliseconds(timing.median_ms)} ms{gain}"


def gain_told(gain: Gain) -> str:
    """What an engine gains over PyTorch, and against what of it."""
    interval = f" (95 % interval {between(gain.low, gain.high)})"
    return f"That is {ratio(gain.value)} as fast, against {gain.against} in the same run{interval}."


def cost_told(cost: Cost | None) -> str:
    """What it costs in mAP, with the interval and the images."""
    if cost is None:
        return "No mAP was compared, so what it costs is known only as far as its tensors agree."
    drop = f"{cost.in_words} of mAP, {mean_ap(cost.candidate)} against {mean_ap(cost.reference)} on {cost.data}"
    if cost.low is None or cost.high is None:
        return f"It measures a drop of {drop}."
    if cost.low > 0:
        return f"It costs {drop}."
    if cost.high < 0:
        return f"It does not cost mAP, it gains some: a drop of {drop}."
    if round(100 * cost.high, SHOWN_DIGITS) == 0:
        return f"It measures no loss of mAP within the digits shown: a drop of {drop}."
    return (
        f"It measures a drop of {drop}: whether it costs mAP is not established, as the interval includes 0, and the "
        f"loss may be as large as {drop_in_words(cost.high, cost.kind)}."
    )


def passes_told(cost: Cost) -> str:
    """That it passes, and how clearly."""
    limit = f" and stays within the {drop_in_words(cost.limit, cost.kind)} allowed" if cost.limit is not None else ""
    unsure = "; the interval does not separate the drop from that limit, more images would"
    return f"It passes parity{limit}{unsure if cost.separated is False else ''}."
