"""What ``hardnet-deploy parity`` was asked, and what is refused before anything runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hardnet_deploy.artifacts import manifest_path
from hardnet_deploy.errors import UsageError
from hardnet_deploy.evaluate.bootstrap import RESAMPLES, SEED, DropType
from hardnet_deploy.files import refuse_unwritable
from hardnet_deploy.models import registry
from hardnet_deploy.workflows.open_engine import CLASSES_OF_FILES, names_detector, names_model
from hardnet_deploy.workflows.post_process import Postprocess

TENSOR_IMAGES: Final = 8
MAX_DROP: Final = 0.005  # relative or in mAP itself: half a percent, or half a point
DEFAULT_SPLIT: Final = "val"


@dataclass(frozen=True, kw_only=True)
class ParityRequest:
    """The options as typed.

    Args:
        reference: What is trusted: an artifact file, ``MODEL`` or ``MODEL=CHECKPOINT.pth``.
        candidate: What is in question, likewise.
        data: As ``--data`` names it.
        count: Take only the first so many images.
        tensor_images: Images whose tensors are compared.
        postprocess: Which detections are matched and scored.
        max_drop: Largest accepted drop of mAP; None for :data:`MAX_DROP`.
        drop_type: Whether that is relative to the reference's mAP or in mAP itself.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
        pictures: Folder for the worst images, or None.
        output: JSON file for the result, or None.
        trust: Take artifacts without a manifest, or changed since.
        code_line: Which repository trained the checkpoints of ``MODEL=CHECKPOINT``.
        classes: File with the class names of every detector among them; None for the usual ones.
        allow_other_thresholds: Compare although the two sides' NMS have other thresholds.
    """

    reference: str
    candidate: str
    data: str = "demo"
    count: int | None = None
    tensor_images: int = TENSOR_IMAGES
    postprocess: Postprocess = "deployed"
    max_drop: float | None = None
    drop_type: DropType = "relative"
    resamples: int = RESAMPLES
    seed: int = SEED
    pictures: Path | None = None
    output: Path | None = None
    trust: bool = False
    code_line: str = registry.CODE_LINES[0]
    classes: Path | None = None
    allow_other_thresholds: bool = False

    @property
    def limit(self) -> float:
        """The largest accepted drop, of the kind ``drop_type``."""
        return MAX_DROP if self.max_drop is None else self.max_drop


def check_request(request: ParityRequest) -> None:
    """Refuse what cannot be meant.

    Raises:
        UsageError: A number out of range, or an output that would overwrite what is read.
        OutputFileError: An output clearly cannot be written.
    """
    least = {"--count": request.count, "--tensor-images": request.tensor_images, "--resamples": request.resamples}
    for name, value in least.items():
        if value is not None and value < 1:
            raise UsageError(f"{name} {value} is out of range", wanted="1 or more", next_step=_never_nothing(name))
    if request.seed < 0:
        raise UsageError(f"--seed {request.seed} is out of range", wanted="0 or more")
    if not 0.0 <= request.limit <= 1.0:
        raise UsageError(f"--max-drop {request.limit:g} is out of range", wanted="0 to 1: 0.005 is half a percent")
    sides = (request.reference, request.candidate)
    if request.code_line not in registry.CODE_LINES:
        raise UsageError(f"unknown code line '{request.code_line}'", wanted=" or ".join(registry.CODE_LINES))
    if request.code_line != registry.CODE_LINES[0] and not any(names_model(side) for side in sides):
        raise UsageError("--code-line is for MODEL=CHECKPOINT; a file has it in its graph", next_step="drop it")
    if request.classes is not None and not any(names_detector(side) for side in sides):
        raise UsageError(CLASSES_OF_FILES, got=" and ".join(sides), next_step="drop it")
    if request.output is not None:
        refuse_unwritable(request.output)
        files = [*map(Path, sides), *(manifest_path(Path(side)) for side in sides if Path(side).name)]
        for read in (*files, *filter(None, (request.classes,))):
            if os.path.realpath(read) == os.path.realpath(request.output):
                raise UsageError(
                    f"-o {request.output} would overwrite {read}, which it reads", next_step="choose another -o"
                )
    if request.pictures is not None:
        refuse_unwritable(request.pictures / "worst-01.png")


def _never_nothing(name: str) -> str | None:
    return None if name == "--count" else "a comparison of nothing proves nothing"
