"""``hardnet-deploy demo``: the trained demo detector exported in three ways, and each export held against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from hardnet_deploy.data.demo.ensure import checked_count
from hardnet_deploy.data.draw import draw_side_by_side
from hardnet_deploy.data.images import load_image
from hardnet_deploy.data.sources import open_data
from hardnet_deploy.errors import HardnetDeployError
from hardnet_deploy.evaluate.tolerances import SHOWN_SCORE
from hardnet_deploy.files import atomic_output
from hardnet_deploy.models import registry
from hardnet_deploy.targets import NmsKind
from hardnet_deploy.workflows.detect import ImageDetections, detect
from hardnet_deploy.workflows.export import ExportResult, run_export
from hardnet_deploy.workflows.export_options import ExportRequest
from hardnet_deploy.workflows.open_engine import OpenEngine, open_engine
from hardnet_deploy.workflows.parity import run_parity
from hardnet_deploy.workflows.parity_options import ParityRequest
from hardnet_deploy.workflows.parity_result import ParityResult

Progress = Callable[[str, int, int], None]
IMAGES: Final = 200
PICTURE: Final = "detections.png"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to export."""

    name: str
    file: str
    fuse_bn: bool
    nms: NmsKind


VARIANTS: Final = (
    Variant(name="unfused ONNX", file="unfused.onnx", fuse_bn=False, nms="efficient"),
    Variant(name="fused ONNX", file="fused.onnx", fuse_bn=True, nms="efficient"),
    Variant(name="fused ONNX, ONNX NMS", file="fused-onnx-nms.onnx", fuse_bn=True, nms="onnx"),
)


@dataclass(frozen=True, kw_only=True)
class DemoRun:
    """One export, and its comparison with PyTorch."""

    variant: Variant
    export: ExportResult
    parity: ParityResult
    report: Path

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        metric = self.parity.metric
        return {
            "name": self.variant.name,
            "onnx": str(self.export.path),
            "sha256": self.export.manifest.sha256,
            "fused": self.variant.fuse_bn,
            "nms": self.variant.nms,
            "mAP": metric.separation.own.candidate if metric else None,
            "passed": self.parity.passed,
            "failures": [failure.what for failure in self.parity.failures],
            "report": str(self.report),
        }


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What the demo made.

    Args:
        model: Name of the model.
        runs: One for each way to export.
        picture: One scene, with what PyTorch and the fused export find in it.
    """

    model: str
    runs: tuple[DemoRun, ...]
    picture: Path

    @property
    def trained(self) -> bool:
        """Whether the weights are."""
        return self.runs[0].export.weights.trained

    @property
    def reference_map(self) -> float | None:
        """PyTorch's own mAP."""
        metric = self.runs[0].parity.metric
        return metric.separation.own.reference if metric else None

    @property
    def error(self) -> HardnetDeployError | None:
        """What is wrong with the first export that does not pass; None where all do."""
        return next((error for run in self.runs if (error := run.parity.error()) is not None), None)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        data = self.runs[0].parity.dataset
        return {
            "model": self.model,
            "trained": self.trained,
            "data": {"name": data.name, "digest": data.digest, "images": len(data)},
            "mAP": self.reference_map,
            "runs": [run.as_dict() for run in self.runs],
            "picture": str(self.picture),
            "passed": self.error is None,
        }


def run_demo(folder: Path, count: int, command: tuple[str, ...], progress: Progress) -> DemoResult:
    """Export the demo detector in every way, and hold each file against PyTorch on scenes it was not trained on.

    Args:
        folder: For everything that is made.
        count: Scenes of the validation split.
        command: The command line, for the manifests.
        progress: Told of (what runs, how much of it is done, how much there is).

    Raises:
        UsageError: A count out of range.
        HardnetDeployError: As of ``run_export`` and ``run_parity``.
    """
    checked_count("val", count=count, seed=0)
    model = registry.DEMO_MODEL
    exports = []
    for number, variant in enumerate(VARIANTS):
        progress("exporting and verifying", number, len(VARIANTS))
        request = ExportRequest(
            model=model,
            fuse_bn=variant.fuse_bn,
            nms=variant.nms,
            output=folder / variant.file,
            command=command,
        )
        exports.append(run_export(request, lambda *_: None))
    progress("exporting and verifying", len(VARIANTS), len(VARIANTS))
    runs = []
    for variant, exported in zip(VARIANTS, exports, strict=True):
        report = exported.path.with_suffix(".parity.json")
        parity = run_parity(
            ParityRequest(reference=model, candidate=str(exported.path), data="demo", count=count, output=report),
            partial(_named, progress, variant.name),
        )
        parity.save(report)
        runs.append(DemoRun(variant=variant, export=exported, parity=parity, report=report))
    picture = folder / PICTURE
    _draw(model, exports[1].path, count, picture)
    return DemoResult(model=model, runs=tuple(runs), picture=picture)


def _named(progress: Progress, name: str, what: str, done: int, total: int) -> None:
    progress(f"{name} against PyTorch: {what}", done, total)


def _draw(model: str, exported: Path, count: int, picture: Path) -> None:
    """The scene with most objects, as both see it."""
    engines = [open_engine(model), open_engine(str(exported))]
    dataset = open_data("demo", class_names=engines[0].class_names, default_split="val", count=count)
    sample = max(dataset.samples, key=lambda sample: len(sample.truth))
    sides = [_seen(engine, sample.path) for engine in engines]
    image = draw_side_by_side(load_image(sample.path), sides, engines[0].class_names)
    with atomic_output(picture) as temporary:
        image.save(temporary, format="PNG")


def _seen(engine: OpenEngine, path: Path) -> tuple[str, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    found = next(iter(detect(engine, [path], score_threshold=SHOWN_SCORE)))
    if not isinstance(found, ImageDetections):
        raise found.error
    rows = np.array([(one.class_id, *one.box, one.score) for one in found.detections], np.float64).reshape(-1, 6)
    title = "PyTorch" if engine.model is None else Path(engine.label).name
    return f"{title}: {len(rows)} boxes", rows, np.zeros(len(rows), np.bool_)
