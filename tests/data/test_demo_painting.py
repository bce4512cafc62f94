"""Boxes are of what is visible, found here by painting with and without; too little visible is never accepted."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hardnet_deploy.data.demo.colours import palette
from hardnet_deploy.data.demo.objects import DRAWERS
from hardnet_deploy.data.demo.painting import Painting
from hardnet_deploy.data.demo.sprite import Sprite, keep_apart, mean_colour, render, transform
from hardnet_deploy.models.class_names import DEMO
from hardnet_deploy.specs import F32

WHITE = 255.0
UPRIGHT = transform(angle=0.0, stretch=1.0, mirror=False)


def black(width: int = 100, height: int = 80) -> Painting:
    return Painting(np.zeros((height, width, 3), dtype=np.float32))


def block(width: int, height: int, *, rim: float = 0.0) -> Sprite:
    """A white rectangle, with a rim of one pixel of that alpha around it."""
    alpha = np.full((height + 2, width + 2), rim, dtype=np.float32)
    alpha[1:-1, 1:-1] = 1
    return Sprite(rgb=np.full((height + 2, width + 2, 3), WHITE, dtype=np.float32), alpha=alpha, mask=alpha >= 0.5)


def line_at(column: int, width: int) -> F32:
    alpha = np.zeros((80, 100), dtype=np.float32)
    alpha[:, column : column + width] = 1
    return alpha


def box_of(changed: NDArray[np.bool_]) -> list[int]:
    rows, columns = np.nonzero(changed)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("name", DEMO)
@pytest.mark.parametrize("size", [14.0, 40.0, 150.0])
def test_every_class_gets_the_box_of_the_pixels_it_changed(name: str, size: float) -> None:
    rng = np.random.default_rng(3)
    painting = black(320, 300)
    sprite = render(DRAWERS[name](rng, palette(rng, 0.3)), size, UPRIGHT, rng, longest=280, outline=True)
    sprite.rgb = np.full_like(sprite.rgb, WHITE)
    painting.lay(sprite, 10, 20, label=4)
    changed = painting.pixels[..., 0] >= WHITE / 2
    boxes, labels, areas = painting.annotations()
    assert boxes[0].tolist() == box_of(changed)
    assert labels.tolist() == [4]
    assert areas.tolist() == [changed.sum()]
    width, height = boxes[0, 2:] - boxes[0, :2]
    assert np.sqrt(width * height) == pytest.approx(size, abs=2 + 0.06 * size)  # an outline adds to all sides


@pytest.mark.parametrize(("rim", "grown"), [(0.0, 0), (0.49, 0), (0.5, 1), (1.0, 1)])
def test_half_covered_pixels_belong_to_the_object(rim: float, grown: int) -> None:
    painting = black()
    painting.lay(block(20, 12, rim=rim), 30, 40, label=1)
    assert painting.annotations()[0].tolist() == [[31 - grown, 41 - grown, 51 + grown, 53 + grown]]


def test_the_box_is_of_the_visible_part() -> None:
    painting = black()
    painting.lay(block(40, 20), 10, 10, label=1)
    painting.lay(block(15, 30), 36, 5, label=2)
    boxes, labels, areas = painting.annotations()
    assert boxes.tolist() == [[11, 11, 37, 31], [37, 6, 52, 36]]
    assert labels.tolist() == [1, 2]
    assert areas.tolist() == [26 * 20, 15 * 30]


def test_the_border_cuts_the_box() -> None:
    painting = black()
    painting.lay(block(30, 30), -11, 60, label=1)
    assert painting.annotations()[0].tolist() == [[0, 61, 20, 80]]


@pytest.mark.parametrize(("covered", "accepted"), [(15, True), (17, False)])
def test_what_is_covered_too_far_is_refused(covered: int, accepted: bool) -> None:
    painting = black()
    painting.lay(block(40, 20), 10, 10, label=1)
    assert painting.fits(block(60, 40), 50 - covered, 0) is accepted


def test_covering_adds_up_over_several_objects() -> None:
    painting = black()
    painting.lay(block(40, 20), 10, 10, label=1)
    painting.lay(block(12, 40), 10, 0, label=2)
    assert painting.fits(block(8, 40), 47, 0)
    assert not painting.fits(block(11, 40), 45, 0)


def test_no_box_is_left_narrower_than_eight_pixels() -> None:
    painting = black()
    painting.lay(block(11, 30), 10, 10, label=1)
    assert painting.fits(block(20, 60), 18, 5)  # 8 columns stay
    assert not painting.fits(block(20, 60), 17, 5)
    assert not black().fits(block(7, 40), 10, 10)


@pytest.mark.parametrize(("left", "accepted"), [(-13, True), (-14, False), (86, False)])
def test_six_tenths_must_lie_inside_the_picture(left: int, accepted: bool) -> None:
    assert black().fits(block(30, 30), left, 20) is accepted


def test_a_wire_that_hides_too_much_is_not_painted() -> None:
    painting = black()
    painting.lay(block(12, 20), 10, 10, label=1)
    before = painting.pixels.copy()
    grey = np.full(3, 100, dtype=np.uint8)
    assert not painting.cross(line_at(14, 4), grey)
    assert np.array_equal(painting.pixels, before)
    assert painting.cross(line_at(14, 2), grey)
    boxes, _, areas = painting.annotations()
    assert boxes.tolist() == [[11, 11, 23, 31]]
    assert areas.tolist() == [10 * 20]


def test_a_shadow_is_no_part_of_the_object() -> None:
    painting = Painting(np.full((80, 100, 3), 200, dtype=np.float32))
    sprite = block(30, 20)
    painting.shadow(sprite, 10, 10, dark=0.4)
    assert painting.pixels.min() < 150
    painting.lay(sprite, 10, 10, label=1)
    assert painting.annotations()[0].tolist() == [[11, 11, 41, 31]]


def test_an_empty_painting_has_no_objects() -> None:
    boxes, labels, areas = black().annotations()
    assert (boxes.shape, labels.shape, areas.shape) == ((0, 4), (0,), (0,))


@pytest.mark.parametrize("behind", [0.0, 90.0, 128.0, 200.0, 255.0])
@pytest.mark.parametrize("own", [0.0, 100.0, 128.0, 190.0, 255.0])
def test_objects_differ_from_what_lies_behind(own: float, behind: float) -> None:
    sprite = block(20, 20)
    sprite.rgb[:] = own
    keep_apart(sprite, np.full(3, behind, dtype=np.float32), 42.0)
    assert abs(float(mean_colour(sprite.rgb, sprite.alpha)[0]) - behind) >= 42.0


def test_an_object_that_is_apart_already_keeps_its_colour() -> None:
    sprite = block(20, 20)
    sprite.rgb[:] = 180
    keep_apart(sprite, np.full(3, 120, dtype=np.float32), 42.0)
    assert (sprite.rgb == 180).all()


def test_an_object_too_long_for_its_picture_is_made_smaller() -> None:
    rng = np.random.default_rng(0)
    sprite = render(DRAWERS["fish"](rng, palette(rng, 0.3)), 200.0, UPRIGHT, rng, longest=120, outline=False)
    assert 115 <= np.flatnonzero(sprite.mask.any(axis=0)).size <= 122
