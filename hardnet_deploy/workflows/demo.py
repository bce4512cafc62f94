"""``hardnet-deploy demo``: the whole road on this machine's CPU, with a real photograph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from hardnet_deploy.artifacts import UNTRAINED
from hardnet_deploy.data.images import load_image
from hardnet_deploy.errors import TargetError
from hardnet_deploy.evaluate.tolerances import NMS_AFTER_ROUNDING
from hardnet_deploy.models import registry
from hardnet_deploy.nms.matching import DetectionSet, match_detections
from hardnet_deploy.targets import NmsKind
from hardnet_deploy.workflows.detect import ImageDetections, detect
from hardnet_deploy.workflows.detect_pictures import picture_paths, save_picture
from hardnet_deploy.workflows.export import ExportResult, run_export
from hardnet_deploy.workflows.export_options import ExportRequest
from hardnet_deploy.workflows.open_engine import open_engine

Progress = Callable[[str, int, int], None]
PHOTOGRAPH: Final = "astronaut.png"
DRAWN: Final = 12  # boxes in a picture: an untrained network finds hundreds
KINDS: Final[tuple[NmsKind, ...]] = ("efficient", "onnx")


@dataclass(frozen=True, kw_only=True)
class DemoRun:
    """One exported graph and what it found on the photograph."""

    nms: NmsKind
    export: ExportResult
    found: ImageDetections
    picture: Path

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        manifest = self.export.manifest
        return {
            "nms": self.nms,
            "onnx": str(self.export.path),
            "sha256": manifest.sha256,
            "parity": manifest.checks["parity"],
            "picture": str(self.picture),
            **self.found.as_dict(),
        }


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """Both exports, and how many detections they share.

    Args:
        model: Name of the model.
        trained: Whether its weights are.
        runs: One for each kind of NMS.
        matched: Detections that both kinds found.
    """

    model: str
    trained: bool
    runs: tuple[DemoRun, ...]
    matched: int


def photograph() -> Path:
    """A photograph that scikit-image ships.

    Raises:
        TargetError: scikit-image is not installed.
    """
    import importlib.util

    found = importlib.util.find_spec("skimage")
    if found is None or found.origin is None:
        raise TargetError(
            "the demo's photograph comes with scikit-image, which is not installed",
            next_step="pip install scikit-image, or name a photograph of your own with --image",
        )
    return Path(found.origin).parent / "data" / PHOTOGRAPH


def run_demo(folder: Path, image: Path | None, command: tuple[str, ...], progress: Progress) -> DemoResult:
    """Export the default model with either NMS, verify both, run both on a photograph, draw, compare.

    Raises:
        TargetError: No photograph at hand.
        InputFileError: The photograph cannot be read.
        HardnetDeployError: As of ``run_export``.
    """
    image = image or photograph()
    load_image(image)  # refused now rather than after the first export
    runs = []
    for number, kind in enumerate(KINDS):
        output = folder / f"{registry.DEFAULT_MODEL}.{kind}-nms.onnx"
        request = ExportRequest(nms=kind, output=output, command=command)
        exported = run_export(request, _part(progress, kind, number))
        engine = open_engine(str(output))
        found = next(iter(detect(engine, [image])))
        if not isinstance(found, ImageDetections):
            raise found.error
        picture = picture_paths([image], folder / f"{kind}-nms")[image]
        best = replace(found, detections=found.detections[:DRAWN])
        state = "" if exported.weights.trained else f"{UNTRAINED}, "
        remark = f"{state}best {len(best.detections)} of {len(found.detections)}"
        save_picture(best, engine, picture, note=remark)
        runs.append(DemoRun(nms=kind, export=exported, found=found, picture=picture))
    sides = [
        DetectionSet.from_rows([(one.class_id, *one.box, one.score) for one in run.found.detections]) for run in runs
    ]
    outcome = match_detections(*sides, iou_at_least=NMS_AFTER_ROUNDING.iou, score_tolerance=NMS_AFTER_ROUNDING.score)
    return DemoResult(
        model=registry.DEFAULT_MODEL,
        trained=runs[0].export.weights.trained,
        runs=tuple(runs),
        matched=len(outcome.pairs),
    )


def _part(progress: Progress, kind: NmsKind, number: int) -> Progress:
    def report(stage: str, index: int, total: int) -> None:
        progress(f"{kind} NMS: {stage}", number * total + index, len(KINDS) * total)

    return report
