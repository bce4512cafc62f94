"""Pictures of what was detected."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

from hardnet_deploy.data.draw import draw_detections
from hardnet_deploy.errors import UsageError
from hardnet_deploy.files import atomic_output, refuse_unwritable
from hardnet_deploy.workflows.detect import ImageDetections
from hardnet_deploy.workflows.open_engine import OpenEngine


def picture_paths(images: Sequence[Path], folder: Path) -> dict[Path, Path]:
    """Where the picture of each image goes: ``NAME.detections.png``, numbered where two images share a name.

    Raises:
        OutputFileError: The folder clearly cannot be written.
        UsageError: A picture would overwrite one of the images.
    """
    paths: dict[Path, Path] = {}
    for image in dict.fromkeys(images):
        tries = itertools.chain([""], (f".{number}" for number in itertools.count(2)))
        names = (folder / f"{image.stem}{number}.detections.png" for number in tries)
        paths[image] = next(path for path in names if path not in paths.values())
        refuse_unwritable(paths[image])
    read = {os.path.realpath(image): image for image in images}
    for image, path in paths.items():
        if os.path.realpath(path) in read:
            raise UsageError(
                f"the picture of {image} would overwrite {read[os.path.realpath(path)]}, which is to be read",
                next_step="choose another folder with -o",
            )
    return paths


def save_picture(found: ImageDetections, engine: OpenEngine, path: Path, *, note: str | None) -> None:
    """Draw the boxes on the image and write it as PNG.

    Raises:
        OutputFileError: No space or no permission.
    """
    rows = [(one.class_id, *one.box, one.score) for one in found.detections]
    picture = draw_detections(found.image, rows, engine.class_names, note=note)
    with atomic_output(path) as temporary:
        picture.save(temporary, format="PNG")
