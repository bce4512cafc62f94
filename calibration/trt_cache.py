"""Calibration caches of TensorRT 8.x and 10.x: one writer, one parser.

::

    TRT-8601-EntropyCalibration2        TRT-<version>-<calibrator>
    images: 3c010204                    <tensor>: <bits of the float32 scale, printed with %x>

The scale is that of symmetric int8, ``threshold / 127``: 3c010204 is 1/127. ``%x`` pads nothing, so 0 is ``0`` and only
scales below 2.6e-29 have fewer than eight digits. A name may hold colons and spaces: the last colon separates.
The reader this follows is ``readScalesFromCalibrationCache`` in NVIDIA/TensorRT v8.6.1,
samples/common/sampleEngines.cpp; the version is the macro ``NV_TENSORRT_VERSION`` of TensorRT's own headers.

A file that was cut short: the format keeps no count, so a cut between two lines cannot be seen, and what was read is
then a true part of the cache. A cut inside a line can: with no newline after it, a last line counts only with all eight
digits, as no number has more. (A name that itself holds a colon, a space and eight digits, cut there, would pass.)
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from calibration.errors import CacheFormatError, CalibrationError
from calibration.table import to_float32

CALIBRATORS: Final = ("EntropyCalibration2", "MinMaxCalibration")

_HEADER: Final = re.compile(r"TRT-([1-9][0-9]{3,6})-([A-Za-z][A-Za-z0-9_]*)")
_DIGITS: Final = re.compile(r"[0-9a-fA-F]{1,8}")
_ALL_DIGITS: Final = 8
_INT8_LEVELS: Final = 127
_SHOWN: Final = 60


@dataclass(frozen=True)
class CacheHeader:
    """First line of a cache; TensorRT takes a cache only where both agree with its own version and its calibrator.

    Args:
        version: ``NV_TENSORRT_VERSION``, as 8601 or 100300.
        algorithm: Of the calibrator's class, as ``EntropyCalibration2``.

    Raises:
        CalibrationError: The two do not make a header.
    """

    version: int
    algorithm: str

    def __post_init__(self) -> None:
        if not _HEADER.fullmatch(str(self)):
            raise CalibrationError("This is no header of a TensorRT calibration cache.", got=repr(str(self)))

    def __str__(self) -> str:
        return f"TRT-{self.version}-{self.algorithm}"


@dataclass(frozen=True)
class Cache:
    """A cache that was read: scales by tensor name, in the file's order; 0 for a tensor that was always 0."""

    header: CacheHeader
    scales: dict[str, float]


def header_for(major: int, minor: int, patch: int, algorithm: str = "EntropyCalibration2") -> CacheHeader:
    """The header that this TensorRT version looks for.

    8.x counts ``major * 1000 + minor * 100 + patch``, 10.x ``major * 10000 + minor * 100 + patch``.

    Raises:
        CalibrationError: Not a version of 8.x or 10.x (11 and later have no calibrators), or a calibrator not known.
    """
    if algorithm not in CALIBRATORS:
        raise CalibrationError(
            f'No TensorRT calibrator writes "{algorithm}" into its cache.', wanted=" or ".join(CALIBRATORS)
        )
    version = f"{major}.{minor}.{patch}"
    if major >= 11:
        raise CalibrationError(
            f"TensorRT {version} has no calibrators and reads no calibration cache.",
            wanted="TensorRT 8.x or 10.x",
            next_step="write the INT8 scales into the graph (Q/DQ)",
        )
    most_minor = {8: 9, 10: 99}.get(major)
    if most_minor is None or not (0 <= minor <= most_minor and 0 <= patch <= 99):
        raise CalibrationError(f"The cache of TensorRT {version} is not known.", wanted="TensorRT 8.x or 10.x")
    thousands = 1000 if major == 8 else 10_000
    return CacheHeader(major * thousands + minor * 100 + patch, algorithm)


def write_cache(scales: Mapping[str, float], header: CacheHeader) -> str:
    """The cache as text, one line a tensor in the order given.

    Args:
        scales: ``threshold / 127`` by tensor name; rounded to float32. Leave out tensors that were always 0.
        header: Of the TensorRT version and calibrator that will read it.

    Raises:
        CalibrationError: No tensor, a name that is empty or breaks the line, or a scale that is not finite or not
            above 0 in float32.
    """
    if not scales:
        raise CalibrationError("A calibration cache needs at least one tensor.")
    return "".join((f"{header}\n", *(f"{_writable(name)}: {_bits(name, scale):x}\n" for name, scale in scales.items())))


def read_cache(text: str, *, source: str) -> Cache:
    r"""Read a cache; lines may end in ``\r\n``, and the last newline may be missing after eight digits.

    Args:
        text: The cache.
        source: The file's name, for messages.

    Raises:
        CacheFormatError: With the line: a foreign header, no tensor, a line that is cut short or no ``name: hex``, a
            tensor that comes twice, a scale that is negative or not finite.
    """
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    header = _HEADER.fullmatch(lines[0].removesuffix("\r")) if lines else None
    if header is None:
        got = repr(text[:_SHOWN].partition("\n")[0])
        wanted = "TRT-<version>-<calibrator>, as TRT-8601-EntropyCalibration2"
        raise CacheFormatError(f"{source} is no TensorRT calibration cache (line 1).", line=1, got=got, wanted=wanted)
    first_lines: dict[str, int] = {}
    scales: dict[str, float] = {}
    for number, line in enumerate(lines[1:], start=2):
        fail = _fail_at(source, number, line)
        is_open = number == len(lines) and not text.endswith(("\n", "\r"))
        name, scale = _read_line(line.removesuffix("\r"), is_open=is_open, fail=fail)
        if name in scales:
            raise fail(f'the tensor "{name}" stood in line {first_lines[name]} already')
        scales[name], first_lines[name] = scale, number
    if not scales:
        raise _fail_at(source, 1, lines[0])("the cache ends after its header")
    return Cache(CacheHeader(int(header[1]), header[2]), scales)


def is_cache(text: str) -> bool:
    """Whether ``text`` is, or was before it was damaged, a TensorRT calibration cache."""
    return text.startswith("TRT-")


def dynamic_ranges(scales: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """The ``ITensor.set_dynamic_range`` arguments that mean the same as a cache with these scales: -127 s and 127 s.

    A scale of 0 gives an empty range, which TensorRT does not take: leave such tensors out.

    Raises:
        CalibrationError: A scale is negative, or 127 times it is not finite in float32.
    """
    ranges = {name: _INT8_LEVELS * float(scale) for name, scale in scales.items()}
    for name, high in ranges.items():
        if not (math.isfinite(to_float32(high)) and high >= 0):
            raise CalibrationError(f'The tensor "{name}" has no dynamic range.', got=f"scale {scales[name]}")
    return {name: (-high, high) for name, high in ranges.items()}


def _writable(name: str) -> str:
    if not name or "\n" in name or "\r" in name:
        raise CalibrationError(
            "A calibration cache cannot name this tensor.", got=repr(name), wanted="one line of text"
        )
    return name


def _bits(name: str, scale: float) -> int:
    rounded = to_float32(scale)
    if not (math.isfinite(rounded) and rounded > 0):
        raise CalibrationError(
            f'The tensor "{name}" has no scale that a calibration cache can hold.',
            got=f"{scale}",
            wanted="a number above 0, finite in float32",
        )
    return int.from_bytes(struct.pack(">f", rounded), "big")


def _fail_at(source: str, number: int, line: str) -> Callable[[str], CacheFormatError]:
    def fail(problem: str) -> CacheFormatError:
        return CacheFormatError(
            f"{source}, line {number}: {problem}.",
            line=number,
            got=repr(line[:_SHOWN]),
            wanted="<tensor>: <up to eight hexadecimal digits>",
            next_step="write the cache again",
        )

    return fail


def _read_line(line: str, *, is_open: bool, fail: Callable[[str], CacheFormatError]) -> tuple[str, float]:
    """Name and scale of one line; ``is_open`` where no newline follows, so that it may be cut short."""
    name, _separator, digits = line.rpartition(": ")
    if is_open and (not name or len(digits) < _ALL_DIGITS):
        raise fail("the line is cut short")
    if not name:
        raise fail("this is no tensor with its scale")
    if not _DIGITS.fullmatch(digits):
        raise fail(f"{digits!r} is no scale")
    bits = int(digits, 16)
    scale = float(struct.unpack(">f", struct.pack(">I", bits))[0])
    if not math.isfinite(scale):
        raise fail("the scale is not finite")
    if math.copysign(1.0, scale) < 0:
        raise fail("the scale is negative")
    return name, scale
