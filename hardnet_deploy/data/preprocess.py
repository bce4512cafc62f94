"""An image becomes the network's input, as upstream evaluates it.

Detectors (PingoLH/PytorchSSD-HarDNet, ``BaseTransform``): INTER_LINEAR to S x S on uint8, then the mean. Backbones
(PingoLH/Pytorch-HarDNet): torchvision's ``Resize``, ``CenterCrop``, ``ToTensor`` and ``Normalize`` on a PIL image. All
arithmetic is float32, in the original order: divide, subtract the mean, divide by the standard deviation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.data.inter_linear import resize_inter_linear
from hardnet_deploy.errors import UsageError
from hardnet_deploy.specs import F32, Preprocess

U8 = NDArray[np.uint8]
LARGEST_SCALED_IMAGE = 100_000_000


def preprocess_image(image: U8, spec: Preprocess) -> F32:
    """The network's input for one image.

    Args:
        image: Shape (H, W, 3), uint8, **RGB**, whatever the network wants.
        spec: The model's pre-processing.

    Returns:
        Shape (3, S, S), channels in the network's order.

    Raises:
        UsageError: Another dtype or shape; with ``crop``, an image so narrow that it would be scaled to more than
            100 million pixels.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise UsageError(
            "Pre-processing starts from an RGB image of 8 bits.",
            got=f"{image.dtype} {image.shape}",
            wanted="uint8 [H, W, 3], not empty",
        )
    if spec.resize == "stretch":
        pixels = resize_inter_linear(image, width=spec.size, height=spec.size)
    else:
        pixels = _scale_and_crop(image, spec.size)
    if spec.channel_order == "bgr":
        pixels = pixels[:, :, ::-1]
    values: F32 = pixels.astype(np.float32)
    values /= np.float32(spec.divisor)
    values -= np.array(spec.mean, np.float32)
    values /= np.array(spec.std, np.float32)
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def preprocess_batch(images: Sequence[U8], spec: Preprocess) -> F32:
    """:func:`preprocess_image` of each, stacked: shape (N, 3, S, S); N may be 0, sizes may differ."""
    batch = np.empty((len(images), 3, spec.size, spec.size), np.float32)
    for slot, image in zip(batch, images, strict=True):
        slot[...] = preprocess_image(image, spec)
    return batch


def _scale_and_crop(image: U8, size: int) -> U8:
    """As torchvision on PIL images: short side to ``round(size * 256 / 224)``, Pillow's BILINEAR, central square.

    The long side is truncated to an integer and the crop's corner rounded half to even, as torchvision does.
    """
    from PIL import Image

    height, width = image.shape[:2]
    short = round(size * 256 / 224)
    long = int(short * max(height, width) / min(height, width))
    scaled_width, scaled_height = (short, long) if width <= height else (long, short)
    if short * long > LARGEST_SCALED_IMAGE:
        raise UsageError(
            f"The image is too narrow: with its short side at {short} pixels it would have more than 100 million.",
            got=f"{width} x {height} pixels",
            next_step="cut the image into parts",
        )
    picture = Image.fromarray(image)
    if (scaled_width, scaled_height) != (width, height):
        picture = picture.resize((scaled_width, scaled_height), Image.Resampling.BILINEAR)
    left, top = round((scaled_width - size) / 2), round((scaled_height - size) / 2)
    return np.asarray(picture.crop((left, top, left + size, top + size)))
