"""VOC's layout: ``VOCdevkit/VOCYEAR`` with Annotations/*.xml, ImageSets/Main/SPLIT.txt and JPEGImages/*.jpg.

Boxes in the XML are pixels counted from 1, both ends included: xmin 1, xmax 3 are the first three columns. In the
continuous coordinates of :class:`~hardnet_deploy.data.dataset.GroundTruth` that is x1 = 0 and x2 = 3, so xmin - 1 and
xmax: the width 3 is the kit's ``xmax - xmin + 1``, and every IoU is the kit's.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from hardnet_deploy.data.dataset import Dataset, GroundTruth, Metric, Sample
from hardnet_deploy.data.images import load_image
from hardnet_deploy.data.labels import absent_classes_note, class_numbers, refuse_unknown_classes
from hardnet_deploy.data.listing import counted, digest_of, file_sizes, named
from hardnet_deploy.errors import InputFileError, UsageError
from hardnet_deploy.files import sha256_bytes

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

DEFAULT_SPLIT: Final = "2007-test"
TRAINING_SPLIT: Final = "2007-trainval"
FIRST_AREA_YEAR: Final = 2010  # from here on the kit takes the area under the curve instead of 11 points
IMAGES: Final = "JPEGImages"
_SIDES: Final = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True, kw_only=True)
class VocSplit:
    """``2007-test``: a year and a list of images."""

    year: int
    split: str

    @classmethod
    def parse(cls, text: str) -> VocSplit:
        """From ``YEAR-SPLIT``.

        Raises:
            UsageError: It is none.
        """
        match = re.fullmatch(r"(\d{4})-([\w.-]+)", text, re.ASCII)
        if not match:
            raise UsageError(
                f"'{text}' is no split of VOC", wanted="YEAR-SPLIT, such as 2007-test, 2007-trainval or 2012-val"
            )
        return cls(year=int(match[1]), split=match[2])

    @property
    def metric(self) -> Metric:
        """The metric of that year's kit."""
        return "voc07" if self.year < FIRST_AREA_YEAR else "voc12"


def read_voc(
    root: Path,
    split: VocSplit,
    *,
    class_names: tuple[str, ...],
    name: str,
    count: int | None = None,
    metric: Metric | None = None,
) -> Dataset:
    """A split in VOC's layout, in the order of its list. Images without objects stay.

    Args:
        root: ``VOCdevkit``, a folder that holds it, or ``VOCYEAR`` itself.
        split: Year and list.
        class_names: Of the model, background first; labels are matched by name.
        name: Of the data set.
        count: Take only the first so many images.
        metric: Instead of the year's.

    Raises:
        UsageError: Objects of classes that the model does not have.
        InputFileError: A file is missing or damaged, an object has no usable box, no image, or no object at all.
    """
    folder = _year_folder(root, split.year, holding=("Annotations", IMAGES))
    list_file = _list_file(folder, split)
    listed = _listed(list_file)
    chosen = listed[:count]
    paths = [folder / IMAGES / _file_name(image) for image in chosen]
    xmls = [folder / "Annotations" / f"{image}.xml" for image in chosen]
    sizes = file_sizes(paths, what="images", source=str(list_file))
    file_sizes(xmls, what="annotations", source=str(list_file))
    numbers = class_numbers(class_names)
    contents = [_read(xml) for xml in xmls]
    pictures = [_parse(content, xml) for content, xml in zip(contents, xmls, strict=True)]
    used = {one.name for picture in pictures for one in picture.objects}
    refuse_unknown_classes(used, class_names, source=name, total=len(used))
    if not used:
        raise InputFileError(
            f"{name} has no object", got=f"{len(chosen)} images without one", next_step="name a split with objects"
        )
    sides = [picture.size or _size_of_image(path) for picture, path in zip(pictures, paths, strict=True)]
    samples = tuple(
        Sample(image_id=image, path=path, width=width, height=height, truth=_truth(picture.objects, numbers))
        for image, path, (width, height), picture in zip(chosen, paths, sides, pictures, strict=True)
    )
    return Dataset(
        name=counted(name, len(samples), len(listed)),
        class_names=class_names,
        samples=samples,
        digest=digest_of(map(sha256_bytes, contents), [path.name for path in paths], paths, sizes),
        metric=metric or split.metric,
        notes=(*absent_classes_note(used, class_names), *_oddities(samples, [bool(one.size) for one in pictures])),
    )


def listed_images(root: Path, split: VocSplit) -> tuple[Path, list[str]]:
    """A split's images without their labels.

    Args:
        root: ``VOCdevkit``, a folder that holds it, or ``VOCYEAR`` itself.
        split: Year and list.

    Returns:
        The folder of the images, and their names in it, in the order of :func:`read_voc`.

    Raises:
        InputFileError: A folder or the list is missing, or the list cannot be understood.
    """
    folder = _year_folder(root, split.year, holding=("ImageSets", IMAGES))
    return folder / IMAGES, [_file_name(image) for image in _listed(_list_file(folder, split))]


@dataclass(frozen=True, kw_only=True)
class _Object:
    """One object of an XML file; ``box`` continuous."""

    name: str
    box: tuple[float, float, float, float]
    difficult: bool


@dataclass(frozen=True, kw_only=True)
class _Picture:
    """One XML file; ``size`` (width, height) is None where it has none."""

    size: tuple[int, int] | None
    objects: tuple[_Object, ...]


def _list_file(folder: Path, split: VocSplit) -> Path:
    return folder / "ImageSets" / "Main" / f"{split.split}.txt"


def _file_name(image: str) -> str:
    return f"{image}.jpg"


def _year_folder(root: Path, year: int, *, holding: tuple[str, ...]) -> Path:
    name = f"VOC{year}"
    candidates = (root / name, root / "VOCdevkit" / name, *([root] if root.absolute().name == name else []))
    for folder in candidates:
        if all((folder / part).is_dir() for part in holding):
            return folder
    raise InputFileError(
        f"there is no {name} in {root}",
        got=f"no folder with {' and '.join(holding)}" if root.is_dir() else f"{root} is no folder",
        wanted=f"VOCdevkit, or a folder that holds VOCdevkit/{name}",
        next_step="unpack the archives, and name the folder that holds VOCdevkit; or name another year",
    )


def _listed(path: Path) -> list[str]:
    """Names of the images in a list."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        there = sorted(file.stem for file in path.parent.glob("*.txt") if "_" not in file.stem)
        raise InputFileError(
            f"there is no file {path}", got=f"splits {named(there)}" if there else "no split at all", wanted="a list"
        ) from None
    except (OSError, ValueError) as error:
        raise InputFileError(f"{path} cannot be read", got=str(error)) from error
    names = [line.strip() for line in lines if line.strip()]
    odd = [name for name in names if not re.fullmatch(r"[\w.-]+", name) or name in {".", ".."}]
    if odd:
        raise InputFileError(f"{path} is no list of images", got=f"the line '{odd[0]}'", wanted="one name a line")
    if not names:
        raise InputFileError(f"{path} lists no image", next_step="name a split with images")
    repeated = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    if repeated:
        raise InputFileError(f"{path} lists images more than once", got=named(sorted(repeated)))
    return names


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputFileError(f"{path} cannot be read", got=error.strerror) from error


def _parse(content: bytes, path: Path) -> _Picture:
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    try:
        tree: Element = fromstring(content)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise InputFileError(
            f"{path} is no XML that can be read, or is cut short",
            got=str(error),
            next_step="copy or download the file again",
        ) from error
    if tree.tag != "annotation":
        raise InputFileError(f"{path} is no annotation of VOC", got=f"<{tree.tag}>", wanted="<annotation>")
    width, height = (_number(tree.find(f"size/{side}")) for side in ("width", "height"))
    size = (int(width), int(height)) if width and height and width >= 1 and height >= 1 else None
    return _Picture(size=size, objects=tuple(_object(one, path) for one in tree.findall("object")))


def _object(element: Element, path: Path) -> _Object:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise InputFileError(f"an object in {path} has no name")
    sides = [_number(element.find(f"bndbox/{side}")) for side in _SIDES]
    x1, y1, x2, y2 = (math.nan if side is None else side for side in sides)
    if not (x1 <= x2 and y1 <= y2):
        raise InputFileError(
            f"the object '{name}' in {path} has no usable box",
            got=", ".join(f"{label} {side}" for label, side in zip(_SIDES, sides, strict=True)),
            wanted="xmin <= xmax and ymin <= ymax, in pixels",
        )
    difficult = (element.findtext("difficult") or "0").strip()
    if difficult not in {"0", "1"}:
        raise InputFileError(f"the object '{name}' in {path} has a 'difficult' that is neither 0 nor 1", got=difficult)
    return _Object(name=name, box=(x1 - 1, y1 - 1, x2, y2), difficult=difficult == "1")


def _number(element: Element | None) -> float | None:
    """The element's text as a finite number; None where there is none."""
    try:
        value = float((element.text if element is not None else None) or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _size_of_image(path: Path) -> tuple[int, int]:
    height, width = load_image(path).shape[:2]
    return width, height


def _truth(objects: tuple[_Object, ...], numbers: dict[str, int]) -> GroundTruth:
    boxes = np.array([one.box for one in objects], np.float64).reshape(-1, 4)
    return GroundTruth(
        boxes=boxes,
        labels=np.array([numbers[one.name] for one in objects], np.int64),
        areas=(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]),
        crowd=np.zeros(len(objects), np.bool_),
        difficult=np.array([one.difficult for one in objects], np.bool_),
    )


def _oddities(samples: tuple[Sample, ...], has_size: list[bool]) -> tuple[str, ...]:
    """What was filled in or looks wrong, one note each."""
    without = [sample.image_id for sample, known in zip(samples, has_size, strict=True) if not known]
    beyond = [
        sample.image_id
        for sample in samples
        if (sample.truth.boxes < 0).any()
        or (sample.truth.boxes > np.array([sample.width, sample.height] * 2, np.float64)).any()
    ]
    notes = []
    if without:
        notes.append(f"{len(without)} XML files have no image size; it was read from the image: {named(without)}")
    if beyond:
        notes.append(
            f"boxes of {len(beyond)} images reach beyond the size that their XML gives, or start before pixel 1: "
            f"{named(beyond)}"
        )
    return tuple(notes)


def split_of(text: str, *, default: str = DEFAULT_SPLIT) -> tuple[Path, VocSplit]:
    """``ROOT[:YEAR-SPLIT]`` as folder and split; a ROOT that exists may itself contain colons.

    Raises:
        UsageError: No ROOT, or no such kind of split.
    """
    if not text:
        raise UsageError("'voc:' names no folder", wanted="voc:ROOT or voc:ROOT:YEAR-SPLIT")
    root, colon, split = text.rpartition(":")
    if not colon or Path(text).is_dir():
        return Path(text), VocSplit.parse(default)
    return Path(root), VocSplit.parse(split or default)
