"""Pre-processing of detectors and backbones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data as photographs

from hardnet_deploy.data.preprocess import preprocess_batch, preprocess_image
from hardnet_deploy.errors import UsageError
from hardnet_deploy.specs import classifier_preprocess, detector_preprocess


@pytest.mark.parametrize("size", [300, 512])
@pytest.mark.parametrize("photograph", ["astronaut", "chelsea", "rocket"])
def test_detector_equals_what_upstream_does_with_opencv(photograph: str, size: int) -> None:
    rgb = getattr(photographs, photograph)()
    bgr = np.ascontiguousarray(rgb[:, :, ::-1])
    pixels = cv2.resize(bgr, (size, size), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    pixels -= (104, 117, 123)
    expected = pixels.transpose(2, 0, 1)
    result = preprocess_image(rgb, detector_preprocess(size))
    assert (result.dtype, result.flags.c_contiguous) == (np.float32, True)
    assert np.array_equal(result, expected)


def test_channel_order_and_mean_show() -> None:
    """A wrong order or mean changes the result of a one-coloured image."""
    red = np.zeros((4, 4, 3), np.uint8)
    red[:, :, 0] = 200
    result = preprocess_image(red, detector_preprocess(2))
    assert result[:, 0, 0].tolist() == [-104, -117, 77]
    swapped = preprocess_image(red, replace(detector_preprocess(2), channel_order="rgb"))
    assert swapped[:, 0, 0].tolist() == [96, -117, -123]


@pytest.mark.parametrize(
    ("height", "width", "scaled", "corner"),
    [
        pytest.param(400, 600, (384, 256), (80, 16), id="landscape"),
        pytest.param(600, 400, (256, 384), (16, 80), id="portrait"),
        pytest.param(256, 256, (256, 256), (16, 16), id="no scaling"),
        pytest.param(100, 150, (384, 256), (80, 16), id="enlarged"),
        pytest.param(300, 333, (284, 256), (30, 16), id="long side truncated"),
        pytest.param(300, 317, (270, 256), (23, 16), id="odd margin"),
        pytest.param(256, 257, (257, 256), (16, 16), id="half rounds to even"),
        pytest.param(1, 1, (256, 256), (16, 16), id="one pixel"),
    ],
)
def test_backbone_equals_torchvision_on_pil(
    height: int, width: int, scaled: tuple[int, int], corner: tuple[int, int]
) -> None:
    """Sizes and corners are written out as torchvision's Resize(256) and CenterCrop(224) compute them."""
    rgb = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    picture = Image.fromarray(rgb).resize(scaled, Image.Resampling.BILINEAR)
    pixels = np.asarray(picture)[corner[1] : corner[1] + 224, corner[0] : corner[0] + 224]
    values = pixels.astype(np.float32) / np.float32(255)
    expected = (values - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    result = preprocess_image(rgb, classifier_preprocess(224))
    assert result.dtype == np.float32
    assert np.array_equal(result, expected.transpose(2, 0, 1))


def test_backbone_at_another_size_scales_the_margin_with_it() -> None:
    result = preprocess_image(photographs.astronaut(), classifier_preprocess(320))
    assert result.shape == (3, 320, 320)


def test_batch_stacks_images_of_any_size() -> None:
    images = [photographs.chelsea(), photographs.rocket(), np.zeros((1, 1, 3), np.uint8)]
    spec = detector_preprocess(64)
    batch = preprocess_batch(images, spec)
    assert batch.shape == (3, 3, 64, 64)
    for row, image in zip(batch, images, strict=True):
        assert np.array_equal(row, preprocess_image(image, spec))


def test_empty_batch() -> None:
    batch = preprocess_batch([], detector_preprocess(64))
    assert (batch.shape, batch.dtype) == ((0, 3, 64, 64), np.float32)


def test_image_is_left_alone() -> None:
    image = photographs.chelsea()
    before = image.copy()
    preprocess_image(image, detector_preprocess(32))
    preprocess_image(image, classifier_preprocess(32))
    assert np.array_equal(image, before)


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(np.zeros((4, 4), np.uint8), id="grey"),
        pytest.param(np.zeros((4, 4, 4), np.uint8), id="alpha"),
        pytest.param(np.zeros((4, 4, 3), np.float32), id="float"),
        pytest.param(np.zeros((0, 4, 3), np.uint8), id="empty"),
    ],
)
def test_other_arrays_are_refused(image: Any) -> None:
    with pytest.raises(UsageError, match=r"uint8 \[H, W, 3\]"):
        preprocess_image(image, detector_preprocess(32))


def test_an_image_too_narrow_to_be_scaled_is_refused_before_memory_is_taken() -> None:
    with pytest.raises(UsageError, match="10000 x 1 pixels"):
        preprocess_image(np.zeros((1, 10000, 3), np.uint8), classifier_preprocess(224))
