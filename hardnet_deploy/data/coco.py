"""COCO's layout: ``ROOT/annotations/instances_SPLIT.json`` and images in ``ROOT/SPLIT`` or ``ROOT/images/SPLIT``."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np

from hardnet_deploy.data.dataset import Dataset, GroundTruth, Metric, Sample
from hardnet_deploy.data.labels import absent_classes_note, class_numbers, refuse_unknown_classes
from hardnet_deploy.data.listing import counted, digest_of, file_sizes, named
from hardnet_deploy.errors import InputFileError, UsageError
from hardnet_deploy.files import sha256_bytes

DEFAULT_SPLIT: Final = "val2017"
TRAINING_SPLIT: Final = "train2017"
LARGEST_NUMBER: Final = 1e9  # pixels or square pixels: beyond it no image lies
_KIND: Final = "COCO's instances: 'images', 'annotations' with boxes, 'categories'"


def read_coco(
    root: Path,
    split: str,
    *,
    class_names: tuple[str, ...],
    name: str,
    count: int | None = None,
    metric: Metric = "coco",
) -> Dataset:
    """A split in COCO's layout. Images without objects stay; images come by ascending id, as pycocotools takes them.

    Objects of no width or height stay too, as pycocotools counts them: they can only be missed. A note tells of them.

    Args:
        root: The folder.
        split: As in ``instances_SPLIT.json``.
        class_names: Of the model, background first; categories are matched by name, their ids mean nothing.
        name: Of the data set.
        count: Take only the first so many images.
        metric: Of the data set.

    Raises:
        UsageError: Objects of categories that the model does not have.
        InputFileError: A file is missing, damaged or no instances file; an object is of an unknown image or category
            or has no usable box; an image is missing; no image, or no object at all.
    """
    path = _annotation_file(root, split)
    content = _read(path, root)
    document = _parse(content, path)
    categories = _categories(document["categories"], path)
    numbers = class_numbers(class_names)
    images = _images(document["images"], path)
    by_image: defaultdict[int | str, list[dict[str, Any]]] = defaultdict(list)
    used: set[str] = set()
    for row in document["annotations"]:
        _check_object(row, path, images, categories)
        by_image[row["image_id"]].append(row)
        used.add(categories[row["category_id"]])
    refuse_unknown_classes(used, class_names, source=str(path), total=len(categories))
    labels = {category: numbers[word] for category, word in categories.items() if word in numbers}
    chosen = sorted(images)[:count]
    folder = _image_folder(root, split)
    paths = [folder / images[image]["file_name"] for image in chosen]
    sizes = file_sizes(paths, what="images", source=str(path))
    rows = [by_image[image] for image in chosen]
    samples = tuple(
        Sample(
            image_id=image,
            path=file,
            width=images[image]["width"],
            height=images[image]["height"],
            truth=_truth(objects, labels),
        )
        for image, file, objects in zip(chosen, paths, rows, strict=True)
    )
    if not any(rows):
        raise InputFileError(
            f"{name} has no object", got=f"{len(samples)} images without one", next_step="name a split with objects"
        )
    present = {categories[row["category_id"]] for objects in rows for row in objects}
    file_names = [images[image]["file_name"] for image in chosen]
    return Dataset(
        name=counted(name, len(samples), len(images)),
        class_names=class_names,
        samples=samples,
        digest=digest_of([sha256_bytes(content)], file_names, paths, sizes),
        metric=metric,
        notes=(*absent_classes_note(present, class_names), *_repairs([row for objects in rows for row in objects])),
    )


def listed_images(root: Path, split: str) -> tuple[Path, list[str] | None]:
    """A split's images without their labels.

    Args:
        root: The folder.
        split: As in ``instances_SPLIT.json``.

    Returns:
        The folder of the images, and their names in it, those of the annotation file in the order of
        :func:`read_coco`; None where there is no such file.

    Raises:
        InputFileError: The annotation file is damaged or no instances file; there is no folder of images.
    """
    path = _annotation_file(root, split)
    if not path.exists():
        return _image_folder(root, split), None
    images = _images(_parse(_read(path, root), path)["images"], path)
    return _image_folder(root, split), [images[image]["file_name"] for image in sorted(images)]


def _annotation_file(root: Path, split: str) -> Path:
    if not root.is_dir():
        raise InputFileError(f"there is no folder {root}", wanted="a folder with annotations/ and the images")
    return root / "annotations" / f"instances_{split}.json"


def _read(path: Path, root: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        there = sorted(file.stem.removeprefix("instances_") for file in path.parent.glob("instances_*.json"))
        raise InputFileError(
            f"there is no file {path}",
            got=f"splits {named(there)}" if there else f"no annotations/instances_*.json in {root}",
            wanted="ROOT/annotations/instances_SPLIT.json",
            next_step="name the folder that holds annotations/, and one of its splits: coco:ROOT:SPLIT",
        ) from None
    except OSError as error:
        raise InputFileError(f"{path} cannot be read", got=error.strerror) from error


def _parse(content: bytes, path: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputFileError(
            f"{path} is no JSON, or is cut short", got=str(error), next_step="copy or download the file again"
        ) from error
    wanted = ("images", "annotations", "categories")
    parts = [document.get(key) for key in wanted] if isinstance(document, dict) else []
    if not parts or any(not isinstance(part, list) or not all(isinstance(row, dict) for row in part) for part in parts):
        raise _no_instances(path, named(sorted(document)) if isinstance(document, dict) else type(document).__name__)
    if not document["images"]:
        raise InputFileError(f"{path} lists no image", next_step="name a split with images")
    if not any("bbox" in row for row in document["annotations"]) and document["annotations"]:
        raise _no_instances(path, f"annotations without 'bbox': {named(sorted(document['annotations'][0]))}")
    return {key: document[key] for key in wanted}


def _no_instances(path: Path, got: str) -> InputFileError:
    return InputFileError(f"{path} is no instances file", got=got, wanted=_KIND)


def _categories(rows: list[dict[str, Any]], path: Path) -> dict[Any, str]:
    """Name of each category by its id."""
    categories: dict[Any, str] = {}
    for row in rows:
        number, name = row.get("id"), row.get("name")
        if not _is_id(number) or not isinstance(name, str):
            raise _no_instances(path, f"the category {row}")
        if categories.setdefault(number, name) != name:
            raise InputFileError(f"{path} gives the category id {number} twice: '{categories[number]}' and '{name}'")
    return categories


def _images(rows: list[dict[str, Any]], path: Path) -> dict[Any, dict[str, Any]]:
    """Each image's entry by its id."""
    images: dict[Any, dict[str, Any]] = {}
    for row in rows:
        number, file, sides = row.get("id"), row.get("file_name"), (row.get("width"), row.get("height"))
        if not _is_id(number) or not isinstance(file, str) or not file:
            raise _no_instances(path, f"the image {row}")
        if PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts:
            raise InputFileError(f"{path} names an image outside its folder", got=file, wanted="a name inside it")
        if not all(type(side) is int and side > 0 for side in sides):
            raise InputFileError(f"{path} gives image {number} no size", got=f"width, height {sides}")
        if number in images:
            raise InputFileError(
                f"{path} has the image id {number} twice", got=f"{images[number]['file_name']} and {file}"
            )
        images[number] = row
    if len({type(number) for number in images}) > 1:
        raise InputFileError(f"{path} has image ids of several kinds, numbers and texts", wanted="one kind")
    return images


def _is_id(value: object) -> bool:
    return type(value) in {int, str}


def _check_object(row: dict[str, Any], path: Path, images: dict[Any, Any], categories: dict[int | str, str]) -> None:
    """Refuse an object whose image, category or box cannot be meant.

    Raises:
        InputFileError: It says which object, and why.
    """
    image, category, box = row.get("image_id"), row.get("category_id"), row.get("bbox")
    label = f"object {row.get('id', '')} of {path}".replace("  ", " ")
    if not _is_id(image) or image not in images:
        raise InputFileError(f"{label} is in image {image}, which the file does not list")
    if not _is_id(category) or category not in categories:
        raise InputFileError(f"{label} is of category {category}, which the file does not list")
    numbers_of_box = box if isinstance(box, list) else []
    if len(numbers_of_box) != 4 or not all(_is_number(side) for side in numbers_of_box):
        raise InputFileError(f"{label} has no usable box", got=str(box), wanted="[x, y, width, height] in pixels")
    if min(numbers_of_box[2:]) < 0:
        raise InputFileError(f"{label} has a box of negative size", got=str(box))
    area, crowd = row.get("area", 0.0), row.get("iscrowd", 0)
    if not _is_number(area) or area < 0:
        raise InputFileError(f"{label} has no usable area", got=str(area), wanted="square pixels")
    if crowd not in (0, 1):  # a tuple: what is no number may be unhashable, too
        raise InputFileError(f"{label} has an 'iscrowd' that is neither 0 nor 1", got=str(crowd))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and abs(value) < LARGEST_NUMBER


def _image_folder(root: Path, split: str) -> Path:
    candidates = (root / split, root / "images" / split)
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise InputFileError(
        f"the images of {split} are not there",
        got=f"neither {candidates[0]} nor {candidates[1]}",
        next_step="unpack them into one of these folders, or name another split: coco:ROOT:SPLIT",
    )


def _truth(objects: list[dict[str, Any]], labels: dict[int | str, int]) -> GroundTruth:
    boxes = np.array([row["bbox"] for row in objects], np.float64).reshape(-1, 4)
    areas = [row.get("area", row["bbox"][2] * row["bbox"][3]) for row in objects]
    return GroundTruth(
        boxes=np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), axis=1),
        labels=np.array([labels[row["category_id"]] for row in objects], np.int64),
        areas=np.array(areas, np.float64),
        crowd=np.array([row.get("iscrowd", 0) == 1 for row in objects], np.bool_),
        difficult=np.zeros(len(objects), np.bool_),
    )


def _repairs(objects: list[dict[str, Any]]) -> tuple[str, ...]:
    """What was filled in or looks wrong, one note each."""
    without_area = sum("area" not in row for row in objects)
    empty = [row.get("id", "") for row in objects if min(row["bbox"][2:]) == 0]
    notes = []
    if without_area:
        notes.append(f"{without_area} objects have no area of their own; width times height is taken")
    if empty:
        notes.append(f"{len(empty)} objects have no width or no height and can only be missed: {named(empty)}")
    return tuple(notes)


def split_of(text: str, *, default: str = DEFAULT_SPLIT) -> tuple[Path, str]:
    """``ROOT[:SPLIT]`` as folder and split; a ROOT that exists may itself contain colons.

    Raises:
        UsageError: No ROOT.
    """
    if not text:
        raise UsageError("'coco:' names no folder", wanted="coco:ROOT or coco:ROOT:SPLIT")
    root, colon, split = text.rpartition(":")
    if not colon or Path(text).is_dir():
        return Path(text), default
    return Path(root), split or default
