"""Splits on disk: COCO's layout, and a cache that is never used when it is not what was asked for."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from hardnet_deploy.cache import cache_folder, refuse_unwritable_cache
from hardnet_deploy.data.demo import ensure, layout, write
from hardnet_deploy.data.demo.ensure import ensure_split
from hardnet_deploy.data.demo.layout import DemoSplit
from hardnet_deploy.data.demo.scene import draw_scene
from hardnet_deploy.data.demo.splits import SPLIT_SIZES
from hardnet_deploy.errors import OutputFileError, UsageError
from hardnet_deploy.models.class_names import DEMO

COUNT = 3


def ensured(folder: Path, **options: Any) -> DemoSplit:
    return ensure_split("val", folder=folder, **{"count": COUNT, "workers": 1, **options})


def temporary_folders(folder: Path) -> list[Path]:
    return list(folder.rglob("*.tmp"))


@pytest.fixture
def no_drawing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Drawing in this process fails the test."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("scenes were drawn")

    with monkeypatch.context() as patch:
        patch.setattr(ensure, "write_split", refuse)
        yield


def test_coco_tools_read_what_was_drawn(tmp_path: Path) -> None:
    split = ensured(tmp_path)
    coco = COCO(str(split.annotations))
    assert [(row["id"], row["name"]) for row in coco.loadCats(coco.getCatIds())] == list(enumerate(DEMO, start=1))
    assert coco.getImgIds() == list(range(1, COUNT + 1))
    for image in coco.loadImgs(coco.getImgIds()):
        scene = draw_scene("val", image["id"] - 1)
        assert (split.images / image["file_name"]).read_bytes() == scene.jpeg
        assert (image["width"], image["height"]) == (scene.width, scene.height)
        rows = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
        assert [row["category_id"] for row in rows] == scene.labels.tolist()
        assert [row["area"] for row in rows] == scene.areas.tolist()
        boxes = np.array([row["bbox"] for row in rows])
        boxes[:, 2:] += boxes[:, :2]
        assert np.array_equal(boxes, scene.boxes)
        assert {(row["iscrowd"], tuple(row["segmentation"])) for row in rows} == {(0, ())}
    assert coco.getAnnIds() == list(range(1, sum(split.sizes) + 1))
    assert (split.name, split.count, split.seed, split.notes) == ("val", COUNT, 0, ())


def test_a_smaller_count_is_a_prefix_with_a_cache_of_its_own(tmp_path: Path) -> None:
    few, more = ensured(tmp_path), ensured(tmp_path, count=COUNT + 2)
    assert few.root != more.root
    assert few.digest != more.digest
    for path in few.images.iterdir():
        assert path.read_bytes() == (more.images / path.name).read_bytes()


def test_seeds_do_not_share_a_cache(tmp_path: Path) -> None:
    assert ensured(tmp_path).digest != ensured(tmp_path, seed=1).digest
    assert ensured(tmp_path).digest == ensured(tmp_path / "elsewhere").digest


def test_the_bytes_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    count = 2 * write._BATCH + 1
    alone = ensured(tmp_path / "alone", count=count)
    shared = ensured(tmp_path / "shared", count=count, workers=2, progress=lambda *step: calls.append(step))
    assert alone.digest == shared.digest
    assert calls == [(20, count), (40, count), (count, count)]


def test_dead_workers_are_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dying:
        def __init__(self, *_: object, **__: object) -> None: ...

        def map(self, function: Callable[[Any], Any], jobs: list[Any]) -> Iterator[Any]:
            yield function(jobs[0])
            raise BrokenProcessPool

        def shutdown(self, **_: object) -> None: ...

    monkeypatch.setattr(write, "ProcessPoolExecutor", Dying)
    count = write._BATCH + 1
    assert ensured(tmp_path / "a", count=count, workers=2).digest == ensured(tmp_path / "b", count=count).digest


def test_a_whole_cache_is_used_without_drawing(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    first = ensured(tmp_path)
    request.getfixturevalue("no_drawing")
    assert ensured(tmp_path) == first


def truncate(split: DemoSplit) -> None:
    path = split.images / "000000000002.jpg"
    path.write_bytes(path.read_bytes()[:-20])


def change_annotations(split: DemoSplit) -> None:
    split.annotations.write_text(split.annotations.read_text().replace('"iscrowd":0', '"iscrowd":1'))


def change_record(**fields: object) -> Callable[[DemoSplit], None]:
    def change(split: DemoSplit) -> None:
        path = layout.record_path(split.root, split.name)
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    return change


DAMAGES: dict[str, tuple[Callable[[DemoSplit], object], str]] = {
    "truncated image": (truncate, "differs"),
    "missing image": (lambda split: (split.images / "000000000003.jpg").unlink(), "exactly 3 images"),
    "surplus image": (lambda split: (split.images / "000000000004.jpg").touch(), "exactly 3 images"),
    "changed annotation": (change_annotations, "differs"),
    "missing annotations": (lambda split: split.annotations.unlink(), "instances_val.json is missing"),
    "missing record": (lambda split: layout.record_path(split.root, "val").unlink(), "val.digest.json is missing"),
    "no JSON": (lambda split: layout.record_path(split.root, "val").write_text("{"), "cannot be understood"),
    "JSON of another kind": (lambda split: layout.record_path(split.root, "val").write_text("[]"), "understood"),
    "older version": (change_record(scenes_version=0), "version of the scenes is 0"),
    "another seed": (change_record(seed=5), "seed is 5"),
    "another count": (change_record(count=2), "count is 2"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_not_as_it_was_written_is_drawn_anew_with_a_note(tmp_path: Path, damage: str) -> None:
    harm, reason = DAMAGES[damage]
    before = ensured(tmp_path)
    harm(before)
    after = ensured(tmp_path)
    assert after.digest == before.digest
    assert len(after.notes) == 1
    assert reason in after.notes[0]
    assert str(after.root) in after.notes[0]
    assert ensured(tmp_path).notes == ()
    assert not temporary_folders(tmp_path)


def test_a_file_in_the_place_of_the_split_gives_way(tmp_path: Path) -> None:
    root = tmp_path / "demo-data" / f"val-{COUNT}-seed0"
    root.parent.mkdir()
    root.write_text("no folder")
    assert ensured(tmp_path).notes
    assert root.is_dir()


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        assert done <= total
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensured(tmp_path, progress=interrupt)
    assert list((tmp_path / "demo-data").iterdir()) == []
    assert ensured(tmp_path).notes == ()


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "no space left"), (errno.EDQUOT, "no space left"), (errno.EIO, "written")]
)
def test_a_full_disk_is_an_output_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    original = Path.write_bytes

    def fail(path: Path, data: bytes) -> int:
        if path.name == "000000000002.jpg":
            raise OSError(code, os.strerror(code), str(path))
        return original(path, data)

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OutputFileError, match=words):
        ensured(tmp_path)
    assert list((tmp_path / "demo-data").iterdir()) == []


def test_two_at_once_both_end_with_a_whole_split(tmp_path: Path) -> None:
    found: list[DemoSplit] = []
    together = threading.Barrier(2)

    def run() -> None:
        together.wait()
        found.append(ensured(tmp_path))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert found[0].digest == found[1].digest == ensured(tmp_path).digest
    assert not temporary_folders(tmp_path)


def test_only_old_remains_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    old, fresh = (tmp_path / "demo-data" / f".val-3-seed0.{pid}.ab.tmp" for pid in (1, 2))
    for path in (old, fresh):
        (path / "val").mkdir(parents=True)
    os.utime(old, (0, 0))
    ensured(tmp_path)
    assert temporary_folders(tmp_path) == [fresh]


@pytest.mark.parametrize(
    "options", [{"count": 0}, {"count": -1}, {"count": SPLIT_SIZES["val"] + 1}, {"seed": -1}, {"workers": 0}]
)
def test_numbers_out_of_range_are_refused_before_anything_is_made(tmp_path: Path, options: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        ensured(tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_split_is_told_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        ensure_split("test", folder=tmp_path)
    assert "train, calibration, search, val" in str(caught.value)


def test_the_variables_that_place_the_cache() -> None:
    home = Path.home() / ".cache" / "hardnet-deploy"
    assert cache_folder({"HARDNET_DEPLOY_CACHE": "/a", "XDG_CACHE_HOME": "/b"}) == Path("/a")
    assert cache_folder({"HARDNET_DEPLOY_CACHE": "here"}) == Path.cwd() / "here"
    assert cache_folder({"HARDNET_DEPLOY_CACHE": "", "XDG_CACHE_HOME": "/b"}) == Path("/b/hardnet-deploy")
    assert cache_folder({"XDG_CACHE_HOME": "relative"}) == home
    assert cache_folder({}) == home


def test_the_default_folder_is_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARDNET_DEPLOY_CACHE", str(tmp_path / "cache"))
    assert ensure_split("calibration", count=1).root == tmp_path / "cache" / "demo-data" / "calibration-1-seed0"


def test_a_cache_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputFileError, match="HARDNET_DEPLOY_CACHE"):
        ensured(tmp_path / "file")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputFileError, match="no permission"):
        refuse_unwritable_cache(tmp_path)


def test_a_whole_cache_that_cannot_be_written_still_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ensured(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert ensured(tmp_path) == first
