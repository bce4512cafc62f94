"""Images told by their contents: what is the same file under any name, and what only looks like it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hardnet_deploy.data.image_marks import marked_among, marks_of
from hardnet_deploy.errors import InputFileError


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in {"a": b"first", "b": b"other", "c": b"a longer one"}.items():
        Path(name).write_bytes(content)


def test_a_mark_is_the_size_and_the_start_of_the_digest() -> None:
    assert marks_of([Path("a")]) == ("5-a7937b64b8ca",)  # sha256sum of 'first'
    assert len(set(marks_of(map(Path, "abc")))) == 3
    assert marks_of(map(Path, "cab")) == marks_of(map(Path, "abca"))
    assert marks_of([]) == ()


def test_a_copy_a_link_and_another_spelling_are_the_same_image() -> None:
    marks = marks_of([Path("a")])
    shutil.copy("a", "copy")
    Path("link").symlink_to("a")
    Path("folder").symlink_to(".")
    same = [Path("copy"), Path("link"), Path("folder/a"), Path("a").absolute()]
    assert marked_among([Path("b"), *same, Path("c")], marks) == tuple(same)


def test_the_same_name_or_size_is_not_the_same_image() -> None:
    marks = marks_of([Path("a")])
    assert marked_among([Path("b"), Path("c")], marks) == ()
    Path("a").write_bytes(b"First")
    assert marked_among([Path("a")], marks) == ()
    assert marked_among([Path("a")], ()) == ()


def test_only_files_of_a_marked_size_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    marks, whole = marks_of([Path("a")]), Path.read_bytes
    read: list[str] = []

    def noted(path: Path) -> bytes:
        read.append(path.name)
        return whole(path)

    monkeypatch.setattr(Path, "read_bytes", noted)
    marked_among(map(Path, "abc"), marks)
    assert read == ["a", "b"]


def test_a_file_that_is_not_there_has_no_mark() -> None:
    assert marked_among([Path("none"), Path("a")], marks_of([Path("a")])) == (Path("a"),)
    with pytest.raises(InputFileError, match="none cannot be read"):
        marks_of([Path("none")])
