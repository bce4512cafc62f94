"""Which images a kit takes along as samples."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hardnet_deploy.data.image_lists import ImageList, open_images
from hardnet_deploy.data.image_marks import marked_among
from hardnet_deploy.data.listing import counted
from hardnet_deploy.data.sources import Progress

SPARE: Final = 4
"""How many times the asked samples are looked at for such that the ranges were not measured on."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Chosen images.

    Args:
        paths: At least one.
        data: What they are, in words: ``8 images: demo:val, first 8 of 2000 images``.
        notes: What the user should know of them.
    """

    paths: tuple[Path, ...]
    data: str
    notes: tuple[str, ...]


def choose_samples(data: str, count: int, marks: Collection[str] | None, progress: Progress) -> Samples:
    """The first images; with INT8 those first that its ranges were not measured on.

    Args:
        data: As ``--data`` has it; the demo data's ``val`` where no split is named.
        count: Images to take, or all where there are fewer.
        marks: Of the images that INT8 ranges were measured on; None without INT8.
        progress: Told (scenes done, scenes in all) while the demo data are drawn for the first time.

    Raises:
        UsageError, InputFileError: See :func:`~hardnet_deploy.data.image_lists.open_images`.
    """
    looked_at = count if marks is None else count * SPARE
    images = open_images(data, default_split="val", count=looked_at, at_most=True, progress=progress)
    used = set() if marks is None else set(marked_among(images.paths, tuple(marks)))
    paths = tuple(sorted(images.paths, key=used.__contains__))[:count]
    notes: tuple[str, ...] = ()
    if len(paths) < count:
        notes += (f"{images.name} has only {len(paths)} images: as many samples are in the kit",)
    again = used.intersection(paths)
    if again:
        notes += (f"the INT8 ranges were measured on {len(again)} of the samples too, which flatters parity",)
    return Samples(paths=paths, data=_described(images, paths), notes=notes)


def _described(images: ImageList, paths: tuple[Path, ...]) -> str:
    count = f"{len(paths)} image{'' if len(paths) == 1 else 's'}"
    if paths == images.paths[: len(paths)]:
        name = images.name.removesuffix(counted("", len(images), images.total))
        return f"{count}: {counted(name, len(paths), images.total)}"
    return f"{count} of {images.name}, those first that the INT8 ranges were not measured on"
