"""TensorRT calibration caches: bits that are known, every refusal with its line, and every place a file can be cut."""

from __future__ import annotations

import math

import numpy as np
import pytest

from calibration.errors import CacheFormatError, CalibrationError
from calibration.trt_cache import CacheHeader, dynamic_ranges, header_for, is_cache, read_cache, write_cache

ENTROPY_8601 = "TRT-8601-EntropyCalibration2"
SOURCE = "model.cache"
ONE_127TH = float(np.float32(1.0) / np.float32(127.0))
DENORMAL = float(np.finfo(np.float32).smallest_subnormal)
LARGEST = float(np.finfo(np.float32).max)
NAMES = (
    "images",
    "input:0",
    "model/base.0: conv",
    "(Unnamed Layer* 3) [Convolution]_output",
    " spaces around ",
    "a: b: 3c010204",
    "é\u2028\x0b\x85ü",  # line ends of Unicode, not of the format
    ":",
)


def cache_of(*lines: str, header: str = ENTROPY_8601) -> str:
    return "".join(f"{line}\n" for line in (header, *lines))


def refused(text: str) -> CacheFormatError:
    with pytest.raises(CacheFormatError) as caught:
        read_cache(text, source=SOURCE)
    assert SOURCE in caught.value.what
    assert f"line {caught.value.line}" in caught.value.what
    return caught.value


def test_a_known_cache_is_written_byte_for_byte() -> None:
    text = write_cache({"images": 1 / 127, "conv": 1.0}, header_for(8, 6, 1))
    assert text == "TRT-8601-EntropyCalibration2\nimages: 3c010204\nconv: 3f800000\n"


def test_a_known_cache_is_read() -> None:
    cache = read_cache(cache_of("images: 3c010204", "dead: 0"), source=SOURCE)
    assert cache.header == CacheHeader(8601, "EntropyCalibration2")
    assert cache.scales == {"images": ONE_127TH, "dead": 0.0}


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ((8, 2, 3), "TRT-8203-EntropyCalibration2"),  # github.com/NVIDIA/TensorRT/issues/2036
        ((8, 6, 1), "TRT-8601-EntropyCalibration2"),
        ((10, 14, 1), "TRT-101401-EntropyCalibration2"),
    ],
)
def test_headers_of_versions(version: tuple[int, int, int], expected: str) -> None:
    assert str(header_for(*version)) == expected


def test_a_header_of_the_other_calibrator() -> None:
    header = header_for(10, 3, 0, "MinMaxCalibration")
    assert str(header) == "TRT-100300-MinMaxCalibration"
    assert read_cache(write_cache({"x": 1.0}, header), source=SOURCE).header == header


@pytest.mark.parametrize("version", [(11, 0, 0), (11, 1, 2), (12, 0, 0)])
def test_versions_without_calibrators_are_refused(version: tuple[int, int, int]) -> None:
    with pytest.raises(CalibrationError, match="has no calibrators") as caught:
        header_for(*version)
    assert "Q/DQ" in str(caught.value)


@pytest.mark.parametrize("version", [(7, 1, 3), (9, 0, 0), (8, 10, 0), (8, 6, 100), (8, -1, 0), (10, 100, 0)])
def test_versions_whose_number_is_not_known_are_refused(version: tuple[int, int, int]) -> None:
    with pytest.raises(CalibrationError, match="is not known"):
        header_for(*version)


def test_a_calibrator_that_is_not_known_is_refused() -> None:
    with pytest.raises(CalibrationError, match="PercentileCalibration") as caught:
        header_for(8, 6, 1, "PercentileCalibration")
    assert caught.value.wanted == "EntropyCalibration2 or MinMaxCalibration"


@pytest.mark.parametrize("algorithm", ["", "Entropy\nCalibration", "a b", "2"])
def test_what_breaks_the_header_is_refused(algorithm: str) -> None:
    with pytest.raises(CalibrationError, match="no header"):
        CacheHeader(8601, algorithm)


def test_scales_come_back_to_the_bit() -> None:
    bits = np.random.default_rng(0).integers(1, 0x7F80_0000, 3000, dtype=np.uint32)  # every positive finite float32
    numbers = [*bits.view(np.float32).astype(np.float64).tolist(), DENORMAL, LARGEST, ONE_127TH]
    scales = {f"t{index}": number for index, number in enumerate(numbers)}
    back = read_cache(write_cache(scales, header_for(8, 6, 1)), source=SOURCE)
    assert back.scales == scales
    assert list(back.scales) == list(scales)


def test_small_numbers_are_not_padded() -> None:
    text = write_cache({"denormal": DENORMAL, "largest": LARGEST}, header_for(8, 6, 1))
    assert text.splitlines()[1:] == ["denormal: 1", "largest: 7f7fffff"]


def test_scales_are_rounded_to_the_nearest_float32() -> None:
    scales = np.random.default_rng(1).lognormal(-4.0, 3.0, 500)
    text = write_cache({f"t{index}": float(scale) for index, scale in enumerate(scales)}, header_for(8, 6, 1))
    written = [line.rpartition(": ")[2] for line in text.splitlines()[1:]]
    assert written == [f"{bits:x}" for bits in scales.astype(np.float32).view(np.uint32)]


def test_names_with_colons_and_spaces_and_slashes_come_back() -> None:
    scales = {name: float(index + 1) for index, name in enumerate(NAMES)}
    assert read_cache(write_cache(scales, header_for(8, 6, 1)), source=SOURCE).scales == scales


@pytest.mark.parametrize("scale", [0.0, -0.0, -1.0, math.nan, math.inf, -math.inf, 1e-50, 1e39])
def test_a_scale_that_no_cache_can_hold_is_not_written(scale: float) -> None:
    with pytest.raises(CalibrationError, match='"conv"'):
        write_cache({"images": 1.0, "conv": scale}, header_for(8, 6, 1))


@pytest.mark.parametrize("name", ["", "two\nlines", "carriage\rreturn", "end\n"])
def test_a_name_that_breaks_the_line_is_not_written(name: str) -> None:
    with pytest.raises(CalibrationError, match="cannot name"):
        write_cache({name: 1.0}, header_for(8, 6, 1))


def test_a_cache_of_nothing_is_not_written() -> None:
    with pytest.raises(CalibrationError, match="at least one tensor"):
        write_cache({}, header_for(8, 6, 1))


@pytest.mark.parametrize(
    "header",
    [
        "",
        " ",
        "TRT-",
        "TRT-8601",
        "TRT-8601-",
        "TRT-x-EntropyCalibration2",
        "TRT-0001-A",
        "TRT-8601-Entropy Calibration",
        "images: 3c010204",
        "{}",
        f"\ufeff{ENTROPY_8601}",
        f" {ENTROPY_8601}",
        "trt-8601-EntropyCalibration2",
    ],
)
def test_a_foreign_header_is_refused_at_line_1(header: str) -> None:
    assert refused(cache_of("images: 3c010204", header=header)).line == 1


def test_an_empty_text_is_refused_at_line_1() -> None:
    assert refused("").line == 1


@pytest.mark.parametrize("text", [ENTROPY_8601, f"{ENTROPY_8601}\n", f"{ENTROPY_8601}\r\n"])
def test_a_cache_of_nothing_is_refused(text: str) -> None:
    error = refused(text)
    assert (error.line, "ends after its header" in error.what) == (1, True)


BAD_LINES = {
    "blank": ("", "no tensor"),
    "no colon": ("conv 3c010204", "no tensor"),
    "no space": ("conv:3c010204", "no tensor"),
    "no name": (": 3c010204", "no tensor"),
    "no digits": ("conv: ", "is no scale"),
    "not hexadecimal": ("conv: 3c01020g", "is no scale"),
    "a prefix": ("conv: 0x3c0102", "is no scale"),
    "an underscore": ("conv: 3c_01_02", "is no scale"),
    "digits of another script": ("conv: ٣", "is no scale"),
    "nine digits": ("conv: 3c0102040", "is no scale"),
    "two spaces": ("conv:  3c010204", "is no scale"),
    "space behind": ("conv: 3c010204 ", "is no scale"),
    "a decimal": ("conv: 0.0078", "is no scale"),
    "infinite": ("conv: 7f800000", "not finite"),
    "NaN": ("conv: 7fc00000", "not finite"),
    "negative": ("conv: bc010204", "negative"),
    "negative zero": ("conv: 80000000", "negative"),
    "minus infinite": ("conv: ff800000", "not finite"),
    "duplicate": ("images: 3c010204", 'the tensor "images" stood in line 2 already'),
}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(("line", "problem"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_is_refused_with_its_number(line: str, problem: str, end: str) -> None:
    error = refused(cache_of("images: 3c010204", "pool: 3c010204", line, "last: 3c010204").replace("\n", end))
    assert error.line == 4
    assert problem in error.what
    assert error.next_step


def test_windows_line_ends_are_read() -> None:
    text = cache_of("images: 3c010204", "dead: 0")
    assert read_cache(text.replace("\n", "\r\n"), source=SOURCE) == read_cache(text, source=SOURCE)


def test_the_last_newline_may_be_missing_after_all_eight_digits() -> None:
    text = cache_of("images: 3c010204")
    assert read_cache(text.rstrip("\n"), source=SOURCE) == read_cache(text, source=SOURCE)


def test_a_short_number_needs_its_newline() -> None:
    text = cache_of("images: 3c010204", "dead: 0")
    assert read_cache(text, source=SOURCE).scales["dead"] == 0.0
    error = refused(text.rstrip("\n"))
    assert (error.line, "cut short" in error.what) == (3, True)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_cache_cut_anywhere_never_gives_a_wrong_scale(end: str) -> None:
    """Every cut is refused, or leaves whole lines only; of 8-digit lines a cut inside is always refused."""
    names = [name for name in NAMES if name != "a: b: 3c010204"]
    scales = {name: float(index + 1) for index, name in enumerate(names)}
    text = write_cache(scales, header_for(8, 6, 1)).replace("\n", end)
    whole_lines = {len(part) for number in range(2, len(names) + 2) for part in [end.join(text.split(end)[:number])]}
    for length in range(len(text)):
        if any(length - ending in range(len(end) + 1) for ending in whole_lines):
            read = read_cache(text[:length], source=SOURCE).scales
            assert list(read.items()) == list(scales.items())[: len(read)]
        else:
            error = refused(text[:length])
            cut_at = text[:length].count("\n") + 1
            assert error.line == cut_at or text[:length].rstrip() == ENTROPY_8601


def test_caches_are_known_by_their_content() -> None:
    assert is_cache(cache_of("images: 3c010204"))
    assert is_cache("TRT-86")  # cut short: read_cache then says so
    assert not is_cache('{"kind": "calibration-table"}')
    assert not is_cache("")


def test_dynamic_ranges_are_127_scales_to_either_side() -> None:
    assert dynamic_ranges({"x": 0.5, "dead": 0.0}) == {"x": (-63.5, 63.5), "dead": (0.0, 0.0)}
    read = read_cache(write_cache({"x": 1 / 127}, header_for(8, 6, 1)), source=SOURCE)
    low, high = dynamic_ranges(read.scales)["x"]
    assert (np.float32(low), np.float32(high)) == (np.float32(-1.0), np.float32(1.0))


@pytest.mark.parametrize("scale", [-1.0, math.nan, math.inf, LARGEST])
def test_a_scale_without_a_dynamic_range_is_refused(scale: float) -> None:
    with pytest.raises(CalibrationError, match='"conv"'):
        dynamic_ranges({"images": 1.0, "conv": scale})
