"""Images that took part in making an engine do not judge it, and those that gave its ranges are not searched in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hardnet_deploy.data.dataset import Dataset
from hardnet_deploy.data.image_lists import ImageList
from hardnet_deploy.data.image_marks import marked_among
from hardnet_deploy.data.listing import named
from hardnet_deploy.errors import UsageError
from hardnet_deploy.workflows.open_engine import OpenEngine

MARKS: Final = "image_marks"
PARTS: Final = (("calibration", "calibrated"), ("search", "searched for"))


def with_marks(record: Mapping[str, Any], marks: Collection[str]) -> dict[str, Any]:
    """A manifest's record of a calibration or search, with what tells its images from others.

    Args:
        record: Names the data.
        marks: Of their images, as :func:`~hardnet_deploy.data.image_marks.marks_of` gives them.
    """
    return {**record, MARKS: " ".join(marks)}


def refuse_images_it_was_made_with(engine: OpenEngine, data: Dataset | ImageList) -> None:
    """Refuse data with images that an INT8 engine was calibrated on, or in which its search measured mAP.

    Args:
        engine: Open; its manifest says what it was made with.
        data: What it is to be judged on.

    Raises:
        UsageError: They have images in common, whatever the folders and files are called. Of an engine whose manifest
            does not tell its images, and of the demo data, which are drawn: they are of the same split.
    """
    precision = engine.manifest.precision if engine.manifest else {}
    for part, what in PARTS:
        name, marks = _images_in(precision.get(part))
        shared = _shared(name, marks, data)
        if shared:
            raise UsageError(
                f"{engine.label} was {what} on {_split(name)}: it cannot be judged on the same images",
                got=shared,
                next_step="name data without these images, or build the engine with other ones",
            )


def refuse_search_in_calibration(
    calibration: str, marks: Collection[str], search: Dataset, *, option: str = "--search-data"
) -> None:
    """Refuse to measure what INT8 costs on images that its ranges were fitted to.

    Args:
        calibration: The name of the data that the ranges come from.
        marks: Of their images; empty where they are not known.
        search: What mAP is to be measured on.
        option: That named it.

    Raises:
        UsageError: They have images in common, told as in :func:`refuse_images_it_was_made_with`.
    """
    shared = _shared(calibration, marks, search)
    if shared:
        raise UsageError(
            f"mAP would be measured on images that the ranges come from, {calibration}",
            got=shared,
            next_step=f"{option} with another split, or ranges from other images: --data, --count and --seed",
        )


def _images_in(record: Any) -> tuple[str, Sequence[str]]:
    """Name and marks of the images that a record of a manifest is of; empty where it tells none."""
    if not isinstance(record, dict):
        return "", ()
    data, marks = record.get("data"), record.get(MARKS)
    name = data.get("name") if isinstance(data, dict) else data
    return name if isinstance(name, str) else "", marks.split() if isinstance(marks, str) else ()


def _shared(name: str, marks: Collection[str], data: Dataset | ImageList) -> str | None:
    """What ``data`` has in common with the images of that name and those marks, in words; None for nothing."""
    split = _split(data.name)
    if _split(name) == split and (not marks or split.startswith("demo:")):
        return f"the same split, {split}"
    found = marked_among(_paths(data), marks) if marks else ()
    return f"{len(found)} of the {len(data)} images of {split} are among them: {named(found)}" if found else None


def _paths(data: Dataset | ImageList) -> Sequence[Path]:
    return data.paths if isinstance(data, ImageList) else [sample.path for sample in data.samples]


def _split(name: str) -> str:
    return name.partition(", ")[0]
