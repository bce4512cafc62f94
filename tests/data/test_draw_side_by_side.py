"""Several sides of one image in a row: what is marked, what is not, and what is left alone."""

from __future__ import annotations

import numpy as np
import pytest

from hardnet_deploy.data.draw import BLACK, GAP, SIDE_WIDTH, class_colour, draw_side_by_side

GREY = np.full((60, 80, 3), 128, np.uint8)
NAMES = ("background", "cat")
ROW = (1, 20.0, 20.0, 60.0, 50.0, 0.75)
FACTOR = SIDE_WIDTH // 80


def drawn(*sides: tuple[list[tuple[float, ...]], list[bool]], image: np.ndarray = GREY) -> np.ndarray:
    return np.asarray(draw_side_by_side(image, [("SIDE", rows, marks) for rows, marks in sides], NAMES))


def count(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((picture == colour).all(axis=2).sum())


def test_sides_stand_in_a_row_enlarged_with_a_gap_and_a_title() -> None:
    picture = drawn(([], []), ([], []))
    assert picture.shape[1] == 2 * SIDE_WIDTH + GAP
    bar = picture.shape[0] - 60 * FACTOR
    assert bar > 0
    assert (picture[bar:, SIDE_WIDTH : SIDE_WIDTH + GAP] == BLACK).all()
    assert (picture[bar:, :SIDE_WIDTH] == 128).all()
    assert (picture[:bar, :SIDE_WIDTH] > 0).any()


def test_a_marked_box_is_thick_and_labelled_and_another_thin() -> None:
    picture = drawn(([ROW], [True]), ([ROW], [False]))
    left, right = picture[:, :SIDE_WIDTH], picture[:, SIDE_WIDTH + GAP :]
    colour = class_colour(1)
    assert count(left, colour) > 3 * count(right, colour) > 0
    edges = 2 * (40 + 30) * FACTOR
    assert count(right, colour) == pytest.approx(edges, rel=0.05)


def test_each_side_has_its_own_boxes() -> None:
    picture = drawn(([ROW], [False]), ([], []))
    assert count(picture[:, :SIDE_WIDTH], class_colour(1)) > 0
    assert count(picture[:, SIDE_WIDTH:], class_colour(1)) == 0


def test_a_large_image_keeps_its_size_and_the_array_its_values() -> None:
    image = np.full((20, SIDE_WIDTH + 1, 3), 9, np.uint8)
    picture = drawn(([(1, 0.0, 0.0, 9.0, 9.0, 0.5)], [True]), image=image)
    assert picture.shape[1] == SIDE_WIDTH + 1
    assert (image == 9).all()


@pytest.mark.parametrize("box", [(-50.0, -50.0, -10.0, -10.0), (np.nan, 0.0, 9.0, 9.0)])
def test_what_cannot_be_seen_is_left_out(box: tuple[float, ...]) -> None:
    assert count(drawn(([(1, *box, 0.5)], [True])), class_colour(1)) == 0


def test_a_class_beyond_the_list_is_drawn_too() -> None:
    assert count(drawn(([(7, *ROW[1:])], [True])), class_colour(7)) > 0
