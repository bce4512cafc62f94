"""The picture of what was detected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from skimage import data as photographs

from hardnet_deploy.data.draw import class_colour, draw_detections

NAMES = ("background", "cat", "dog")
GREY = np.full((200, 300, 3), 128, np.uint8)


def changed(image: Any, detections: Any, note: str | None = None) -> Any:
    """Mask of the pixels that drawing changed."""
    return (np.asarray(draw_detections(image, detections, NAMES, note=note)) != image).any(axis=2)


def test_box_is_outlined_in_its_classes_colour_and_its_inside_left_visible() -> None:
    drawn = np.asarray(draw_detections(GREY, [[1, 50, 60, 150, 160, 0.9]], NAMES))
    for x, y in ((50, 100), (150, 100), (100, 160)):
        assert tuple(drawn[y, x]) == class_colour(1)
    assert (drawn[90:150, 60:140] == 128).all()
    assert (drawn[165:] == 128).all()


def test_label_is_written_above_the_box_and_tells_classes_and_scores_apart() -> None:
    one, other = ([[1, 50, 60, 150, 160, score]] for score in (0.91, 0.52))
    assert changed(GREY, one)[40:60, 50:90].all(axis=1).any()
    assert not np.array_equal(
        np.asarray(draw_detections(GREY, one, NAMES)), np.asarray(draw_detections(GREY, other, NAMES))
    )


def test_label_of_a_box_at_the_top_edge_stays_inside_the_image() -> None:
    assert changed(GREY, [[1, 50, 0, 150, 160, 0.9]])[5:12, 53:80].all()


def test_no_boxes_leave_the_image_as_it_was() -> None:
    image = photographs.chelsea()
    assert not changed(image, []).any()
    assert not changed(image, np.zeros((0, 6), np.float32)).any()


def test_the_array_is_left_alone() -> None:
    image = GREY.copy()
    draw_detections(image, [[1, 0, 0, 299, 199, 0.9]], NAMES, note="untrained")
    assert (image == 128).all()


def test_note_is_visible_in_the_top_left_corner_over_boxes() -> None:
    plain = changed(GREY, [], note="untrained")
    assert plain[:10, :40].all()
    assert not plain[40:].any()
    covered = np.asarray(draw_detections(GREY, [[1, 0, 0, 299, 199, 0.9]], NAMES, note="untrained"))
    alone = np.asarray(draw_detections(GREY, [], NAMES, note="untrained"))
    assert np.array_equal(covered[:10, :40], alone[:10, :40])


def test_label_gives_way_to_the_note() -> None:
    """A box in the corner has its label below the note, not under it."""
    drawn = np.asarray(draw_detections(GREY, [[1, 0, 0, 299, 199, 0.9]], NAMES, note="untrained"))
    note_rows = np.nonzero(changed(GREY, [], note="untrained").any(axis=1))[0].max() + 1
    assert (drawn[note_rows : note_rows + 8, 3:30] == class_colour(1)).all(axis=2).mean() > 0.4


@pytest.mark.parametrize(
    "box",
    [
        pytest.param([-50, -50, -10, -10], id="left above"),
        pytest.param([300, 10, 400, 50], id="just beyond the right edge"),
        pytest.param([10, 200, 50, 260], id="just beyond the bottom edge"),
        pytest.param([np.nan, 0, 10, 10], id="NaN"),
    ],
)
def test_boxes_outside_are_left_out(box: list[float]) -> None:
    assert not changed(GREY, [[1, *box, 0.9]]).any()


@pytest.mark.parametrize(
    "box",
    [
        pytest.param([-100, -100, 1000, 1000], id="around the image"),
        pytest.param([-np.inf, 50, np.inf, 100], id="infinite"),
        pytest.param([250, 150, 400, 300], id="over the corner"),
        pytest.param([80, 90, 20, 30], id="inverted corners"),
        pytest.param([50, 50, 50, 50], id="no area"),
    ],
)
def test_boxes_partly_outside_or_odd_are_clipped_and_drawn(box: list[float]) -> None:
    assert changed(GREY, [[1, *box, 0.9]]).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (5, 7)])
def test_tiny_images(size: tuple[int, int]) -> None:
    image = np.zeros((*size, 3), np.uint8)
    picture = draw_detections(image, [[1, 0, 0, size[1], size[0], 0.9]], NAMES, note="untrained")
    assert picture.size == (size[1], size[0])


def test_lines_grow_with_the_image() -> None:
    large = np.full((2000, 3000, 3), 128, np.uint8)
    row = changed(large, [[1, 500, 600, 1500, 1600, 0.9]])[1100]
    assert row[:1000].sum() == 10
    assert changed(GREY, [[1, 50, 60, 150, 160, 0.9]])[110, :100].sum() == 1


def test_higher_scores_lie_on_top_whatever_the_order() -> None:
    low, high = [1, 50, 60, 150, 160, 0.3], [2, 50, 60, 150, 160, 0.8]
    for rows in ([low, high], [high, low]):
        assert tuple(np.asarray(draw_detections(GREY, rows, NAMES))[110, 50]) == class_colour(2)


def test_a_class_beyond_the_list_is_drawn_by_number() -> None:
    assert changed(GREY, [[7, 50, 60, 150, 160, 0.9]]).any()


def test_classes_have_their_own_colours() -> None:
    assert len({class_colour(label) for label in range(81)}) == 81
