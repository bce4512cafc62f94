"""Reading any image file as OpenCV's ``imread(path, IMREAD_COLOR)`` reads it, but through Pillow and as RGB.

What IMREAD_COLOR does, and what is done here (opencv/opencv, ``modules/imgcodecs``; measured against 4.14.0):

- alpha and transparent palette entries are dropped, not blended (in PNG); grey is repeated three times;
- 16 bits become 8 by dropping the low byte;
- the EXIF orientation is applied, in any format that carries it.

Equal in every byte come out: PNGs of every kind, with transparency or without; 8-bit RGB BMP, PPM, TIFF and lossless
WebP; 8-bit and 16-bit grey PGM with a largest value of 255 or 65535; 16-bit grey TIFF; GIF without transparency. JPEG
depends on the decoder: equal where both use the same libjpeg-turbo, else a few grey levels apart. CMYK and 16-bit
colour TIFF come out within one grey level. A TIFF with alpha differs, OpenCV blends those with black, and so may a GIF
with transparency, a PPM or PGM with another largest value and what is not named here. Truncated files, some of which
OpenCV returns in part, are refused.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.errors import InputFileError

if TYPE_CHECKING:
    from PIL import Image

U8 = NDArray[np.uint8]
LARGEST_IMAGE = 100_000_000
EIGHT_BIT_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
EXIF_ORIENTATION = 0x0112
DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)


def load_image(path: Path | str) -> U8:
    """An image file as pixels.

    Args:
        path: Any format that Pillow reads: JPEG, PNG, WebP, BMP, GIF, TIFF, PPM and more. Of several frames or pages
            the first is taken.

    Returns:
        Shape (H, W, 3), uint8, RGB, upright.

    Raises:
        InputFileError: Missing, a folder, not an image, cut short, larger than 100 million pixels, or of a kind that
            has no agreed range of values (float or 32-bit integer).
    """
    file = Path(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of large sizes and of damaged metadata; both are handled here
        return _load(file)


def _load(file: Path) -> U8:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            if image.width * image.height > LARGEST_IMAGE:
                raise _too_large(file, f"{image.width} x {image.height} pixels")
            image.load()
            return _to_rgb(_upright(image), file)
    except FileNotFoundError:
        raise InputFileError(f"There is no file {file}.", next_step="check the path") from None
    except IsADirectoryError:
        raise InputFileError(
            f"{file} is a folder, an image file was expected.", next_step="name the image files in it"
        ) from None
    except PermissionError:
        raise InputFileError(f"{file} may not be read.", next_step="check the file's permissions") from None
    except UnidentifiedImageError:
        raise InputFileError(
            f"{file} is not an image that can be read.",
            got=_first_bytes(file),
            wanted="JPEG, PNG, WebP, BMP, GIF, TIFF or PPM",
        ) from None
    except Image.DecompressionBombError:
        raise _too_large(file, "more than 178 million pixels") from None
    except DECODER_ERRORS as error:
        raise InputFileError(
            f"{file} is damaged or cut short.", got=str(error), next_step="copy or download the file again"
        ) from error


def _too_large(file: Path, size: str) -> InputFileError:
    return InputFileError(
        f"{file} is too large to be read safely.",
        got=size,
        wanted=f"at most {LARGEST_IMAGE // 1_000_000} million pixels",
        next_step="scale the image down or cut it into parts",
    )


def _first_bytes(file: Path) -> str:
    with file.open("rb") as stream:
        start = stream.read(16)
    return f"a file that starts with {start!r}" if start else "an empty file"


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF orientation says; damaged metadata says nothing."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        orientation = image.getexif().get(EXIF_ORIENTATION)
    except DECODER_ERRORS:
        return image
    return image.transpose(turns[orientation]) if orientation in turns else image


def _to_rgb(image: Image.Image, file: Path) -> U8:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        grey = (np.asarray(image, np.int64) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode not in EIGHT_BIT_MODES:
        raise InputFileError(
            f"{file} holds no ordinary picture.",
            got=f"{image.format} with pixels of Pillow's mode {image.mode}",
            wanted="8 or 16 bits, grey, colour, palette or CMYK",
            next_step="convert it to an 8-bit PNG",
        )
    image.info.pop("transparency", None)
    return np.array(image.convert("RGB"))
