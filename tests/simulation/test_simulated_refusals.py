"""What each simulated version refuses, and in which words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from nms_plugin_graph import plugin_graph
from onnx import TensorProto, helper, numpy_helper
from simulated_tensorrt.drive import Driver
from small_int8 import detector_graph


def relu_graph(*, opset: int = 13, op: str = "Relu", batch: int | str = 1) -> bytes:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, (batch, 4)) for name in "xy")
    graph = helper.make_graph([helper.make_node(op, ["x"], ["y"], name="the.layer")], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
    return bytes(model.SerializeToString())


SIGNED_ZERO = np.int8(0)


def qdq_graph(*, zero: Any = SIGNED_ZERO, inputs: int = 3, source: np.ndarray[Any, Any] | None = None) -> bytes:
    """x + DequantizeLinear(QuantizeLinear(x)), or of a stored array."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 4)) for name in "xy")
    stored = [numpy_helper.from_array(np.float32(0.5), "scale"), numpy_helper.from_array(np.asarray(zero), "zero")]
    nodes = []
    integers = "integers"
    if source is None:
        nodes.append(helper.make_node("QuantizeLinear", ["x", "scale", "zero"][:inputs], ["integers"], name="q"))
    else:
        stored.append(numpy_helper.from_array(source, "stored"))
        integers = "stored"
    nodes.append(helper.make_node("DequantizeLinear", [integers, "scale", "zero"][:inputs], ["back"], name="dq"))
    nodes.append(helper.make_node("Add", ["x", "back"], ["y"], name="add"))
    graph = helper.make_graph(nodes, "g", [x], [y], initializer=stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    return bytes(model.SerializeToString())


def driver_for(version: str, **options: Any) -> Driver:
    return Driver(version, {"8.2.1": "jetson-nano", "8.6.1": "gtx-1080ti"}.get(version, "gpu"), **options)


def plan_of(driver: Driver, graph: bytes) -> bytes:
    plan = driver.build(driver.network(graph))
    assert plan is not None
    return plan


@pytest.mark.parametrize(("version", "ceiling"), [("8.2.1", 13), ("8.6.1", 17), ("10.9", 22), ("10.16", 24)])
def test_opsets_above_the_ceiling(version: str, ceiling: int) -> None:
    driver = driver_for(version)
    assert driver.network(relu_graph(opset=ceiling)) is not None
    assert driver.network(relu_graph(opset=ceiling + 1)) is None
    assert f"up to opset {ceiling}" in driver.parser.get_error(0).desc()


def test_an_unknown_operator_names_its_node() -> None:
    driver = driver_for("8.6.1")
    assert driver.network(relu_graph(op="Unheard")) is None
    assert driver.parser.num_errors == 1
    error = driver.parser.get_error(0)
    assert error.code() == driver.trt.ErrorCode.UNSUPPORTED_NODE
    assert error.node() == 0
    assert "Plugin not found" in error.desc()
    assert not hasattr(error, "node_name")
    newer = driver_for("10.9")
    assert newer.network(relu_graph(op="Unheard")) is None
    assert newer.parser.get_error(0).node_name() == "the.layer"
    assert newer.parser.get_error(0).node_operator() == "Unheard"


@pytest.mark.parametrize("version", ["8.2.1", "8.6.1", "10.16", "11.4"])
@pytest.mark.parametrize("options", [{"plugins": False}, {"switches": {"nms_plugin": False}}])
def test_the_plugin_must_be_loaded_and_there(version: str, options: dict[str, Any]) -> None:
    assert driver_for(version).network(plugin_graph().SerializeToString()) is not None
    driver = driver_for(version, **options)
    assert driver.network(plugin_graph().SerializeToString()) is None
    assert "Plugin not found" in driver.errors


def test_a_plan_with_the_plugin_loads_only_after_the_plugins() -> None:
    plan = plan_of(driver_for("8.2.1"), plugin_graph().SerializeToString())
    bare = driver_for("8.2.1", plugins=False)
    assert bare.load(plan) is None
    assert "IPluginCreator not found in Plugin Registry" in bare.errors
    bare.trt.init_libnvinfer_plugins(bare.logger, "")
    assert bare.load(plan) is not None


def test_8_x_wants_an_explicit_batch() -> None:
    driver = driver_for("8.2.1")
    parser = driver.trt.OnnxParser(driver.builder.create_network(0), driver.logger)
    assert not parser.parse(relu_graph())
    assert "explicit batch" in parser.get_error(0).desc()


@pytest.mark.parametrize(
    ("graph", "versions", "words"),
    [
        (lambda: qdq_graph(zero=np.uint8(0)), ("8.2.1", "8.6.1", "10.9", "11.4"), "UINT8"),
        (lambda: qdq_graph(zero=np.int8(3)), ("8.2.1", "8.6.1", "10.9", "11.4"), "symmetric"),
        (lambda: qdq_graph(inputs=2), ("8.2.1", "8.6.1"), "requires 3 inputs"),
        (lambda: qdq_graph(zero=np.int32(0), source=np.zeros(4, np.int32)), ("8.6.1", "10.9", "11.4"), "INT32"),
    ],
)
def test_foreign_quantisation(graph: Callable[[], bytes], versions: tuple[str, ...], words: str) -> None:
    for version in versions:
        driver = driver_for(version)
        assert driver.network(graph()) is None
        assert words in driver.errors


def test_quantised_graphs_need_the_hardware_and_in_weak_typing_the_flag() -> None:
    nano = driver_for("8.2.1")
    nano.flags("INT8")
    assert nano.build(nano.network(qdq_graph())) is None
    assert "layers require hardware with Int8 support" in nano.errors
    weak = driver_for("8.6.1")
    assert weak.build(weak.network(qdq_graph())) is None
    assert "int8 is not configured in the builder" in weak.errors
    weak.flags("INT8")
    assert weak.build(weak.network(qdq_graph())) is not None
    typed = driver_for("10.9")
    assert typed.build(typed.network(qdq_graph(inputs=2), typed=True)) is not None


def test_two_input_quantisation_is_signed_for_10() -> None:
    driver = driver_for("10.9")
    engine = driver.load(driver.build(driver.network(qdq_graph(inputs=2), typed=True)) or b"")
    found = driver.run(engine, {"x": np.array([[-1, -0.5, 0.5, 1]], np.float32)})
    np.testing.assert_array_equal(found["y"], [[-2, -1, 1, 2]])


def test_a_strongly_typed_network_takes_no_flags() -> None:
    driver = driver_for("10.9")
    network = driver.network(relu_graph(), typed=True)
    driver.flags("FP16")
    assert driver.build(network) is None
    assert "strongly typed" in driver.errors


def test_a_dynamic_input_needs_a_profile() -> None:
    driver = driver_for("8.6.1")
    network = driver.network(relu_graph(batch="batch"))
    assert driver.build(network) is None
    assert "no optimization profile has been defined" in driver.errors


@pytest.mark.parametrize(
    ("version", "device", "code"),
    [
        ("10.9", "gtx-1080ti", "0x601"),
        ("11.4", "gtx-1080ti", "0x601"),
        ("10.16", "jetson-nano", "0x503"),
        ("8.6.1", "jetson-nano", "0x503"),
        ("8.2.1", "gpu", "0x809"),
    ],
)
def test_gpus_that_a_version_has_no_kernels_for(version: str, device: str, code: str) -> None:
    driver = Driver(version, device)
    assert driver.build(driver.network(relu_graph())) is None
    assert f"Unsupported SM: {code}" in driver.errors


def test_plans_of_another_version_or_device_or_none() -> None:
    plan = plan_of(driver_for("8.6.1"), relu_graph())
    other = driver_for("8.2.1")
    assert other.load(plan) is None
    assert "expecting library version 8.2.1 got 8.6.1" in other.errors
    assert "Version tag does not match" in other.errors
    elsewhere = Driver("8.6.1", "gpu")
    assert elsewhere.load(plan) is None
    assert "expecting compute 8.9 got compute 6.1, please rebuild" in elsewhere.errors
    assert elsewhere.load(b"no plan") is None
    assert "Magic tag does not match" in elsewhere.errors
    assert driver_for("8.6.1").load(plan[:-5]) is None


def test_too_little_workspace() -> None:
    for version, enough in (("8.2.1", False), ("8.2.1", True), ("8.6.1", False), ("8.6.1", True)):
        driver = driver_for(version, switches={"workspace_needed": 64 << 20})
        size = (64 if enough else 32) << 20
        if version == "8.2.1":
            driver.config.max_workspace_size = size
        else:
            driver.config.set_memory_pool_limit(driver.trt.MemoryPoolType.WORKSPACE, size)
        built = driver.build(driver.network(relu_graph()))
        assert (built is not None) == enough
        assert ("Could not find any implementation for node the.layer" in driver.errors) == (not enough)


def test_float_types_do_not_fit_the_integer_outputs_of_a_plugin() -> None:
    driver = driver_for("8.2.1")
    network = driver.network(plugin_graph().SerializeToString())
    network.get_layer(0).set_output_type(0, driver.trt.DataType.FLOAT)
    assert driver.build(network) is None
    assert "cannot be set to FLOAT" in driver.errors


def test_half_precision_of_a_layer_needs_the_flag() -> None:
    driver = driver_for("8.2.1")
    network = driver.network(relu_graph())
    network.get_layer(0).precision = driver.trt.DataType.HALF
    assert driver.build(network) is None
    assert "fp16 is not configured in the builder" in driver.errors


def test_the_timing_cache_belongs_to_a_version_and_a_device() -> None:
    driver = driver_for("10.9")
    cache = driver.config.create_timing_cache(b"")
    assert driver.config.set_timing_cache(cache, ignore_mismatch=False)
    driver.flags("ERROR_ON_TIMING_CACHE_MISS")
    network = driver.network(relu_graph())
    assert driver.build(network) is None
    assert "timing cache has no entry" in driver.errors
    driver.config.clear_flag(driver.trt.BuilderFlag.ERROR_ON_TIMING_CACHE_MISS)
    assert driver.build(network) is not None
    driver.flags("ERROR_ON_TIMING_CACHE_MISS")
    assert driver.build(network) is not None
    saved = bytes(driver.config.get_timing_cache().serialize())
    other = driver_for("10.16")
    foreign = other.config.create_timing_cache(saved)
    assert not other.config.set_timing_cache(foreign, ignore_mismatch=False)


@pytest.mark.parametrize("cancel", [False, True])
def test_the_progress_monitor_is_told_and_may_cancel(*, cancel: bool) -> None:
    driver = driver_for("10.9")
    seen: list[tuple[Any, ...]] = []
    base: Any = driver.trt.IProgressMonitor

    class Monitor(base):  # type: ignore[misc]
        def __init__(self) -> None:
            base.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            seen.append((phase_name, parent_phase, num_steps))

        def step_complete(self, phase_name: str, step: int) -> bool:
            return not cancel

        def phase_finish(self, phase_name: str) -> None:
            seen.append((phase_name,))

    driver.config.progress_monitor = Monitor()
    built = driver.build(driver.network(detector_graph().SerializeToString()))
    assert (built is None) == cancel
    assert seen[0] == ("Building Engine", None, 2)
    assert (("Building Engine",) in seen) != cancel


def test_what_is_no_onnx_at_all() -> None:
    driver = driver_for("8.6.1")
    assert driver.network(b"nonsense") is None
    assert driver.parser.get_error(0).code() == driver.trt.ErrorCode.MODEL_DESERIALIZE_FAILED
