"""COCO's layout: what is read, and what is refused."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_datasets import SmallImage, SmallObject, coco_document, toy_images, write_coco
from tiny_detector import TOY, save_image

from hardnet_deploy.data.coco import read_coco, split_of
from hardnet_deploy.data.dataset import Dataset
from hardnet_deploy.errors import HardnetDeployError, InputFileError, UsageError

EXACT = 1e-12  # x + (x2 - x) in float64


def read(root: Path, split: str = "val2017", **options: Any) -> Dataset:
    return read_coco(root, split, class_names=TOY.class_names, name="some data", **options)


def test_objects_come_by_name_in_corners_and_images_by_id(tmp_path: Path) -> None:
    images = toy_images(4)
    document = coco_document(images)
    document["images"].reverse()
    write_coco(tmp_path, images, document=document)
    data = read(tmp_path)
    assert data.name == "some data"
    assert data.metric == "coco"
    assert data.notes == ()
    assert [sample.image_id for sample in data.samples] == [10, 11, 12, 13]
    assert [sample.truth.labels.tolist() for sample in data.samples] == [[1], [2], [1, 2], []]
    for sample, image in zip(data.samples, images, strict=True):
        assert sample.path == tmp_path / "val2017" / f"{image.name}.png"
        assert (sample.width, sample.height) == image.size
        for box, one in zip(sample.truth.boxes, image.objects, strict=True):
            assert box.tolist() == pytest.approx(one.box, abs=EXACT)
        assert not sample.truth.difficult.any()
    assert data.present_classes == (1, 2)


def test_crowds_and_areas_are_the_files(tmp_path: Path) -> None:
    objects = tuple(SmallObject(name="red thing", box=(1, 2, 11, 22), flag=crowd) for crowd in (True, False))
    images = [SmallImage(name="a", objects=objects)]
    document = coco_document(images)
    document["annotations"][0]["area"] = 7.5
    del document["annotations"][1]["area"]
    write_coco(tmp_path, images, document=document)
    data = read(tmp_path)
    assert data.samples[0].truth.areas.tolist() == [7.5, 200.0]
    assert data.samples[0].truth.crowd.tolist() == [True, False]
    assert any("1 objects have no area" in note for note in data.notes)


def test_images_may_lie_under_images_or_in_folders_of_their_own(tmp_path: Path) -> None:
    images = toy_images(2)
    write_coco(tmp_path, images)
    (tmp_path / "images").mkdir()
    (tmp_path / "val2017").rename(tmp_path / "images" / "val2017")
    assert len(read(tmp_path)) == 2
    document = coco_document(images)
    inner = tmp_path / "images" / "val2017" / "inner"
    inner.mkdir()
    (inner.parent / "000001.png").rename(inner / "000001.png")
    document["images"][0]["file_name"] = "inner/000001.png"
    write_coco_document(tmp_path, document)
    assert read(tmp_path).samples[0].path == inner / "000001.png"


def write_coco_document(root: Path, document: Any) -> None:
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(document))


def test_classes_that_the_data_lack_are_a_note_and_empty_categories_none(tmp_path: Path) -> None:
    images = [one for one in toy_images(6) if all(two.name == "red thing" for two in one.objects)]
    document = coco_document(images, ((3, "red thing"), (4, "elephant"), (90, "blue thing")))
    write_coco(tmp_path, images, document=document)
    (note,) = read(tmp_path).notes
    assert "1 of the model's 2 classes: blue thing" in note
    assert "elephant" not in note


def test_objects_of_other_classes_are_refused_with_both_sizes(tmp_path: Path) -> None:
    images = [SmallImage(name="a", objects=(SmallObject(name="elephant", box=(1, 1, 5, 5)),))]
    write_coco(tmp_path, images, document=coco_document(images, ((1, "red thing"), (2, "elephant"))))
    with pytest.raises(UsageError) as caught:
        read(tmp_path)
    assert "elephant" in caught.value.what
    assert caught.value.got == "2 classes in the data"
    assert "2 classes of the model: red thing, blue thing" in str(caught.value.wanted)


def test_count_takes_the_first_and_the_name_says_so(tmp_path: Path) -> None:
    write_coco(tmp_path, toy_images(5))
    data = read(tmp_path, count=2)
    assert [sample.image_id for sample in data.samples] == [10, 11]
    assert data.name == "some data, first 2 of 5 images"
    assert data.digest != read(tmp_path).digest
    assert read(tmp_path, count=5).name == read(tmp_path, count=9).name == "some data"
    assert read(tmp_path, count=5).digest == read(tmp_path).digest


def test_the_digest_is_of_annotations_and_images_and_not_of_the_place(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        write_coco(folder, toy_images(3))
    assert read(first).digest == read(second).digest
    document = coco_document(toy_images(3))
    document["annotations"][0]["iscrowd"] = 1
    write_coco_document(second, document)
    assert read(first).digest != read(second).digest
    write_coco_document(second, coco_document(toy_images(3)))
    assert read(first).digest == read(second).digest
    save_image(second / "val2017" / "000001.png", (254, 0, 0), (64, 48))
    assert read(first).digest != read(second).digest


def test_a_missing_image_is_found_before_anything_runs(tmp_path: Path) -> None:
    write_coco(tmp_path, toy_images(5))
    (tmp_path / "val2017" / "000002.png").unlink()
    (tmp_path / "val2017" / "000004.png").unlink()
    with pytest.raises(InputFileError) as caught:
        read(tmp_path)
    assert "2 of the 5 images" in caught.value.what
    assert "000002.png" in str(caught.value.got)
    assert len(read(tmp_path, count=1)) == 1


def test_other_splits_are_named(tmp_path: Path) -> None:
    write_coco(tmp_path, toy_images(2), split="train2017")
    with pytest.raises(InputFileError) as caught:
        read(tmp_path)
    assert "instances_val2017.json" in caught.value.what
    assert caught.value.got == "splits train2017"
    with pytest.raises(InputFileError, match="no folder"):
        read(tmp_path / "nowhere")


def change(path: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    """Sets one entry: ``annotations.0.bbox``; an Ellipsis removes it."""

    def apply(document: dict[str, Any]) -> Any:
        *way, last = path.split(".")
        place: Any = document
        for step in way:
            place = place[int(step) if step.isdigit() else step]
        if value is ...:
            del place[last]
        else:
            place[last] = value
        return document

    return apply


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "unknown image": (change("annotations.0.image_id", 99), "image 99, which the file does not list"),
    "no image": (change("annotations.0.image_id", ...), "image None"),
    "unknown category": (change("annotations.0.category_id", 7), "category 7, which the file does not list"),
    "list as id": (change("annotations.0.category_id", [3]), "which the file does not list"),
    "negative width": (change("annotations.0.bbox", [1, 1, -5, 5]), "negative size"),
    "NaN in a box": (change("annotations.0.bbox", [1, 1, math.nan, 5]), "no usable box"),
    "infinite box": (change("annotations.0.bbox", [1, 1, 1e999, 5]), "no usable box"),
    "three sides": (change("annotations.0.bbox", [1, 1, 5]), "no usable box"),
    "text in a box": (change("annotations.0.bbox", [1, 1, "5", 5]), "no usable box"),
    "no box": (change("annotations.0.bbox", ...), "no usable box"),
    "negative area": (change("annotations.0.area", -1), "no usable area"),
    "odd crowd": (change("annotations.0.iscrowd", "yes"), "iscrowd"),
    "image id twice": (change("images.1.id", 10), "image id 10 twice"),
    "mixed ids": (change("images.3.id", "13"), "several kinds"),
    "no file name": (change("images.0.file_name", ...), "no instances file"),
    "absolute name": (change("images.0.file_name", "/etc/passwd"), "outside its folder"),
    "climbing name": (change("images.0.file_name", "../x.png"), "outside its folder"),
    "no size": (change("images.0.width", 0), "no size"),
    "category id twice": (change("categories.1.id", 3), "category id 3 twice"),
    "no name": (change("categories.0.name", 5), "no instances file"),
    "no images": (change("images", []), "lists no image"),
    "no objects": (change("annotations", []), "has no object"),
    "captions": (
        change("annotations", [{"id": 1, "image_id": 10, "caption": "a red thing"}]),
        "no instances file",
    ),
    "no categories": (change("categories", ...), "no instances file"),
    "images no list": (change("images", {"a": 1}), "no instances file"),
    "results file": (lambda document: document["annotations"], "no instances file"),
    "number": (lambda _: 5, "no instances file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_meant_is_refused_and_says_why(name: str, tmp_path: Path) -> None:
    images = toy_images(4)
    alter, said = BROKEN[name]
    write_coco(tmp_path, images, document=alter(copy.deepcopy(coco_document(images))))
    with pytest.raises(HardnetDeployError) as caught:
        read(tmp_path)
    assert isinstance(caught.value, InputFileError)
    assert said in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b'{"images": [', b"\xff\xfe\x00", b"[" * 100_000])
def test_a_file_that_is_no_json_is_refused(content: bytes, tmp_path: Path) -> None:
    path = write_coco(tmp_path, toy_images(1))
    path.write_bytes(content)
    with pytest.raises(InputFileError, match="no JSON, or is cut short"):
        read(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(InputFileError, match="cannot be read"):
        read(tmp_path)


def test_objects_without_width_stay_as_pycocotools_counts_them(tmp_path: Path) -> None:
    images = toy_images(2)
    document = change("annotations.0.bbox", [1, 1, 0, 5])(coco_document(images))
    write_coco(tmp_path, images, document=document)
    data = read(tmp_path)
    assert data.samples[0].truth.boxes.tolist() == [[1, 1, 1, 6]]
    assert any("can only be missed: 1" in note for note in data.notes)


def test_a_model_without_class_names_is_refused(tmp_path: Path) -> None:
    write_coco(tmp_path, toy_images(1))
    with pytest.raises(UsageError, match="have no names"):
        read_coco(tmp_path, "val2017", class_names=(), name="some data")


def test_roots_may_hold_colons_where_they_exist(tmp_path: Path) -> None:
    odd = tmp_path / "a:b"
    odd.mkdir()
    assert split_of(str(odd)) == (odd, "val2017")
    assert split_of(f"{odd}:train") == (odd, "train")
    assert split_of("data/coco:minival") == (Path("data/coco"), "minival")
    assert split_of("data/coco") == (Path("data/coco"), "val2017")
    with pytest.raises(UsageError, match="names no folder"):
        split_of("")
