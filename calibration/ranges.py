"""From measured ranges to scales: for any tensor of a graph, with or without one scale through each concat family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from calibration.errors import CalibrationError
from calibration.graph import GraphMap
from calibration.table import CalibrationTable, asymmetric, symmetric_scale

ConcatScales = Literal["unified", "separate"]
DEAD: Final = 1.0
"""Threshold of a tensor that was 0 on every image: it is exact at any scale."""


@dataclass(frozen=True)
class Ranges:
    """Clipping ranges of a graph's tensors.

    Args:
        graph: The graph that the table was measured on.
        table: Its ranges.
        concat_scales: ``unified``: tensors that meet in a concatenation have the widest range among them, so that
            concatenating moves integers and computes nothing. ``separate``: each has its own.

    Raises:
        CalibrationError: A tensor that INT8 needs was not measured.
    """

    graph: GraphMap
    table: CalibrationTable
    concat_scales: ConcatScales = "unified"
    _families: Mapping[str, tuple[str, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        missing = [name for name in self.graph.measured if name not in self.table.tensors]
        if missing:
            raise CalibrationError(
                f"the calibration has no range for {len(missing)} tensors of the graph",
                got=f"nothing for {missing[0]}",
                next_step="calibrate this graph",
            )
        families = self.graph.families() if self.concat_scales == "unified" else {}
        object.__setattr__(self, "_families", families)

    def low_high(self, name: str) -> tuple[float, float]:
        """Smallest and largest value kept; 0 is between them.

        What a family adds to a tensor's own range ends where its ReLU does: ONNX Runtime takes a ReLU for the rounding
        behind it only where no integer stands for a value that the ReLU does not let through.
        """
        pairs = [self.table.low_high(one) for one in self._members(name)]
        least, most = self.graph.bounds(name)
        low, high = max(min(low for low, _ in pairs), least), min(max(high for _, high in pairs), most)
        return (0.0, min(DEAD, most)) if low == high else (low, high)

    def threshold(self, name: str) -> float:
        """Largest magnitude kept."""
        return max(self.table.threshold(one) for one in self._members(name)) or DEAD

    def scale(self, name: str) -> float:
        """Of symmetric int8."""
        return symmetric_scale(self.threshold(name))

    def scale_and_zero_point(self, name: str) -> tuple[float, int]:
        """Of uint8."""
        return asymmetric(*self.low_high(name))

    def scales(self) -> dict[str, float]:
        """Symmetric scale of every tensor from the input to the last unit, and of what only moves their values.

        What a unit makes before its ReLU has the scale of what leaves it: a backend fuses the two, and one that does
        not loses only values that the ReLU sets to 0. In topological order.
        """
        inner = {unit.inner: unit.output for unit in self.graph.units}
        found = {}
        for name in self.graph.tensors:
            origins = self.graph.origins(inner.get(name, name))
            if origins and all(origin in self.table.tensors for origin in origins):
                found[name] = self.scale(inner.get(name, name))
        return found

    def _members(self, name: str) -> tuple[str, ...]:
        origins = self.graph.origins(name)
        unknown = [origin for origin in origins if origin not in self.table.tensors]
        if unknown or not origins:
            raise CalibrationError(f"no range was measured for {unknown[0] if unknown else name}")
        return tuple(dict.fromkeys(member for origin in origins for member in self._families.get(origin, (origin,))))
