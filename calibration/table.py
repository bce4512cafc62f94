"""The calibration table: the range of every measured tensor, by every method, and what it was measured on.

A table that exists is whole: the constructor refuses a number that is not finite, a method that is missing and an empty
table, so what stands in a file has passed the same checks as what was just measured. With ``t`` the clipping threshold
on ``|x|`` of a method, a tensor is quantised over::

    symmetric int8    scale = t / 127                     q = round(x / scale)          in [-127, 127]
    uint8             scale = (high - low) / 255          q = round(x / scale) + zero   in [0, 255]
                      low = min(0, max(minimum, -t)),  high = max(0, min(maximum, t)),  zero = round(-low / scale)
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from calibration.errors import CalibrationError, StaleTableError

Method = Literal["entropy", "percentile", "minmax", "mse"]
METHODS: Final[tuple[Method, ...]] = ("entropy", "percentile", "minmax", "mse")
KIND: Final = "calibration-table"

_INT8_LEVELS: Final = 127
_UINT8_LEVELS: Final = 255
AGAIN: Final = "calibrate again"
_MARK: Final = re.compile(r"[0-9a-f]+-[0-9a-f]{12}")


def to_float32(value: float) -> float:
    """``value`` rounded to the nearest float32, ties to even; infinite beyond the largest one."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def symmetric_scale(threshold: float) -> float:
    """The int8 scale ``threshold / 127``, rounded to float32; the zero point is 0.

    This is the scale in TensorRT's calibration caches, read back as the dynamic range -127 * scale .. 127 * scale:
    ``readScalesFromCalibrationCache`` in NVIDIA/TensorRT v8.6.1, samples/common/sampleEngines.cpp.

    Raises:
        CalibrationError: The threshold is 0, negative or not finite, or its scale is 0 or infinite in float32.
    """
    return _usable_scale(threshold / _INT8_LEVELS, f"a threshold of {threshold}")


def asymmetric(low: float, high: float) -> tuple[float, int]:
    """Scale (float32) and zero point (0..255) of a uint8 tensor over low..high, widened to hold 0.

    0.0 is exact: it becomes the zero point, which becomes 0.0 again. The formula is that of the ONNX operator
    DynamicQuantizeLinear (opset 11): the zero point is computed from the rounded scale, ties to even, and saturated.

    Raises:
        CalibrationError: An end is not finite, low exceeds high, or the scale is 0 or infinite in float32.
    """
    if not low <= high:
        raise CalibrationError("A range needs a lower end below its upper end.", got=f"{low} to {high}")
    low, high = min(low, 0.0), max(high, 0.0)
    scale = _usable_scale((high - low) / _UINT8_LEVELS, f"the range {low} to {high}")
    return scale, min(max(round(-low / scale), 0), _UINT8_LEVELS)


@dataclass(frozen=True)
class Fingerprint:
    """What the ranges were measured on.

    Args:
        graph: SHA-256 of the graph's structure.
        weights: SHA-256 of its initialisers.
        preprocess: The fields of the pre-processing; kept as JSON gives them back (tuples become lists).
        data: Name and split of the data.
        images: SHA-256 of the chosen images.
        count: How many images, at least 1.
        seed: Of the choice; None where all images were taken in their order.

    Raises:
        CalibrationError: JSON cannot carry the pre-processing: NaN, infinity or an object.
    """

    graph: str
    weights: str
    preprocess: Mapping[str, Any]
    data: str
    images: str
    count: int
    seed: int | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "preprocess", _as_json(self.preprocess))


@dataclass(frozen=True)
class TensorStatistics:
    """One tensor over all images.

    Args:
        minimum: Exact smallest value.
        maximum: Exact largest value.
        elements: How many values were counted.
        thresholds: Clipping threshold on ``|x|`` of each method; 0 for a tensor that was always 0.
        saturated: Share, 0..1, of the values beyond the threshold of each method.
    """

    minimum: float
    maximum: float
    elements: int
    thresholds: Mapping[Method, float]
    saturated: Mapping[Method, float]

    def low_high(self, method: Method) -> tuple[float, float]:
        """The values kept: minimum..maximum cut at the method's threshold, always holding 0."""
        threshold = self.thresholds[method]
        return min(0.0, max(self.minimum, -threshold)), max(0.0, min(self.maximum, threshold))


@dataclass(frozen=True)
class Snapshot:
    """How one method's thresholds stood, by tensor name, after so many images."""

    images: int
    thresholds: Mapping[str, float]


@dataclass(frozen=True)
class CalibrationTable:
    """Ranges of every measured tensor and what they were measured on.

    Args:
        method: The method in use; the others' thresholds are kept beside it.
        fingerprint: What was measured.
        tensors: By name, in the graph's order; at least one.
        snapshots: The thresholds on the way, by method, in the order of images.
        versions: Of the libraries that measured, by name.
        command: The command line that measured.
        image_marks: What tells the images that were measured from others, whatever their names: of each file its bytes
            in hexadecimal, a hyphen and the first 12 digits of its SHA-256. Empty where nobody kept them.

    Raises:
        CalibrationError: A number is not finite or out of its range, or a method or tensor is missing or not known; a
            mark is none.
    """

    method: Method
    fingerprint: Fingerprint
    tensors: Mapping[str, TensorStatistics]
    snapshots: Mapping[Method, tuple[Snapshot, ...]]
    versions: Mapping[str, str]
    command: tuple[str, ...]
    image_marks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        as_method(self.method, "method")
        _within(self.fingerprint.count, "fingerprint.count", low=1)
        for mark in self.image_marks:
            if not _MARK.fullmatch(mark):
                raise fault("image_marks", f'hold "{mark}"', wanted="such as b5c3-0123456789ab")
        if not self.tensors:
            raise fault("tensors", "are empty")
        for name, tensor in self.tensors.items():
            _check_tensor(tensor, f'tensors["{name}"]')
        for method, rows in self.snapshots.items():
            as_method(method, "snapshots")
            for index, row in enumerate(rows):
                where = f"snapshots.{method}[{index}]"
                _within(row.images, f"{where}.images", low=1)
                for name, threshold in row.thresholds.items():
                    if name not in self.tensors:
                        raise fault(f"{where}.thresholds", f'name a tensor that was not measured, "{name}"')
                    _within(threshold, f'{where}.thresholds["{name}"]', low=0.0)

    def threshold(self, name: str) -> float:
        """Clipping threshold on ``|x|`` of a tensor by the method in use; 0 for a tensor that was always 0.

        Raises:
            CalibrationError: No such tensor was measured.
        """
        return self._tensor(name).thresholds[self.method]

    def low_high(self, name: str) -> tuple[float, float]:
        """The kept values of a tensor by the method in use, always holding 0.

        Raises:
            CalibrationError: No such tensor was measured.
        """
        return self._tensor(name).low_high(self.method)

    def with_method(self, method: Method) -> CalibrationTable:
        """The same measurement read by another of :data:`METHODS`."""
        return replace(self, method=method)

    def refuse_other(self, *, graph: str, weights: str, preprocess: Mapping[str, Any]) -> None:
        """Raise unless the table was measured on this graph, with these weights and this pre-processing.

        Raises:
            StaleTableError: Something differs; each thing is named, of the pre-processing each field, with both values.
            CalibrationError: JSON cannot carry the pre-processing.
        """
        mine, given = self.fingerprint, _as_json(preprocess)
        sides = [("graph", [mine.graph], [graph]), ("weights", [mine.weights], [weights])]
        for field in sorted({*mine.preprocess, *given}):
            ours, theirs = ([side[field]] if field in side else [] for side in (mine.preprocess, given))
            sides.append((f"pre-processing, {field}", ours, theirs))
        differing = {part: (ours, theirs) for part, ours, theirs in sides if ours != theirs}
        if differing:
            parts = dict.fromkeys(part.partition(",")[0] for part in differing)
            raise StaleTableError(
                f"The calibration table was measured with another {' and another '.join(parts)}.",
                differences=tuple(
                    f"{part}: the table has {_shown(ours)}, this model {_shown(theirs)}"
                    for part, (ours, theirs) in differing.items()
                ),
                next_step=f"{AGAIN} with this model",
            )

    def to_json(self) -> str:
        """The table as JSON, keys in a fixed order; :meth:`from_json` gives back every number to the bit."""
        from calibration.table_json import write_table

        return write_table(self)

    @classmethod
    def from_json(cls, text: str, *, source: str) -> CalibrationTable:
        """Read what :meth:`to_json` wrote; ``source`` names the file in messages.

        Raises:
            CalibrationError: The text is damaged, no calibration table, or of another schema.
        """
        from calibration.table_json import read_table

        return read_table(text, source=source)

    def _tensor(self, name: str) -> TensorStatistics:
        if name not in self.tensors:
            what = f'The calibration table has no tensor "{name}".'
            raise CalibrationError(what, next_step=f"{AGAIN} with this model")
        return self.tensors[name]


def fault(where: str, problem: str, *, wanted: str | None = None) -> CalibrationError:
    """The error for one place in a table, such as ``tensors["conv"].minimum``."""
    return CalibrationError(f"The calibration table's {where} {problem}.", wanted=wanted, next_step=AGAIN)


def as_method(name: str, where: str) -> Method:
    """``name`` as one of :data:`METHODS`.

    Raises:
        CalibrationError: It is none of them.
    """
    for method in METHODS:
        if method == name:
            return method
    raise fault(where, f'"{name}" is not known', wanted=", ".join(METHODS))


def _check_tensor(tensor: TensorStatistics, where: str) -> None:
    _within(tensor.minimum, f"{where}.minimum", low=-math.inf)
    _within(tensor.maximum, f"{where}.maximum", low=tensor.minimum)
    _within(tensor.elements, f"{where}.elements", low=1)
    for field, values, most in (("thresholds", tensor.thresholds, math.inf), ("saturated", tensor.saturated, 1.0)):
        for method in values:
            as_method(method, f"{where}.{field}")
        for method in METHODS:
            if method not in values:
                raise fault(f"{where}.{field}", f'have no "{method}"')
            _within(values[method], f"{where}.{field}.{method}", low=0.0, high=most)


def _within(value: float, where: str, *, low: float, high: float = math.inf) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise fault(where, f"is {value}", wanted=f"a finite number from {low} to {high}")


def _as_json(preprocess: Mapping[str, Any]) -> dict[str, Any]:
    try:
        fields: dict[str, Any] = json.loads(json.dumps(dict(preprocess), allow_nan=False, sort_keys=True))
    except (TypeError, ValueError, RecursionError) as error:
        raise CalibrationError("A field of the pre-processing cannot stand in JSON.", got=str(error)) from error
    return fields


def _shown(values: list[Any]) -> str:
    return ", ".join(map(json.dumps, values)) or "nothing"


def _usable_scale(scale: float, origin: str) -> float:
    rounded = to_float32(scale)
    if not (math.isfinite(rounded) and rounded > 0):
        raise CalibrationError(
            f"There is no INT8 scale for {origin}.", got=f"scale {rounded}", wanted="a scale above 0, finite in float32"
        )
    return rounded
