"""The device file on the releases' own modules, imported over stub libraries: its classes extend the vendor's."""

from __future__ import annotations

from typing import Any

import pytest
from trt_scenarios import DEVICE_FILE
from trt_wheels import RUN_SCRIPT, WHEELS, Unavailable, Wheel, kept_bindings, run_beside

CALIBRATING = ("8.6", "10")
TARGET = 3


@pytest.fixture(scope="module", params=WHEELS, ids=str)
def wheel(request: pytest.FixtureRequest) -> Wheel:
    found: Wheel = request.param
    return found


@pytest.fixture(scope="module")
def results(wheel: Wheel) -> dict[str, Any]:
    try:
        kept = kept_bindings(wheel)
    except Unavailable as reason:
        pytest.skip(str(reason))
    found: dict[str, Any] = run_beside(wheel, RUN_SCRIPT, str(kept), str(DEVICE_FILE))
    return found


def test_the_family_of_the_vendors_module(wheel: Wheel, results: dict[str, Any]) -> None:
    assert results["family"] == wheel.family


def test_the_header_of_the_calibration_cache_has_its_version(wheel: Wheel, results: dict[str, Any]) -> None:
    major, minor, patch = (int(part) for part in wheel.version.split(".")[:3])
    number = major * (1000 if major < 10 else 10000) + 100 * minor + patch
    assert results["cache_header"] == f"TRT-{number}-EntropyCalibration2"


def test_data_types_are_numpys(results: dict[str, Any]) -> None:
    assert results["data_types"] == ["float32", "float16", "int32"]


def test_our_logger_is_one_of_tensorrts(results: dict[str, Any]) -> None:
    assert results["logger"] == ["[WARNING] a warning"]


def test_our_calibrator_is_one_of_tensorrts_where_there_are_any(wheel: Wheel, results: dict[str, Any]) -> None:
    assert results["calibrator"] == (["a cache", 1, None, True] if wheel.family in CALIBRATING else None)


def test_our_progress_monitor_is_one_of_tensorrts_where_there_are_any(wheel: Wheel, results: dict[str, Any]) -> None:
    told = [["Building", 0, 1], ["Building", 1, 1], ["Building", 1, 1]]
    assert results["monitor"] == (told if wheel.family != "8.6" else None)


def test_precision_flags_are_there_before_11_only(wheel: Wheel, results: dict[str, Any]) -> None:
    assert results["flags"] == (["FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS"] if wheel.family != "11" else [])


def test_a_builder_that_cannot_start_is_a_sentence(results: dict[str, Any]) -> None:
    """pybind11 raises TypeError where TensorRT's factory returns nothing, as the stub's and as without a driver."""
    code, what = results["build"]
    assert code == TARGET
    assert what.startswith("TensorRT cannot start")
