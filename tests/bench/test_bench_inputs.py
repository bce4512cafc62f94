"""What sides are fed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardnet_deploy.bench.inputs import MOST_BATCHES, inputs_for, random_pixels
from hardnet_deploy.bench.sides import Side, SideError
from hardnet_deploy.data.preprocess import preprocess_batch
from hardnet_deploy.specs import classifier_preprocess, detector_preprocess

SIZE = 16
SPEC = detector_preprocess(SIZE)


def side(**options: Any) -> Side:
    return Side(**{"key": "k", "kind": "torch", "network": "any", "size": SIZE} | options)


def saved(path: Path, array: np.ndarray[Any, Any]) -> str:
    np.save(path / "data.npy", array)
    return str(path / "data.npy")


def test_random_input_is_the_same_for_every_side_and_pre_processed() -> None:
    one, other = (inputs_for(side(batch=2), SPEC).tensors for _ in range(2))
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(one[0], preprocess_batch(random_pixels(2, SIZE), SPEC))
    assert one[0].dtype == np.float32
    assert inputs_for(side(), SPEC).images == ()


def test_images_of_a_file_are_cycled_in_whole_batches(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 20, 30, 3), np.uint8)
    found = inputs_for(side(batch=2, data=saved(tmp_path, images), boundary="end-to-end"), SPEC)
    assert len(found.tensors) == len(found.images) == 3
    np.testing.assert_array_equal(found.tensors[2], preprocess_batch(images[4:6], SPEC))
    np.testing.assert_array_equal(found.images[2][1], images[5])
    assert found.text == "6 images in turn"


def test_end_to_end_says_where_nothing_is_resized(tmp_path: Path) -> None:
    whole: dict[str, Any] = {"boundary": "end-to-end"}
    drawn = inputs_for(side(**whole), SPEC).text
    assert drawn == (
        "uniform random 8-bit pixels, images of the network's own size: nothing is resized; --data times real ones"
    )
    assert "resized" not in inputs_for(side(), SPEC).text
    assert "resized" not in inputs_for(side(**whole), classifier_preprocess(SIZE)).text  # scales, then crops
    for height, told in (SIZE, True), (SIZE + 1, False):
        data = saved(tmp_path, np.zeros((1, height, SIZE, 3), np.uint8))
        text = inputs_for(side(**whole, data=data), SPEC).text
        assert text.endswith("nothing is resized") is told
        assert "resized" not in inputs_for(side(data=data), SPEC).text


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    images = np.zeros((MOST_BATCHES + 5, 4, 4, 3), np.uint8)
    assert len(inputs_for(side(data=saved(tmp_path, images)), SPEC).tensors) == MOST_BATCHES


def test_ready_inputs_are_fed_as_they_are(tmp_path: Path) -> None:
    ready = np.random.default_rng(0).standard_normal((1, 3, SIZE, SIZE)).astype(np.float32)
    data = saved(tmp_path, ready)
    np.testing.assert_array_equal(inputs_for(side(data=data), SPEC).tensors[0], ready)
    with pytest.raises(SideError, match="8-bit images"):
        inputs_for(side(data=data, boundary="end-to-end"), SPEC)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((1, 4, 4, 3), np.uint8), "a batch is 2"),
        (np.zeros((0, 4, 4, 3), np.uint8), "wanted uint8"),
        (np.zeros((4, 4, 3), np.uint8), "wanted uint8"),
        (np.zeros((2, 3, 8, 8), np.float32), "wanted uint8"),
        (np.zeros((2, 3, SIZE, SIZE)), "wanted uint8"),
        (np.array([None]), "cannot be read"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, array: np.ndarray[Any, Any], message: str) -> None:
    with pytest.raises(SideError, match=message):
        inputs_for(side(batch=2, data=saved(tmp_path, array)), SPEC)
