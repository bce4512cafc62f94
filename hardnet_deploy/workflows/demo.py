"""``hardnet-deploy demo``: the trained demo detector the whole way on the CPU, every file held against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from hardnet_deploy.bench.conditions import load_average
from hardnet_deploy.data.demo.ensure import checked_count
from hardnet_deploy.data.draw import draw_side_by_side
from hardnet_deploy.data.images import load_image
from hardnet_deploy.data.sources import open_data
from hardnet_deploy.evaluate.tolerances import SHOWN_SCORE
from hardnet_deploy.files import atomic_output
from hardnet_deploy.models import registry
from hardnet_deploy.workflows.bench import run_bench
from hardnet_deploy.workflows.bench_options import BenchRequest
from hardnet_deploy.workflows.bench_result import BenchResult
from hardnet_deploy.workflows.build_engine import run_build
from hardnet_deploy.workflows.build_options import BuildRequest
from hardnet_deploy.workflows.demo_result import INT8_NAME, DemoResult, DemoRun, Int8Run, Variant
from hardnet_deploy.workflows.detect import ImageDetections, detect
from hardnet_deploy.workflows.document_files import save_json
from hardnet_deploy.workflows.evaluate import EvaluateRequest, run_evaluate
from hardnet_deploy.workflows.export import run_export
from hardnet_deploy.workflows.export_options import ExportRequest
from hardnet_deploy.workflows.open_engine import OpenEngine, open_engine
from hardnet_deploy.workflows.parity import run_parity
from hardnet_deploy.workflows.parity_options import ParityRequest
from hardnet_deploy.workflows.profile import ProfileRequest, run_profile
from hardnet_deploy.workflows.report import ReportRequest, run_report

Progress = Callable[[str, int, int], None]
IMAGES: Final = 200
INT8_FILE: Final = "int8.onnx"
FLOAT_FILE: Final = "fused-onnx-nms.onnx"  # what the INT8 engine is timed against: the same graph in float
INT8_BUDGET: Final = 0.01  # of the mAP: MLPerf asks for 99 % of it, and a few scenes cannot show less
BENCH_BUDGET: Final = "30s"
BENCH_THREADS: Final = 1  # two may share a core of a virtual machine's host by turns: too short to average that
BENCH_FILE: Final = "bench.json"
PICTURE: Final = "detections.png"
WORST: Final = "worst"
PAGE: Final = "report.html"

VARIANTS: Final = (
    Variant(name="unfused ONNX", file="unfused.onnx", fuse_bn=False, nms="efficient"),
    Variant(name="fused ONNX", file="fused.onnx", fuse_bn=True, nms="efficient"),
    Variant(name="fused ONNX, ONNX NMS", file="fused-onnx-nms.onnx", fuse_bn=True, nms="onnx"),
)


def run_demo(folder: Path, count: int, command: tuple[str, ...], progress: Progress) -> DemoResult:
    """Export and quantise the demo detector, hold each file against PyTorch on scenes it was not trained on, report.

    Args:
        folder: For everything that is made.
        count: Scenes of the validation split.
        command: The command line, for the manifests.
        progress: Told of (what runs, how much of it is done, how much there is).

    Raises:
        UsageError: A count out of range.
        HardnetDeployError: As of ``run_export``, ``run_parity`` and what else it runs.
    """
    checked_count("val", count=count, seed=0)
    load_before = load_average()
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
    for label, engine in (("pytorch", model), ("int8", str(folder / INT8_FILE))):
        scored = run_evaluate(
            EvaluateRequest(engine=engine, data="demo", count=count),
            partial(_named, progress, f"mAP of {label} by class"),
        )
        save_json(folder / f"{label}.evaluation.json", scored.as_dict())
    bench_file = folder / BENCH_FILE
    bench = _bench(folder, bench_file, command, progress, load_before)
    run_profile(
        ProfileRequest(
            engine=str(folder / INT8_FILE),
            data="demo",
            threads=BENCH_THREADS,
            output=folder / "int8.profile.json",
            command=command,
        ),
        partial(_named, progress, f"{INT8_NAME} by layer"),
    )
    picture, page = folder / PICTURE, folder / PAGE
    _draw(model, exports[1].path, count, picture)
    run_report(ReportRequest(runs=(folder,), output=page, made=datetime.now(timezone.utc), command=command))
    return DemoResult(
        model=model,
        runs=tuple(runs),
        int8=int8,
        bench=bench,
        bench_file=bench_file,
        picture=picture,
        page=page,
    )


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
            pictures=folder / WORST,
        ),
        partial(_named, progress, f"{INT8_NAME} against PyTorch"),
    )
    parity.save(report)
    return Int8Run(build=build, parity=parity, report=report)


def _bench(
    folder: Path, document: Path, command: tuple[str, ...], progress: Progress, load_before: list[float] | None
) -> BenchResult:
    """PyTorch, the float graph and the INT8 engine in turn; what does not settle is taken, and marked."""
    request = BenchRequest(
        subjects=(registry.DEMO_MODEL, str(folder / FLOAT_FILE), str(folder / INT8_FILE)),
        boundary="network+nms",
        engines="eager",
        data="demo",
        threads=BENCH_THREADS,
        budget=BENCH_BUDGET,
        allow_unstable=True,
        save=document,
        command=command,
    )
    result = run_bench(
        request,
        lambda what, done, total, _detail="": progress(f"bench: {what}", done, total),
        load_before=load_before,  # by now the load is the demo's own
    )
    if result.interrupted:
        raise KeyboardInterrupt
    result.save(document)
    return result


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
