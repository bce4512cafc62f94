"""What TensorRT is given: the graph and the settings of its precision, checked before TensorRT sees them.

Weakly typed (8.x, and 10 for fp32 and for INT8 beside FP16): the float graph, flags, INT8 scales as a calibration cache
with dynamic ranges for what the parser renames, and layers that stay FP32. Strongly typed (10, 11): the precision
stands in the graph, as float16 or as Q/DQ, and ONNX Runtime runs it against FP32 first.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from hardnet_deploy.errors import ExportError, InputFileError, ParityError
from hardnet_deploy.target_spec import Precision
from hardnet_deploy.workflows.build_options import BuildPlan, BuildRequest, float_units
from hardnet_deploy.workflows.build_ranges import BuildRanges, Progress, build_ranges
from hardnet_deploy.workflows.calibration_faults import calibration_faults
from hardnet_deploy.workflows.float_parts import FloatParts, float_parts
from hardnet_deploy.workflows.judged_apart import with_marks
from hardnet_deploy.workflows.open_engine import OpenEngine
from hardnet_deploy.workflows.precision_search import layer_precisions
from hardnet_deploy.workflows.quantise import Quantiser, float_graph, table_record
from hardnet_deploy.workflows.tensorrt_plan import TensorRTPlan
from hardnet_deploy.workflows.tensorrt_writings import float_layers
from hardnet_deploy.workflows.verify_half import verify_half
from hardnet_deploy.workflows.verify_qdq import verify_qdq

if TYPE_CHECKING:
    import onnx

    from calibration.graph import GraphMap
    from calibration.table import CalibrationTable


@dataclass(frozen=True, kw_only=True)
class TensorRTGraph:
    """The graph and its settings.

    Args:
        model: As the parser gets it.
        settings: Of :func:`hardnet_deploy.device.run_engine.build`, those of precision.
        requested: What each node with weights is asked to compute in.
        precision: What the manifest says of it, beside what was requested and achieved.
        checks: What was verified, for the manifest.
        units: Multiply-accumulates of each layer that can be INT8; empty where that is not known.
        table: The ranges; None without.
        notes: What the user should know.
    """

    model: onnx.ModelProto
    settings: dict[str, Any]
    requested: dict[str, Precision]
    precision: dict[str, Any] = field(default_factory=dict)
    checks: dict[str, Any] = field(default_factory=dict)
    units: dict[str, int] = field(default_factory=dict)
    table: BuildRanges | None = None
    notes: tuple[str, ...] = ()


def tensorrt_graph(
    plan: BuildPlan,
    request: BuildRequest,
    engine: OpenEngine,
    given: CalibrationTable | None,
    progress: Progress,
) -> TensorRTGraph:
    """Make what TensorRT is given.

    Args:
        plan: What is built; its ``tensorrt`` says how.
        request: Its options.
        engine: The source, open.
        given: The table of ``--calib``; None for anything else.
        progress: Told of (what runs, how much of it is done, how much there is).

    Raises:
        UsageError, InputFileError, ArtifactMismatchError: The calibration or the data do not fit the source.
        ExportError: The graph cannot be typed as fp16, or the target's parser would not take the Q/DQ graph.
        ParityError: The fp16-typed or Q/DQ graph does not compute what the float graph computes.
        AccuracyBudgetError: See ``--max-drop``.
    """
    how = plan.tensorrt
    assert how is not None
    assert engine.model is not None
    if how.scales_from in {"table", "data"}:
        return _from_ranges(plan, how, request, engine, given, progress)
    if how.scales_from == "cache":
        return _from_cache(how, request, engine.model)
    if how.half_graph:
        return _typed_as_half(how, engine, progress)
    return _as_it_is(how, engine.model)


def _as_it_is(how: TensorRTPlan, model: onnx.ModelProto) -> TensorRTGraph:
    """FP32, FP16 by its flag, or a graph whose types say it all."""
    from hardnet_deploy.engines.requested import requested_precisions

    kept = _islands(how, model)
    return TensorRTGraph(
        model=model,
        settings=_settings(how, kept),
        requested=requested_precisions(model, flags=_flags(how), fp32_layers=kept.fp32_layers),
        precision=dict(kept.settings()),
    )


def _typed_as_half(how: TensorRTPlan, engine: OpenEngine, progress: Progress) -> TensorRTGraph:
    from hardnet_deploy.engines.requested import requested_precisions
    from hardnet_deploy.export.half import to_half

    assert engine.model is not None
    progress("typing the graph as fp16 and checking it", 0, 1)
    half = to_half(engine.model)
    verification = verify_half(engine.model, half.model, engine.preprocess, batch=engine.batch)
    if not verification.ok:
        raise ParityError(
            f"the fp16-typed graph of {engine.label} does not compute what its float32 graph computes; nothing was "
            "built",
            got="; ".join(verification.failures()),
            next_step="build in fp32, or --int8",
        )
    progress("typing the graph as fp16 and checking it", 1, 1)
    return TensorRTGraph(
        model=half.model,
        settings=_settings(how, FloatParts()),
        requested=requested_precisions(half.model),
        precision={"casts": half.casts, "fp32_layers": list(half.fp32_nodes)},
        checks={"half": verification.as_dict()},
    )


def _from_cache(how: TensorRTPlan, request: BuildRequest, model: onnx.ModelProto) -> TensorRTGraph:
    """INT8 by the user's own calibration cache."""
    from calibration.graph import GraphMap
    from calibration.trt_cache import read_cache

    assert request.calib is not None
    try:
        content = request.calib.read_bytes()
    except OSError as error:
        raise InputFileError(f"the calibration cache {request.calib} cannot be read", got=error.strerror) from error
    with calibration_faults():
        cache = read_cache(content.decode("utf-8", "replace"), source=str(request.calib))
        graph = GraphMap(model)
    inputs = {value.name for value in model.graph.input}
    usual = [f"{unit.name}:fp32" for unit in graph.units if unit.source in inputs]
    asked = [request.layer_precisions] if request.layer_precisions else []
    left = float_units(",".join([*usual, *asked]), [unit.name for unit in graph.units])
    about = {"calibration": {"file": request.calib.name, "header": str(cache.header), "tensors": len(cache.scales)}}
    return _weak_int8(how, model, graph, left, content, {}, cache.scales, about)


def _from_ranges(
    plan: BuildPlan,
    how: TensorRTPlan,
    request: BuildRequest,
    engine: OpenEngine,
    given: CalibrationTable | None,
    progress: Progress,
) -> TensorRTGraph:
    """INT8 by measured ranges, in the form that this TensorRT takes."""
    from dataclasses import replace

    from calibration.graph import GraphMap
    from calibration.qdq import Choice
    from calibration.trt_cache import CacheHeader, dynamic_ranges, write_cache

    source = float_graph(engine)
    with calibration_faults():  # before anything is measured
        float_units(request.layer_precisions, [unit.name for unit in GraphMap(source.model).units])
    ranges = build_ranges(plan, request, engine, given, progress)
    quantiser = Quantiser(
        source, ranges.table, concat_scales=request.concat_scales, preprocess=asdict(engine.preprocess)
    )
    left = float_layers(quantiser, request.layer_precisions)
    choice, search = ranges.search(engine, quantiser, Choice(float_units=left), plan, request, progress)
    about = {
        "asked_to_stay_float": sorted(left),
        "float_by_search": sorted(choice.float_units - left),
        "layer_precisions": layer_precisions(tuple(sorted(choice.float_units))),
        "concat_scales": request.concat_scales,
        "calibration": with_marks(table_record(ranges.table, ranges.path), ranges.table.image_marks),
        "search": ranges.search_record(search),
    }
    if how.calibration == "qdq":
        made = _with_qdq(plan, how, engine, quantiser, choice, about, progress)
    else:
        assert how.cache_header is not None
        _, version, algorithm = how.cache_header.split("-")
        scales = quantiser.ranges.scales()
        with calibration_faults():
            cache = write_cache(scales, CacheHeader(int(version), algorithm)).encode()
        bounds = {name: list(pair) for name, pair in dynamic_ranges(scales).items()}
        assert engine.model is not None
        made = _weak_int8(how, engine.model, quantiser.graph, choice.float_units, cache, bounds, scales, about)
    return replace(made, table=ranges, notes=ranges.notes)


def _weak_int8(
    how: TensorRTPlan,
    model: onnx.ModelProto,
    graph: GraphMap,
    left: frozenset[str],
    cache: bytes,
    bounds: dict[str, list[float]],
    scales: Any,
    about: dict[str, Any],
) -> TensorRTGraph:
    """The float graph with scales beside it; from the heads' outputs on everything stays FP32."""
    from hardnet_deploy.engines.requested import requested_precisions

    kept = float_parts(model, "int8", graph=graph, left=left)
    settings = _settings(how, kept) | {"calibration_cache": cache, "dynamic_ranges": bounds or None}
    return TensorRTGraph(
        model=model,
        settings=settings,
        requested=requested_precisions(model, flags=_flags(how), fp32_layers=kept.fp32_layers, scaled=scales),
        precision={"writing": "cache+ranges", **kept.settings(), **about},
        units={unit.name: unit.macs for unit in graph.units},
    )


def _with_qdq(
    plan: BuildPlan,
    how: TensorRTPlan,
    engine: OpenEngine,
    quantiser: Quantiser,
    choice: Any,
    about: dict[str, Any],
    progress: Progress,
) -> TensorRTGraph:
    """Symmetric int8 in the graph itself; the NMS goes behind it last."""
    from hardnet_deploy.engines.requested import requested_precisions
    from hardnet_deploy.export.graph_checks import check_graph
    from hardnet_deploy.export.nms_exchange import with_nms

    source = quantiser.source
    model = quantiser.write(choice, writing="int8")
    progress("checking the Q/DQ graph", 0, 1)
    verification = verify_qdq(source.model, model, engine.preprocess, batch=engine.batch)
    if not verification.ok:
        raise ParityError(
            f"the Q/DQ graph of {engine.label} does not compute usable numbers; nothing was built",
            got="; ".join(verification.failures()),
            next_step="calibrate again, on images like those that the engine will see",
        )
    progress("checking the Q/DQ graph", 1, 1)
    if source.nms is not None and source.head is not None and how.nms is not None:
        model = with_nms(model, how.nms, source.head, source.nms)
    report = check_graph(model, plan.target)
    if not report.accepted:
        raise ExportError(
            f"TensorRT would not take the Q/DQ graph of {engine.label}; nothing was built",
            got="; ".join(f"{finding.node}: {finding.message}" for finding in report.errors[:5]),
        )
    kept = _islands(how, model)
    return TensorRTGraph(
        model=model,
        settings=_settings(how, kept),
        requested=requested_precisions(model, flags=_flags(how), fp32_layers=kept.fp32_layers),
        precision={"writing": "int8", **kept.settings(), **about},
        checks={"qdq": verification.as_dict()},
        units={unit.name: unit.macs for unit in quantiser.graph.units},
    )


def _islands(how: TensorRTPlan, model: onnx.ModelProto) -> FloatParts:
    return float_parts(model, _named(how)) if how.fp32_islands else FloatParts()


def _flags(how: TensorRTPlan) -> tuple[Precision, ...]:
    return () if how.typed else how.precisions


def _named(how: TensorRTPlan) -> Precision:
    return "int8" if "int8" in how.precisions else "fp16" if how.precisions else "fp32"


def _settings(how: TensorRTPlan, kept: FloatParts) -> dict[str, Any]:
    return {"precision": _named(how), "typed": how.typed, **kept.settings()}
