"""In which precision a graph is typed: that of its layers with weights, which are nearly all of its arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hardnet_deploy.bench.graph_cost import LayerCost

FLOAT: Final = "fp32"
_LOWEST_FIRST: Final = ("int8", "fp16", FLOAT)


@dataclass(frozen=True, kw_only=True)
class Typed:
    """The precisions of a graph's layers with weights.

    Args:
        macs: Multiply-accumulates in each, the lowest precision first; a precision without any is not in it.
    """

    macs: Mapping[str, int]

    @property
    def name(self) -> str:
        """The lowest of them, which the graph was made for."""
        return next(iter(self.macs), FLOAT)

    @property
    def lowered(self) -> bool:
        """True where any layer is typed below FP32: such a graph has the cost that it is typed with, and no other."""
        return self.name != FLOAT

    @property
    def mixed(self) -> bool:
        """True where there is more than one."""
        return len(self.macs) > 1

    @property
    def words(self) -> str:
        """The one that there is, or those below FP32 with their share of the arithmetic: ``44 % int8``."""
        if not self.mixed:
            return self.name
        total = sum(self.macs.values())
        return ", ".join(f"{_percent(100 * count / total)} {one}" for one, count in self.macs.items() if one != FLOAT)

    @property
    def label(self) -> str:
        """For titles: ``int8``, or ``as typed: 44 % int8``."""
        return f"as typed: {self.words}" if self.mixed else self.name


def typed_as(costs: Iterable[LayerCost]) -> Typed:
    """In which precisions the layers with weights are typed."""
    found = [(one.precision, one.macs) for one in costs if one.macs]
    totals = {name: sum(macs for kind, macs in found if kind == name) for name in _LOWEST_FIRST}
    return Typed(macs={name: macs for name, macs in totals.items() if macs})


def _percent(value: float) -> str:
    """Without digits behind the point; neither none nor all where some is not."""
    rounded = f"{value:.0f}"
    return {"0": "under 1 %", "100": "over 99 %"}.get(rounded, f"{rounded} %")
