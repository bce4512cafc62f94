"""``hardnet-deploy build-engine``: an exported graph, or a model, to an engine of which every layer's type is known."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hardnet_deploy.engines.ort_build import inspect, optimise
from hardnet_deploy.errors import UsageError
from hardnet_deploy.models import registry
from hardnet_deploy.workflows.build_options import BuildPlan, BuildRequest, float_units, plan_build
from hardnet_deploy.workflows.build_ranges import build_ranges
from hardnet_deploy.workflows.build_request import refuse_without_data
from hardnet_deploy.workflows.build_tensorrt import build_tensorrt
from hardnet_deploy.workflows.calibration_faults import calibration_faults
from hardnet_deploy.workflows.environment import Probes, read_cpu
from hardnet_deploy.workflows.export import run_export
from hardnet_deploy.workflows.export_options import ExportRequest
from hardnet_deploy.workflows.given_table import given_table
from hardnet_deploy.workflows.judged_apart import with_marks
from hardnet_deploy.workflows.open_engine import OpenEngine, open_engine
from hardnet_deploy.workflows.precision_search import layer_precisions
from hardnet_deploy.workflows.preflight import preflight
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

Progress = Callable[[str, int, int], None]
EXPORTING: Final = "exporting and verifying"
CACHE_LACKS: Final = "ranges and zero points for an engine of the CPU"


def run_build(
    request: BuildRequest, progress: Progress, tell: Callable[[str], None] = lambda _line: None
) -> BuildResult:
    """Build an engine.

    Args:
        request: The options.
        progress: Told of (what runs, how much of it is done, how much there is).
        tell: Told, before anything long runs, what will be done, a sentence at a time; on the CPU of nothing.

    Raises:
        UsageError, TargetError, OutputFileError: Before anything long runs.
        InputFileError, CheckpointError: The graph, checkpoint, calibration, data or an image cannot be read.
        ArtifactMismatchError: A manifest or a calibration is of something else.
        ExportError: A layer stayed float that was to be INT8, or ONNX Runtime refuses the graph; nothing is written.
    """
    plan = plan_build(request)
    if plan.target.uses_tensorrt:
        return _with_tensorrt(dataclasses.replace(plan, tensorrt=preflight(plan, request)), request, progress, tell)
    given = given_table(request.calib, lacks=CACHE_LACKS) if request.calib is not None else None
    if plan.is_model:
        spec = registry.get(plan.source)
        refuse_without_data(request, spec.dataset, detects=spec.is_detector)
    if request.dry_run:
        return _rehearsed(plan, request, given)
    with _opened(plan, request, progress) as engine:
        source = _float_source(request, engine)
        if plan.precision == "int8":
            return _int8(plan, request, engine, source, given, progress)
        return _fp32(plan, request, engine, source)


def _with_tensorrt(
    plan: BuildPlan, request: BuildRequest, progress: Progress, tell: Callable[[str], None]
) -> BuildResult:
    assert plan.tensorrt is not None
    given = read_table(request.calib) if request.calib and plan.tensorrt.scales_from == "table" else None
    if request.dry_run:
        float_file = plan.tensorrt.scales_from in {"table", "data"} and not plan.is_model
        made = _rehearsed(plan, request, given) if float_file else _nothing_built(plan, request)
        return dataclasses.replace(made, notes=(*plan.tensorrt.warnings, *made.notes))
    for step in plan.tensorrt.steps:
        tell(step)
    with _opened(plan, request, progress) as engine:
        return build_tensorrt(plan, request, engine, given, progress)


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
    refuse_without_data(request, manifest.model.get("dataset"), detects=engine.head is not None)
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
    return _nothing_built(plan, request)


def _nothing_built(plan: BuildPlan, request: BuildRequest) -> BuildResult:
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
        progress(EXPORTING, 0, 1)
        export = ExportRequest(
            model=plan.source,
            weights=request.weights,
            code_line=request.code_line,
            target=plan.target.name,
            output=path,
            command=request.command,
            **_as_preflight_says(plan),
        )
        run_export(export, lambda *_: None)
        progress(EXPORTING, 1, 1)
        yield open_engine(str(path))


def _as_preflight_says(plan: BuildPlan) -> dict[str, Any]:
    """Options of the export that the installed TensorRT decides."""
    how = plan.tensorrt
    if how is None:
        return {}
    nms = {"nms": how.nms} if how.nms is not None else {}
    return {"opset": how.opset, "batch": "dynamic" if how.batch else "1", **nms}


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
    ranges = build_ranges(plan, request, engine, given, progress)
    quantiser = Quantiser(
        source, ranges.table, concat_scales=request.concat_scales, preprocess=asdict(engine.preprocess)
    )
    base = Choice(float_units=left, reduced_weights=request.reduce_range)
    choice, search = ranges.search(engine, quantiser, base, plan, request, progress)
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
        "calibration": with_marks(table_record(ranges.table, ranges.path), ranges.table.image_marks),
        "search": ranges.search_record(search),
    }
    fell_back = tuple(f"stayed float without being asked: {name}" for name in found.fell_back)
    return save_engine(
        plan,
        request,
        engine,
        found.model,
        found.optimised,
        precision,
        macs_int8=found.macs_int8,
        table=ranges.path,
        notes=(*ranges.notes, *fell_back, *_of_this_cpu(request)),
    )


def _of_this_cpu(request: BuildRequest) -> tuple[str, ...]:
    if request.reduce_range or read_cpu(Probes()).int8_dot_product is not False:
        return ()
    what = "this CPU has no instruction for INT8 dot products (VNNI): there sums of 8-bit weights can overflow"
    return (f"{what}, which --reduce-range avoids",)
