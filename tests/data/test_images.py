"""Reading images: as cv2.imread(path, IMREAD_COLOR) reads them, and a clear refusal where nothing can be read."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import skimage
from PIL import Image
from skimage import data as photographs

from hardnet_deploy.data.images import LARGEST_IMAGE, load_image
from hardnet_deploy.errors import InputFileError

RNG_SEED = 7
HEIGHT, WIDTH = 23, 37

# JPEG decoders are free in the last digit: one level in each YCbCr sample, times the largest factor of the conversion
# to RGB (1.772), with its rounding. Measured where both sides carry libjpeg-turbo 3.1: 0.
JPEG_LEVELS = 3
# Pillow and OpenCV convert CMYK and 16-bit colour samples with different roundings; measured: 1.
ROUNDING_LEVELS = 1


def opencv(path: Path) -> Any:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert image is not None
    return image[:, :, ::-1]


def noise(*shape: int, dtype: Any = np.uint8) -> Any:
    return np.random.default_rng(RNG_SEED).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def write_png(
    path: Path, samples: Any, *, colour_type: int, depth: int, extra: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    """A PNG of any colour type and depth, which Pillow cannot all write. Samples: (H, W, channels) integers."""
    height, width = samples.shape[:2]
    bits = np.unpackbits(samples.reshape(height, -1, 1).astype(">u2").view(np.uint8), axis=2)[:, :, -depth:]
    rows = np.packbits(bits.reshape(height, -1), axis=1)
    content = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(content)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*pair) for pair in chunks))


GREY, COLOUR, PALETTE, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6
PNG_KINDS = [(GREY, depth) for depth in (1, 2, 4, 8, 16)] + [(PALETTE, depth) for depth in (1, 2, 4, 8)]
PNG_KINDS += [(colour_type, depth) for colour_type in (COLOUR, GREY_ALPHA, COLOUR_ALPHA) for depth in (8, 16)]


@pytest.mark.parametrize("transparency", [False, True])
@pytest.mark.parametrize(("colour_type", "depth"), PNG_KINDS)
def test_png_of_every_kind_equals_opencv(tmp_path: Path, colour_type: int, depth: int, transparency: bool) -> None:
    channels = {GREY: 1, COLOUR: 3, PALETTE: 1, GREY_ALPHA: 2, COLOUR_ALPHA: 4}[colour_type]
    samples = noise(HEIGHT, WIDTH, channels, dtype=np.uint16) >> (16 - depth)
    extra: list[tuple[bytes, bytes]] = []
    if colour_type == PALETTE:
        extra.append((b"PLTE", noise(2**depth, 3).tobytes()))
    if transparency and colour_type in {GREY, COLOUR}:
        extra.append((b"tRNS", samples[0, 0].astype(">u2").tobytes()))
    if transparency and colour_type == PALETTE:
        extra.append((b"tRNS", noise(2**depth).tobytes()))
    path = tmp_path / "image.png"
    write_png(path, samples, colour_type=colour_type, depth=depth, extra=tuple(extra))
    result = load_image(path)
    assert (result.shape, result.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
    assert np.array_equal(result, opencv(path))


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_as_opencv_applies_it(tmp_path: Path, orientation: int, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(photographs.chelsea()[:60, :100]).save(path, exif=exif, **options)
    result = load_image(path)
    assert result.shape == ((60, 100, 3) if orientation < 5 else (100, 60, 3))
    expected = opencv(path)
    assert result.shape == expected.shape
    assert np.abs(result.astype(int) - expected).max() <= (JPEG_LEVELS if suffix == "jpg" else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_of_tiff_is_applied_once(tmp_path: Path, orientation: int) -> None:
    pixels = noise(HEIGHT, WIDTH, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    tiff, png = tmp_path / "image.tif", tmp_path / "image.png"
    Image.fromarray(pixels).save(tiff, exif=exif)
    Image.fromarray(pixels).save(png, exif=exif)
    assert np.array_equal(load_image(tiff), load_image(png))


def test_damaged_exif_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    Image.fromarray(photographs.chelsea()).save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12")
    assert load_image(path).shape == (300, 451, 3)


@pytest.mark.parametrize(
    "name", ["rgb.bmp", "rgb.ppm", "grey.pgm", "rgb.tif", "grey16.tif", "grey16.pgm", "palette.gif"]
)
def test_other_lossless_formats_equal_opencv(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    pictures = {
        "rgb": Image.fromarray(noise(HEIGHT, WIDTH, 3)),
        "grey": Image.fromarray(noise(HEIGHT, WIDTH)),
        "grey16": Image.fromarray(noise(HEIGHT, WIDTH, dtype=np.uint16)),
        "palette": Image.fromarray(noise(HEIGHT, WIDTH, 3)).quantize(200),
    }
    pictures[path.stem].save(path)
    assert np.array_equal(load_image(path), opencv(path))


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_is_within_a_decoders_freedom_of_opencv(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "image.jpg"
    Image.fromarray(photographs.astronaut()).convert(mode).save(path, quality=90)
    assert np.abs(load_image(path).astype(int) - opencv(path)).max() <= JPEG_LEVELS


def test_jpeg_photograph_that_scikit_image_ships() -> None:
    path = Path(skimage.__file__).parent / "data" / "rocket.jpg"
    assert np.abs(load_image(path).astype(int) - opencv(path)).max() <= JPEG_LEVELS


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_is_close_to_opencv(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    Image.frombytes("CMYK", (100, 60), photographs.chelsea()[:80, :100].tobytes()).save(path)
    levels = ROUNDING_LEVELS + (JPEG_LEVELS if suffix == "jpg" else 0)
    assert np.abs(load_image(path).astype(int) - opencv(path)).max() <= levels


def test_sixteen_bit_colour_tiff_is_close_to_opencv(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    assert cv2.imwrite(str(path), noise(HEIGHT, WIDTH, 3, dtype=np.uint16))
    assert np.abs(load_image(path).astype(int) - opencv(path)).max() <= ROUNDING_LEVELS


def test_one_pixel(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.new("RGB", (1, 1), (1, 2, 3)).save(path)
    assert load_image(path).tolist() == [[[1, 2, 3]]]


def test_twenty_megapixels(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.linear_gradient("L").resize((5472, 3648)).save(path, compress_level=1)
    result = load_image(path)
    assert result.shape == (3648, 5472, 3)
    assert np.array_equal(result, opencv(path))


def test_result_belongs_to_the_caller(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.new("RGB", (2, 2)).save(path)
    image = load_image(str(path))
    image[0, 0] = 255
    assert not load_image(path).any()


@pytest.mark.parametrize("side", [10_001, 12_000, 60_000])
def test_a_decompression_bomb_is_refused_from_its_header(tmp_path: Path, side: int) -> None:
    path = tmp_path / "bomb.png"
    header = struct.pack(">IIBBBBB", side, side, 8, COLOUR, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(b"")))
    assert side * side > LARGEST_IMAGE
    with pytest.raises(InputFileError, match=r"bomb\.png is too large(.|\n)*100 million"):
        load_image(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"There is no file .*nowhere\.jpg"):
        load_image(tmp_path / "nowhere.jpg")


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="is a folder"):
        load_image(tmp_path)


@pytest.mark.parametrize(
    ("content", "got"), [(b"<!DOCTYPE html><html>", "<!DOCTYPE html>"), (b"", "an empty file"), (b"\xff\xd8", "xff")]
)
def test_not_an_image_says_what_it_starts_with(tmp_path: Path, content: bytes, got: str) -> None:
    path = tmp_path / "page.jpg"
    path.write_bytes(content)
    with pytest.raises(InputFileError, match=r"page\.jpg is not an image") as error:
        load_image(path)
    assert got in str(error.value)
    assert error.value.exit_code == 4


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "bmp", "gif"])
@pytest.mark.parametrize("share", [0.4, 0.9])
def test_truncated_file_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    whole, cut = tmp_path / f"whole.{suffix}", tmp_path / f"cut.{suffix}"
    Image.fromarray(photographs.chelsea()).save(whole)
    content = whole.read_bytes()
    cut.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputFileError, match=rf"cut\.{suffix} is (damaged|not an image)") as error:
        load_image(cut)
    assert error.value.next_step or error.value.wanted


@pytest.mark.parametrize(("dtype", "mode"), [(np.float32, "F"), (np.int32, "I")])
def test_pixels_without_an_agreed_range_are_refused(tmp_path: Path, dtype: Any, mode: str) -> None:
    path = tmp_path / "measurement.tif"
    Image.fromarray(noise(HEIGHT, WIDTH).astype(dtype)).save(path)
    with pytest.raises(InputFileError, match=rf"TIFF with pixels of Pillow's mode {mode}\n(.|\n)*8-bit PNG"):
        load_image(path)
