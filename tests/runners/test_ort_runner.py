"""ONNX Runtime, and NVIDIA's plugin through its reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from nms_plugin_graph import OPTIONS, candidates, plugin_graph
from onnx import TensorProto, helper
from tiny_detector import THRESHOLDS, TOY, toy_graph

from hardnet_deploy.errors import InputFileError
from hardnet_deploy.export.options import GraphOptions
from hardnet_deploy.nms.efficient import EfficientNmsResult, efficient_nms
from hardnet_deploy.runners.ort import OrtRunner
from hardnet_deploy.specs import TensorInfo
from hardnet_deploy.tensor_names import DETECTION_OUTPUTS


def options(**changes: Any) -> GraphOptions:
    fields = {"outputs": "detections", "nms": "efficient", "thresholds": THRESHOLDS, "opset": 13, "batch": None}
    return GraphOptions(**{**fields, **changes})


def reference(feeds: dict[str, Any], **changes: Any) -> EfficientNmsResult:
    return efficient_nms(feeds["boxes"], feeds["scores"], **{**OPTIONS, **changes})


@pytest.mark.parametrize("changes", [{}, {"score_threshold": 0.9}, {"class_agnostic": 1}, {"box_coding": 1}], ids=str)
def test_the_plugin_is_its_reference(changes: dict[str, Any]) -> None:
    feeds = candidates()
    got = OrtRunner(plugin_graph(**changes)).infer(feeds)
    wanted = reference(feeds, **changes)
    assert tuple(got) == DETECTION_OUTPUTS
    for name, value in zip(DETECTION_OUTPUTS, wanted, strict=True):
        assert np.array_equal(got[name], value)
        assert got[name].dtype == value.dtype
    assert got["num_detections"].sum() > 0


def test_attributes_that_the_plugin_defaults_may_be_absent() -> None:
    feeds = candidates()
    absent = {"score_activation": None, "box_coding": None, "class_agnostic": None}
    got = OrtRunner(plugin_graph(**absent)).infer(feeds)
    assert np.array_equal(got["detection_boxes"], reference(feeds).detection_boxes)


def test_the_candidate_cap_is_the_devices() -> None:
    feeds = candidates()
    got = OrtRunner(plugin_graph(), candidate_cap=3).infer(feeds)
    assert np.array_equal(got["detection_scores"], reference(feeds, candidate_cap=3).detection_scores)
    assert got["num_detections"].max() <= 3


def test_the_name_says_what_ran() -> None:
    assert OrtRunner(plugin_graph()).name == "ONNX Runtime (CPU), EfficientNMS by its NumPy reference"
    assert OrtRunner(toy_graph(options(nms="onnx"))).name == "ONNX Runtime (CPU)"


def test_inputs_and_outputs_are_the_graphs() -> None:
    runner = OrtRunner(toy_graph(options()))
    assert runner.inputs == (TensorInfo(name="images", dtype="float32", shape=(-1, 3, 32, 32)),)
    assert runner.outputs == DETECTION_OUTPUTS
    assert OrtRunner(toy_graph(options(batch=2))).inputs[0].shape == (2, 3, 32, 32)


def test_inner_tensors_come_with_the_outputs() -> None:
    images = np.random.default_rng(1).normal(0, 50, (3, 3, 32, 32)).astype(np.float32)
    for nms in ("efficient", "onnx"):
        graph = toy_graph(options(nms=nms), busy=True)
        inner = OrtRunner(graph, extra_outputs=["loc", "scores", "loc"]).infer({"images": images})
        plain = OrtRunner(graph).infer({"images": images})
        assert tuple(inner) == (*DETECTION_OUTPUTS, "loc", "scores")
        assert inner["loc"].shape == (3, TOY.head.num_priors, 4)  # type: ignore[union-attr]  the toy has a head
        assert np.allclose(inner["scores"].sum(axis=2), 1, atol=1e-6)  # softmax in float32
        for name in DETECTION_OUTPUTS:
            assert np.array_equal(inner[name], plain[name])


def test_the_model_is_left_as_it_is() -> None:
    model = toy_graph(options(), busy=True)
    before = model.SerializeToString()
    OrtRunner(model, extra_outputs=["loc"]).infer({"images": np.zeros((1, 3, 32, 32), np.float32)})
    assert model.SerializeToString() == before


def test_outputs_are_the_callers() -> None:
    for graph, feeds in (
        (plugin_graph(), candidates()),
        (toy_graph(options(nms="onnx"), busy=True), {"images": np.ones((2, 3, 32, 32), np.float32)}),
    ):
        extra = ["boxes", "scores"]
        with OrtRunner(graph, extra_outputs=extra) as runner:
            first = runner.infer(feeds)
            kept = {name: value.copy() for name, value in first.items()}
            runner.infer({name: -value for name, value in feeds.items()})
        for name, value in first.items():
            assert np.array_equal(value, kept[name])
            assert value.flags.writeable
            assert not any(np.shares_memory(value, feed) for feed in feeds.values())


def test_feeds_need_not_be_contiguous_or_writable() -> None:
    runner = OrtRunner(toy_graph(options(outputs="raw", thresholds=None), busy=True))
    images = np.random.default_rng(2).normal(0, 50, (2, 3, 32, 32)).astype(np.float32)
    wanted = runner.infer({"images": images})["conf"]
    columns_first = np.asfortranarray(images)
    reversed_twice = np.ascontiguousarray(images[::-1])[::-1]
    locked = images.copy()
    locked.flags.writeable = False
    for feed in (columns_first, reversed_twice, locked):
        assert np.array_equal(runner.infer({"images": feed})["conf"], wanted)


@pytest.mark.parametrize("name", ["score_threshold", "iou_threshold", "max_output_boxes", "background_class"])
def test_a_missing_attribute_is_named(name: str) -> None:
    with pytest.raises(InputFileError, match=name) as caught:
        OrtRunner(plugin_graph(**{name: None}))
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    "changes",
    [
        {"score_threshold": 0.001},
        {"score_threshold": 1.5},
        {"score_threshold": "high"},
        {"iou_threshold": 0.0},
        {"iou_threshold": -1.0},
        {"max_output_boxes": 0},
        {"max_output_boxes": [1, 2]},
    ],
    ids=str,
)
def test_an_attribute_out_of_range_is_the_files_fault(changes: dict[str, Any]) -> None:
    with pytest.raises(InputFileError, match="out of range") as caught:
        OrtRunner(plugin_graph(**changes))
    assert caught.value.exit_code == 4


def test_two_plugin_nodes_are_refused() -> None:
    with pytest.raises(InputFileError, match="more than one") as caught:
        OrtRunner(plugin_graph(nodes=2))
    assert caught.value.exit_code == 4


def test_a_plugin_with_tensors_missing_is_refused() -> None:
    for change in (lambda node: node.output.pop(), lambda node: node.input.pop(), lambda node: node.input.extend("ab")):
        model = plugin_graph()
        change(model.graph.node[0])
        with pytest.raises(InputFileError):
            OrtRunner(model)


def foreign(op_type: str, domain: str = "", *, kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, kind, (1, 2)) for name in "xy"]
    graph = helper.make_graph([helper.make_node(op_type, ["x"], ["y"], domain=domain)], "g", values[:1], values[1:])
    imports = [helper.make_opsetid("", 13), helper.make_opsetid("TRT", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def test_what_onnx_runtime_refuses_is_one_sentence_and_stdout_stays_clean(capfd: pytest.CaptureFixture[str]) -> None:
    unknown = foreign("CropAndResize_TRT", "TRT")
    no_text = onnx.load_model_from_string(unknown.SerializeToString().replace(b"CropAnd", b"Crop\xff\xfe\xfd"))
    for model in (unknown, no_text, foreign("Softmax", kind=TensorProto.INT64)):
        with pytest.raises(InputFileError, match="ONNX Runtime does not accept") as caught:
            OrtRunner(model)
        assert caught.value.exit_code == 4
        assert caught.value.got
    assert capfd.readouterr().out == ""


def test_an_inner_tensor_that_is_not_there_is_named() -> None:
    with pytest.raises(InputFileError, match="no_such_tensor"):
        OrtRunner(toy_graph(options()), extra_outputs=["no_such_tensor"])


@pytest.mark.parametrize("threads", [1, 2, None])
def test_the_number_of_threads_does_not_change_the_result(threads: int | None) -> None:
    graph = toy_graph(options(outputs="raw", thresholds=None), busy=True)
    images = {"images": np.full((1, 3, 32, 32), 9, np.float32)}
    got = OrtRunner(graph, threads=threads).infer(images)
    assert np.array_equal(got["conf"], OrtRunner(graph).infer(images)["conf"])
