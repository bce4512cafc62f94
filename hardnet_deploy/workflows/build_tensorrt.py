"""An open source to a TensorRT plan on this machine: built, looked into, run once, and only then written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hardnet_deploy.artifacts import PLAN_KIND, Manifest, save_artifact, versions
from hardnet_deploy.engines.inspector import UNKNOWN, achieved_precisions, fallbacks, lower_than_asked
from hardnet_deploy.engines.tensorrt import BuiltPlan, build_plan
from hardnet_deploy.engines.timing_cache import keep_timing_cache, read_timing_cache
from hardnet_deploy.errors import ExportError, HardnetDeployError, OutputFileError, UsageError
from hardnet_deploy.files import atomic_output, sha256_bytes, write_durably
from hardnet_deploy.runners.trt import TrtRunner
from hardnet_deploy.workflows.build_options import BuildPlan, BuildRequest
from hardnet_deploy.workflows.open_engine import OpenEngine
from hardnet_deploy.workflows.plan_registry import record_plan
from hardnet_deploy.workflows.save_engine import BuildResult, manifest_of, source_record
from hardnet_deploy.workflows.seeded_inputs import seeded_pixels
from hardnet_deploy.workflows.tensorrt_graph import TensorRTGraph, tensorrt_graph

if TYPE_CHECKING:
    from calibration.table import CalibrationTable
    from hardnet_deploy.workflows.tensorrt_plan import TensorRTPlan

Progress = Callable[[str, int, int], None]
PACKAGES: Final = ("onnx", "onnxruntime-gpu", "onnxruntime", "numpy")
EXCERPT: Final = 50
NAMED: Final = 5
BUILDING: Final = "building with TensorRT"


def build_tensorrt(
    plan: BuildPlan,
    request: BuildRequest,
    engine: OpenEngine,
    given: CalibrationTable | None,
    progress: Progress,
) -> BuildResult:
    """Build a plan and write it with its manifest; the registry of plans then knows it as built here.

    Args:
        plan: What is built, past the preflight.
        request: Its options.
        engine: The source, open: a float graph, or a typed one.
        given: The table of ``--calib``; None for anything else.
        progress: Told of (what runs, how much of it is done, how much there is); the builder's own phases where
            TensorRT tells them (10 and 11).

    Raises:
        TargetError: TensorRT or the GPU cannot do it, or a locked timing cache lacks a layer.
        ExportError: The parser or builder fails, or a layer runs in FP32 that was asked for less; TensorRT's log then
            stands beside the output as ``F.build.log``, and nothing else is written.
        HardnetDeployError: See :func:`~hardnet_deploy.workflows.tensorrt_graph.tensorrt_graph`.
        OutputFileError: The engine cannot be written.
    """
    how = plan.tensorrt
    assert how is not None
    if engine.model is None:
        raise UsageError(f"{engine.label} is no ONNX file", next_step="name a model or an exported file")
    manifest_of(engine)
    made = tensorrt_graph(plan, request, engine, given, progress)
    content = made.model.SerializeToString(deterministic=True)
    log: list[str] = []
    with _log_kept(plan.output, log):
        built = _build(how, made, content, log, progress)
        kept = _keep_timing_cache(how, built)
        achieved = achieved_precisions(built.layers, list(made.requested))
        told = [*kept, *_judged(plan, how, made, achieved)]
        manifest = _manifest(plan, request, engine, made, built, achieved, sha256_bytes(content))
        _run_once(built, manifest, engine, how)
    try:
        record_plan(manifest.sha256, plan=plan.output, tensorrt=built.tensorrt, gpu=built.gpu)
    except OutputFileError as error:
        told.append(f"{error.what}: the registry of plans does not know this one, so it needs --trust")
    save_artifact(plan.output, built.content, manifest)
    total = sum(made.units.values())
    return BuildResult(
        plan=plan,
        manifest=manifest,
        size_bytes=len(built.content),
        source_bytes=len(content),
        optimised=None,
        macs_int8=sum(macs for name, macs in made.units.items() if achieved.get(name) == "int8") / max(total, 1),
        table=made.table.path if made.table else None,
        notes=tuple(
            dict.fromkeys(
                [*filter(None, (plan.chosen, engine.warning)), *how.warnings, *made.notes, *built.notes, *told]
            )
        ),
    )


def _build(how: TensorRTPlan, made: TensorRTGraph, content: bytes, log: list[str], progress: Progress) -> BuiltPlan:
    settings = {
        **made.settings,
        "workspace_bytes": how.workspace_bytes,
        "batch": list(how.batch) if how.batch else None,
        "timing_cache": read_timing_cache(how.timing_cache) if how.timing_cache else None,
        "timing_cache_locked": how.locked,
    }

    def phases(title: str, done: int, total: int) -> None:
        progress(f"TensorRT: {title}", done, max(total, done, 1))

    progress(BUILDING, 0, 1)
    built = build_plan(content, settings, progress=phases, listener=log.append)
    progress(BUILDING, 1, 1)
    return built


@contextlib.contextmanager
def _log_kept(output: Path, log: list[str]) -> Iterator[None]:
    """Where a build fails, write TensorRT's log beside the output and name it; where it does not, leave none."""
    path = output.with_name(f"{output.name}.build.log")
    try:
        yield
    except HardnetDeployError as error:
        if log:
            with contextlib.suppress(OutputFileError), atomic_output(path) as temporary:
                write_durably(temporary, ("\n".join(log) + "\n").encode("utf-8", "replace"))
                steps = [*([error.next_step] if error.next_step else []), f"TensorRT's log is in {path}"]
                error.next_step = "; ".join(steps)
        raise
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _keep_timing_cache(how: TensorRTPlan, built: BuiltPlan) -> list[str]:
    """Also of a build that is refused afterwards: what was measured stays true."""
    if how.timing_cache is None or how.locked or built.timing_cache is None:
        return []
    try:
        keep_timing_cache(how.timing_cache, built.timing_cache)
    except OutputFileError as error:
        return [f"the timing cache was not kept: {error.what}"]
    return []


def _judged(plan: BuildPlan, how: TensorRTPlan, made: TensorRTGraph, achieved: dict[str, str]) -> list[str]:
    """Refuse layers that silently stayed FP32; what the user should know of the others."""
    told = []
    fell = fallbacks(made.requested, achieved)
    if fell:
        asked = " and ".join(sorted({made.requested[name].upper() for name in fell}))
        what = f"{len(fell)} of {len(made.requested)} layers that were to be {asked} run in FP32"
        slow = "int8" not in how.precisions and plan.target.precisions[plan.precision] == "works"
        if not (how.allow_fallback or slow):
            raise ExportError(
                f"{what}; nothing was written",
                got=_named(fell),
                next_step="--allow-fallback takes the engine as it is"
                + ("; --layer-precisions NAME:fp32 asks for it" if plan.precision == "int8" else ""),
            )
        told.append(f"{what}: {_named(fell)}")
    lower = lower_than_asked(made.requested, achieved)
    if lower:
        told.append(f"the builder chose FP16 for {len(lower)} layers that may be INT8: {_named(lower)}")
    unknown = [name for name in made.requested if achieved.get(name, UNKNOWN) == UNKNOWN]
    if unknown:
        told.append(
            f"the engine inspector does not tell in what {len(unknown)} of {len(made.requested)} layers compute: "
            f"{_named(unknown)}"
        )
    return told


def _named(names: Any) -> str:
    return ", ".join(list(names)[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _manifest(
    plan: BuildPlan,
    request: BuildRequest,
    engine: OpenEngine,
    made: TensorRTGraph,
    built: BuiltPlan,
    achieved: dict[str, str],
    onnx_sha256: str,
) -> Manifest:
    old, how = manifest_of(engine), plan.tensorrt
    assert how is not None
    said = dict.fromkeys(line for line in built.log if line.startswith(("[WARNING]", "[ERROR]", "[INTERNAL_ERROR]")))
    return Manifest(
        kind=PLAN_KIND,
        model=old.model,
        weights=old.weights,
        preprocess=old.preprocess,
        class_names=old.class_names,
        head=old.head,
        target=plan.target.name,
        precision={
            "requested": plan.precision,
            "requested_by_layer": dict(made.requested),
            "achieved": achieved,
            "typed": how.typed,
            "flags": list(how.precisions),
            **made.precision,
        },
        graph={
            **old.graph,
            "nms": how.nms,
            "outputs": [value.name for value in made.model.graph.output],
            "profile": list(how.batch) if how.batch else None,
        },
        checks={
            "source": source_record(engine),
            **made.checks,
            "build": {
                "onnx_sha256": onnx_sha256,
                "seconds": round(built.seconds, 3),
                "workspace_bytes": how.workspace_bytes,
                "calibration_cache_sha256": _digest(made.settings.get("calibration_cache")),
                "notes": list(built.notes),
                "missing_ranges": list(built.missing_ranges),
                "unmatched_layers": list(built.unmatched_layers),
                "log": list(said)[:EXCERPT],
                "log_lines_left_out": max(0, len(said) - EXCERPT),
            },
        },
        sha256=sha256_bytes(built.content),
        versions={
            **versions(PACKAGES),
            "tensorrt": built.tensorrt,
            "gpu": built.gpu,
            "compute_capability": built.compute_capability,
            "cuda_layer": built.cuda_layer,
        },
        command=request.command,
    )


def _digest(content: bytes | None) -> str | None:
    return sha256_bytes(content) if content else None


def _run_once(built: BuiltPlan, manifest: Manifest, engine: OpenEngine, how: TensorRTPlan) -> None:
    """Refuse a plan that does not load or run here, or answers with values that are no numbers."""
    batch = how.batch[1] if how.batch else engine.batch or 1
    with TrtRunner(built.content, manifest={"versions": dict(manifest.versions)}) as runner:
        values = runner.infer({runner.inputs[0].name: seeded_pixels(engine.preprocess, batch)})
    broken = [name for name, value in values.items() if not np.isfinite(value).all()]
    if broken:
        raise ExportError(
            f"the engine's '{broken[0]}' holds values that are no finite numbers; nothing was written",
            next_step="build it in a higher precision",
        )
