"""The demo scenes: the same on every call, labelled exactly, of all sizes and classes."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from hardnet_deploy.data.demo.layout import LARGE_FROM, SMALL_BELOW
from hardnet_deploy.data.demo.painting import LEAST_SIDE
from hardnet_deploy.data.demo.scene import SIZES, Scene, draw_scene
from hardnet_deploy.data.demo.splits import SPLIT_SIZES
from hardnet_deploy.errors import UsageError
from hardnet_deploy.models.class_names import DEMO

RASTER = 1.0  # pixels: another version of Pillow may round an edge the other way

PINNED = {
    ("train", 0): (
        (340, 300),
        [7, 3, 6, 10, 4, 11],
        [
            [7, 54, 137, 209],
            [194, 85, 298, 155],
            [110, 102, 197, 174],
            [187, 151, 229, 194],
            [86, 248, 128, 280],
            [85, 2, 116, 38],
        ],
    ),
    ("calibration", 7): (
        (300, 300),
        [1, 9, 7, 4, 11, 8, 9],
        [
            [108, 35, 278, 206],
            [82, 10, 162, 92],
            [40, 203, 112, 283],
            [67, 226, 103, 249],
            [220, 229, 245, 253],
            [210, 38, 244, 75],
            [216, 36, 231, 52],
        ],
    ),
    ("search", 999): (
        (320, 320),
        [10, 10, 11, 11, 10],
        [[125, 71, 302, 236], [110, 258, 145, 299], [48, 177, 68, 193], [26, 125, 45, 144], [63, 273, 78, 287]],
    ),
    ("val", 1999): (
        (340, 300),
        [8, 6, 9, 7, 8, 5, 10],
        [
            [19, 192, 98, 281],
            [144, 206, 234, 264],
            [83, 223, 128, 268],
            [288, 34, 340, 122],
            [219, 119, 248, 145],
            [70, 123, 96, 136],
            [137, 91, 157, 113],
        ],
    ),
}


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene("train", index) for index in range(120)]


def same(first: Scene, second: Scene) -> bool:
    arrays = all(np.array_equal(getattr(first, name), getattr(second, name)) for name in ("boxes", "labels", "areas"))
    return arrays and first.jpeg == second.jpeg and (first.width, first.height) == (second.width, second.height)


def test_a_scene_is_the_same_whatever_was_drawn_before(scenes: list[Scene]) -> None:
    for index in (5, 0, 119):
        assert same(draw_scene("train", index), scenes[index])


@pytest.mark.parametrize(("split", "index"), PINNED)
def test_scenes_are_those_the_shipped_detector_was_trained_on(split: str, index: int) -> None:
    size, labels, boxes = PINNED[split, index]
    scene = draw_scene(split, index)
    assert (scene.width, scene.height) == size
    assert scene.labels.tolist() == labels
    np.testing.assert_allclose(scene.boxes, boxes, rtol=0, atol=RASTER)


def test_no_two_scenes_of_any_splits_or_seeds_are_equal() -> None:
    drawn = [draw_scene(split, index, seed=seed) for split in SPLIT_SIZES for index in range(4) for seed in (0, 1)]
    assert len({hashlib.sha256(scene.jpeg).digest() for scene in drawn}) == len(drawn)


def test_the_file_is_a_jpeg_of_the_size_it_says(scenes: list[Scene]) -> None:
    for scene in scenes[:20]:
        with Image.open(io.BytesIO(scene.jpeg)) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (scene.width, scene.height))
    assert {(scene.width, scene.height) for scene in scenes} == set(SIZES)


def test_boxes_lie_inside_and_hold_the_area(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert scene.boxes.dtype == scene.areas.dtype == np.float64
        assert scene.labels.dtype == np.int64
        low, high = scene.boxes[:, :2], scene.boxes[:, 2:]
        assert (low >= 0).all()
        assert (high <= (scene.width, scene.height)).all()
        assert (high - low >= LEAST_SIDE).all()
        assert (scene.areas > 0).all()
        assert (scene.areas <= (high - low).prod(axis=1)).all()


def test_three_to_nine_objects_of_every_class(scenes: list[Scene]) -> None:
    counts = [len(scene.labels) for scene in scenes]
    assert 3 <= min(counts) < max(counts) <= 9
    assert set(np.concatenate([scene.labels for scene in scenes]).tolist()) == set(range(1, len(DEMO) + 1))


def test_a_scene_too_crowded_for_its_large_objects_gets_small_ones() -> None:
    assert len(draw_scene("train", 6978).labels) == 3  # the only one of the split where just two found a place


def test_each_of_cocos_sizes_has_its_share(scenes: list[Scene]) -> None:
    areas = np.concatenate([scene.areas for scene in scenes])
    small, large = np.mean(areas < SMALL_BELOW), np.mean(areas >= LARGE_FROM)
    assert 0.35 < small < 0.55
    assert 0.12 < large < 0.25  # 0.16 over all scenes; 120 of them have about 110 large objects
    assert 1 - small - large > 0.3


@pytest.mark.parametrize(
    ("split", "index", "seed"), [("test", 0, 0), ("", 0, 0), ("val", -1, 0), ("val", 2000, 0), ("val", 0, -1)]
)
def test_what_cannot_be_drawn_is_refused(split: str, index: int, seed: int) -> None:
    with pytest.raises(UsageError) as caught:
        draw_scene(split, index, seed=seed)
    assert caught.value.wanted
