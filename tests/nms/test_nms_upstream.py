"""Upstream's post-processing and its three suppressions: the goldens made with the original code, then the hard cases.

The goldens were made by running PingoLH/PytorchSSD-HarDNet at a2a0a268 and torchvision on seeded random inputs; see
tests/golden/README.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nms_cases import BOUNDS, STEP, nested_pair, random_boxes, random_scores

from hardnet_deploy.errors import UsageError
from hardnet_deploy.evaluate import postprocess
from hardnet_deploy.nms.upstream import box_utils_nms, py_cpu_nms, torchvision_nms, upstream_postprocess

GOLDEN = Path(__file__).parents[1] / "golden" / "nms"
NMS_CASES = sorted(GOLDEN.glob("nms_*.npz"))
POSTPROCESS_CASES = sorted(GOLDEN.glob("postproc_*.npz"))
FLAVOURS = {"py_cpu_plus1": py_cpu_nms, "torchvision": torchvision_nms, "box_utils": box_utils_nms}


def test_the_goldens_are_all_here() -> None:
    assert (len(NMS_CASES), len(POSTPROCESS_CASES)) == (10, 10)


@pytest.mark.parametrize("path", NMS_CASES, ids=lambda path: path.stem)
def test_each_flavour_keeps_what_the_original_kept(path: Path) -> None:
    case = np.load(path)
    boxes, scores = case["dets"][:, :4], case["dets"][:, 4]
    expectations = [name for name in case.files if name.startswith("keep_")]
    assert len(expectations) == 7
    for name in expectations:
        flavour, iou = name.removeprefix("keep_").removesuffix("_top200").rsplit("_", 1)
        kept = FLAVOURS[flavour](boxes, scores, float(iou))
        if case["has_tied_scores"]:
            assert np.array_equal(scores[kept], scores[case[name]]), name
        else:
            assert np.array_equal(kept, case[name]), name


@pytest.mark.parametrize("path", POSTPROCESS_CASES, ids=lambda path: path.stem)
def test_whole_postprocessing_equals_the_original(path: Path) -> None:
    case = np.load(path)
    detections = upstream_postprocess(
        case["boxes_normalised"],
        case["scores"],
        tuple(case["image_hw"]),
        threshold=float(case["thresh"]),
        max_per_image=int(case["max_per_image"]),
    )
    assert detections.dtype == np.float32
    assert np.array_equal(detections, case["dets_cls_x1y1x2y2_score"])


def detect(boxes: Any, scores: Any, **options: Any) -> Any:
    settings = {"image_hw": (1, 1), "threshold": 0.02, "max_per_image": 200} | options
    return upstream_postprocess(np.asarray(boxes, np.float32), np.asarray(scores, np.float32), **settings)


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("flavour", [torchvision_nms, box_utils_nms])
def test_suppresses_only_over_the_bound(bound: float, flavour: Any) -> None:
    scores = np.array([0.9, 0.8], np.float32)
    counts = {step: len(flavour(nested_pair(bound + step * STEP), scores, bound)) for step in (-1, 0, 1)}
    assert counts == {-1: 2, 0: 2, 1: 1}


def test_torchvision_compares_with_the_bound_in_double_precision() -> None:
    """In float32 both bounds round to the overlap itself; in float64 one lies under it and one over it."""
    overlap = round(0.45 * 2**23) / 2**23
    pair, scores = nested_pair(overlap), np.array([0.9, 0.8], np.float32)
    assert len(torchvision_nms(pair, scores, overlap - 1e-12)) == 1
    assert len(torchvision_nms(pair, scores, overlap + 1e-12)) == 2


def test_plus_one_flavour_counts_pixels_inclusively() -> None:
    """Inclusively counted, 4 x 2 pixels of 5 x 2 are common (0.8); in continuous coordinates 3 of 4 (0.75)."""
    boxes = np.array([[0, 0, 4, 1], [1, 0, 4, 1]], np.float32)
    scores = np.array([0.9, 0.8], np.float32)
    assert len(py_cpu_nms(boxes, scores, 0.77)) == 1
    assert len(torchvision_nms(boxes, scores, 0.77)) == 2


def test_box_utils_looks_at_the_best_200_only() -> None:
    apart = (np.arange(300)[:, None] * 10 + np.array([0, 0, 1, 1])).astype(np.float32)
    kept = box_utils_nms(apart, np.linspace(0, 1, 300, dtype=np.float32), 0.45)
    assert kept.tolist() == list(range(299, 99, -1))


@pytest.mark.parametrize("flavour", FLAVOURS.values())
def test_no_boxes_keep_nothing(flavour: Any) -> None:
    assert flavour(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.45).tolist() == []


def test_torchvision_flavour_orders_ties_by_index_and_never_suppresses_boxes_without_area() -> None:
    points = np.array([[1, 1, 1, 1]] * 3, np.float32)
    assert torchvision_nms(points, np.full(3, 0.5, np.float32), 0.45).tolist() == [0, 1, 2]


def test_confident_background_hides_a_detection_over_the_threshold() -> None:
    apart = [[0, 0, 0.1, 0.1], [0.5, 0.5, 0.6, 0.6]]
    assert detect(apart, [[0.91, 0.09], [0.89, 0.11]])[:, 5].tolist() == pytest.approx([0.11])


def test_score_at_the_threshold_is_dropped() -> None:
    apart = [[0, 0, 0.1, 0.1], [0.5, 0.5, 0.6, 0.6]]
    just_over = np.nextafter(np.float32(0.3), np.float32(1))
    assert detect(apart, [[0.7, 0.3], [0.7, just_over]], threshold=0.3)[:, 5].tolist() == [just_over]


def test_boxes_are_scaled_to_pixels_of_height_and_width_and_not_clipped() -> None:
    rows = detect([[-0.5, 0.25, 1.5, 0.5]], [[0.1, 0.9]], image_hw=(100, 200))
    assert rows.tolist() == [[1, -100, 25, 300, 50, pytest.approx(0.9)]]


def test_no_more_than_50_of_a_class_and_equal_scores_at_the_cut_stay() -> None:
    apart = np.arange(120)[:, None] * 2 + np.array([0, 0, 1, 1])
    scores = np.zeros((120, 4), np.float32)
    scores[:, 1:] = 0.25
    scores[:60, 1] = np.linspace(0.3, 0.4, 60)
    rows = detect(apart, scores, max_per_image=60)
    assert np.bincount(rows[:, 0].astype(int)).tolist() == [0, 50, 50, 50]
    assert detect(apart, scores, max_per_image=20)[:, 5].min() > 0.25
    assert len(detect(apart, scores, max_per_image=20)) == 20


@pytest.mark.parametrize(
    "scores",
    [
        pytest.param(np.tile(np.array([[1, 0, 0]]), (9, 1)), id="all background"),
        pytest.param(np.full((9, 3), np.nan), id="all NaN"),
        pytest.param(np.zeros((0, 3)), id="no priors"),
    ],
)
def test_no_detection_is_an_empty_table(scores: Any) -> None:
    rows = detect(random_boxes(np.random.default_rng(0), len(scores)), scores)
    assert (rows.shape, rows.dtype) == ((0, 6), np.float32)


def test_one_class_beside_background() -> None:
    assert detect([[0, 0, 1, 1]], [[0.4, 0.6]])[:, 0].tolist() == [1]


def test_stopping_early_changes_nothing() -> None:
    rng = np.random.default_rng(2)
    boxes, scores = random_boxes(rng, 300), random_scores(rng, (300, 2))[:, 1]
    assert np.array_equal(torchvision_nms(boxes, scores, 0.45, limit=7), torchvision_nms(boxes, scores, 0.45)[:7])


@pytest.mark.parametrize("wrong", [{"threshold": -1}, {"iou_threshold": 2}, {"max_per_image": 0}, {"max_per_class": 0}])
def test_options_out_of_range_are_usage_errors(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        detect([[0, 0, 1, 1]], [[0.4, 0.6]], **wrong)


def test_a_batch_is_refused() -> None:
    with pytest.raises(UsageError, match="one image"):
        detect(np.zeros((1, 3, 4)), np.zeros((1, 3, 2)))


def test_fixed_import_path() -> None:
    assert postprocess.upstream_postprocess is upstream_postprocess
    assert postprocess.efficient_nms.__module__ == "hardnet_deploy.nms.efficient"
