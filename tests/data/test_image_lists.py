"""Images without labels: which are chosen, in which order, and the digest that tells one choice from another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_datasets import SmallImage, toy_images, write_coco, write_voc
from tiny_detector import RED, TOY, save_image

from hardnet_deploy.data.image_lists import ImageList, open_images
from hardnet_deploy.data.sources import open_data
from hardnet_deploy.errors import InputFileError, UsageError

SEED = 3


def fill(folder: Path, *names: str) -> Path:
    """Files with contents of their own, named as images or not."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def names(images: ImageList, folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in images.paths]


@pytest.fixture
def twenty(tmp_path: Path) -> Path:
    return fill(tmp_path / "pictures", *(f"{number:02d}.png" for number in range(20)))


def test_a_folder_gives_every_image_in_it_and_below_sorted_by_path(tmp_path: Path) -> None:
    images = ("b.JPG", "a/2.jpeg", "a/10.png", "c.Bmp", "d.ppm", "e.webp", "a.png")
    fill(tmp_path, *images, "list.txt", "a/jpg", "movie.mp4", ".hidden.png", ".cache/thumb.png", "a/.thumbs/2.png")
    (tmp_path / "folder.png").mkdir()
    found = open_images(str(tmp_path))
    assert names(found, tmp_path) == ["a.png", "a/10.png", "a/2.jpeg", "b.JPG", "c.Bmp", "d.ppm", "e.webp"]
    assert (found.name, found.total, len(found), found.seed) == (str(tmp_path), 7, 7, None)
    (note,) = found.notes
    assert note.endswith(": 3")
    assert ".webp" in note


def test_links_to_images_count_and_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pictures", "1.png")
    (folder / "2.png").symlink_to(fill(tmp_path / "other", "x.png") / "x.png")
    (folder / "again").symlink_to(folder)
    found = open_images(str(folder))
    assert names(found, folder) == ["1.png", "2.png"]
    assert found.notes == (f"links to folders in {folder} that are not followed: 1",)


def test_without_a_seed_the_first_are_taken(twenty: Path) -> None:
    found = open_images(str(twenty), count=3)
    assert names(found, twenty) == ["00.png", "01.png", "02.png"]
    assert found.name == f"{twenty}, first 3 of 20 images"
    assert found.total == 20
    assert open_images(str(twenty), count=20) == open_images(str(twenty))


def test_with_a_seed_they_are_drawn_each_at_most_once_and_a_smaller_sample_begins_a_larger(twenty: Path) -> None:
    found = open_images(str(twenty), count=8, seed=SEED)
    assert found.name == f"{twenty}, 8 of 20 images drawn with seed {SEED}"
    assert (found.total, found.seed, len(set(found.paths))) == (20, SEED, 8)
    assert found == open_images(str(twenty), count=8, seed=SEED)
    assert found.paths[:5] == open_images(str(twenty), count=5, seed=SEED).paths
    assert set(found.paths) != set(open_images(str(twenty), count=8).paths)
    assert set(found.paths) != set(open_images(str(twenty), count=8, seed=SEED + 1).paths)
    every = open_images(str(twenty), seed=SEED)
    assert sorted(every.paths) == list(open_images(str(twenty)).paths)
    assert every.paths[:8] == found.paths


def test_the_digest_is_of_the_chosen_images_alone(twenty: Path, tmp_path: Path) -> None:
    def digest(**options: Any) -> str:
        return open_images(str(twenty), **options).digest

    three = digest(count=3)
    assert len(three) == 64
    (twenty / "10.png").write_text("xx.png")
    assert digest(count=3) == three
    copied = fill(tmp_path / "elsewhere", "00.png", "01.png", "02.png")
    assert open_images(str(copied)).digest == three
    changes = {three, digest(), digest(count=2), digest(seed=SEED), digest(seed=SEED, count=3)}
    (twenty / "01.png").write_text("xx.png")  # as long as before
    changes.add(digest(count=3))
    (twenty / "01.png").rename(twenty / "01b.png")
    changes.add(digest(count=3))
    assert len(changes) == 7


def test_coco_gives_the_images_of_the_labelled_reader_whatever_their_labels(tmp_path: Path) -> None:
    images = toy_images(5)
    write_coco(tmp_path, [*images[3:], *images[:3]])
    fill(tmp_path / "val2017", "000099.png", "unlisted.jpg")
    labelled = open_data(f"coco:{tmp_path}", class_names=TOY.class_names)
    found = open_images(f"coco:{tmp_path}:val2017")
    assert list(found.paths) == [sample.path for sample in labelled.samples]
    assert found.name == f"coco:{tmp_path}:val2017"
    assert found.notes == ()
    assert open_images(f"coco:{tmp_path}:val2017", count=2).paths == found.paths[:2]
    write_coco(tmp_path / "bare", [SmallImage(name="1")])
    assert len(open_images(f"coco:{tmp_path / 'bare'}:val2017")) == 1


def test_coco_without_annotations_gives_the_images_of_the_splits_folder(tmp_path: Path) -> None:
    fill(tmp_path, "images/unlabeled2017/b.jpg", "images/unlabeled2017/a.jpg")
    found = open_images(f"coco:{tmp_path}:unlabeled2017")
    assert names(found, tmp_path / "images" / "unlabeled2017") == ["a.jpg", "b.jpg"]
    (note,) = found.notes
    assert "no annotation file" in note


def test_voc_gives_the_images_of_its_list_without_annotations(tmp_path: Path) -> None:
    images = toy_images(4)
    folder = write_voc(tmp_path, [images[2], images[0], images[1]])
    save_image(folder / "JPEGImages" / "000009.jpg", RED, (8, 8))
    labelled = open_data(f"voc:{tmp_path}", class_names=TOY.class_names)
    for xml in (folder / "Annotations").iterdir():
        xml.unlink()
    (folder / "Annotations").rmdir()
    found = open_images(f"voc:{tmp_path}:2007-test")
    assert list(found.paths) == [sample.path for sample in labelled.samples]
    assert found.name == f"voc:{tmp_path}:2007-test"
    assert open_images(f"voc:{tmp_path}:2007-test", count=1).name.endswith(", first 1 of 3 images")


def test_by_default_nothing_is_taken_that_engines_are_measured_on(tmp_path: Path) -> None:
    for split in ("val2017", "train2017"):
        write_coco(tmp_path, toy_images(2), split=split)
    for split in ("test", "trainval"):
        write_voc(tmp_path, toy_images(2), split=split)
    for root, measured, trained in (("coco", "val2017", "train2017"), ("voc", "2007-test", "2007-trainval")):
        assert open_images(f"{root}:{tmp_path}").name == f"{root}:{tmp_path}:{trained}"
        assert open_images(f"{root}:{tmp_path}", default_split="val").name == f"{root}:{tmp_path}:{measured}"


def test_the_demo_data_are_drawn_and_chosen_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hardnet_deploy.data.demo import splits

    monkeypatch.setenv("HARDNET_DEPLOY_CACHE", str(tmp_path))
    monkeypatch.setitem(splits.SPLIT_SIZES, "calibration", 4)
    told: list[tuple[int, int]] = []
    first = open_images("demo", count=2, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (2, 2)
    assert (first.name, first.total) == ("demo:calibration, first 2 of 4 images", 4)
    drawn = open_images("demo:calibration", count=2, seed=SEED)
    assert drawn.name == f"demo:calibration, 2 of 4 images drawn with seed {SEED}"
    every = open_images("demo")
    assert every.name == "demo:calibration"
    assert {path.name for path in drawn.paths} < {path.name for path in every.paths}
    assert [path.read_bytes() for path in first.paths] == [path.read_bytes() for path in every.paths[:2]]
    assert len({first.digest, drawn.digest, every.digest}) == 3
    assert open_images("demo:search", count=1).name.startswith("demo:search,")
    with pytest.raises(UsageError, match="--count 5 is more than demo:calibration has"):
        open_images("demo", count=5)
    assert open_images("demo", count=5, at_most=True) == every
    damaged = every.paths[0]
    damaged.write_bytes(b"")
    again = open_images("demo")
    assert again.digest == every.digest
    assert any("drawn anew" in note for note in again.notes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no images"),
        ("demo:test", "no split 'test'"),
        ("coco:", "names no folder"),
        ("voc", "names no folder"),
        ("voc:data:test", "no split of VOC"),
    ],
)
def test_words_that_cannot_be_meant_are_usage_errors(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        open_images(text)


@pytest.mark.parametrize("options", [{"count": 0}, {"count": -1}, {"seed": -1}])
def test_numbers_out_of_range_are_refused_before_anything_is_opened(options: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        open_images("nowhere", **options)


def test_more_than_there_is_is_refused_with_how_many_there_are(twenty: Path) -> None:
    for seed in (None, SEED):
        with pytest.raises(UsageError, match="--count 21") as refused:
            open_images(str(twenty), count=21, seed=seed)
        assert refused.value.got == "20 images"
        every = open_images(str(twenty), count=21, at_most=True, seed=seed)
        assert every == open_images(str(twenty), seed=seed)
        assert len(open_images(str(twenty), count=19, at_most=True, seed=seed)) == 19


def test_what_is_no_folder_of_images_is_an_input_error(tmp_path: Path) -> None:
    fill(tmp_path, "file.png", "texts/a.txt", "empty/.hidden/a.png", "coco/val2017/a.txt")
    for text, said in (
        (f"{tmp_path}/nowhere", "no folder"),
        (f"{tmp_path}/file.png", "no folder"),
        (f"{tmp_path}/texts", "no image"),
        (f"{tmp_path}/empty", "no image"),
        (f"coco:{tmp_path}/nowhere", "no folder"),
        (f"coco:{tmp_path}/coco:val2017", "no image"),
        (f"coco:{tmp_path}/coco:train2017", "train2017 are not there"),
        (f"voc:{tmp_path}", "no VOC2007"),
        ("imagenet:data", "no folder imagenet:data"),
    ):
        with pytest.raises(InputFileError, match=said):
            open_images(text)


def test_images_that_are_listed_and_not_there_are_input_errors(tmp_path: Path) -> None:
    write_coco(tmp_path, toy_images(3))
    (tmp_path / "val2017" / "000002.png").unlink()
    with pytest.raises(InputFileError, match="1 of the 3 images"):
        open_images(f"coco:{tmp_path}:val2017")
    assert len(open_images(f"coco:{tmp_path}:val2017", count=1)) == 1
    (tmp_path / "val2017" / "link.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(InputFileError) as refused:
        open_images(str(tmp_path / "val2017"))
    assert "link.png" in str(refused.value)


def test_files_and_folders_that_may_not_be_read_are_input_errors(twenty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The permission is taken away in Python, as tests may run as root."""
    fill(twenty, "below/1.png")
    read_bytes, scandir = Path.read_bytes, os.scandir

    def guarded_read(path: Path) -> bytes:
        if path.name == "07.png":
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    def guarded_scandir(path: Any) -> Iterator[os.DirEntry[str]]:
        if Path(path).name == "below":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    with monkeypatch.context() as context:
        context.setattr(Path, "read_bytes", guarded_read)
        with pytest.raises(InputFileError, match=r"07\.png cannot be read"):
            open_images(str(twenty))
    monkeypatch.setattr(os, "scandir", guarded_scandir)
    with pytest.raises(InputFileError, match="below cannot be read"):
        open_images(str(twenty))
