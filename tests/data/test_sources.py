"""``--data`` as typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_datasets import toy_images, write_coco, write_voc
from tiny_detector import TOY

from hardnet_deploy.data.sources import open_data, split_name
from hardnet_deploy.errors import InputFileError, UsageError
from hardnet_deploy.models import registry

DEMO_CLASSES = registry.get(registry.DEMO_MODEL).class_names


def test_coco_and_voc_are_opened_by_their_layout(tmp_path: Path) -> None:
    write_coco(tmp_path, toy_images(4))
    write_voc(tmp_path, toy_images(4))
    data = open_data(f"coco:{tmp_path}", class_names=TOY.class_names)
    assert data.name == f"coco:{tmp_path}:val2017"
    assert (data.metric, len(data)) == ("coco", 4)
    data = open_data(f"voc:{tmp_path}:2007-test", class_names=TOY.class_names, count=3)
    assert data.name == f"voc:{tmp_path}:2007-test, first 3 of 4 images"
    assert (data.metric, len(data)) == ("voc07", 3)
    assert open_data(f"voc:{tmp_path}", class_names=TOY.class_names, metric="voc12").metric == "voc12"
    assert open_data(f"coco:{tmp_path}", class_names=TOY.class_names, metric="voc07").metric == "voc07"


def test_the_demo_data_are_drawn_and_labelled_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARDNET_DEPLOY_CACHE", str(tmp_path))
    told: list[tuple[int, int]] = []
    data = open_data("demo", class_names=DEMO_CLASSES, count=3, progress=lambda done, total: told.append((done, total)))
    assert data.name == "demo:val, first 3 of 2000 images"
    assert data.metric == "coco"
    assert told[-1] == (3, 3)
    assert len(data) == 3
    assert all(sample.path.is_file() for sample in data.samples)
    again = open_data("demo:val", class_names=DEMO_CLASSES, count=3)
    assert again.digest == data.digest
    other = open_data("demo", class_names=DEMO_CLASSES, default_split="search", count=3)
    assert other.name.startswith("demo:search,")
    assert other.digest != data.digest
    with pytest.raises(UsageError, match="classes that the model does not have"):
        open_data("demo:val", class_names=TOY.class_names, count=3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no labelled data"),
        ("imagenet:/data", "names no labelled data"),
        ("/data/coco", "names no labelled data"),
        ("demo:test", "no split 'test'"),
        ("coco:", "names no folder"),
        ("voc:data:test", "no split of VOC"),
    ],
)
def test_other_words_are_usage_errors(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        open_data(text, class_names=TOY.class_names)


def test_a_folder_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    for kind in ("coco", "voc"):
        with pytest.raises(InputFileError):
            open_data(f"{kind}:{tmp_path / 'nowhere'}", class_names=TOY.class_names)


def test_a_count_under_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--count 0"):
        open_data(f"coco:{tmp_path}", class_names=TOY.class_names, count=0)


def test_splits_have_their_names(tmp_path: Path) -> None:
    assert split_name("demo") == "val"
    assert split_name("demo", default_split="train") == "train"
    assert split_name("demo:search") == "search"
    assert split_name(f"coco:{tmp_path}") == "val2017"
    assert split_name("voc:x:2012-val") == "2012-val"
