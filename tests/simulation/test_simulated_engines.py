"""What simulated engines compute, and what precisions do to it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from nms_plugin_graph import candidates, plugin_graph
from numpy.testing import assert_array_equal
from simulated_cases import boxes_graph, detections_graph, float_result, good_cache, image, inspected, int8_plan
from simulated_tensorrt.drive import Driver, pin_float

from hardnet_deploy.nms.efficient import CANDIDATE_CAP_JETSON_NANO
from hardnet_deploy.runners.ort import OrtRunner

SMALL_HALF_ERROR = 0.05  # of a softmax score: half keeps 11 bits, and six layers of it add up


@pytest.mark.parametrize(
    ("version", "device"),
    [("8.2.1", "jetson-nano"), ("8.6.1", "gtx-1080ti"), ("10.9", "gpu"), ("10.16", "gpu"), ("11.4", "gpu")],
)
def test_an_fp32_engine_computes_what_the_graph_computes(version: str, device: str) -> None:
    driver = Driver(version, device)
    plan = driver.build(driver.network(detections_graph()))
    assert plan is not None
    assert plan.startswith(b"SIMULATED TensorRT plan\n")
    found, wanted = driver.run(driver.load(plan), image()), float_result(detections_graph(), image())
    for name, array in wanted.items():
        assert_array_equal(found[name], array)


def test_the_same_build_gives_the_same_plan() -> None:
    assert int8_plan(good_cache())[1] == int8_plan(good_cache())[1]


def test_the_lists_of_addresses_and_the_named_addresses_agree() -> None:
    driver = Driver("8.6.1", "gtx-1080ti")
    engine = driver.load(driver.build(driver.network(boxes_graph())) or b"")
    feeds, held = image(), []
    for index in range(engine.num_bindings):
        shape = tuple(engine.get_binding_shape(index))
        held.append(feeds["images"] if engine.binding_is_input(index) else np.zeros(shape, np.float32))
    assert engine.create_execution_context().execute_v2([array.ctypes.data for array in held])
    named = driver.run(engine, feeds)
    assert_array_equal(held[engine.get_binding_index("scores")], named["scores"])


def test_a_dynamic_batch_runs_within_its_profile_only() -> None:
    driver = Driver("8.2.1", "jetson-nano")
    network = driver.network(boxes_graph(None))
    driver.profile("images", (1, 3, 32, 32), (2, 3, 32, 32), (3, 3, 32, 32))
    engine = driver.load(driver.build(network) or b"")
    assert tuple(engine.get_binding_shape(0)) == (-1, 3, 32, 32)
    assert driver.run(engine, image(3))["boxes"].shape[0] == 3
    context = engine.create_execution_context()
    assert not context.execute_v2([1, 1, 1])  # no shape was set: nothing is read or written
    assert not context.set_binding_shape(0, (4, 3, 32, 32))
    assert "does not satisfy any optimization profiles" in driver.errors


def test_fp16_rounds_and_is_warned_of_where_it_is_slow() -> None:
    driver = Driver("8.6.1", "gtx-1080ti")
    network = driver.network(boxes_graph())
    driver.flags("FP16")
    found = driver.run(driver.load(driver.build(network) or b""), image())["scores"]
    exact = float_result(boxes_graph(), image())["scores"]
    assert 0 < np.abs(found - exact).max() < SMALL_HALF_ERROR
    assert_array_equal(found, found.astype(np.float16).astype(np.float32))
    assert any("without native FP16 support" in text for text in driver.warnings)


def test_fp16_overflows_where_half_does_between_layers_too() -> None:
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (1, 4)) for name in "xy")
    nodes = [
        onnx.helper.make_node("Mul", ["x", "x"], ["squares"], name="square"),
        onnx.helper.make_node("Sqrt", ["squares"], ["y"], name="root"),
    ]
    graph = onnx.helper.make_graph(nodes, "norm", [x], [y])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=7)
    for names, wanted in (([], np.inf), (["square"], np.inf), (["square", "root"], 300.0)):
        driver = Driver("8.2.1", "jetson-nano")
        network = driver.network(model.SerializeToString())
        driver.flags("FP16")
        pin_float(driver, network, names)
        found = driver.run(driver.load(driver.build(network) or b""), {"x": np.full((1, 4), 300, np.float32)})
        assert_array_equal(found["y"], np.full((1, 4), wanted, np.float32))


@pytest.mark.parametrize("version", ["10.9", "11.4"])
def test_a_strongly_typed_graph_computes_in_its_own_types(version: str) -> None:
    kinds = onnx.TensorProto
    x, y = (onnx.helper.make_tensor_value_info(name, kinds.FLOAT, (1, 4)) for name in "xy")
    nodes = [
        onnx.helper.make_node("Cast", ["x"], ["half"], to=kinds.FLOAT16),
        onnx.helper.make_node("Mul", ["half", "half"], ["squares"], name="square"),
        onnx.helper.make_node("Sqrt", ["squares"], ["root"], name="root"),
        onnx.helper.make_node("Cast", ["root"], ["y"], to=kinds.FLOAT),
    ]
    graph = onnx.helper.make_graph(nodes, "norm", [x], [y])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=7)
    driver = Driver(version, "gpu")
    network = driver.network(model.SerializeToString(), typed=True)
    engine = driver.load(driver.build(network) or b"")
    for value, wanted in ((300, np.inf), (3, 3)):
        found = driver.run(engine, {"x": np.full((1, 4), value, np.float32)})
        assert_array_equal(found["y"], np.full((1, 4), wanted, np.float32))


def test_the_nms_of_8_2_in_fp16_shifts_its_scores_unless_it_is_pinned() -> None:
    onnx_bytes, feeds = plugin_graph().SerializeToString(), candidates()
    exact = OrtRunner(plugin_graph(), candidate_cap=CANDIDATE_CAP_JETSON_NANO).infer(feeds)
    for pinned in (False, True):
        driver = Driver("8.2.1", "jetson-nano")
        network = driver.network(onnx_bytes)
        driver.flags("FP16")
        if pinned:
            pin_float(driver, network, [network.get_layer(0).name])
        found = driver.run(driver.load(driver.build(network) or b""), feeds)
        if pinned:
            assert_array_equal(found["detection_scores"], exact["detection_scores"])
        else:
            assert (found["detection_scores"][0, : int(found["num_detections"][0, 0])] <= 0).all()


def test_the_nms_of_8_6_in_fp16_keeps_its_scores() -> None:
    driver = Driver("8.6.1", "gtx-1080ti")
    network = driver.network(plugin_graph().SerializeToString())
    driver.flags("FP16")
    found = driver.run(driver.load(driver.build(network) or b""), candidates())
    assert (found["detection_scores"] >= 0).all()


@pytest.mark.parametrize(("version", "key"), [("8.2.1", "Bindings"), ("10.9", "Bindings"), ("11.4", "I/O Tensors")])
def test_the_inspector_s_two_forms(version: str, key: str) -> None:
    driver = Driver(version, "jetson-nano" if version == "8.2.1" else "gpu")
    driver.config.profiling_verbosity = driver.trt.ProfilingVerbosity.DETAILED
    found = inspected(driver, driver.load(driver.build(driver.network(boxes_graph())) or b""))
    assert set(found) == {"Layers", key}
    names = [one if isinstance(one, str) else one["Name"] for one in found[key]]
    assert names == ["images", "boxes", "scores"]
    first = found["Layers"][0]
    assert first["Name"] == "base.0 + base.0.relu"
    assert ("Metadata" in first) == (version != "8.2.1")
    assert set(first["Outputs"][0]) & {"Format/Datatype", "Datatype"} == (
        {"Datatype"} if version == "11.4" else {"Format/Datatype"}
    )


def test_without_details_the_inspector_gives_names() -> None:
    driver = Driver("8.6.1", "gtx-1080ti")
    found = inspected(driver, driver.load(driver.build(driver.network(boxes_graph())) or b""))
    assert "base.0 + base.0.relu" in found["Layers"]


def test_marking_other_outputs() -> None:
    driver = Driver("8.6.1", "gtx-1080ti")
    network = driver.network(boxes_graph())
    layer = next(network.get_layer(i) for i in range(network.num_layers) if network.get_layer(i).name == "base.2")
    network.mark_output(layer.get_output(0))
    network.unmark_output(network.get_output(0))
    found = driver.run(driver.load(driver.build(network) or b""), image())
    assert list(found) == ["scores", layer.get_output(0).name]
