"""``hardnet-deploy build-engine``: an exported graph, or a model, to an engine of which every layer's type is known."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hardnet_deploy.data.image_marks import marks_of
from hardnet_deploy.data.sources import open_data
from hardnet_deploy.engines.ort_build import inspect, optimise
from hardnet_deploy.errors import InputFileError, UsageError
from hardnet_deploy.models import registry
from hardnet_deploy.workflows.build_options import BuildPlan, BuildRequest, float_units, plan_build
from hardnet_deploy.workflows.calibrate import calibrate_engine, choose_images
from hardnet_deploy.workflows.calibrate_options import SEED, CalibrateRequest
from hardnet_deploy.workflows.calibration_faults import calibration_faults
from hardnet_deploy.workflows.export import run_export
from hardnet_deploy.workflows.export_options import ExportRequest
from hardnet_deploy.workflows.judged_apart import refuse_search_in_calibration, with_marks
from hardnet_deploy.workflows.open_engine import OpenEngine, open_engine
from hardnet_deploy.workflows.precision_search import layer_precisions, search_precision
from hardnet_deploy.workflows.precision_trials import SEARCH_SPLIT, Trials
from hardnet_deploy.workflows.quantise import (
    CPU_WRITING,
    FloatGraph,
    Quantiser,
    fallback_error,
    float_graph,
    read_table,
    table_record,
)
from hardnet_deploy.workflows.save_engine import BuildResult, manifest_of, save_engine

if TYPE_CHECKING:
    from calibration.table import CalibrationTable
    from hardnet_deploy.data.dataset import Dataset
    from hardnet_deploy.data.image_lists import ImageList

Progress = Callable[[str, int, int], None]


def run_build(request: BuildRequest, progress: Progress) -> BuildResult:
    """Build an engine for the CPU.

    Args:
        request: The options.
        progress: Told of (what runs, how much of it is done, how much there is).

    Raises:
        UsageError, TargetError, OutputFileError: Before anything long runs.
        InputFileError, CheckpointError: The graph, checkpoint, calibration, data or an image cannot be read.
        ArtifactMismatchError: A manifest or a calibration is of something else.
        ExportError: A layer stayed float that was to be INT8, or ONNX Runtime refuses the graph; nothing is written.
    """
    plan = plan_build(request)
    given = _given_table(request.calib) if request.calib is not None else None
    if plan.is_model:
        spec = registry.get(plan.source)
        _refuse_without_data(request, spec.dataset, detects=spec.is_detector)
    if request.dry_run:
        return _rehearsed(plan, request, given)
    with _opened(plan, request, progress) as engine:
        source = _float_source(request, engine)
        if plan.precision == "int8":
            return _int8(plan, request, engine, source, given, progress)
        return _fp32(plan, request, engine, source)


def _given_table(path: Path) -> CalibrationTable:
    """The table of ``--calib``; TensorRT's calibration cache, which looks like another kind of it, is told apart."""
    from calibration.trt_cache import is_cache

    with contextlib.suppress(OSError):
        if is_cache(path.read_bytes().decode("utf-8", "replace")):
            raise InputFileError(
                f"{path} is a calibration cache of TensorRT: it has no ranges and zero points for an engine of the CPU",
                got="one symmetric scale for each tensor",
                wanted="the table F.calib.json",
                next_step="hardnet-deploy calibrate writes the table, and with --cache the same ranges for TensorRT",
            )
    return read_table(path)


def _refuse_without_data(request: BuildRequest, dataset: object, *, detects: bool) -> None:
    """Refuse INT8 that nobody said what to measure on; for a model of the demo data that goes without saying."""
    if request.max_drop is not None and not detects:
        raise UsageError("--max-drop is measured as mAP, and a backbone detects nothing", next_step="drop --max-drop")
    if not request.int8 or dataset == "demo":
        return
    if request.calib is None and request.data is None:
        raise UsageError(
            "INT8 needs ranges, and nothing is named to take them from",
            wanted="--data with images like those the engine will see, or --calib with a table",
            next_step="add --data coco:ROOT, voc:ROOT or a folder of images",
        )
    if request.max_drop is not None and request.search_data is None:
        raise UsageError(
            "--max-drop needs labelled images to measure mAP on",
            next_step="add --search-data coco:ROOT:SPLIT or voc:ROOT:YEAR-SPLIT; keep those you will report apart",
        )


def _float_source(request: BuildRequest, engine: OpenEngine) -> FloatGraph:
    """What is to be built, after everything that can be refused without running it."""
    if engine.model is None:
        raise UsageError(f"{engine.label} is no ONNX file", next_step="name a model or an exported file")
    manifest = manifest_of(engine)
    precision = manifest.precision.get("requested")
    if precision not in {None, "fp32"}:
        raise UsageError(
            f"{engine.label} is {precision} already",
            wanted="a float graph",
            next_step="build from the file that hardnet-deploy export wrote",
        )
    _refuse_without_data(request, manifest.model.get("dataset"), detects=engine.head is not None)
    return float_graph(engine)


def _rehearsed(plan: BuildPlan, request: BuildRequest, given: CalibrationTable | None) -> BuildResult:
    """What would be built; of a file, all that can be refused without running it is refused."""
    if not plan.is_model:
        engine = open_engine(plan.source, trust=request.trust)
        source = _float_source(request, engine)
        if plan.precision == "int8":
            _asked_to_stay_float(request, source)
        if given is not None:
            Quantiser(source, given, concat_scales=request.concat_scales, preprocess=asdict(engine.preprocess))
    return BuildResult(
        plan=plan,
        manifest=None,
        size_bytes=0,
        source_bytes=0,
        optimised=None,
        macs_int8=0.0,
        table=request.calib,
        notes=(*filter(None, (plan.chosen,)), "dry run: nothing was built"),
    )


def _asked_to_stay_float(request: BuildRequest, source: FloatGraph) -> frozenset[str]:
    from calibration.graph import GraphMap

    with calibration_faults():
        return float_units(request.layer_precisions, [unit.name for unit in GraphMap(source.model).units])


@contextlib.contextmanager
def _opened(plan: BuildPlan, request: BuildRequest, progress: Progress) -> Iterator[OpenEngine]:
    """The source as an open engine; a model is exported first, into a folder that goes away."""
    if not plan.is_model:
        yield open_engine(plan.source, trust=request.trust)
        return
    with tempfile.TemporaryDirectory(prefix="hardnet-deploy-") as folder:
        path = Path(folder) / f"{plan.source}.onnx"
        progress("exporting and verifying", 0, 1)
        export = ExportRequest(
            model=plan.source,
            weights=request.weights,
            code_line=request.code_line,
            target=plan.target.name,
            output=path,
            command=request.command,
        )
        run_export(export, lambda *_: None)
        progress("exporting and verifying", 1, 1)
        yield open_engine(str(path))


def _fp32(plan: BuildPlan, request: BuildRequest, engine: OpenEngine, source: FloatGraph) -> BuildResult:
    model = source.finished(source.model)
    weights = {node.name: node.input[1] for node in model.graph.node if node.op_type == "Conv"}
    optimised = inspect(optimise(model), weights)
    precision = {"requested": "fp32", "achieved": dict(optimised.achieved)}
    return save_engine(plan, request, engine, model, optimised, precision, macs_int8=0.0, table=None, notes=())


def _int8(
    plan: BuildPlan,
    request: BuildRequest,
    engine: OpenEngine,
    source: FloatGraph,
    given: CalibrationTable | None,
    progress: Progress,
) -> BuildResult:
    from calibration.qdq import Choice

    left = _asked_to_stay_float(request, source)
    calibrate = _calibration(plan, request, engine)
    images = choose_images(calibrate, progress) if given is None else None
    dataset = None if request.max_drop is None else _search_data(request, engine, images, given, progress)
    table, path, notes = _table(request, calibrate, engine, images, given, progress)
    quantiser = Quantiser(source, table, concat_scales=request.concat_scales, preprocess=asdict(engine.preprocess))
    choice = Choice(float_units=left, reduced_weights=request.reduce_range)
    search = None
    if request.max_drop is not None and dataset is not None:
        record = plan.output.with_suffix(".search.json")
        trials = Trials(
            engine, quantiser, dataset, request.drop_type, record, progress, allow_fallback=request.allow_fallback
        )
        search = search_precision(trials, choice, request.max_drop, request.drop_type)
        choice = dataclasses.replace(choice, float_units=frozenset(search.best.float_layers))
    found = quantiser.for_cpu(choice)
    if found.fell_back and not request.allow_fallback:
        raise fallback_error(found.fell_back)
    precision = {
        "requested": "int8",
        "achieved": dict(found.optimised.achieved),
        "asked_to_stay_float": sorted(left),
        "float_by_search": sorted(choice.float_units - left),
        "writing": CPU_WRITING,
        "weight_bits": 7 if request.reduce_range else 8,
        "concat_scales": request.concat_scales,
        "macs_in_int8": found.macs_int8,
        "layer_precisions": layer_precisions(tuple(sorted(choice.float_units))),
        "calibration": with_marks(table_record(table, path), table.image_marks),
        "search": with_marks(search.as_dict(), _marks(dataset)) if search and dataset else None,
    }
    notes += tuple(f"stayed float without being asked: {name}" for name in found.fell_back)
    return save_engine(
        plan,
        request,
        engine,
        found.model,
        found.optimised,
        precision,
        macs_int8=found.macs_int8,
        table=path,
        notes=notes,
    )


def _marks(dataset: Dataset) -> tuple[str, ...]:
    return marks_of(sample.path for sample in dataset.samples)


def _calibration(plan: BuildPlan, request: BuildRequest, engine: OpenEngine) -> CalibrateRequest:
    """How ranges are measured where ``--calib`` brings none."""
    return CalibrateRequest(
        onnx=Path(engine.label),
        data=request.data or "demo",
        method=request.method or "entropy",
        count=request.count,
        seed=SEED if request.seed is None else request.seed,
        output=plan.output.with_suffix(".calib.json"),
        command=request.command,
    )


def _table(
    request: BuildRequest,
    calibrate: CalibrateRequest,
    engine: OpenEngine,
    images: ImageList | None,
    given: CalibrationTable | None,
    progress: Progress,
) -> tuple[CalibrationTable, Path, tuple[str, ...]]:
    """Ranges from ``--calib``, or measured now and kept beside the engine."""
    if request.calib is not None and given is not None:
        return (given.with_method(request.method) if request.method else given), request.calib, ()
    assert calibrate.output is not None
    result = calibrate_engine(engine, calibrate, calibrate.output, progress, images)
    return result.table, result.path, result.notes


def _search_data(
    request: BuildRequest,
    engine: OpenEngine,
    images: ImageList | None,
    given: CalibrationTable | None,
    progress: Progress,
) -> Dataset:
    """``--search-data``, of the demo data the split that exists for it; apart from what the ranges come from."""
    dataset = open_data(
        request.search_data or "demo",
        class_names=engine.class_names,
        default_split=SEARCH_SPLIT,
        count=request.search_count,
        progress=partial(progress, "drawing the demo data"),
    )
    if given is not None:
        refuse_search_in_calibration(given.fingerprint.data, given.image_marks, dataset)
    if images is not None:
        refuse_search_in_calibration(images.name, marks_of(images.paths), dataset)
    return dataset
