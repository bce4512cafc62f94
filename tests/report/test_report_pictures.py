"""Pictures in the page: found where they were moved to, made smaller, never too many, never another file."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_runs import parity, save
from PIL import Image

from hardnet_deploy.report.blocks import Picture
from hardnet_deploy.report.documents import Document, read_document
from hardnet_deploy.report.pictures import MOST_OF_ONE, WIDEST, Embedder


def draw(path: Path, size: tuple[int, int] = (40, 20)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(path, format="PNG")
    return path


def document(folder: Path, pictures: list[str], **changes: Any) -> Document:
    return read_document(save(folder / "p.json", parity("a.onnx", pictures=pictures, **changes)))


def names(pictures: list[Picture]) -> list[str]:
    return [picture.caption.split(";")[0] for picture in pictures]


def test_a_picture_is_made_smaller_and_says_what_it_shows(tmp_path: Path) -> None:
    path = draw(tmp_path / "worst-01-a.png", (2 * WIDEST, 100))
    worst = {"worst_images": [{"index": 0, "lost": 2, "invented": 1}]}
    (picture,), told = Embedder().of_parity(document(tmp_path, [str(path)], detections=worst))
    head, _, data = picture.uri.partition(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert image.size == (picture.width, picture.height) == (WIDEST, 50)
    assert picture.caption == "1. worst-01-a.png; detections lost: 2, new: 1"
    assert "only the reference has: 2, only the engine: 1" in picture.alt
    assert told == ""


@pytest.mark.parametrize("place", ["worst-01-a.png", "w/worst-01-a.png"])
def test_pictures_that_moved_with_their_document_are_found(place: str, tmp_path: Path) -> None:
    draw(tmp_path / place)
    pictures, told = Embedder().of_parity(document(tmp_path, [f"/gone/{place}"]))
    found = place.startswith("w/")
    assert len(pictures) == found
    assert bool(told) != found


@pytest.mark.parametrize("name", ["holiday.png", "worst-01-a.png.txt", "../worst-x.png"])
def test_a_document_cannot_make_the_page_carry_another_picture(name: str, tmp_path: Path) -> None:
    path = draw(tmp_path / name)
    pictures, told = Embedder().of_parity(document(tmp_path, [str(path)]))
    assert pictures == []
    assert told == "1 picture that the comparison drew: not here any more."


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_picture_is_left_out(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "worst-01-a.png").write_bytes(content)
    pictures, told = Embedder().of_parity(document(tmp_path, [str(tmp_path / "worst-01-a.png")]))
    assert pictures == []
    assert told


def test_the_worst_come_first_and_the_rest_is_counted(tmp_path: Path) -> None:
    paths = [str(draw(tmp_path / f"worst-{place:02}-a.png")) for place in range(1, MOST_OF_ONE + 4)]
    pictures, told = Embedder().of_parity(document(tmp_path, paths))
    assert names(pictures) == [f"{place}. worst-{place:02}-a.png" for place in range(1, MOST_OF_ONE + 1)]
    assert told == "3 pictures of less bad images: left out."


def test_a_page_never_takes_more_than_it_may(tmp_path: Path) -> None:
    paths = [str(draw(tmp_path / f"worst-{place:02}-a.png", (400, 300))) for place in (1, 2, 3)]
    (first, *_), _ = Embedder().of_parity(document(tmp_path, paths))
    embedder = Embedder(most_bytes=2 * len(first.uri) + 100)
    pictures, told = embedder.of_parity(document(tmp_path, paths))
    assert len(pictures) == 2
    assert told == "1 more would make this page too large."
    assert embedder.of_parity(document(tmp_path, paths))[0] == []
