"""The first layer that diverges: found in order, by name, over any number of images and in flat memory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from hardnet_deploy.evaluate import layers
from hardnet_deploy.evaluate.layers import InnerTensor, LayersParity, compare_layers
from hardnet_deploy.evaluate.tolerances import Tolerance

ALLOWED = Tolerance(atol=0.0, rtol=0.01, why="a round number for the tests")
IMAGES = np.ones((1, 3, 2, 2), np.float32)
SIZE = 16


class Inside:
    """Named tensors that do not depend on the image, except 'images' itself and 'echo', which is the same."""

    def __init__(self, tensors: Mapping[str, object], kind: str = "Conv") -> None:
        self._values = {name: np.asarray(value, np.float32) for name, value in tensors.items()}
        self._kind = kind
        self.asked: list[tuple[str, ...]] = []

    @property
    def tensors(self) -> Mapping[str, InnerTensor]:
        return {name: InnerTensor(operation=f"{self._kind} {name}", bytes=SIZE) for name in self._values}

    def values(self, images: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
        self.asked.append(tuple(names))
        return {name: images if name in {"images", "echo"} else self._values[name] for name in names}


def compare(reference: Inside, candidate: Inside, count: int = 1) -> LayersParity:
    return compare_layers(reference, candidate, [(IMAGES, IMAGES)] * count, ALLOWED)


def test_the_first_is_named_not_the_worst() -> None:
    found = compare(Inside({"a": [1, 2], "b": [1, 2], "c": [1, 2]}), Inside({"a": [1, 2], "b": [1, 2.1], "c": [9, 2]}))
    assert found.first is not None
    assert found.first.parity.name == "b"
    assert found.first.position == 1
    assert [layer.parity.name for layer in found.worst] == ["c", "b", "a"]
    assert "'b' (Conv b)" in found.sentence()
    assert "allowed 0.01" in found.sentence()


def test_the_order_is_the_candidates_and_only_shared_names_count() -> None:
    found = compare(Inside({"x": 1, "b": 1, "a": 1, "y": 1}), Inside({"a": 1, "b": 1, "z": 1}))
    assert [layer.parity.name for layer in found.layers] == ["a", "b"]
    assert (found.only_reference, found.only_candidate) == (2, 1)
    assert found.first is None
    assert found.sentence() == "none of 2 inner tensors diverges"


def test_what_makes_a_layer_is_told_for_both_sides() -> None:
    found = compare(Inside({"bn": 1}, kind="BatchNorm2d"), Inside({"bn": 2}, kind="Conv"))
    assert "(BatchNorm2d bn -> Conv bn)" in found.sentence()


def test_other_pre_processing_is_called_that() -> None:
    inside = Inside({"images": 0, "a": 1})
    found = compare_layers(inside, inside, [(IMAGES, IMAGES * 1.5)], ALLOWED)
    assert found.first is not None
    assert found.first.title == "images (pre-processing)"


def test_the_error_is_relative_to_the_largest_value_and_the_worst_image_counts() -> None:
    inside = Inside({"echo": 0})
    close, far = IMAGES * np.float32(1.005), IMAGES * np.float32(1.5)
    assert compare_layers(inside, inside, [(IMAGES, close)], ALLOWED).first is None
    found = compare_layers(inside, inside, [(IMAGES, close), (IMAGES, far)], ALLOWED)
    assert found.images == 2
    assert found.worst[0].error == pytest.approx(0.5)


def test_no_precision_excuses_another_input() -> None:
    inside = Inside({"images": 0, "echo": 0})
    found = compare_layers(inside, inside, [(IMAGES, IMAGES * np.float32(1.001))], ALLOWED)
    assert found.first is not None
    assert found.first.title == "images (pre-processing)"
    assert "allowed 1e-05" in found.sentence()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_number_diverges(value: float) -> None:
    found = compare(Inside({"a": [1, 2]}), Inside({"a": [1, value]}))
    assert found.first is not None
    json.dumps(found.as_dict(), allow_nan=False)


def test_another_shape_diverges() -> None:
    assert compare(Inside({"a": [1, 2]}), Inside({"a": [1, 2, 3]})).first is not None


def test_nothing_shared_and_nothing_run_are_told_apart() -> None:
    assert compare(Inside({"a": 1}), Inside({"b": 1})).why == "the two sides share no tensor by name"
    nothing = compare(Inside({"a": 1}), Inside({"a": 1}), count=0)
    assert nothing.why == "no image was run"
    assert nothing.layers == ()


def test_no_more_is_fetched_at_once_than_the_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "BYTES_AT_ONCE", 2 * SIZE)
    reference, candidate = (Inside(dict.fromkeys("abcde", 1)) for _ in range(2))
    found = compare(reference, candidate, count=2)
    assert len(found.layers) == 5
    chunks = [("a", "b"), ("c", "d"), ("e",)]
    assert candidate.asked == [chunk for chunk in chunks for _ in range(2)]


def test_a_tensor_larger_than_the_memory_still_comes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "BYTES_AT_ONCE", SIZE // 2)
    inside = Inside(dict.fromkeys("abc", 1))
    assert len(compare(inside, inside).layers) == 3


def test_only_the_worst_are_listed() -> None:
    inside = Inside({f"t{number}": 1 for number in range(30)})
    found = compare(inside, inside)
    assert len(found.worst) == layers.WORST
    assert found.as_dict()["compared"] == 30
