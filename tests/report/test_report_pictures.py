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
from report_pages import page

from hardnet_deploy.files import sha256_file
from hardnet_deploy.report.blocks import Picture
from hardnet_deploy.report.documents import Document, read_document
from hardnet_deploy.report.pictures import MOST_OF_ONE, WIDEST, Embedder


def draw(path: Path, size: tuple[int, int] = (40, 20), *, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(path, format="PNG")
    return path


LOST = "1 picture that the comparison drew: not here any more, or replaced by another"


def document(folder: Path, pictures: list[str], *, drawn: list[Path] | None = None, **changes: Any) -> Document:
    """A comparison that drew ``drawn``, and calls them ``pictures``: the same unless they were moved."""
    hashes = [sha256_file(path) for path in drawn or [Path(text) for text in pictures]]
    changes = {"pictures": pictures, "pictures_sha256": hashes, **changes}
    return read_document(save(folder / "p.json", parity("a.onnx", **changes)))


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
    path = draw(tmp_path / place)
    pictures, told = Embedder().of_parity(document(tmp_path, [f"/gone/{place}"], drawn=[path]))
    found = place.startswith("w/")
    assert len(pictures) == found
    assert bool(told) != found


@pytest.mark.parametrize("name", ["holiday.png", "worst-01-a.png.txt", "../worst-x.png"])
def test_a_document_cannot_make_the_page_carry_another_picture(name: str, tmp_path: Path) -> None:
    path = draw(tmp_path / name)
    pictures, told = Embedder().of_parity(document(tmp_path, [str(path)]))
    assert pictures == []
    assert told == "1 picture that the comparison drew: not here any more, or replaced by another."


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


def test_a_picture_of_another_comparison_is_not_shown_as_ones_own(tmp_path: Path) -> None:
    """Two comparisons with one folder of pictures: the second has written over the first's."""
    path = draw(tmp_path / "worst" / "worst-01-a.png")
    first = document(tmp_path / "first", [str(path)])
    draw(path, seed=1)
    second = document(tmp_path / "second", [str(path)])
    assert Embedder().of_parity(first) == ([], f"{LOST}.")
    assert len(Embedder().of_parity(second)[0]) == 1


def test_the_picture_beside_the_document_comes_before_one_that_lies_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of that name in the current folder there is another."""
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "worst" / "worst-01-a.png", (20, 20), seed=1)
    own = draw(tmp_path / "runs" / "worst" / "worst-01-a.png", (40, 20))
    (picture,), told = Embedder().of_parity(document(tmp_path / "runs", ["worst/worst-01-a.png"], drawn=[own]))
    assert (picture.width, picture.height, told) == (40, 20, "")


def test_pictures_whose_hashes_were_not_recorded_are_not_shown(tmp_path: Path) -> None:
    path = draw(tmp_path / "worst-01-a.png")
    old = document(tmp_path, [str(path)], pictures_sha256=[])
    pictures, told = Embedder().of_parity(old)
    assert pictures == []
    assert told.startswith("1 picture that the comparison drew: not shown, as it did not record their hashes")
    assert told in page(tmp_path).one("worst-images").text
