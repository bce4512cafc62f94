"""INTER_LINEAR on uint8: every byte as the installed OpenCV gives it."""

from __future__ import annotations

import platform
import tracemalloc
from typing import Any

import cv2
import numpy as np
import pytest
from skimage import data as photographs

from hardnet_deploy.data.inter_linear import resize_inter_linear
from hardnet_deploy.errors import UsageError

pytestmark = pytest.mark.skipif(
    platform.machine() not in {"x86_64", "AMD64"},
    reason="OpenCV's wheels for this processor take other arithmetic for some sizes; the module gives x86-64's",
)

# (height, width) of the source and of the target.
SIZES = [
    ((1, 1), (1, 1)),
    ((1, 1), (7, 5)),
    ((7, 5), (1, 1)),
    ((1, 9), (300, 300)),
    ((9, 1), (300, 300)),
    ((1, 640), (1, 300)),
    ((2, 2), (1, 1)),
    ((600, 600), (300, 300)),
    ((1024, 1024), (512, 512)),
    ((602, 600), (301, 300)),
    ((600, 599), (300, 300)),
    ((600, 300), (300, 300)),
    ((300, 600), (300, 300)),
    ((1200, 1200), (300, 300)),
    ((900, 900), (300, 300)),
    ((150, 150), (300, 300)),
    ((100, 100), (300, 300)),
    ((300, 300), (300, 300)),
    ((375, 500), (512, 512)),
    ((480, 640), (300, 300)),
    ((333, 777), (512, 512)),
    ((31, 17), (217, 119)),
    ((217, 119), (31, 17)),
    ((511, 513), (512, 512)),
    ((3, 40000), (5, 512)),
]


def opencv(image: Any, size: tuple[int, int]) -> Any:
    return cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


def ours(image: Any, size: tuple[int, int]) -> Any:
    return resize_inter_linear(image, width=size[1], height=size[0])


def noise(rng: np.random.Generator, size: tuple[int, int], channels: int | None) -> Any:
    return rng.integers(0, 256, size if channels is None else (*size, channels), dtype=np.uint8)


@pytest.mark.parametrize("channels", [None, 3])
@pytest.mark.parametrize(("source", "target"), SIZES)
def test_equals_opencv_on_noise(source: tuple[int, int], target: tuple[int, int], channels: int | None) -> None:
    image = noise(np.random.default_rng(0), source, channels)
    result = ours(image, target)
    assert result.dtype == np.uint8
    assert np.array_equal(result, opencv(image, target))


@pytest.mark.parametrize("seed", range(4))
def test_equals_opencv_on_random_sizes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for case in range(100):
        source, target = (tuple(rng.integers(1, 150, 2).tolist()) for _ in range(2))
        image = noise(rng, source, (None, 1, 3)[case % 3])
        expected = opencv(image, target)
        assert np.array_equal(ours(image, target).reshape(expected.shape), expected), (source, target)


@pytest.mark.parametrize("photograph", ["astronaut", "chelsea", "coffee", "rocket"])
@pytest.mark.parametrize("size", [300, 512])
def test_equals_opencv_on_photographs(photograph: str, size: int) -> None:
    image = getattr(photographs, photograph)()
    assert np.array_equal(ours(image, (size, size)), opencv(image, (size, size)))


def test_twenty_megapixels_equal_opencv_in_memory_of_the_order_of_the_output() -> None:
    image = noise(np.random.default_rng(1), (3648, 5472), 3)
    tracemalloc.start()
    result = ours(image, (512, 512))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(result, opencv(image, (512, 512)))
    assert peak < image.nbytes / 3


@pytest.mark.parametrize("optimised", [True, False])
def test_opencv_gives_the_same_with_and_without_its_vector_code(optimised: bool) -> None:
    image = noise(np.random.default_rng(2), (375, 500), 3)
    before = cv2.useOptimized()
    cv2.setUseOptimized(optimised)
    try:
        expected = opencv(image, (512, 512))
    finally:
        cv2.setUseOptimized(before)
    assert np.array_equal(ours(image, (512, 512)), expected)


def test_it_is_not_plain_rounded_interpolation() -> None:
    """The three truncations show: the textbook result differs by one level on some pixels, so the test above bites."""
    image = noise(np.random.default_rng(3), (375, 500), None)
    exact = cv2.resize(image.astype(np.float64), (512, 512), interpolation=cv2.INTER_LINEAR)
    difference = np.abs(np.rint(exact) - ours(image, (512, 512)))
    assert difference.max() == 1
    assert (difference > 0).any()


def test_same_size_is_a_copy() -> None:
    image = noise(np.random.default_rng(4), (5, 6), 3)
    result = ours(image, (5, 6))
    assert np.array_equal(result, image)
    assert not np.shares_memory(result, image)


def test_strided_views_are_read_right() -> None:
    image = noise(np.random.default_rng(5), (40, 60), 3)[::-1, ::2, ::-1]
    assert np.array_equal(ours(image, (33, 44)), opencv(np.ascontiguousarray(image), (33, 44)))


@pytest.mark.parametrize(
    "image", [np.zeros((2, 2), np.float32), np.zeros((0, 2), np.uint8), np.zeros((1, 2, 2, 3), np.uint8)]
)
def test_other_arrays_are_refused(image: Any) -> None:
    with pytest.raises(UsageError, match="uint8"):
        resize_inter_linear(image, width=2, height=2)


def test_size_zero_is_refused() -> None:
    with pytest.raises(UsageError, match="0 x 3"):
        resize_inter_linear(np.zeros((2, 2), np.uint8), width=0, height=3)
