"""Pictures of the images on which two engines disagree most: the reference on the left, the candidate on the right."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.data.dataset import Dataset
from hardnet_deploy.data.draw import draw_side_by_side
from hardnet_deploy.data.images import load_image
from hardnet_deploy.errors import UsageError
from hardnet_deploy.evaluate.detections import DetectionsParity
from hardnet_deploy.evaluate.tolerances import SHOWN_SCORE
from hardnet_deploy.files import atomic_output, sha256_bytes, write_durably
from hardnet_deploy.nms.boxes import IndexArray
from hardnet_deploy.nms.matching import DetectionSet
from hardnet_deploy.specs import F64

MARKED: Final = 20  # unmatched boxes of a side that are drawn whatever their score; all others from SHOWN_SCORE


@dataclass(frozen=True, kw_only=True)
class SavedPicture:
    """A picture as it was written; another comparison may write its own to the same folder."""

    path: Path
    sha256: str


def refuse_overwriting(folder: Path, dataset: Dataset) -> None:
    """Refuse a folder that holds the data's own images.

    Raises:
        UsageError: It does.
    """
    target = os.path.realpath(folder)
    if any(os.path.realpath(parent) == target for parent in {sample.path.parent for sample in dataset.samples}):
        raise UsageError(
            f"{folder} holds the images of {dataset.name}, pictures do not belong there",
            next_step="choose another folder with --pictures",
        )


def save_pictures(
    folder: Path,
    dataset: Dataset,
    parity: DetectionsParity,
    reference: Sequence[DetectionSet],
    candidate: Sequence[DetectionSet],
) -> tuple[SavedPicture, ...]:
    """Draw the worst images: thick boxes have no partner on the other side.

    Args:
        folder: Is made where it is not there; files are ``worst-01-STEM.png`` and so on, worst first; those of
            an earlier run are removed.
        dataset: What was run.
        parity: Names the images.
        reference: Detections of each image.
        candidate: Detections of each image.

    Returns:
        The pictures, worst first.

    Raises:
        OutputFileError: No space or no permission.
    """
    for stale in folder.glob("worst-[0-9][0-9]-*.png"):
        stale.unlink()
    saved = []
    for place, image in enumerate(parity.worst, start=1):
        sample = dataset.samples[image.index]
        sides = []
        for role, found, unmatched in (
            ("REFERENCE", reference[image.index], image.lost),
            ("CANDIDATE", candidate[image.index], image.invented),
        ):
            rows, marked = _drawn(found, unmatched)
            sides.append((f"{role}: {len(found)} boxes, {len(unmatched)} unmatched", rows, marked))
        picture = draw_side_by_side(load_image(sample.path), sides, dataset.class_names)
        path = folder / f"worst-{place:02d}-{sample.path.stem}.png"
        content = io.BytesIO()
        picture.save(content, format="PNG")
        with atomic_output(path) as temporary:
            write_durably(temporary, content.getvalue())
        saved.append(SavedPicture(path=path, sha256=sha256_bytes(content.getvalue())))
    return tuple(saved)


def _drawn(found: DetectionSet, unmatched: IndexArray) -> tuple[F64, NDArray[np.bool_]]:
    """The boxes that are drawn, (n, 6) as for drawing, and which of them are unmatched."""
    marked = np.zeros(len(found), np.bool_)
    marked[unmatched] = True
    kept = found.scores >= SHOWN_SCORE
    kept[unmatched[np.argsort(-found.scores[unmatched], kind="stable")[:MARKED]]] = True
    columns = (found.classes[:, None].astype(np.float64), found.boxes, found.scores[:, None])
    rows: F64 = np.concatenate(columns, axis=1)
    return rows[kept], marked[kept]
