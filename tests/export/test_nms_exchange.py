"""Taking the NMS off an exported graph and putting another behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from small_int8 import DETECTOR, backbone_graph, detector_graph

from hardnet_deploy.errors import ExportError
from hardnet_deploy.export.graph_checks import check_clean, check_graph
from hardnet_deploy.export.nms_exchange import with_nms, without_nms
from hardnet_deploy.runners.ort import OrtRunner
from hardnet_deploy.specs import Thresholds
from hardnet_deploy.targets import get_target
from hardnet_deploy.tensor_names import BOXES, CONF, DETECTION_OUTPUTS, LOC, SCORES
from hardnet_deploy.workflows.seeded_inputs import seeded_noise, seeded_pixels

assert DETECTOR.head is not None
HEAD = DETECTOR.head
STRICT = Thresholds(score=0.3, iou=0.2, max_detections=4)
USUAL = Thresholds(score=0.03, iou=0.45, max_detections=10)


def run(model: onnx.ModelProto, batch: int = 1) -> dict[str, Any]:
    images = np.concatenate([seeded_pixels(DETECTOR.preprocess, 1), 50 * seeded_noise(DETECTOR.preprocess, 1)])
    return OrtRunner(model).infer({"images": images[:batch]})


def outputs(model: onnx.ModelProto) -> list[str]:
    return [value.name for value in model.graph.output]


def domains(model: onnx.ModelProto) -> set[str]:
    return {one.domain for one in model.opset_import}


@pytest.mark.parametrize("thresholds", [USUAL, STRICT])
@pytest.mark.parametrize("batch", [1, 2, None])
@pytest.mark.parametrize("nms", ["efficient", "onnx"])
def test_onnx_nms_behind_any_graph_detects_what_its_own_export_does(
    nms: Any, batch: int | None, thresholds: Thresholds
) -> None:
    wanted = detector_graph(nms="onnx", batch=batch, thresholds=thresholds)
    found = with_nms(detector_graph(nms=nms, batch=batch, thresholds=USUAL), "onnx", HEAD, thresholds)
    assert outputs(found) == list(DETECTION_OUTPUTS)
    assert domains(found) == {""}
    one, other = run(wanted, batch or 2), run(found, batch or 2)
    assert one["num_detections"].min() > 0
    for name in DETECTION_OUTPUTS:
        np.testing.assert_array_equal(one[name], other[name])
    assert check_clean(found, fused=True) == []
    onnx.checker.check_model(found, full_check=True)
    assert check_graph(found, get_target("cpu")).accepted


def test_the_plugin_comes_back_as_it_was() -> None:
    wanted = detector_graph()
    found = with_nms(with_nms(wanted, "onnx", HEAD, USUAL), "efficient", HEAD, USUAL)
    assert found.graph.node[-1] == wanted.graph.node[-1]
    assert domains(found) == {"", "TRT"}
    assert check_clean(found, fused=True) == []
    assert {tensor.name for tensor in found.graph.initializer} == {tensor.name for tensor in wanted.graph.initializer}
    for name, values in run(wanted).items():
        np.testing.assert_array_equal(values, run(found)[name])


def test_a_threshold_that_the_plugin_does_not_honour_is_refused() -> None:
    with pytest.raises(ExportError, match="does not honour"):
        with_nms(detector_graph(), "efficient", HEAD, Thresholds(score=0.001, iou=0.45, max_detections=10))


@pytest.mark.parametrize("nms", ["efficient", "onnx"])
def test_without_nms_the_graph_ends_at_boxes_and_scores(nms: Any) -> None:
    found = without_nms(detector_graph(nms=nms))
    assert outputs(found) == [BOXES, SCORES]
    assert domains(found) == {""}
    known = {value.name for value in (*found.graph.value_info, *found.graph.output)}
    assert {LOC, CONF, BOXES, SCORES} <= known
    assert not any(name.startswith(("nms", "detection")) for name in known)
    read = {name for node in found.graph.node for name in node.input}
    assert {tensor.name for tensor in found.graph.initializer} <= read
    assert check_clean(found, fused=True) == []
    onnx.checker.check_model(found, full_check=True)
    wanted = run(detector_graph(outputs="boxes"))
    for name, values in run(found).items():
        np.testing.assert_array_equal(values, wanted[name])


def test_a_graph_that_ends_there_already_stays_as_it_is() -> None:
    model = detector_graph(outputs="boxes")
    assert without_nms(model).SerializeToString(deterministic=True) == model.SerializeToString(deterministic=True)


def test_the_given_graph_is_left_alone() -> None:
    model = detector_graph()
    before = model.SerializeToString(deterministic=True)
    without_nms(model)
    with_nms(model, "onnx", HEAD, USUAL)
    assert model.SerializeToString(deterministic=True) == before


def test_what_the_model_says_of_itself_is_kept() -> None:
    model = detector_graph()
    model.graph.doc_string = "untrained weights"
    found = with_nms(model, "onnx", HEAD, USUAL)
    assert found.graph.doc_string == "untrained weights"
    assert found.graph.name == model.graph.name
    assert (found.ir_version, found.producer_name) == (model.ir_version, model.producer_name)


@pytest.mark.parametrize("model", [backbone_graph(), detector_graph(outputs="raw")])
def test_a_graph_without_boxes_is_refused(model: onnx.ModelProto) -> None:
    with pytest.raises(ExportError, match="no tensors 'boxes' and 'scores'"):
        without_nms(model)
    with pytest.raises(ExportError, match="no tensors 'boxes' and 'scores'") as caught:
        with_nms(model, "onnx", HEAD, USUAL)
    assert "--outputs detections or boxes" in (caught.value.next_step or "")


def test_a_graph_of_which_the_shapes_are_not_known_is_refused() -> None:
    model = detector_graph()
    del model.graph.value_info[:]
    model.graph.value_info.append(helper.make_tensor_value_info(BOXES, TensorProto.FLOAT, None))
    with pytest.raises(ExportError, match="no tensors 'boxes' and 'scores'"):
        without_nms(model)
