"""Which usable engine comes first: that with the smallest median, unless one that it is not faster than loses less mAP.

Two times of one run are told apart by their own ratio over the rounds in which both had a turn. Their gains over
PyTorch do not do it: both are divided by the same noisy time. Two losses of mAP are compared where they were measured
on the same images, alike and in the same unit, and are told apart where their intervals do not meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hardnet_deploy.bench.stats import Ratio, Rounds, ratio
from hardnet_deploy.report.options import Option
from hardnet_deploy.report.timings import Gain, Timing

SLOWER: Final = "slower"
COSTS_MORE: Final = "no faster beyond doubt, and costs more mAP"
NOT_APART: Final = "no faster beyond doubt, and its loss of mAP is not told apart"
NOT_COMPARABLE: Final = "no faster beyond doubt, and its loss of mAP was measured otherwise"


def choose(options: Sequence[Option]) -> Option | None:
    """The usable engine to deploy, of those that no other is faster than beyond doubt; None where none is usable."""
    usable = sorted((option for option in options if option.usable), key=lambda one: one.ms)
    if not usable:
        return None
    rivals = [one for one in usable if not any(slower(one, other) for other in usable if other is not one)]
    chosen, *others = rivals or usable[:1]
    for other in others:
        if loses_less(other, chosen):
            chosen = other
    return chosen


def why_outdone(option: Option, chosen: Option) -> str:
    """Why a usable engine is not the chosen one; empty for that one itself."""
    if option is chosen:
        return ""
    if slower(option, chosen):
        return SLOWER
    if loses_less(chosen, option):
        return COSTS_MORE
    return NOT_APART if losses_compare(option, chosen) else NOT_COMPARABLE


def time_ratio(one: Option, other: Option) -> Ratio | None:
    """The first's time over the second's, over their common rounds; None where they have none, or too few."""
    if one.timing is None or other.timing is None or one.timing.group != other.timing.group:
        return None
    above, below = _rounds(one.timing), _rounds(other.timing)
    if not above or len(above) != len(below) or not _in_turn(one.timing, other.timing):
        return None
    found = ratio(above, below, loadings=_loadings(one.timing))
    return None if found.low is None else found


def slower(one: Option, other: Option) -> bool:
    """Whether the first takes longer beyond doubt; without common rounds, where the gains' intervals do not meet."""
    found = time_ratio(one, other)
    if found is not None and found.low is not None:
        return found.low > 1
    return one.ms > other.ms and not _overlap(one.gain, other.gain)


def losses_compare(one: Option, other: Option) -> bool:
    """Whether two losses of mAP can be compared: same images, metric, NMS and unit, each with an interval."""
    costs = one.verdict.cost, other.verdict.cost
    first, second = costs
    if first is None or second is None or not first.digest or None in {first.high, second.high}:
        return False
    return (first.kind, first.scoring) == (second.kind, second.scoring)


def loses_less(one: Option, other: Option) -> bool:
    """Whether the first loses less mAP beyond doubt."""
    first, second = one.verdict.cost, other.verdict.cost
    if first is None or second is None or first.high is None or second.low is None:
        return False
    return losses_compare(one, other) and first.high < second.low


def _rounds(timing: Timing) -> Rounds:
    found: Rounds = timing.source.values.get("rounds_ms") or ()
    return found


def _loadings(timing: Timing) -> Sequence[int] | None:
    """Of which loading each round was; None in documents that do not say."""
    found: Sequence[int] | None = timing.source.values.get("loadings")
    return found


def _in_turn(one: Timing, other: Timing) -> bool:
    """Whether both were timed in one group of the run, and in that alone, so that their rounds are the same."""
    groups = one.document.content.part("protocol").values.get("groups")
    if not isinstance(groups, list) or len(groups) < 2:
        return True
    places = [
        [place for place, group in enumerate(groups) if isinstance(group, list) and timing.source.text("key") in group]
        for timing in (one, other)
    ]
    return bool(places[0]) and places[0] == places[1]


def _overlap(one: Gain | None, other: Gain | None) -> bool:
    """Whether the intervals of two gains meet; True where one has none, and nothing tells them apart."""
    if one is None or other is None or one.low is None or one.high is None or other.low is None or other.high is None:
        return True
    return one.low <= other.high and other.low <= one.high
