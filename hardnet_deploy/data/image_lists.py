"""Images without labels: what calibration reads, and what engines are compared on that detect nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import numpy as np

from hardnet_deploy.data import coco, voc
from hardnet_deploy.data.listing import counted, digest_of, file_sizes
from hardnet_deploy.data.sources import Progress
from hardnet_deploy.errors import InputFileError, UsageError

SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp")
MEASURED_ON: Final = "val"  # the demo data's split that stands beside val2017 and 2007-test
WANTED: Final = "demo[:SPLIT], coco:ROOT[:SPLIT], voc:ROOT[:YEAR-SPLIT] or a folder of images"


@dataclass(frozen=True, kw_only=True)
class ImageList:
    """Chosen image files, in a fixed order.

    Args:
        name: As ``--data`` names it, split included, and how many of how many where not simply all are taken:
            ``demo:calibration, 32 of 500 images drawn with seed 0``.
        paths: The images, at least one.
        digest: SHA-256, 64 hexadecimal digits, over the names, sizes and contents of exactly these images in this
            order, as :func:`~hardnet_deploy.data.listing.digest_of` takes it: beyond a gigabyte in all, without
            the contents.
        total: Images that there were to choose from.
        seed: Of the draw; None where the first ones were taken.
        notes: What was left out or found; each is worth a line to the user.
    """

    name: str
    paths: tuple[Path, ...]
    digest: str
    total: int
    seed: int | None
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True, kw_only=True)
class _Listing:
    """All images to choose from: file names relative to ``folder``."""

    name: str
    folder: Path
    names: Sequence[str]
    notes: tuple[str, ...] = ()


def open_images(
    text: str,
    *,
    default_split: str = "calibration",
    count: int | None = None,
    at_most: bool = False,
    seed: int | None = None,
    progress: Progress | None = None,
) -> ImageList:
    """The images that ``text`` names; labels are not read, and need not be there.

    - COCO: the images of the annotation file in the order of :func:`~hardnet_deploy.data.coco.read_coco`; without such
      a file, as for COCO's unlabelled splits, the images in the split's folder. VOC: the split's list.
    - A folder: every file in it and in the folders below that ends in .jpg, .jpeg, .png, .bmp, .ppm or .webp, in
      capitals or not, sorted by its path in the folder. What begins with a dot is no part of it; a note tells of other
      files, and of links to folders, which are not followed.

    Args:
        text: ``demo[:SPLIT]``, ``coco:ROOT[:SPLIT]``, ``voc:ROOT[:YEAR-SPLIT]`` or a folder.
        default_split: Of the demo data, where ``text`` has none. With ``val``, COCO and VOC default to what they are
            measured on (``val2017``, ``2007-test``), with any other to what they are trained on (``train2017``,
            ``2007-trainval``).
        count: Images to take; None for all.
        at_most: Take all where there are fewer than ``count``, instead of refusing.
        seed: None takes the first ones. With a seed they are drawn, and stay in the order of the draw: the first 32
            of a larger sample are the sample of 32 of the same seed. (Of the demo data, all scenes are made then.)
        progress: Told (scenes done, scenes in all) while the demo data are drawn for the first time.

    Raises:
        UsageError: No such split, a negative seed, a count under 1, or over what is there without ``at_most``.
        InputFileError: A folder, list or image that is missing or cannot be read; no image.
    """
    if count is not None and count < 1:
        raise UsageError(f"--count {count} leaves no image", wanted="1 or more")
    if seed is not None and seed < 0:
        raise UsageError(f"--seed {seed} is out of range", wanted="0 or more")
    kind, _, rest = text.partition(":")
    if kind == "demo":
        return _demo(rest or default_split, count, seed, progress, at_most=at_most)
    measured = default_split == MEASURED_ON
    if kind == "coco":
        listing = _coco(*coco.split_of(rest, default=coco.DEFAULT_SPLIT if measured else coco.TRAINING_SPLIT))
    elif kind == "voc":
        listing = _voc(*voc.split_of(rest, default=voc.DEFAULT_SPLIT if measured else voc.TRAINING_SPLIT))
    else:
        listing = _folder(text)
    return _image_list(listing, _chosen(listing.name, len(listing.names), count, seed, at_most=at_most), seed)


def _demo(split: str, count: int | None, seed: int | None, progress: Progress | None, *, at_most: bool) -> ImageList:
    from hardnet_deploy.data.demo.ensure import ensure_split
    from hardnet_deploy.data.demo.layout import image_name
    from hardnet_deploy.data.demo.splits import split_size

    name, size = f"demo:{split}", split_size(split)
    chosen = _chosen(name, size, count, seed, at_most=at_most)
    drawn = ensure_split(split, count=len(chosen) if seed is None else None, progress=progress)
    names = [image_name(number) for number in range(1, size + 1)]
    return _image_list(_Listing(name=name, folder=drawn.images, names=names, notes=drawn.notes), chosen, seed)


def _coco(root: Path, split: str) -> _Listing:
    name = f"coco:{root}:{split}"
    folder, names = coco.listed_images(root, split)
    if names is not None:
        return _Listing(name=name, folder=folder, names=names)
    found, notes = _images_in(folder)
    unlabelled = f"{name} has no annotation file, so every image in {folder} belongs to it"
    return _Listing(name=name, folder=folder, names=found, notes=(unlabelled, *notes))


def _voc(root: Path, split: voc.VocSplit) -> _Listing:
    folder, names = voc.listed_images(root, split)
    return _Listing(name=f"voc:{root}:{split.year}-{split.split}", folder=folder, names=names)


def _folder(text: str) -> _Listing:
    if not text:
        raise UsageError("an empty name names no images", wanted=WANTED)
    folder = Path(text)
    if not folder.is_dir():
        got = "a file" if folder.exists() else None
        raise InputFileError(f"there is no folder {folder}", got=got, wanted=WANTED, next_step="check the path")
    names, notes = _images_in(folder)
    return _Listing(name=str(folder), folder=folder, names=names, notes=notes)


def _images_in(folder: Path) -> tuple[list[str], tuple[str, ...]]:
    """Images in a folder and below, sorted, relative to it; and notes on what else is there."""
    names, others, links = [], 0, 0
    for where, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links += sum((Path(where) / name).is_symlink() for name in folders)
        shown = [name for name in files if not name.startswith(".")]
        images = [name for name in shown if name.lower().endswith(SUFFIXES)]
        others += len(shown) - len(images)
        names += [(Path(where) / name).relative_to(folder).as_posix() for name in images]
    notes = []
    if others:
        notes.append(f"files in {folder} that are left out, as they do not end in {', '.join(SUFFIXES)}: {others}")
    if links:
        notes.append(f"links to folders in {folder} that are not followed: {links}")
    if not names:
        raise InputFileError(
            f"there is no image in {folder}", got="; ".join(notes) or "an empty folder", wanted=", ".join(SUFFIXES)
        )
    return sorted(names), tuple(notes)


def _refuse(error: OSError) -> NoReturn:
    raise InputFileError(f"{error.filename} cannot be read", got=error.strerror) from error


def _chosen(name: str, total: int, count: int | None, seed: int | None, *, at_most: bool) -> list[int]:
    """Places of the images that are taken, in the order in which they come."""
    if count is not None and count > total and not at_most:
        raise UsageError(
            f"--count {count} is more than {name} has",
            got=f"{total} images",
            wanted=f"1 to {total}",
            next_step="lower --count, or name data with more images",
        )
    if seed is None:
        return list(range(total))[:count]
    places: list[int] = np.random.default_rng(seed).permutation(total)[:count].tolist()
    return places


def _image_list(listing: _Listing, chosen: Sequence[int], seed: int | None) -> ImageList:
    names = [listing.names[place] for place in chosen]
    paths = [listing.folder / name for name in names]
    sizes = file_sizes(paths, what="images", source=listing.name)
    total = len(listing.names)
    drawn = f"{listing.name}, {len(paths)} of {total} images drawn with seed {seed}"
    return ImageList(
        name=counted(listing.name, len(paths), total) if seed is None else drawn,
        paths=tuple(paths),
        digest=digest_of([], names, paths, sizes),
        total=total,
        seed=seed,
        notes=listing.notes,
    )
