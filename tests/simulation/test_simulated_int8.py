"""What calibration caches, calibrators and dynamic ranges do to simulated INT8 engines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from simulated_cases import (
    boxes_graph,
    calibrator,
    float_result,
    good_cache,
    image,
    int8_plan,
    int8_scores,
    scales,
    weight_types,
)
from simulated_tensorrt.calibrate import write_scales
from simulated_tensorrt.drive import Driver, pin_float
from small_int8 import LAYERS

SMALL_INT8_ERROR = 0.2  # of a softmax score: six layers of 8 bits, calibrated on the one image that is shown


def test_int8_rounds_and_the_scale_matters() -> None:
    exact = float_result(boxes_graph(), image())["scores"]
    rounded = int8_scores(good_cache())
    assert 0 < np.abs(rounded - exact).max() < SMALL_INT8_ERROR
    changed = int8_scores(good_cache(**{"base.0.relu": scales()["base.0.relu"] * 8}))
    assert np.abs(changed - rounded).max() > 0


def test_a_renamed_tensor_stays_float_with_the_vendor_s_warning() -> None:
    without = write_scales(
        {("renamed" if name == "base.0.relu" else name): scale for name, scale in scales().items()},
        "TRT-8601-EntropyCalibration2",
    )
    driver, plan = int8_plan(without)
    assert any(text.startswith("Missing scale and zero-point for tensor base.0.relu,") for text in driver.warnings)
    assert any("(Unnamed Layer*" in text for text in driver.warnings)
    driver.config.profiling_verbosity = driver.trt.ProfilingVerbosity.DETAILED
    types = weight_types(driver, driver.load(driver.build(driver.network(boxes_graph())) or b""))
    assert plan is not None
    assert {name.partition(" ")[0] for name, kind in types.items() if kind == "Float"} == {"base.1.a"}


@pytest.mark.parametrize(
    "header", [{"version": 8600}, {"version": 8201}, {"version": 100900}, {"algorithm": "MinMaxCalibration"}]
)
def test_another_header_is_skipped_without_a_word_and_fails_where_there_are_no_batches(header: dict[str, Any]) -> None:
    driver = Driver("8.6.1", "gtx-1080ti")
    network = driver.network(boxes_graph())
    driver.flags("INT8")
    recorder = driver.config.int8_calibrator = calibrator(driver, good_cache(**header))
    assert driver.build(network) is None
    assert recorder.calls == ["read", "size", "batch"]
    assert "Calibration failure occurred with no scaling factors detected" in driver.errors


def test_a_valid_cache_is_all_that_is_asked_for() -> None:
    driver = Driver("10.9", "gpu")
    network = driver.network(boxes_graph())
    driver.flags("INT8")
    recorder = driver.config.int8_calibrator = calibrator(driver, good_cache(100900))
    assert driver.build(network) is not None
    assert recorder.calls == ["read"]


def test_calibration_with_batches_writes_a_cache_that_gives_the_same_engine() -> None:
    driver = Driver("8.6.1", "gtx-1080ti")
    network = driver.network(boxes_graph())
    driver.flags("INT8")
    recorder = driver.config.int8_calibrator = calibrator(driver, None, batches=2)
    first = driver.build(network)
    assert recorder.calls == ["read", "size", "batch", "batch", "batch", "write"]
    assert recorder.written is not None
    assert recorder.written.startswith(b"TRT-8601-EntropyCalibration2\n")
    assert first == int8_plan(recorder.written)[1]


def test_dynamic_ranges_do_what_the_cache_does() -> None:
    driver = Driver("8.6.1", "gtx-1080ti")
    network = driver.network(boxes_graph())
    driver.flags("INT8")
    tensors = {}
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        for tensor in [layer.get_input(i) for i in range(layer.num_inputs)]:
            tensors[tensor.name] = tensor
    for name, scale in scales().items():
        high = float(np.float32(scale)) * 127
        assert tensors[name].set_dynamic_range(-high, high)
    plan = driver.build(network)
    assert plan is not None
    assert_array_equal(driver.run(driver.load(plan), image())["scores"], int8_scores(good_cache()))


def test_pinned_layers_stay_float_only_if_constraints_are_obeyed() -> None:
    results = {}
    for obey in (False, True):
        driver = Driver("8.6.1", "gtx-1080ti")
        driver.config.profiling_verbosity = driver.trt.ProfilingVerbosity.DETAILED
        network = driver.network(boxes_graph())
        driver.flags("INT8")
        driver.config.int8_calibrator = calibrator(driver, good_cache())
        pin_float(driver, network, LAYERS)
        if not obey:
            driver.config.clear_flag(driver.trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
        engine = driver.load(driver.build(network) or b"")
        results[obey] = set(weight_types(driver, engine).values()), driver.run(engine, image())["scores"]
    assert results[False][0] == {"Int8"}
    assert results[True][0] == {"Float"}
    assert_array_equal(results[True][1], float_result(boxes_graph(), image())["scores"])


def test_int8_on_hardware_without_it_warns_and_stays_float() -> None:
    driver = Driver("8.2.1", "jetson-nano")
    network = driver.network(boxes_graph())
    driver.flags("INT8")
    driver.config.int8_calibrator = calibrator(driver, good_cache(8201))
    plan = driver.build(network)
    assert plan is not None
    assert any("without native Int8 support" in text for text in driver.warnings)
    assert_array_equal(driver.run(driver.load(plan), image())["scores"], float_result(boxes_graph(), image())["scores"])


def test_the_switch_makes_a_layer_fall_back_without_a_word() -> None:
    driver, plan = int8_plan(good_cache(), switches={"float_fallback": ("base.2",)})
    assert plan is not None
    driver.config.profiling_verbosity = driver.trt.ProfilingVerbosity.DETAILED
    network = driver.network(boxes_graph())
    types = weight_types(driver, driver.load(driver.build(network) or b""))
    assert types["base.2 + base.2.relu"] == "Float"
    assert types["base.1.a + base.1.a.relu"] == "Int8"
