"""The NMS written into graphs, on hard cases, against the NumPy reference of each kind."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.testing import assert_array_equal

from hardnet_deploy.export.graph_builder import BATCH_AXIS, GraphBuilder
from hardnet_deploy.export.nms import write_efficient_nms, write_onnx_nms
from hardnet_deploy.nms.efficient import EfficientNmsResult, efficient_nms
from hardnet_deploy.nms.onnx_nms import onnx_detections
from hardnet_deploy.runners.ort import OrtRunner
from hardnet_deploy.specs import DetectorHead, PriorLayer, Thresholds
from hardnet_deploy.tensor_names import DETECTION_OUTPUTS

CASE = tuple[np.ndarray, np.ndarray]
HALF = 0.5


def head_of(priors: int, classes: int) -> DetectorHead:
    """Any geometry with that many default boxes: only the counts matter here."""
    layer = PriorLayer(grid=1, stride=1, min_size=1, max_size=1, aspect_ratios=(2.0,) * ((priors - 2) // 2))
    head = DetectorHead(input_size=1, num_classes=classes, layers=(layer,))
    assert head.num_priors == priors
    return head


def graph(
    kind: str, boxes: np.ndarray, scores: np.ndarray, thresholds: Thresholds, *, dynamic: bool
) -> onnx.ModelProto:
    batch, priors, classes = scores.shape
    first = BATCH_AXIS if dynamic else batch
    builder = GraphBuilder(opset=13, name="nms")
    builder.input("boxes", (first, priors, 4))
    builder.input("scores", (first, priors, classes))
    if kind == "efficient":
        write_efficient_nms(builder, thresholds)
    else:
        write_onnx_nms(builder, head_of(priors, classes), thresholds)
    model = builder.model(DETECTION_OUTPUTS, doc="test")
    onnx.checker.check_model(model)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    return model


def both(
    kind: str, case: CASE, thresholds: Thresholds, *, dynamic: bool
) -> tuple[EfficientNmsResult, EfficientNmsResult]:
    boxes, scores = case
    found = OrtRunner(graph(kind, boxes, scores, thresholds, dynamic=dynamic)).infer({"boxes": boxes, "scores": scores})
    got = EfficientNmsResult(*(found[name] for name in DETECTION_OUTPUTS))
    if kind == "efficient":
        wanted = efficient_nms(
            boxes,
            scores,
            score_threshold=thresholds.score,
            iou_threshold=thresholds.iou,
            max_output_boxes=thresholds.max_detections,
            background_class=0,
        )
    else:
        wanted = onnx_detections(
            boxes,
            scores,
            score_threshold=thresholds.score,
            iou_threshold=thresholds.iou,
            max_detections=thresholds.max_detections,
        )
    return got, wanted


def random_case(batch: int, priors: int, classes: int, seed: int) -> CASE:
    draw = np.random.default_rng(seed)
    centre, size = draw.uniform(0.2, 0.8, (batch, priors, 2)), draw.uniform(0.05, 0.4, (batch, priors, 2))
    boxes = np.concatenate((centre - size / 2, centre + size / 2), axis=2).astype(np.float32)
    logits = draw.normal(0, 2, (batch, priors, classes))
    scores = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    return boxes, scores.astype(np.float32)


def pair(iou: float) -> np.ndarray:
    """Two boxes 1 high whose widths overlap to exactly this IoU in float32 for 0.5: [0, 1] and [1 - x, 2 - x]."""
    overlap = 2 * iou / (1 + iou)
    return np.array([[[0, 0, 1, 1], [1 - overlap, 0, 2 - overlap, 1]] + [[5, 5, 5, 5]] * 2], np.float32)


def scored(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array([rows], np.float32)


@pytest.mark.parametrize("dynamic", [False, True], ids=["fixed", "dynamic"])
@pytest.mark.parametrize("kind", ["efficient", "onnx"])
@pytest.mark.parametrize("kept", [1, 7, 60, 500])
@pytest.mark.parametrize(("batch", "classes"), [(1, 2), (1, 21), (3, 5)])
def test_random_boxes(kind: str, batch: int, classes: int, kept: int, dynamic: bool) -> None:
    case = random_case(batch, 60, classes, seed=batch * 100 + classes)
    thresholds = Thresholds(score=0.05, iou=0.45, max_detections=kept)
    got, wanted = both(kind, case, thresholds, dynamic=dynamic)
    for mine, reference in zip(got, wanted, strict=True):
        assert mine.dtype == reference.dtype
        assert_array_equal(mine, reference)
    assert (got.num_detections > 0).all()
    assert (got.detection_classes[:, 0] > 0).all()


@pytest.mark.parametrize("kind", ["efficient", "onnx"])
def test_images_of_a_batch_do_not_mix(kind: str) -> None:
    """Image 0 finds nothing, image 1 everything, image 2 one box: each keeps its own."""
    boxes, scores = random_case(3, 40, 4, seed=3)
    scores[0] = [1, 0, 0, 0]
    scores[2] = [1, 0, 0, 0]
    scores[2, 11] = [0.1, 0, 0.9, 0]
    got, wanted = both(kind, (boxes, scores), Thresholds(score=0.02, iou=0.45, max_detections=20), dynamic=False)
    for mine, reference in zip(got, wanted, strict=True):
        assert_array_equal(mine, reference)
    assert got.num_detections.ravel().tolist() == [0, 20, 1]
    assert_array_equal(got.detection_boxes[2, 0], boxes[2, 11])
    assert got.detection_classes[2, 0] == 2
    for rest in (got.detection_boxes[0], got.detection_scores[0], got.detection_classes[0], got.detection_boxes[2, 1:]):
        assert not rest.any()


@pytest.mark.parametrize("kind", ["efficient", "onnx"])
def test_all_background_finds_nothing(kind: str) -> None:
    boxes, scores = random_case(1, 30, 6, seed=4)
    scores[...] = 0
    scores[..., 0] = 1
    got, _ = both(kind, (boxes, scores), Thresholds(score=0.02, iou=0.45, max_detections=5), dynamic=False)
    assert got.num_detections.tolist() == [[0]]
    assert not any(part.any() for part in got[1:])


@pytest.mark.parametrize(
    ("kind", "iou", "kept"),
    [
        ("efficient", 0.49, 2),
        ("efficient", 0.5, 1),
        ("efficient", 0.51, 1),
        ("onnx", 0.49, 2),
        ("onnx", 0.5, 2),
        ("onnx", 0.51, 1),
    ],
)
def test_an_overlap_at_the_bound(kind: str, iou: float, kept: int) -> None:
    """The plugin suppresses at IoU >= 0.5, ONNX only above it."""
    boxes = pair(iou)
    if iou == HALF:  # an exact half in float32: widths 1 and 2, one inside the other
        boxes[0, :2] = [[0, 0, 1, 1], [0, 0, 2, 1]]
    scores = scored((0.1, 0.9), (0.2, 0.8), (1, 0), (1, 0))
    got, _ = both(kind, (boxes, scores), Thresholds(score=0.02, iou=0.5, max_detections=4), dynamic=False)
    assert got.num_detections.tolist() == [[kept]]


@pytest.mark.parametrize(("kind", "kept"), [("efficient", 1), ("onnx", 0)])
def test_a_score_at_the_bound(kind: str, kept: int) -> None:
    """The plugin keeps a score >= the threshold, ONNX only one above it."""
    scores = scored((0.75, 0.25), (1, 0), (1, 0), (1, 0))
    got, _ = both(kind, (pair(0.1), scores), Thresholds(score=0.25, iou=0.5, max_detections=4), dynamic=False)
    assert got.num_detections.tolist() == [[kept]]


@pytest.mark.parametrize("kind", ["efficient", "onnx"])
def test_equal_scores_are_all_kept_or_resolved_as_the_reference_says(kind: str) -> None:
    boxes, scores = random_case(1, 40, 5, seed=5)
    scores[...] = np.float32(0.2)
    got, wanted = both(kind, (boxes, scores), Thresholds(score=0.1, iou=0.45, max_detections=200), dynamic=False)
    for mine, reference in zip(got, wanted, strict=True):
        assert_array_equal(mine, reference)


@pytest.mark.parametrize("kind", ["efficient", "onnx"])
def test_overlap_across_classes_suppresses_nothing(kind: str) -> None:
    boxes = np.tile(np.array([0, 0, 1, 1], np.float32), (1, 4, 1))
    scores = scored((0.1, 0.9, 0, 0), (0.1, 0, 0.8, 0), (0.1, 0, 0, 0.7), (1, 0, 0, 0))
    got, _ = both(kind, (boxes, scores), Thresholds(score=0.02, iou=0.45, max_detections=9), dynamic=False)
    assert got.detection_classes[0, :3].tolist() == [1, 2, 3]


def test_onnx_nms_may_start_from_a_threshold_of_zero() -> None:
    boxes, scores = random_case(1, 20, 3, seed=6)
    scores[0, :10, 1:] = 0
    got, wanted = both("onnx", (boxes, scores), Thresholds(score=0.0, iou=0.45, max_detections=50), dynamic=False)
    for mine, reference in zip(got, wanted, strict=True):
        assert_array_equal(mine, reference)
