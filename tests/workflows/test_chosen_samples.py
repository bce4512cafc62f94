"""Which images a kit takes along, and that it says so truly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hardnet_deploy.data.image_marks import marks_of
from hardnet_deploy.workflows.kit_samples import choose_samples


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Twelve that differ, in a folder whose name has a comma."""
    folder = tmp_path / "some, first 3 of 5 images"
    folder.mkdir()
    for number in range(12):
        Image.fromarray(np.full((4, 4, 3), number, np.uint8)).save(folder / f"{number:02d}.png")
    return folder


def silent(_done: int, _total: int) -> None:
    return None


def test_the_first_ones(pictures: Path) -> None:
    chosen = choose_samples(str(pictures), 2, None, silent)
    assert [path.name for path in chosen.paths] == ["00.png", "01.png"]
    assert chosen.data == f"2 images: {pictures}, first 2 of 12 images"
    assert chosen.notes == ()


def test_spare_images_that_were_looked_at_are_not_counted(pictures: Path) -> None:
    assert choose_samples(str(pictures), 2, (), silent).data == f"2 images: {pictures}, first 2 of 12 images"
    assert choose_samples(str(pictures), 1, (), silent).data == f"1 image: {pictures}, first 1 of 12 images"


def test_all_of_them(pictures: Path) -> None:
    assert choose_samples(str(pictures), 12, (), silent).data == f"12 images: {pictures}"
    chosen = choose_samples(str(pictures), 20, None, silent)
    assert chosen.data == f"12 images: {pictures}"
    assert chosen.notes == (f"{pictures} has only 12 images: as many samples are in the kit",)


def test_those_that_ranges_were_measured_on_come_last(pictures: Path) -> None:
    marks = marks_of([pictures / "00.png"])
    chosen = choose_samples(str(pictures), 2, marks, silent)
    assert [path.name for path in chosen.paths] == ["01.png", "02.png"]
    assert chosen.data.startswith(f"2 images of {pictures}, first 8 of 12 images, those first")
    assert chosen.notes == ()
    every = choose_samples(str(pictures), 12, marks, silent)
    assert every.paths[-1].name == "00.png"
    assert every.notes == ("the INT8 ranges were measured on 1 of the samples too, which flatters parity",)
