"""Images become inputs in parallel: the same as one by one, in order, never far ahead."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hardnet_deploy.data import loading
from hardnet_deploy.data.images import load_image
from hardnet_deploy.data.loading import LoadedImage, load_inputs, usual_workers
from hardnet_deploy.data.preprocess import preprocess_image
from hardnet_deploy.errors import HardnetDeployError, InputFileError, UsageError
from hardnet_deploy.specs import Preprocess, detector_preprocess

SPEC = detector_preprocess(32)


def pictures(folder: Path, count: int) -> list[Path]:
    draw = np.random.default_rng(count)
    paths = []
    for number in range(count):
        height, width = draw.integers(20, 60, 2)
        paths.append(folder / f"{number}.png")
        Image.fromarray(draw.integers(0, 256, (height, width, 3), np.uint8)).save(paths[-1])
    return paths


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("images")]


@pytest.mark.parametrize("workers", [1, 2, 5, None])
def test_any_number_of_workers_gives_the_same_in_order(workers: int | None, tmp_path: Path) -> None:
    paths = pictures(tmp_path, 23)
    got = list(load_inputs(paths, SPEC, workers=workers))
    assert len(got) == len(paths)
    for path, one in zip(paths, got, strict=True):
        assert isinstance(one, LoadedImage)
        image = load_image(path)
        assert (one.height, one.width) == image.shape[:2]
        assert np.array_equal(one.pixels, preprocess_image(image, SPEC))
    assert readers() == []


def test_no_images_are_no_inputs() -> None:
    assert list(load_inputs([], SPEC)) == []


def test_a_damaged_image_comes_in_its_place(tmp_path: Path) -> None:
    paths = pictures(tmp_path, 5)
    paths[2].write_bytes(b"nothing")
    paths[4].unlink()
    got = list(load_inputs(paths, SPEC, workers=2))
    assert [isinstance(one, InputFileError) for one in got] == [False, False, True, False, True]
    assert str(paths[2]) in str(got[2])
    assert str(paths[4]) in str(got[4])


def test_a_fault_of_ours_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = pictures(tmp_path, 3)

    def fails(image: object, spec: Preprocess) -> None:
        raise ZeroDivisionError("by hand")

    monkeypatch.setattr(loading, "preprocess_image", fails)
    with pytest.raises(HardnetDeployError, match=r"0\.png cannot be prepared: ZeroDivisionError: by hand"):
        list(load_inputs(paths, SPEC))
    monkeypatch.undo()
    narrow = Preprocess(size=224, channel_order="rgb", resize="crop", divisor=255.0, mean=(0, 0, 0), std=(1, 1, 1))
    Image.new("RGB", (1, 4000)).save(paths[0])
    with pytest.raises(HardnetDeployError, match=r"0\.png cannot be prepared: The image is too narrow"):
        list(load_inputs(paths, narrow))


def test_the_look_ahead_is_bounded_and_stopping_early_stops_the_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = pictures(tmp_path, 4) * 50
    begun: list[Path] = []
    original = load_image

    def counted(path: Path) -> object:
        begun.append(path)
        return original(path)

    monkeypatch.setattr(loading, "load_image", counted)
    with contextlib.closing(load_inputs(paths, SPEC, workers=3, look_ahead=4)) as images:
        for _ in range(5):
            next(images)
        while any(thread.is_alive() for thread in readers()) and len(begun) < 5 + 9:
            time.sleep(0.001)
        assert len(begun) <= 5 + 2 * 3 + 4
    assert readers() == []
    assert len(begun) <= 5 + 2 * 3 + 4


def test_workers_are_at_least_one() -> None:
    assert 1 <= usual_workers() <= loading.MOST_WORKERS
    with pytest.raises(UsageError, match="--workers 0"):
        load_inputs([], SPEC, workers=0)
