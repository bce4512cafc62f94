"""The pictures of detections: where they go, what they must not overwrite, and that they are whole."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from tiny_detector import BOTH, NONE, save_image, write_toy

from hardnet_deploy.data.draw import class_colour
from hardnet_deploy.data.images import load_image
from hardnet_deploy.errors import OutputFileError, UsageError
from hardnet_deploy.workflows.detect import ImageDetections, detect
from hardnet_deploy.workflows.detect_pictures import picture_paths, save_picture
from hardnet_deploy.workflows.open_engine import OpenEngine, open_engine

OUT = Path("out")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(colour: tuple[int, int, int] = BOTH) -> tuple[ImageDetections, OpenEngine]:
    engine = open_engine(str(write_toy(Path("toy.onnx"))))
    (found,) = detect(engine, [save_image(Path("photo.png"), colour, (320, 240))])
    assert isinstance(found, ImageDetections)
    return found, engine


def names(*images: str) -> list[str]:
    paths = picture_paths([Path(image) for image in images], OUT)
    assert all(path.parent == OUT for path in paths.values())
    return [path.name for path in paths.values()]


def test_a_picture_is_named_after_its_image() -> None:
    assert names("a.png", "some/where/b.jpeg", "noending") == [
        "a.detections.png",
        "b.detections.png",
        "noending.detections.png",
    ]
    assert not OUT.exists()


def test_images_of_the_same_name_have_pictures_of_their_own() -> None:
    assert names("a.png", "x/a.png", "y/a.jpg") == [
        "a.detections.png",
        "a.2.detections.png",
        "a.3.detections.png",
    ]


def test_a_number_never_meets_a_name_that_looks_like_it() -> None:
    for images in (("a.png", "x/a.png", "a.2.png"), ("a.2.png", "a.png", "x/a.png"), ("a.png", "a.2.png", "x/a.png")):
        found = names(*images)
        assert len(set(found)) == 3


def test_the_same_image_twice_has_one_picture() -> None:
    assert names("a.png", "a.png") == ["a.detections.png"]


@pytest.mark.parametrize("images", [("out/a.detections.png", "a.png"), ("a.png", "./out/../out/a.detections.png")])
def test_no_image_is_overwritten_by_the_picture_of_another(images: tuple[str, str]) -> None:
    """Running again over a folder that holds the pictures of the first run."""
    OUT.mkdir()
    for image in images:
        save_image(Path(image), NONE)
    with pytest.raises(UsageError, match="would overwrite") as caught:
        names(*images)
    assert "-o" in (caught.value.next_step or "")


def test_a_picture_of_a_picture_is_another_file() -> None:
    assert names("out/a.detections.png") == ["a.detections.detections.png"]


def test_places_that_cannot_be_written_are_refused_before_anything_is_detected() -> None:
    OUT.mkdir()
    (OUT / "a.detections.png").mkdir()
    Path("file").touch()
    for image, folder in (("a.png", OUT), ("b.png", Path("file")), ("n" * 250, OUT)):
        with pytest.raises(OutputFileError):
            picture_paths([Path(image)], folder)


def test_a_saved_picture_reads_back_with_boxes_and_note() -> None:
    found, engine = run()
    path = OUT / "deep" / "photo.png"
    save_picture(found, engine, path, note="untrained")
    save_picture(found, engine, path, note="untrained")
    assert [entry.name for entry in path.parent.iterdir()] == ["photo.png"]
    picture = load_image(path)
    assert picture.shape == found.image.shape
    assert np.array_equal(found.image, load_image(found.path))
    changed = (picture != found.image).any(axis=2)
    assert changed[:10, :30].all()  # the note's bar
    for one in found.detections:
        x1, y1, x2, y2 = (round(side) for side in one.box)
        for x, y in ((x1, (y1 + y2) // 2), ((x1 + x2) // 2, y2)):
            around = picture[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).tolist()
            assert list(class_colour(one.class_id)) in around


def test_a_picture_without_boxes_or_note_is_the_image() -> None:
    found, engine = run(NONE)
    save_picture(found, engine, OUT / "p.png", note=None)
    assert np.array_equal(load_image(OUT / "p.png"), found.image)


def test_a_picture_that_cannot_be_written_leaves_the_older_one(monkeypatch: pytest.MonkeyPatch) -> None:
    found, engine = run()
    OUT.mkdir()
    path = OUT / "p.png"
    path.write_bytes(b"older")

    def full(*_arguments: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputFileError, match="no space left"):
        save_picture(found, engine, path, note=None)
    assert path.read_bytes() == b"older"
    assert [entry.name for entry in OUT.iterdir()] == ["p.png"]
