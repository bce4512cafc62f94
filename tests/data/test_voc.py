"""VOC's layout: what is read, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_datasets import SmallImage, SmallObject, toy_images, voc_xml, write_voc
from tiny_detector import TOY

from hardnet_deploy.data.dataset import Dataset
from hardnet_deploy.data.voc import VocSplit, read_voc, split_of
from hardnet_deploy.errors import InputFileError, UsageError


def read(root: Path, split: str = "2007-test", **options: Any) -> Dataset:
    return read_voc(root, VocSplit.parse(split), class_names=TOY.class_names, name="some data", **options)


IMAGE = SmallImage(
    name="000012",
    size=(50, 40),
    objects=(
        SmallObject(name="blue thing", box=(0, 1, 3, 7)),
        SmallObject(name="red thing", box=(5, 6, 50, 40), flag=True),
    ),
)
EMPTY = SmallImage(name="000013")


def test_pixels_from_one_with_both_ends_become_continuous_boxes(tmp_path: Path) -> None:
    folder = write_voc(tmp_path, [IMAGE, EMPTY])
    xml = (folder / "Annotations" / "000012.xml").read_text()
    assert "<xmin>1</xmin>\n<ymin>2</ymin>\n<xmax>3</xmax>\n<ymax>7</ymax>".replace("\n", "") in xml.replace("\n", "")
    data = read(tmp_path)
    first, second = data.samples
    assert first.image_id == "000012"
    assert (first.width, first.height) == (50, 40)
    assert first.path == folder / "JPEGImages" / "000012.jpg"
    assert first.truth.boxes.tolist() == [[0, 1, 3, 7], [5, 6, 50, 40]]
    assert first.truth.areas.tolist() == [18, 45 * 34]
    assert first.truth.labels.tolist() == [2, 1]
    assert first.truth.difficult.tolist() == [False, True]
    assert not first.truth.crowd.any()
    assert len(second.truth) == 0
    assert data.notes == ()


@pytest.mark.parametrize("inner", ["", "VOCdevkit", "VOCdevkit/VOC2007"])
def test_root_may_be_the_kit_what_holds_it_or_the_year(inner: str, tmp_path: Path) -> None:
    write_voc(tmp_path, [IMAGE])
    assert len(read(tmp_path / inner)) == 1


def test_the_year_chooses_the_metric(tmp_path: Path) -> None:
    for year in (2007, 2012):
        write_voc(tmp_path, [IMAGE], year=year, split="val")
    assert read(tmp_path, "2007-val").metric == "voc07"
    assert read(tmp_path, "2012-val").metric == "voc12"
    assert read(tmp_path, "2012-val", metric="coco").metric == "coco"


def test_order_and_choice_are_the_lists(tmp_path: Path) -> None:
    images = toy_images(4)
    folder = write_voc(tmp_path, images)
    listed = folder / "ImageSets" / "Main" / "test.txt"
    listed.write_text("000003\n\n000001 \n000004\n")
    data = read(tmp_path)
    assert [sample.image_id for sample in data.samples] == ["000003", "000001", "000004"]
    data = read(tmp_path, count=2)
    assert data.name == "some data, first 2 of 3 images"
    assert len(data) == 2


def test_the_digest_changes_with_an_annotation_and_with_an_image(tmp_path: Path) -> None:
    folder = write_voc(tmp_path, [IMAGE, EMPTY])
    digests = {read(tmp_path).digest}
    (folder / "Annotations" / "000013.xml").write_text(voc_xml(IMAGE))
    digests.add(read(tmp_path).digest)
    path = folder / "JPEGImages" / "000013.jpg"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    digests.add(read(tmp_path).digest)
    assert len(digests) == 3


def altered(folder: Path, old: str, new: str) -> None:
    path = folder / "Annotations" / "000012.xml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("</annotation>", "", "no XML that can be read"),
        ("<annotation>", '<!DOCTYPE a [<!ENTITY b "c">]><annotation>', "no XML that can be read"),
        ("<xmin>1</xmin>", "", "no usable box"),
        ("<xmin>1</xmin>", "<xmin>left</xmin>", "no usable box"),
        ("<xmin>1</xmin>", "<xmin>nan</xmin>", "no usable box"),
        ("<xmax>3</xmax>", "<xmax>0</xmax>", "no usable box"),
        ("<difficult>0</difficult>", "<difficult>perhaps</difficult>", "difficult"),
        ("<name>blue thing</name>", "<name> </name>", "no name"),
        ("<annotation>", "<svg>", "no XML that can be read"),
    ],
)
def test_a_damaged_annotation_is_refused_by_name(old: str, new: str, said: str, tmp_path: Path) -> None:
    altered(write_voc(tmp_path, [IMAGE]), old, new)
    with pytest.raises(InputFileError) as caught:
        read(tmp_path)
    assert said in str(caught.value)
    assert "000012.xml" in caught.value.what


def test_another_xml_is_refused(tmp_path: Path) -> None:
    folder = write_voc(tmp_path, [IMAGE])
    (folder / "Annotations" / "000012.xml").write_text("<svg/>")
    with pytest.raises(InputFileError, match="no annotation of VOC"):
        read(tmp_path)


def test_fractions_missing_flags_and_parts_are_taken_as_the_kit_writes_them(tmp_path: Path) -> None:
    folder = write_voc(tmp_path, [IMAGE])
    altered(folder, "<xmin>1</xmin>", "<xmin>1.5</xmin>")
    altered(folder, "<difficult>0</difficult>", "")
    part = "<part><name>head</name><bndbox><xmin>9</xmin><ymin>9</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></part>"
    altered(folder, "</object>", f"{part}</object>")
    truth = read(tmp_path).samples[0].truth
    assert truth.boxes[0].tolist() == [0.5, 1, 3, 7]
    assert truth.difficult.tolist() == [False, True]
    assert len(truth) == 2


def test_a_box_of_one_pixel_is_a_box(tmp_path: Path) -> None:
    altered(write_voc(tmp_path, [IMAGE]), "<xmax>3</xmax>", "<xmax>1</xmax>")
    assert read(tmp_path).samples[0].truth.boxes[0].tolist() == [0, 1, 1, 7]


@pytest.mark.parametrize("old", ["<width>50</width>", "<height>40</height>"])
def test_a_missing_size_is_read_from_the_image_and_said(old: str, tmp_path: Path) -> None:
    altered(write_voc(tmp_path, [IMAGE]), old, "")
    data = read(tmp_path)
    assert (data.samples[0].width, data.samples[0].height) == (50, 40)
    assert any("no image size" in note and "000012" in note for note in data.notes)


def test_a_wrong_size_shows_where_boxes_reach_beyond_it(tmp_path: Path) -> None:
    altered(write_voc(tmp_path, [IMAGE]), "<width>50</width>", "<width>40</width>")
    assert any("reach beyond the size" in note and "000012" in note for note in read(tmp_path).notes)


def test_objects_of_other_classes_are_refused(tmp_path: Path) -> None:
    write_voc(tmp_path, [SmallImage(name="a", objects=(SmallObject(name="elephant", box=(1, 1, 5, 5)),))])
    with pytest.raises(UsageError, match="elephant"):
        read(tmp_path)


def test_classes_that_the_data_lack_are_a_note(tmp_path: Path) -> None:
    write_voc(tmp_path, [SmallImage(name="a", objects=(SmallObject(name="red thing", box=(1, 1, 5, 5)),))])
    (note,) = read(tmp_path).notes
    assert "blue thing" in note


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    folder = write_voc(tmp_path, [IMAGE, EMPTY])
    (folder / "Annotations" / "000013.xml").unlink()
    with pytest.raises(InputFileError, match="1 of the 2 annotations") as caught:
        read(tmp_path)
    assert "000013.xml" in str(caught.value)
    (folder / "JPEGImages" / "000012.jpg").unlink()
    with pytest.raises(InputFileError, match="1 of the 2 images"):
        read(tmp_path)
    with pytest.raises(InputFileError, match="no file") as caught:
        read(tmp_path, "2007-train")
    assert caught.value.got == "splits test"
    with pytest.raises(InputFileError, match="no VOC2012"):
        read(tmp_path, "2012-val")
    with pytest.raises(InputFileError, match="no folder"):
        read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "lists no image"),
        ("000012 1\n", "no list of images"),
        ("../000012\n", "no list of images"),
        ("..\n", "no list of images"),
        ("000012\n000013\n000012\n", "more than once"),
    ],
)
def test_a_list_that_is_none_is_refused(content: str, said: str, tmp_path: Path) -> None:
    folder = write_voc(tmp_path, [IMAGE, EMPTY])
    (folder / "ImageSets" / "Main" / "test.txt").write_text(content)
    with pytest.raises(InputFileError, match=said):
        read(tmp_path)


def test_no_object_at_all_is_refused(tmp_path: Path) -> None:
    write_voc(tmp_path, [EMPTY])
    with pytest.raises(InputFileError, match="has no object"):
        read(tmp_path)


@pytest.mark.parametrize("text", ["2007", "test", "07-test", "2007-", "2007-a/b", "-test", ""])
def test_splits_are_a_year_and_a_list(text: str) -> None:
    with pytest.raises(UsageError, match="no split of VOC"):
        VocSplit.parse(text)


def test_roots_may_hold_colons_where_they_exist(tmp_path: Path) -> None:
    odd = tmp_path / "a:b"
    odd.mkdir()
    assert split_of(str(odd)) == (odd, VocSplit(year=2007, split="test"))
    assert split_of(f"{odd}:2012-val") == (odd, VocSplit(year=2012, split="val"))
    assert split_of("data") == (Path("data"), VocSplit(year=2007, split="test"))
    with pytest.raises(UsageError, match="names no folder"):
        split_of("")
