"""Pictures of what was detected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hardnet_deploy.data.draw import draw_detections
from hardnet_deploy.files import atomic_output, refuse_unwritable
from hardnet_deploy.workflows.detect import ImageDetections
from hardnet_deploy.workflows.open_engine import OpenEngine


def picture_paths(images: Sequence[Path], folder: Path) -> dict[Path, Path]:
    """Where the picture of each image goes: ``NAME.detections.png``, numbered where two images share a name.

    Raises:
        OutputFileError: The folder clearly cannot be written.
    """
    seen: Counter[str] = Counter()
    paths: dict[Path, Path] = {}
    for image in dict.fromkeys(images):
        seen[image.stem] += 1
        number = f".{seen[image.stem]}" if seen[image.stem] > 1 else ""
        paths[image] = folder / f"{image.stem}{number}.detections.png"
        refuse_unwritable(paths[image])
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
