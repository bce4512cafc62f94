"""A drawn split on disk, in COCO's layout, and how a reader knows that it is whole.

::

    ROOT/annotations/instances_SPLIT.json
    ROOT/SPLIT/000000000001.jpg ...
    ROOT/SPLIT.digest.json               the record: what was drawn, and the digest of every byte
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hardnet_deploy.data.demo.splits import SCENES_VERSION

SMALL_BELOW, LARGE_FROM = 32**2, 96**2
"""COCO's area classes, square pixels."""


class UnusableSplitError(Exception):
    """What lies on disk is not the split that was asked for, or not as it was written; the message says why."""


@dataclass(frozen=True, kw_only=True)
class DemoSplit:
    """A split on disk.

    Args:
        root: Folder of the COCO layout.
        name: ``train``, ``calibration``, ``search`` or ``val``.
        count: Images.
        seed: Of the scenes.
        digest: SHA-256 over the bytes of the annotation file and then of every image in order. It depends on the
            versions of Pillow and NumPy that drew the scenes.
        sizes: Objects of COCO's three area classes: small, medium, large.
        notes: What the user should hear, such as that a damaged cache was drawn anew.
    """

    root: Path
    name: str
    count: int
    seed: int
    digest: str
    sizes: tuple[int, int, int]
    notes: tuple[str, ...] = ()

    @property
    def annotations(self) -> Path:
        """The annotation file."""
        return annotation_path(self.root, self.name)

    @property
    def images(self) -> Path:
        """The folder of the images."""
        return self.root / self.name


@dataclass(frozen=True, kw_only=True)
class Record:
    """What ``SPLIT.digest.json`` holds.

    Args:
        scenes_version: ``SCENES_VERSION`` of the program that drew.
        split: Name.
        seed: Of the scenes.
        count: Images.
        digest: See :class:`DemoSplit`.
        sizes: Small, medium and large objects.
        versions: Of the programs that drew.
    """

    scenes_version: int
    split: str
    seed: int
    count: int
    digest: str
    sizes: tuple[int, int, int]
    versions: dict[str, str]

    def to_bytes(self) -> bytes:
        """The file."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()


def annotation_path(root: Path, split: str) -> Path:
    """The annotation file of a split."""
    return root / "annotations" / f"instances_{split}.json"


def record_path(root: Path, split: str) -> Path:
    """The record of a split."""
    return root / f"{split}.digest.json"


def image_name(image_id: int) -> str:
    """As COCO names its images; ids count from 1."""
    return f"{image_id:012d}.jpg"


def digest_of(root: Path, split: str, count: int) -> str:
    """The digest of what lies on disk.

    Raises:
        OSError: A file is missing or cannot be read.
    """
    digest = hashlib.sha256(annotation_path(root, split).read_bytes())
    for image_id in range(1, count + 1):
        digest.update((root / split / image_name(image_id)).read_bytes())
    return digest.hexdigest()


def read_split(root: Path, split: str, *, count: int, seed: int) -> DemoSplit:
    """The split at ``root`` after every byte of it was checked.

    Raises:
        UnusableSplitError: It was drawn with other settings or by another version, or a file is missing, surplus or
            changed.
    """
    try:
        record = _parse(json.loads(record_path(root, split).read_bytes()))
        for label, got, wanted in (
            ("version of the scenes", record.scenes_version, SCENES_VERSION),
            ("split", record.split, split),
            ("seed", record.seed, seed),
            ("count", record.count, count),
        ):
            if got != wanted:
                raise UnusableSplitError(f"{label} is {got}, not {wanted}")
        found = {path.name for path in (root / split).iterdir()}
        if found != {image_name(image_id) for image_id in range(1, count + 1)}:
            raise UnusableSplitError(f"the folder {split} does not hold exactly {count} images")
        if digest_of(root, split, count) != record.digest:
            raise UnusableSplitError("a file differs from what was written")
    except FileNotFoundError as error:
        raise UnusableSplitError(f"{Path(error.filename).name} is missing") from error
    except OSError as error:
        raise UnusableSplitError(f"a file cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, KeyError) as error:
        raise UnusableSplitError(f"{record_path(root, split).name} cannot be understood") from error
    return DemoSplit(root=root, name=split, count=count, seed=seed, digest=record.digest, sizes=record.sizes)


def _parse(document: dict[str, Any]) -> Record:
    small, medium, large = (int(number) for number in document["sizes"])
    return Record(**{**document, "sizes": (small, medium, large)})
