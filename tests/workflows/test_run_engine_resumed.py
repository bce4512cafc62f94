"""Interrupted runs go on where they stopped, and nothing else does."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_datasets import SmallImage, coco_document, toy_images, write_coco
from tiny_detector import TOY
from toy_runs import contents, engine, interrupted, make_data

from hardnet_deploy.data.coco import read_coco
from hardnet_deploy.data.dataset import Dataset
from hardnet_deploy.errors import UsageError
from hardnet_deploy.models import registry
from hardnet_deploy.workflows import detection_store
from hardnet_deploy.workflows.detection_store import DetectionStore, ImageRecord
from hardnet_deploy.workflows.open_engine import OpenEngine, open_engine
from hardnet_deploy.workflows.post_process import Postprocess
from hardnet_deploy.workflows.run_engine import detect_dataset


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return make_data(tmp_path / "data", 10)


@pytest.mark.parametrize("postprocess", ["deployed", "upstream"])
def test_an_interrupted_run_goes_on_where_it_stopped_and_ends_the_same(
    postprocess: Postprocess, tmp_path: Path, data: Dataset
) -> None:
    opened, store = engine(tmp_path, outputs="boxes", busy=True), tmp_path / "store"
    interrupted(opened, data, 4, store=store, postprocess=postprocess)
    interrupted(opened, data, 3, store=store, postprocess=postprocess)
    told: list[tuple[int, int]] = []
    run = detect_dataset(
        opened, data, store=store, postprocess=postprocess, progress=lambda done, total: told.append((done, total))
    )
    assert (run.resumed, run.computed) == (7, 3)
    assert told == [(7, 10), (8, 10), (9, 10), (10, 10)]
    assert any("7 of 10 images were computed by an earlier run" in note for note in run.notes)
    with detect_dataset(opened, data, postprocess=postprocess) as whole:
        assert contents(run) == contents(whole)
    run.close()
    with detect_dataset(opened, data, store=store, postprocess=postprocess) as anew:
        assert anew.resumed == 0


def test_nothing_else_is_continued(tmp_path: Path, data: Dataset) -> None:
    store = tmp_path / "store"
    opened = engine(tmp_path, outputs="boxes", busy=True)
    interrupted(opened, data, 4, store=store)
    document = coco_document(toy_images(10))
    document["annotations"][0]["iscrowd"] = 1
    write_coco(tmp_path / "changed", toy_images(10), document=document)
    changed = read_coco(tmp_path / "changed", "val2017", class_names=TOY.class_names, name="toy data")
    (tmp_path / "other").mkdir()
    other = engine(tmp_path / "other", outputs="boxes")
    kept = dataclasses.replace(opened.thresholds, score=0.2)
    fed = dataclasses.replace(opened.preprocess, mean=(0.0, 0.0, 0.0))
    cases: list[tuple[OpenEngine, Dataset, dict[str, Any]]] = [
        (opened, changed, {}),
        (other, data, {}),
        (opened, data, {"postprocess": "upstream"}),
        (opened, data, {"skip_unreadable": True}),
        (dataclasses.replace(opened, thresholds=kept), data, {}),
        (dataclasses.replace(opened, preprocess=fed), data, {}),
        (dataclasses.replace(opened, code_line="lzx1413"), data, {}),
        (opened, dataclasses.replace(data, samples=data.samples[:9], digest="1" * 64), {}),
    ]
    for candidate, images, options in cases:
        with detect_dataset(candidate, images, store=store, **options) as run:
            assert run.resumed == 0
    with detect_dataset(opened, data, store=store, workers=1) as run:
        assert run.resumed == 4


def test_without_a_store_or_an_identity_nothing_is_kept(tmp_path: Path, data: Dataset) -> None:
    opened = engine(tmp_path)
    interrupted(opened, data, 4)
    store = tmp_path / "store"
    interrupted(dataclasses.replace(opened, sha256=None), data, 4, store=store)
    assert not store.exists()


def test_a_killed_runs_chunks_are_kept_and_damaged_ones_computed_again(
    tmp_path: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detection_store, "CHUNK_IMAGES", 2)
    opened, store = engine(tmp_path, busy=True), tmp_path / "store"
    interrupted(opened, data, 7, store=store)
    chunks = sorted(store.rglob("*.npz"))
    assert len(chunks) == 4
    chunks[2].write_bytes(chunks[2].read_bytes()[:-30])
    with detect_dataset(opened, data, store=store) as run, detect_dataset(opened, data) as whole:
        assert run.resumed == 4
        assert contents(run) == contents(whole)
    assert list(store.rglob("*.npz")) == []


def test_one_store_has_one_writer(tmp_path: Path, data: Dataset) -> None:
    opened = engine(tmp_path)
    with (
        detect_dataset(opened, data, store=tmp_path / "store"),
        pytest.raises(UsageError, match="already running over the same data"),
    ):
        detect_dataset(opened, data, store=tmp_path / "store")


def test_a_store_gives_back_every_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection_store, "CHUNK_IMAGES", 3)
    draw = np.random.default_rng(0)
    rows = [draw.normal(0, 100, (count, 6)).astype(np.float32) for count in (3, 0, 5, 1, 0, 0, 7)]
    store = DetectionStore(tmp_path, {"a": 1})
    for one in rows:
        store.append(ImageRecord(rows=one, width=5, height=6, error="" if len(one) else "torn"))
    for place in (6, 0, 3, 1, 5, 2, 4):
        assert np.array_equal(store[place].boxes, rows[place][:, 1:5].astype(np.float64))
        assert np.array_equal(store[place].scores, rows[place][:, 5].astype(np.float64))
    store.close(keep=True)
    again = DetectionStore(tmp_path, {"a": 1})
    assert len(again) == 7
    assert again.errors == ((1, "torn"), (4, "torn"), (5, "torn"))
    assert again.sizes[0] == (5, 6)
    again.close(keep=False)
    assert list(tmp_path.rglob("*.npz")) == []


def test_pytorch_runs_and_continues_too(tmp_path: Path) -> None:
    opened = open_engine(registry.DEMO_MODEL)
    assert opened.state_sha256 is not None
    assert opened.code_line == "pingolh"
    images = [SmallImage(name=str(number)) for number in range(2)]
    write_coco(tmp_path / "data", toy_images(1) + images, document=coco_document(toy_images(1) + images))
    few = read_coco(tmp_path / "data", "val2017", class_names=TOY.class_names, name="few")
    few = dataclasses.replace(few, class_names=opened.class_names)
    interrupted(opened, few, 1, store=tmp_path / "store")
    with detect_dataset(opened, few, store=tmp_path / "store", postprocess="deployed") as run:
        assert (run.resumed, run.computed) == (1, 2)
