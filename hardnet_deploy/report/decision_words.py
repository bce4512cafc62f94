"""Sentences of the decision."""

from __future__ import annotations

from collections.abc import Sequence

from hardnet_deploy.report.options import Option, overlap
from hardnet_deploy.report.texts import between, drop_in_words, mean_ap, milliseconds, ratio, short
from hardnet_deploy.report.timings import Gain, Timing
from hardnet_deploy.report.verdicts import Cost


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
    apart = [one.name for one in options if one is not chosen and one.usable and overlap(gain, one.gain)]
    if apart:
        sentences.append(
            f"Timing does not tell it apart from {', '.join(apart)}; it loses less mAP, or was measured to."
        )
    return " ".join(sentences)


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
    again = " Run the bench again, on an idle machine." if any(one.to_repeat for one in timed) else ""
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
    verb = "costs" if cost.drop > 0 else "measures no loss of mAP:" if cost.drop == 0 else "does not cost mAP:"
    values = f"{mean_ap(cost.candidate)} against {mean_ap(cost.reference)} on {cost.data}"
    return f"It {verb} {cost.in_words} of mAP, {values}."


def passes_told(cost: Cost) -> str:
    """That it passes, and how clearly."""
    limit = f" and stays within the {drop_in_words(cost.limit, cost.kind)} allowed" if cost.limit is not None else ""
    unsure = "; the interval does not separate the drop from that limit, more images would"
    return f"It passes parity{limit}{unsure if cost.separated is False else ''}."
