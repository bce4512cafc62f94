from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from hardnet_deploy.data.inter_linear import resize_inter_linear
from hardnet_deploy.data.preprocess import preprocess_image
from hardnet_deploy.device import run_engine
from hardnet_deploy.device.run_engine import EngineError
from hardnet_deploy.nms.efficient import efficient_nms
from hardnet_deploy.nms.matching import DetectionSet, match_detections
from hardnet_deploy.specs import classifier_preprocess, detector_preprocess

SIZES = [(1, 1), (7, 5), (64, 64), (32, 32), (65, 31), (500, 375), (3, 200), (200, 3), (33, 63)]


def image(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("target", [(32, 32), (300, 300), (1, 1), (17, 40)], ids=str)
def test_the_resize_is_the_hosts_to_the_bit(size: tuple[int, int], target: tuple[int, int]) -> None:
    picture, (width, height) = image(*size), target
    wanted = resize_inter_linear(picture, width=width, height=height)
    assert_array_equal(run_engine.resize_inter_linear(picture, width, height), wanted)


def test_the_resize_is_the_hosts_on_random_sizes() -> None:
    draw = np.random.default_rng(5)
    for _ in range(60):
        columns, rows, width, height = (int(size) for size in draw.integers(1, 90, 4))
        picture = image(columns, rows, seed=columns)
        wanted = resize_inter_linear(picture, width=width, height=height)
        assert_array_equal(run_engine.resize_inter_linear(picture, width, height), wanted)


@pytest.mark.parametrize("order", ["bgr", "rgb"])
def test_the_input_is_the_hosts_to_the_bit(order: Any) -> None:
    spec = dataclasses.replace(detector_preprocess(48), channel_order=order, divisor=255.0, std=(0.5, 0.25, 2.0))
    record, picture = dataclasses.asdict(spec), image(70, 41)
    made = run_engine.to_input(run_engine.to_pixels(picture, record)[None], record)
    assert made.dtype == np.float32
    assert_array_equal(made[0], preprocess_image(picture, spec))


def test_a_backbones_crop_is_left_to_the_host() -> None:
    with pytest.raises(EngineError, match="only the host"):
        run_engine.to_pixels(image(9, 9), dataclasses.asdict(classifier_preprocess(8)))


def save_ppm(path: Path, picture: NDArray[np.uint8], header: str = "P6\n{w} {h}\n255\n") -> Path:
    head = header.format(w=picture.shape[1], h=picture.shape[0])
    path.write_bytes(head.encode() + picture.tobytes())
    return path


@pytest.mark.parametrize("header", ["P6\n{w} {h}\n255\n", "P6 {w} {h} 255 ", "P6\n# a comment\n{w}\n# 7 8\n{h}\n255\n"])
def test_ppm_and_npy_are_read_with_no_picture_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: str
) -> None:
    for library in ("PIL", "cv2"):
        monkeypatch.setitem(sys.modules, library, None)
    picture = image(5, 4)
    np.save(tmp_path / "a.npy", picture)
    save_ppm(tmp_path / "a.ppm", picture, header)
    assert_array_equal(run_engine.read_image(str(tmp_path / "a.npy")), picture)
    assert_array_equal(run_engine.read_image(str(tmp_path / "a.ppm")), picture)
    with pytest.raises(EngineError, match="neither Pillow nor OpenCV") as caught:
        run_engine.read_image(str(tmp_path / "a.png"))
    assert caught.value.code == 3


@pytest.mark.parametrize("missing", [(), ("PIL",)], ids=["Pillow", "OpenCV"])
def test_png_is_read_as_rgb_with_either_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...]
) -> None:
    from PIL import Image

    picture = image(6, 3)
    Image.fromarray(picture).save(tmp_path / "a.png")
    for library in missing:
        monkeypatch.setitem(sys.modules, library, None)
    assert_array_equal(run_engine.read_image(str(tmp_path / "a.png")), picture)


def test_what_is_no_image_is_one_sentence(tmp_path: Path) -> None:
    np.save(tmp_path / "float.npy", np.zeros((2, 2, 3)))
    np.save(tmp_path / "object.npy", np.array([{}], object), allow_pickle=True)
    save_ppm(tmp_path / "short.ppm", image(4, 4), "P6\n40 40\n255\n")
    save_ppm(tmp_path / "deep.ppm", image(4, 4), "P6\n2 2\n65535\n")
    (tmp_path / "text.png").write_bytes(b"no picture")
    for name in ("float.npy", "object.npy", "short.ppm", "deep.ppm", "text.png", "missing.ppm"):
        with pytest.raises(EngineError) as caught:
            run_engine.read_image(str(tmp_path / name))
        assert caught.value.code == 4, name
        assert name in caught.value.what


def random_boxes(draw: np.random.Generator, count: int) -> NDArray[np.float32]:
    corners = draw.uniform(0, 1, (count, 2, 2)).astype(np.float32)
    return np.concatenate((corners.min(1), corners.max(1)), axis=1)


@pytest.mark.parametrize("seed", range(4))
def test_boxes_and_scores_go_through_the_plugins_nms(seed: int) -> None:
    draw = np.random.default_rng(seed)
    boxes = random_boxes(draw, 300)[None]
    scores = draw.dirichlet(np.ones(4), (1, 300)).astype(np.float32)
    thresholds = {"score": 0.3, "iou": 0.45, "max_detections": 40}
    wanted = DetectionSet.from_result(
        efficient_nms(boxes, scores, score_threshold=0.3, iou_threshold=0.45, max_output_boxes=40, background_class=0),
        0,
    )
    (found,) = run_engine.to_detections({"boxes": boxes, "scores": scores}, thresholds)
    assert_array_equal(found[:, 0], wanted.classes)
    assert_array_equal(found[:, 1:5], wanted.boxes)
    assert_array_equal(found[:, 5], wanted.scores)


def test_no_detection_is_an_empty_table() -> None:
    outputs = {"boxes": np.zeros((1, 5, 4), np.float32), "scores": np.zeros((1, 5, 3), np.float32)}
    (found,) = run_engine.to_detections(outputs, {"score": 0.3, "iou": 0.45, "max_detections": 4})
    assert found.shape == (0, 6)


def test_outputs_that_are_no_numbers_or_no_detections_are_refused() -> None:
    with pytest.raises(EngineError, match="no numbers"):
        run_engine.to_detections({"boxes": np.full((1, 5, 4), np.nan, np.float32)}, None)
    with pytest.raises(EngineError, match="no detections"):
        run_engine.to_detections({"loc": np.zeros((1, 5, 4), np.float32)}, None)


@pytest.mark.parametrize("seed", range(6))
def test_detections_are_matched_as_on_the_host(seed: int) -> None:
    draw = np.random.default_rng(seed)
    sides = []
    base = random_boxes(draw, 30)
    for _ in range(2):
        kept = draw.permutation(30)[: draw.integers(0, 30)]
        boxes = base[kept] + draw.normal(0, 0.02, (len(kept), 4))
        boxes[::3] = base[kept][::3]
        rows = np.column_stack((draw.integers(1, 3, len(kept)), boxes, draw.uniform(0, 1, len(kept)).round(1)))
        sides.append(rows.astype(np.float64))
    wanted = match_detections(
        DetectionSet.from_rows(sides[0]), DetectionSet.from_rows(sides[1]), iou_at_least=0.5, score_tolerance=1.0
    )
    found = run_engine.match(sides[0], sides[1], 0.5)
    assert [pair[:2] for pair in found] == [tuple(pair) for pair in wanted.pairs.tolist()]
    if found:
        assert min(pair[2] for pair in found) == pytest.approx(wanted.min_iou)
