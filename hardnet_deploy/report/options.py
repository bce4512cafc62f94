"""What can be chosen among: engines with their verdicts and the times of one run, and what forbids each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hardnet_deploy.report.blocks import Cell, Column, Status, Table
from hardnet_deploy.report.lineage import State
from hardnet_deploy.report.texts import NONE, mean_ap, milliseconds
from hardnet_deploy.report.timings import BY_PYTORCH, Gain, Timing
from hardnet_deploy.report.verdicts import Verdict

SIGNS: Final[dict[State, Status]] = {"passed": "pass", "failed": "fail", "not compared": "warn"}
UNTIMED: Final = "not timed like this in that run"
UNSTABLE: Final = "the timing is not stable"
STAND_IN: Final = "a stand-in for the device was timed"
NO_CPU_FILE: Final = (
    "the plugin inside runs in TensorRT alone: here NumPy stands in for it, and such a time is none of TensorRT's"
)
NO_GAIN: Final = "the gain is not known, as PyTorch was not timed in the same run"
FEW_ROUNDS: Final = "too few rounds were timed for an interval of the gain"
AROUND_1: Final = "the interval of the gain includes 1, so the gain is not established"


@dataclass(frozen=True, kw_only=True)
class Option:
    """One engine in the table below the decision; its time is that of the decision's run, if it has one.

    Args:
        verdict: What the comparisons say.
        timing: In the decision's run; None where it has none there.
        chosen: Whether it is the recommended one.
        outdone: Why it is not, where nothing speaks against it.
    """

    verdict: Verdict
    timing: Timing | None
    chosen: bool = False
    outdone: str = ""

    @property
    def name(self) -> str:
        """Of the engine."""
        return self.verdict.engine.name

    @property
    def gain(self) -> Gain | None:
        """Over PyTorch in that run."""
        return self.timing.gain if self.timing else None

    @property
    def for_plugin(self) -> bool:
        """True where only TensorRT runs the file, and what was timed, if anything, is not TensorRT."""
        timing = self.timing
        if timing is None:
            return self.verdict.engine.has_plugin
        return timing.plugin_by_numpy or (timing.group.here and self.verdict.engine.has_plugin)

    @property
    def obstacles(self) -> tuple[str, ...]:
        """Why no decision rests on its time; empty where one can."""
        return tuple(_obstacles(self))

    @property
    def usable(self) -> bool:
        """True where it passed, nothing speaks against it, and it is faster than PyTorch beyond doubt."""
        return self.verdict.eligible and not self.obstacles

    @property
    def to_repeat(self) -> bool:
        """True where timing it again, here, may settle what stands in its way."""
        doubtful = self.gain is not None and bool(self.gain.doubts)
        settled = {UNSTABLE, FEW_ROUNDS, AROUND_1}.isdisjoint(self.obstacles) and not doubtful
        return self.timing is not None and self.timing.group.here and not self.for_plugin and not settled

    @property
    def ms(self) -> float:
        """Median of one run; infinite where it was not timed."""
        return self.timing.median_ms if self.timing else float("inf")


def _obstacles(option: Option) -> Iterator[str]:
    timing, gain = option.timing, option.gain
    if option.for_plugin:
        yield NO_CPU_FILE
    if timing is None:
        if not option.for_plugin:
            yield UNTIMED
        return
    if timing.stable is not True:
        yield UNSTABLE
    if timing.simulated:
        yield STAND_IN
    if gain is None:
        yield NO_GAIN
        return
    if gain.doubts:
        yield f"the gain is in doubt: {' and '.join(gain.doubts)}"
    if gain.value <= 1:
        yield f"no faster than {gain.against}"
    elif gain.low is None:
        yield FEW_ROUNDS
    elif gain.low <= 1:
        yield AROUND_1


def option_table(caption: str, options: tuple[Option, ...]) -> Table:
    """Every engine in one row, with why it is not the one."""
    against = {option.gain.against for option in options if option.gain} - {BY_PYTORCH}
    columns = [Column(title="engine"), Column(title="recommended"), Column(title="parity")]
    columns += [Column(title=title, figures=True) for title in ("mAP", "cost in mAP (95 %)", "median ms")]
    gain = f"gain (95 %), against {', '.join(sorted(against))}" if against else "gain (95 %)"
    return Table(
        caption=caption,
        columns=[*columns, Column(title=gain, figures=True), Column(title="why not")],
        rows=[_row(option) for option in options],
    )


def _row(option: Option) -> list[Cell]:
    verdict, cost, gain = option.verdict, option.verdict.cost, option.gain
    reasons = [*verdict.why_not, *option.obstacles]
    return [
        Cell(text=option.name),
        Cell(text="yes", status="pass") if option.chosen else Cell(text="no"),
        Cell(text=verdict.state, status=SIGNS[verdict.state]),
        Cell(text=mean_ap(cost.candidate if cost else None)),
        Cell(text=cost.in_words if cost else NONE),
        Cell(text=milliseconds(option.timing.median_ms if option.timing else None)),
        gain_cell(gain),
        Cell(text="; ".join(reasons) or option.outdone or NONE),
    ]


def gain_cell(gain: Gain | None) -> Cell:
    """Ratio and interval, marked where they are in doubt."""
    return Cell(text=gain.in_words, status="warn" if gain.doubts else "none") if gain else Cell(text=NONE)
