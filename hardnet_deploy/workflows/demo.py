"""``hardnet-deploy demo``: the trained demo detector exported three ways and quantised, each against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from hardnet_deploy.bench.interleaved import time_side_by_side
from hardnet_deploy.data.demo.ensure import checked_count
from hardnet_deploy.data.draw import draw_side_by_side
from hardnet_deploy.data.images import load_image
from hardnet_deploy.data.loading import usual_workers
from hardnet_deploy.data.sources import open_data
from hardnet_deploy.errors import HardnetDeployError
from hardnet_deploy.evaluate.tolerances import SHOWN_SCORE
from hardnet_deploy.files import atomic_output
from hardnet_deploy.models import registry
from hardnet_deploy.targets import NmsKind
from hardnet_deploy.workflows.build_engine import run_build
from hardnet_deploy.workflows.build_options import BuildRequest
from hardnet_deploy.workflows.detect import ImageDetections, detect
from hardnet_deploy.workflows.export import ExportResult, run_export
from hardnet_deploy.workflows.export_options import ExportRequest
from hardnet_deploy.workflows.open_engine import OpenEngine, open_engine
from hardnet_deploy.workflows.parity import run_parity
from hardnet_deploy.workflows.parity_options import ParityRequest
from hardnet_deploy.workflows.parity_result import ParityResult
from hardnet_deploy.workflows.save_engine import BuildResult
from hardnet_deploy.workflows.seeded_inputs import seeded_pixels

Progress = Callable[[str, int, int], None]
IMAGES: Final = 200
INT8_FILE: Final = "int8.onnx"
INT8_NAME: Final = "INT8 CPU engine"
FLOAT_FILE: Final = "fused-onnx-nms.onnx"  # what the INT8 engine is timed against: the same graph in float
INT8_BUDGET: Final = 0.01  # of the mAP: MLPerf asks for 99 % of it, and a few scenes cannot show less
ROUNDS: Final = 6
PER_ROUND: Final = 20
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
class Int8Run:
    """The INT8 engine, its comparison with PyTorch, and its time beside the float graph's.

    Args:
        build: The engine.
        parity: Its comparison.
        report: Of the comparison.
        float_ms: Median of one image in the float graph, everything from input to detections.
        int8_ms: Of the engine, in turn with it, each in a process of its own.
        threads: Of both.
    """

    build: BuildResult
    parity: ParityResult
    report: Path
    float_ms: float
    int8_ms: float
    threads: int

    @property
    def speed_up(self) -> float:
        """Of this machine, measured side by side."""
        return self.float_ms / self.int8_ms

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        metric = self.parity.metric
        return {
            "name": INT8_NAME,
            "engine": str(self.build.plan.output),
            "sha256": self.build.manifest.sha256 if self.build.manifest else None,
            "macs_in_int8": self.build.macs_int8,
            "mAP": metric.separation.own.candidate if metric else None,
            "passed": self.parity.passed,
            "failures": [failure.what for failure in self.parity.failures],
            "report": str(self.report),
            "timing": {
                "float_ms": self.float_ms,
                "int8_ms": self.int8_ms,
                "speed_up": self.speed_up,
                "threads": self.threads,
                "runs": ROUNDS * PER_ROUND,
            },
        }


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What the demo made.

    Args:
        model: Name of the model.
        runs: One for each way to export.
        int8: The INT8 engine.
        picture: One scene, with what PyTorch and the fused export find in it.
    """

    model: str
    runs: tuple[DemoRun, ...]
    int8: Int8Run
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
        """What is wrong with the first file that does not pass; None where all do."""
        runs = (*(run.parity for run in self.runs), self.int8.parity)
        return next((error for parity in runs if (error := parity.error()) is not None), None)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        data = self.runs[0].parity.dataset
        return {
            "model": self.model,
            "trained": self.trained,
            "data": {"name": data.name, "digest": data.digest, "images": len(data)},
            "mAP": self.reference_map,
            "runs": [run.as_dict() for run in self.runs],
            "int8": self.int8.as_dict(),
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
            partial(_named, progress, f"{variant.name} against PyTorch"),
        )
        parity.save(report)
        runs.append(DemoRun(variant=variant, export=exported, parity=parity, report=report))
    int8 = _int8(folder, count, command, progress)
    picture = folder / PICTURE
    _draw(model, exports[1].path, count, picture)
    return DemoResult(model=model, runs=tuple(runs), int8=int8, picture=picture)


def _int8(folder: Path, count: int, command: tuple[str, ...], progress: Progress) -> Int8Run:
    output = folder / INT8_FILE
    request = BuildRequest(source=str(folder / FLOAT_FILE), int8=True, target="cpu", output=output, command=command)
    build = run_build(request, partial(_named, progress, INT8_NAME))
    report = output.with_suffix(".parity.json")
    parity = run_parity(
        ParityRequest(
            reference=registry.DEMO_MODEL,
            candidate=str(output),
            data="demo",
            count=count,
            max_drop=INT8_BUDGET,
            output=report,
        ),
        partial(_named, progress, f"{INT8_NAME} against PyTorch"),
    )
    parity.save(report)
    threads = usual_workers()
    times = time_side_by_side(
        {FLOAT_FILE: folder / FLOAT_FILE, INT8_FILE: output},
        seeded_pixels(registry.get(registry.DEMO_MODEL).preprocess, 1),
        threads=threads,
        rounds=ROUNDS,
        per_round=PER_ROUND,
        progress=partial(progress, f"{INT8_NAME}: timing beside the float graph"),
    )
    return Int8Run(
        build=build,
        parity=parity,
        report=report,
        float_ms=times[FLOAT_FILE].median_ms,
        int8_ms=times[INT8_FILE].median_ms,
        threads=threads,
    )


def _named(progress: Progress, name: str, what: str, done: int, total: int) -> None:
    progress(f"{name}: {what}", done, total)


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
