"""The demo scenes: the same on every call, labelled exactly, of all sizes and classes."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from hardnet_deploy.data.demo.colours import palette
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
        [7, 2, 8, 9, 12, 6],
        [
            [74, 57, 221, 219],
            [83, 33, 168, 118],
            [216, 52, 300, 131],
            [17, 68, 59, 111],
            [306, 40, 340, 76],
            [98, 191, 138, 222],
        ],
    ),
    ("calibration", 7): (
        (300, 300),
        [1, 9, 11, 5, 12, 9, 3],
        [
            [108, 35, 278, 206],
            [1, 77, 77, 163],
            [57, 217, 130, 297],
            [169, 177, 208, 198],
            [219, 40, 241, 65],
            [248, 210, 284, 246],
            [207, 158, 226, 173],
        ],
    ),
    ("search", 999): (
        (320, 320),
        [10, 6, 12, 4, 5],
        [[133, 13, 308, 174], [62, 219, 109, 248], [39, 140, 58, 159], [243, 275, 260, 288], [286, 114, 311, 128]],
    ),
    ("val", 1999): (
        (340, 300),
        [8, 6, 4, 8, 7, 11, 3],
        [
            [142, 197, 225, 278],
            [165, 119, 258, 178],
            [90, 28, 143, 63],
            [105, 50, 174, 129],
            [164, 199, 185, 234],
            [46, 31, 68, 49],
            [208, 29, 236, 46],
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


def test_a_scene_in_which_no_object_finds_a_place_gets_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hardnet_deploy.data.demo.scene._sizes", lambda _rng: [])
    scene = draw_scene("train", 5)
    assert len(scene.labels) == 3
    assert (scene.areas < SMALL_BELOW).all()


def test_colour_tells_the_pair_and_not_which_of_the_two() -> None:
    drawn = {
        name: np.mean([palette(np.random.default_rng(seed), DEMO.index(name) // 2 / 6).main for seed in range(300)], 0)
        for name in DEMO
    }
    for first, second in zip(DEMO[::2], DEMO[1::2], strict=True):
        assert np.array_equal(drawn[first], drawn[second])
    assert len({tuple(colour) for colour in drawn.values()}) == 6


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
