"""Sentences of the decision."""

from __future__ import annotations

from hardnet_deploy.report.runs import Timing
from hardnet_deploy.report.texts import between, drop_in_words, mean_ap, ratio
from hardnet_deploy.report.verdicts import Cost


def gain_told(timing: Timing) -> str:
    """What an engine gains over PyTorch, and how sure that is."""
    if timing.gain is None:
        return "What it gains is not known: PyTorch was not timed in the same run."
    value, low, high = timing.gain
    interval = between(low, high)
    interval = f" (95 % interval {interval})" if interval else " (too few rounds for an interval)"
    unsure = " The interval includes 1, so the gain is not established." if low is not None and low <= 1 else ""
    return f"That is {ratio(value)} as fast as PyTorch eager in the same run{interval}.{unsure}"


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
