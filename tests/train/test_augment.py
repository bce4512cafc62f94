"""Augmented views: boxes stay on their objects, sizes and ranges hold, every choice comes from the generator."""

import numpy as np
import pytest
from numpy.typing import NDArray

from hardnet_deploy.data.inter_linear import resize_inter_linear
from hardnet_deploy.specs import detector_preprocess
from hardnet_deploy.train.augment import STRENGTHS, augment
from hardnet_deploy.train.recipe import Augmentation

SPEC = detector_preprocess(96)
KINDS: list[Augmentation] = ["ssd", "light"]


def _scene() -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.int64]]:
    """Two white rectangles on black, which colours and filters keep apart from everything."""
    image = np.zeros((120, 160, 3), np.uint8)
    boxes = np.array([[20, 30, 70, 80], [90, 50, 150, 110]], np.float64)
    for x1, y1, x2, y2 in boxes.astype(int):
        image[y1:y2, x1:x2] = 255
    return image, boxes, np.array([1, 2])


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_stay_on_their_objects(kind: Augmentation) -> None:
    image, boxes, labels = _scene()
    seen = 0
    for seed in range(150):
        draw = np.random.default_rng(seed)
        view, kept, names = augment(image, boxes[:1], labels[:1], spec=SPEC, kind=kind, draw=draw)
        assert view.shape == (96, 96, 3)
        assert view.dtype == np.uint8
        assert len(kept) == len(names) <= 1
        if not len(kept):
            continue
        x1, y1, x2, y2 = np.round(kept[0] * 96).astype(int)
        if min(x2 - x1, y2 - y1) < 16:
            continue
        inner = view[y1 + 4 : y2 - 4, x1 + 4 : x2 - 4]
        assert inner.min(axis=2).mean() > 90  # white, darkened at most by contrast 0.5 and brightness -32
        assert np.ptp(inner.astype(int), axis=(0, 1)).max() <= 25
        seen += 1
    assert seen > 60


@pytest.mark.parametrize("kind", [*KINDS, "none"])
def test_boxes_are_fractions_of_the_view_and_in_order(kind: Augmentation) -> None:
    image, boxes, labels = _scene()
    for seed in range(100):
        _, kept, _ = augment(image, boxes, labels, spec=SPEC, kind=kind, draw=np.random.default_rng(seed))
        assert (kept >= -1e-9).all()
        assert (kept <= 1 + 1e-9).all()
        assert (kept[:, 2:] > kept[:, :2]).all()


def test_none_is_the_detectors_own_preprocessing() -> None:
    image, boxes, labels = _scene()
    draw = np.random.default_rng(0)
    view, kept, names = augment(image, boxes, labels, spec=SPEC, kind="none", draw=draw)
    assert np.array_equal(view, resize_inter_linear(image, width=96, height=96))
    assert np.allclose(kept, boxes / [160, 120, 160, 120])
    assert names.tolist() == [1, 2]


def test_the_same_generator_makes_the_same_view_and_another_another() -> None:
    image, boxes, labels = _scene()
    views = [augment(image, boxes, labels, spec=SPEC, kind="ssd", draw=np.random.default_rng(s)) for s in (3, 3, 4)]
    assert np.array_equal(views[0][0], views[1][0])
    assert np.array_equal(views[0][1], views[1][1])
    assert not np.array_equal(views[0][0], views[2][0])


def test_mirroring_turns_boxes_with_the_picture() -> None:
    image, boxes, labels = _scene()
    plain = boxes[:1] / [160, 120, 160, 120]
    mirrored = plain[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [1, 0, 1, 0]
    found = {"plain": 0, "mirrored": 0}
    for seed in range(200):
        _, kept, _ = augment(image, boxes[:1], labels[:1], spec=SPEC, kind="light", draw=np.random.default_rng(seed))
        found["plain"] += bool(len(kept) and np.allclose(kept, plain))
        found["mirrored"] += bool(len(kept) and np.allclose(kept, mirrored))
    assert min(found.values()) > 20


def test_an_image_without_objects_stays_without() -> None:
    image, _, _ = _scene()
    for kind in KINDS:
        view, kept, names = augment(
            image, np.zeros((0, 4)), np.zeros(0, np.int64), spec=SPEC, kind=kind, draw=np.random.default_rng(1)
        )
        assert view.shape == (96, 96, 3)
        assert kept.shape == (0, 4)
        assert names.shape == (0,)


def test_objects_that_become_too_thin_are_dropped() -> None:
    image = np.zeros((100, 1000, 3), np.uint8)
    boxes = np.array([[100.0, 10.0, 105.0, 90.0], [300.0, 10.0, 500.0, 90.0]])
    _, kept, names = augment(image, boxes, np.array([1, 2]), spec=SPEC, kind="none", draw=np.random.default_rng(0))
    assert names.tolist() == [2]
    assert len(kept) == 1


def test_light_cuts_no_object_by_more_than_three_tenths() -> None:
    strength = STRENGTHS["light"]
    assert strength.whole_objects
    image, boxes, labels = _scene()
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) / (160 * 120)
    for seed in range(200):
        _, kept, names = augment(image, boxes, labels, spec=SPEC, kind="light", draw=np.random.default_rng(seed))
        for box, label in zip(kept, names, strict=True):
            # Cropping only enlarges, expanding shrinks by at most 1.4 a side.
            assert (box[2:] - box[:2]).prod() >= 0.7 * areas[label - 1] / strength.largest_expand**2 - 1e-9
