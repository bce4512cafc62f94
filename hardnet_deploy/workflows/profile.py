"""``hardnet-deploy profile``: where in the network an engine spends its time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hardnet_deploy.bench.layer_times import EngineProfile, LayerTable, placed
from hardnet_deploy.bench.lints import Lint, lint_engine, lint_graph
from hardnet_deploy.bench.pictures import draw_profile
from hardnet_deploy.data.loading import usual_workers
from hardnet_deploy.errors import UsageError
from hardnet_deploy.nms.efficient import CANDIDATE_CAP
from hardnet_deploy.runners.trt import tensorrt_here
from hardnet_deploy.targets import TARGETS
from hardnet_deploy.workflows.document_files import save_csv, save_json
from hardnet_deploy.workflows.environment import Probes, read_cpu
from hardnet_deploy.workflows.layer_options import LayerRequest, refuse_too_few
from hardnet_deploy.workflows.open_engine import OpenEngine, open_engine
from hardnet_deploy.workflows.profile_import import Imported, import_profile, read_inspector, simulated_by
from hardnet_deploy.workflows.profile_inputs import RANDOM, profile_inputs
from hardnet_deploy.workflows.profile_places import placed_import
from hardnet_deploy.workflows.profile_result import ProfileResult
from hardnet_deploy.workflows.quantise import CPU_WRITING

if TYPE_CHECKING:
    import onnx

    from hardnet_deploy.bench.profile_trt import InspectedLayer

Progress = Callable[[str, int, int], None]
ITERATIONS: Final = 30
PROFILING: Final = "profiling"
HERE: Final = "measured here"


@dataclass(frozen=True, kw_only=True)
class ProfileRequest(LayerRequest):
    """The options of ``hardnet-deploy profile`` as typed; None means that the user left it to the defaults.

    Those that ``roofline`` has too are in :class:`~hardnet_deploy.workflows.layer_options.LayerRequest`.

    Args:
        engine: Artifact, ``MODEL`` or ``MODEL=CHECKPOINT``; of an import, the artifact that was profiled.
        data: ``random`` or ``demo[:SPLIT]``.
        iterations: Profiled runs.
        threads: On the CPU.
        trtexec_profile: Import this ``--exportProfile`` instead of measuring.
        layer_info: ``--exportLayerInfo`` of the same plan.
        kit: The kit that the imported profile comes from.
        classes: File with the class names of ``MODEL=CHECKPOINT``; None for the usual ones.
    """

    engine: str | None = None
    data: str | None = None
    iterations: int | None = None
    threads: int | None = None
    trtexec_profile: Path | None = None
    layer_info: Path | None = None
    kit: Path | None = None
    classes: Path | None = None


def run_profile(request: ProfileRequest, progress: Progress) -> ProfileResult:
    """Measure, or import, the time of each layer.

    Args:
        request: The options.
        progress: Told (what is done, how much is done, how much there is).

    Raises:
        UsageError: Options that do not fit.
        InputFileError: A file that cannot be read.
        ArtifactMismatchError: A manifest, kit or file of trtexec that disagrees.
        TargetError: A plan for another machine.
        OutputFileError: Somewhere that cannot be written.
    """
    request.refuse_files(request.engine, request.trtexec_profile, request.layer_info, request.classes)
    _refuse_options(request)
    result = _imported(request) if request.trtexec_profile else _measured(request, progress)
    _write(request, result)
    return result


def _refuse_options(request: ProfileRequest) -> None:
    if request.trtexec_profile is None:
        if request.engine is None:
            raise UsageError("name an engine to profile", next_step="hardnet-deploy profile ssd300-hardnet-demo")
        if request.kit is not None:
            raise UsageError("--kit is for an imported profile", next_step="add --trtexec-profile, or drop --kit")
        refuse_too_few("--iterations", request.iterations)
        refuse_too_few("--threads", request.threads)
        return
    measuring = {
        "--data": request.data,
        "--iterations": request.iterations,
        "--threads": request.threads,
        "--classes": request.classes,
    }
    given = [name for name, value in measuring.items() if value is not None]
    if given:
        raise UsageError(f"an imported profile was measured elsewhere: {', '.join(given)}", next_step="drop them")


def _measured(request: ProfileRequest, progress: Progress) -> ProfileResult:
    assert request.engine is not None
    engine = open_engine(request.engine, trust=request.trust, classes=request.classes)
    is_plan = engine.model is None and engine.network is None
    if request.layer_info is not None and not is_plan:
        engine.runner.__exit__(None, None, None)
        raise UsageError("--layer-info is of a TensorRT plan", got=engine.label, next_step="drop it")
    layers = read_inspector(request.layer_info) if request.layer_info else ()
    threads = None if is_plan else request.threads or usual_workers()
    with engine.runner:
        batches, words = profile_inputs(engine, request.data or RANDOM, progress)
        profile = _profile(engine, batches, request, threads, layers, partial(progress, PROFILING))
    table = placed(profile, detector=engine.head is not None)
    simulated = simulated_by(engine.runner.name)
    device = tensorrt_here().gpu if is_plan else None  # asked for only now: the plan has the GPU until here
    return ProfileResult(
        table=table,
        lints=_lints(engine, table, layers),
        engine=_identity(engine),
        provenance=HERE + (", simulated" if simulated else ""),
        simulated=simulated,
        conditions={
            "data": words,
            "size": engine.preprocess.size,
            "batch": len(batches[0]),
            "threads": threads,
            "processor": read_cpu(Probes()).model,
            "device": device,
            "target": None,
            "runner": engine.runner.name,
        },
        files=request.files,
        command=request.command,
    )


def _profile(
    engine: OpenEngine,
    batches: list[Any],
    request: ProfileRequest,
    threads: int | None,
    layers: Sequence[InspectedLayer],
    progress: Callable[[int, int], None],
) -> EngineProfile:
    iterations = request.iterations or ITERATIONS
    if engine.network is not None:
        from hardnet_deploy.bench.profile_torch import profile_torch
        from hardnet_deploy.runners.torch import TorchRunner

        assert isinstance(engine.runner, TorchRunner)
        return profile_torch(
            engine.network, engine.runner, batches, iterations=iterations, threads=threads, progress=progress
        )
    if engine.model is not None:
        from hardnet_deploy.bench.profile_ort import profile_ort

        target = TARGETS.get((engine.manifest.target if engine.manifest else None) or "")
        cap = (target.nms_candidate_cap if target else None) or CANDIDATE_CAP
        return profile_ort(
            engine.model, batches, iterations=iterations, candidate_cap=cap, threads=threads, progress=progress
        )
    from hardnet_deploy.bench.profile_trt import profile_plan
    from hardnet_deploy.runners.trt import TrtRunner

    assert isinstance(engine.runner, TrtRunner)
    return profile_plan(engine.runner, batches, iterations=iterations, layers=layers, progress=progress)


def _identity(engine: OpenEngine) -> dict[str, Any]:
    model = engine.manifest.model.get("name") if engine.manifest else engine.label.partition("=")[0]
    precision = engine.manifest.precision.get("requested") if engine.manifest else "fp32" if engine.network else None
    return {
        "label": engine.label,
        "sha256": engine.sha256,
        "state_sha256": engine.state_sha256,
        "model": model,
        "precision": precision,
        "trained": engine.trained,
        "warning": engine.warning,
    }


def _lints(engine: OpenEngine, table: LayerTable, layers: Sequence[InspectedLayer]) -> tuple[Lint, ...]:
    """None of a graph in uint8, which is ONNX Runtime's: TensorRT takes no such file."""
    if engine.manifest is not None and engine.manifest.precision.get("writing") == CPU_WRITING:
        return ()
    if engine.model is not None:
        return graph_lints(engine.model, engine.batch)
    if engine.network is not None or engine.manifest is None:
        return ()
    precision = engine.manifest.precision
    return lint_engine(
        table,
        layers,
        detector=engine.head is not None,
        requested=precision.get("requested_by_layer") or {},
        achieved=precision.get("achieved") or {},
    )


def graph_lints(model: onnx.ModelProto, batch: int | None) -> tuple[Lint, ...]:
    """What the graph alone tells."""
    from hardnet_deploy.bench.graph_cost import cost

    return lint_graph(model, cost(model, batch=batch or 1))


def _imported(request: ProfileRequest) -> ProfileResult:
    assert request.trtexec_profile is not None
    found: Imported = import_profile(
        request.trtexec_profile,
        layer_info=request.layer_info,
        kit=request.kit,
        engine=None if request.engine is None else Path(request.engine),
        trust=request.trust,
    )
    table = placed_import(found, request.trtexec_profile)
    requested, achieved = found.requested, found.achieved
    lints = lint_engine(table, found.layers, detector=found.detector, requested=requested, achieved=achieved)
    if found.model is not None:
        lints += graph_lints(found.model, None)
    return ProfileResult(
        table=table,
        lints=lints,
        engine=found.identity,
        provenance=found.provenance,
        simulated=found.simulated,
        conditions={"data": "not in this file; trtexec's default is random numbers", **found.conditions},
        files=request.files,
        command=request.command,
    )


def _write(request: ProfileRequest, result: ProfileResult) -> None:
    if request.output is not None:
        save_json(request.output, result.as_dict())
    if request.csv is not None:
        columns = ("name", "module", "group", "op", "ms", "percent", "calls")
        save_csv(request.csv, columns, [one.as_dict() for one in result.table.slowest()])
    if request.picture is not None:
        draw_profile(request.picture, result.table, title=result.title)
