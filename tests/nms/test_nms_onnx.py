"""ONNX NonMaxSuppression: the reference against ONNX Runtime's own kernel, then the detections made with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from nms_cases import BOUNDS, STEP, hard_boxes, nested_pair, random_boxes, random_scores, tied_scores
from onnx import TensorProto, helper, numpy_helper

from hardnet_deploy.errors import UsageError
from hardnet_deploy.nms.efficient import efficient_nms
from hardnet_deploy.nms.onnx_nms import onnx_detections, onnx_nms
from hardnet_deploy.specs import F32


def onnxruntime_nms(boxes: F32, scores: F32, *, opset: int = 11, **options: Any) -> Any:
    """One NonMaxSuppression node in ONNX Runtime on the CPU; options absent here are absent in the node."""
    types = {"max_output_boxes_per_class": np.int64, "iou_threshold": np.float32, "score_threshold": np.float32}
    constants = [
        numpy_helper.from_array(np.array(options[name], dtype), name)
        for name, dtype in types.items()
        if options.get(name) is not None
    ]
    present = {constant.name for constant in constants}
    inputs = ["boxes", "scores", *(name if name in present else "" for name in types)]
    node = helper.make_node(
        "NonMaxSuppression", inputs, ["selected"], center_point_box=options.get("center_point_box", 0)
    )
    graph = helper.make_graph(
        [node],
        "nms",
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, boxes.shape),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, scores.shape),
        ],
        [helper.make_tensor_value_info("selected", TensorProto.INT64, ["M", 3])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"boxes": boxes, "scores": scores})[0]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("opset", [10, 11])
@pytest.mark.parametrize("center_point_box", [0, 1])
@pytest.mark.parametrize(
    "options",
    [
        {"max_output_boxes_per_class": 100, "iou_threshold": 0.45, "score_threshold": 0.02},
        {"max_output_boxes_per_class": 3, "iou_threshold": 0.3, "score_threshold": 0.2},
        {"max_output_boxes_per_class": 100, "iou_threshold": 0.0, "score_threshold": None},
        {"max_output_boxes_per_class": 100, "iou_threshold": 1.0, "score_threshold": 0.1},
        {},
    ],
)
def test_equals_onnxruntime(seed: int, opset: int, center_point_box: Any, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(seed)
    boxes = np.stack([hard_boxes(rng, 50), hard_boxes(rng, 50)])
    scores = random_scores(rng, (2, 50, 3)).transpose(0, 2, 1).copy()
    ours = onnx_nms(boxes, scores, center_point_box=center_point_box, **options)
    theirs = onnxruntime_nms(boxes, scores, opset=opset, center_point_box=center_point_box, **options)
    assert ours.dtype == np.int64
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("seed", range(10))
def test_equals_onnxruntime_where_scores_tie(seed: int) -> None:
    """The operator promises no order; ONNX Runtime 1.31 takes the lower index first, as the reference does."""
    rng = np.random.default_rng(seed)
    boxes, scores = hard_boxes(rng, 60)[None], tied_scores(rng, (1, 3, 60))
    options = {"max_output_boxes_per_class": 100, "iou_threshold": 0.3, "score_threshold": 0.2}
    assert np.array_equal(onnx_nms(boxes, scores, **options), onnxruntime_nms(boxes, scores, **options))


@pytest.mark.parametrize("bound", BOUNDS)
def test_suppresses_over_the_bound_but_not_at_it_as_onnxruntime_does(bound: float) -> None:
    counts = {}
    scores = np.array([[[0.9, 0.8]]], np.float32)
    options = {"max_output_boxes_per_class": 9, "iou_threshold": bound, "score_threshold": 0.1}
    for step in (-1, 0, 1):
        boxes = nested_pair(bound + step * STEP)[None]
        counts[step] = len(onnx_nms(boxes, scores, **options))
        assert counts[step] == len(onnxruntime_nms(boxes, scores, **options))
    assert counts == {-1: 2, 0: 2, 1: 1}


def test_score_at_the_threshold_does_not_pass() -> None:
    boxes = np.array([[[0, 0, 1, 1], [2, 2, 3, 3]]], np.float32)
    scores = np.array([[[0.3, np.nextafter(np.float32(0.3), np.float32(1))]]], np.float32)
    options = {"max_output_boxes_per_class": 9, "score_threshold": 0.3}
    assert onnx_nms(boxes, scores, **options).tolist() == [[0, 0, 1]]
    assert onnxruntime_nms(boxes, scores, **options).tolist() == [[0, 0, 1]]


def test_nan_scores_are_not_selected() -> None:
    boxes = np.array([[[0, 0, 1, 1]] * 3], np.float32)
    scores = np.array([[[np.nan, 0.8, np.nan]]], np.float32)
    selected = onnx_nms(boxes, scores, max_output_boxes_per_class=9, iou_threshold=0.5, score_threshold=0.1)
    assert selected.tolist() == [[0, 0, 1]]


def test_nothing_selected_keeps_the_shape() -> None:
    empty = onnx_nms(np.zeros((2, 0, 4), np.float32), np.zeros((2, 3, 0), np.float32), max_output_boxes_per_class=9)
    assert empty.shape == (0, 3)


def test_shapes_and_bounds_are_checked() -> None:
    boxes = np.zeros((1, 2, 4), np.float32)
    with pytest.raises(UsageError):
        onnx_nms(boxes, np.zeros((1, 2, 3), np.float32))
    with pytest.raises(UsageError):
        onnx_nms(boxes, np.zeros((1, 3, 2), np.float32), iou_threshold=1.5)
    with pytest.raises(UsageError):
        onnx_detections(
            boxes, np.zeros((1, 2, 3), np.float32), score_threshold=0.1, iou_threshold=0.5, max_detections=0
        )


def test_detections_equal_the_plugin_where_no_rule_differs() -> None:
    """Distinct scores, fewer candidates than any cap, no overlap or score exactly at a bound."""
    rng = np.random.default_rng(5)
    boxes = np.stack([random_boxes(rng, 200), random_boxes(rng, 200)])
    scores = random_scores(rng, (2, 200, 6))
    ours = onnx_detections(boxes, scores, score_threshold=0.05, iou_threshold=0.45, max_detections=40)
    plugin = efficient_nms(
        boxes, scores, score_threshold=0.05, iou_threshold=0.45, max_output_boxes=40, background_class=0
    )
    for one, other in zip(ours, plugin, strict=True):
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)
    assert ours.num_detections.tolist() == [[40], [40]]


def test_background_is_never_detected_and_class_numbers_count_it() -> None:
    boxes = np.array([[[0, 0, 1, 1], [5, 5, 6, 6]]], np.float32)
    scores = np.array([[[0.9, 0.1], [0.4, 0.6]]], np.float32)
    result = onnx_detections(boxes, scores, score_threshold=0.2, iou_threshold=0.5, max_detections=4)
    assert result.num_detections.tolist() == [[1]]
    assert result.detection_classes.tolist() == [[1, 0, 0, 0]]
    assert result.detection_boxes[0, 0].tolist() == [5, 5, 6, 6]


def test_best_over_classes_are_kept_and_ties_go_to_the_lower_class() -> None:
    boxes = (np.arange(3)[:, None] * 10 + np.array([0, 0, 1, 1]))[None].astype(np.float32)
    scores = np.array([[[0, 0.5, 0.3], [0, 0.1, 0.5], [0, 0.2, 0.9]]], np.float32)
    result = onnx_detections(boxes, scores, score_threshold=0.05, iou_threshold=0.5, max_detections=3)
    assert result.detection_classes.tolist() == [[2, 1, 2]]
    assert result.detection_boxes[0, :, 0].tolist() == [20, 0, 10]


def test_no_candidate_pads_with_zero() -> None:
    scores = np.tile(np.array([1, 0, 0], np.float32), (2, 5, 1))
    boxes = np.stack([random_boxes(np.random.default_rng(0), 5)] * 2)
    result = onnx_detections(boxes, scores, score_threshold=0.02, iou_threshold=0.45, max_detections=7)
    assert [output.shape for output in result] == [(2, 1), (2, 7, 4), (2, 7), (2, 7)]
    assert not any(output.any() for output in result)


def test_counts_of_a_batch_may_differ() -> None:
    boxes = np.stack([np.arange(3)[:, None] * 10 + np.array([0, 0, 1, 1])] * 2).astype(np.float32)
    scores = np.array([[[0.1, 0.9], [0.1, 0.9], [0.9, 0.1]], [[0.9, 0.1], [0.9, 0.1], [0.2, 0.8]]], np.float32)
    result = onnx_detections(boxes, scores, score_threshold=0.5, iou_threshold=0.5, max_detections=3)
    assert result.num_detections.tolist() == [[2], [1]]
