"""Before a TensorRT build: everything decided and said, and the impossible refused before anything long runs.

Nothing here needs a GPU or TensorRT. A dry run plans for the target's own TensorRT where neither is in this machine;
a real build needs both, and is refused with the way out where one is missing. The order: what builds
(``preflight_builder``), what from (``preflight_source``), what the two do not go together in (``preflight_checks``),
whether there is room (``preflight_room``).

Typing. TensorRT 8.x has flags alone, 11 typed graphs alone. For 10, which has both, fp16 and int8 are built strongly
typed: the fp16-typed or Q/DQ graph is verified in ONNX Runtime before TensorRT sees it, the same graph builds with 11,
and flags and calibrators are deprecated there (weak typing since 10.12:
https://docs.nvidia.com/deeplearning/tensorrt/latest/getting-started/release-notes-10/10.12.0.html, calibrators since
10.1: https://docs.nvidia.com/deeplearning/tensorrt/latest/_static/c-api/deprecated.html). The exception is
``--int8 --fp16``, which lets the builder choose between the two by layer: that only flags can say.
"""

from __future__ import annotations

import dataclasses
import re
from functools import partial
from pathlib import Path
from typing import Final

from hardnet_deploy.artifacts import manifest_path
from hardnet_deploy.cache import cache_folder
from hardnet_deploy.errors import UsageError
from hardnet_deploy.export.parser_table import WEAKLY_TYPED
from hardnet_deploy.files import refuse_unwritable
from hardnet_deploy.target_spec import Precision
from hardnet_deploy.workflows.build_options import BuildPlan, parse_batch_range, parse_size
from hardnet_deploy.workflows.build_request import BuildRequest
from hardnet_deploy.workflows.next_commands import kit_command
from hardnet_deploy.workflows.preflight_builder import Builder, choose_builder
from hardnet_deploy.workflows.preflight_checks import (
    cache_header,
    check_precisions,
    check_scales,
    check_source,
    check_timing_cache,
)
from hardnet_deploy.workflows.preflight_machine import Machine, read_machine
from hardnet_deploy.workflows.preflight_room import check_room, estimate_build
from hardnet_deploy.workflows.preflight_source import Source, read_source
from hardnet_deploy.workflows.preflight_steps import describe
from hardnet_deploy.workflows.tensorrt_plan import TensorRTPlan

TIMING_FOLDER: Final = "timing"
GRAPH_SUFFIX: Final = ".onnx"
WEAK_TEN: Final = (
    "--int8 with --fp16 uses the flags and the calibration cache of TensorRT 10, deprecated since 10.12 and 10.1;"
    " TensorRT 11 has neither"
)


def preflight(plan: BuildPlan, request: BuildRequest, machine: Machine | None = None) -> TensorRTPlan:
    """Decide how TensorRT builds ``plan``, and refuse what cannot be.

    Args:
        plan: What :func:`~hardnet_deploy.workflows.build_options.plan_build` decided, for a target of TensorRT.
        request: The options as typed; with ``dry_run`` neither a GPU nor TensorRT need be here.
        machine: This machine; None reads the real one.

    Raises:
        TargetError: The target or this machine cannot do it; the message has the way out.
        UsageError: Options that do not go together with the source; an output named as an ONNX graph.
        OutputFileError: An output clearly cannot be written.
        InputFileError, ArtifactMismatchError: The source or the calibration cannot be read, or is of something else.
    """
    _refuse_graph_name(plan)
    machine = machine or read_machine(plan.output.parent)
    builder = choose_builder(
        plan.target, machine, kit=partial(kit_command, plan, request), building=not request.dry_run
    )
    check_precisions(request, builder)
    source = read_source(plan, request, has_plugin=builder.has_plugin)
    warnings = [*builder.warnings, *([source.warning] if source.warning else ())]
    warnings += check_source(source, plan, request, builder)
    mixed = request.int8 and request.fp16
    typed = builder.family == "11" or (builder.family not in WEAKLY_TYPED and plan.precision != "fp32" and not mixed)
    scales_from = check_scales(source, plan, request, builder, typed=typed)
    timing_cache = request.timing_cache or _timing_cache(builder)
    check_timing_cache(timing_cache, builder, locked=request.locked)
    batch = parse_batch_range(request.batch)
    workspace = parse_size(request.workspace) or plan.target.max_workspace
    largest = batch[2] if batch else source.batch or 1
    estimate = estimate_build(source, plan.target, builder.family, workspace_bytes=workspace, largest_batch=largest)
    check_room(estimate, plan.target, machine, builder.gpu)
    as_qdq = typed or source.has_qdq
    outputs = [plan.output, manifest_path(plan.output)]
    outputs += [plan.output.with_suffix(".calib.json")] if scales_from == "data" else []
    for output in outputs:
        refuse_unwritable(output)
    decided = TensorRTPlan(
        family=builder.family,
        tensorrt=builder.version,
        gpu=None if builder.gpu is None else builder.gpu.name,
        compute_capability=plan.target.compute_capability if builder.gpu is None else builder.gpu.compute_capability,
        precisions=_precisions(request),
        typed=typed,
        half_graph=typed and plan.precision == "fp16" and not source.is_half,
        fp32_islands=not typed and plan.precision != "fp32",
        calibration=None if scales_from is None else "qdq" if as_qdq else "cache+ranges",
        islands=source.islands if plan.precision != "fp32" else (),
        scales_from=scales_from,
        cache_header=None if scales_from is None or as_qdq else cache_header(builder),
        opset=source.opset,
        nms=source.nms,
        batch=batch,
        workspace_bytes=workspace,
        timing_cache=timing_cache,
        locked=request.locked,
        allow_fallback=request.allow_fallback,
        outputs=tuple(outputs),
        steps=(),
        warnings=(*warnings, *_more_warnings(plan, source, builder, mixed=mixed)),
        estimate=estimate,
    )
    return dataclasses.replace(decided, steps=tuple(describe(plan, request, source, builder, decided)))


def _refuse_graph_name(plan: BuildPlan) -> None:
    if plan.output.suffix == GRAPH_SUFFIX:
        raise UsageError(
            f"-o {plan.output} names an ONNX graph, and target '{plan.target.name}' is given a TensorRT plan",
            wanted=f"a name such as {plan.output.with_suffix('.engine')}",
            next_step=f"-o {plan.output.with_suffix('.engine')}; or --target cpu, whose engines are ONNX graphs",
        )


def _precisions(request: BuildRequest) -> tuple[Precision, ...]:
    asked: list[Precision] = []
    if request.int8:
        asked.append("int8")
    if request.fp16:
        asked.append("fp16")
    return tuple(asked)


def _more_warnings(plan: BuildPlan, source: Source, builder: Builder, *, mixed: bool) -> list[str]:
    slow = plan.target.precision_warning(plan.precision)
    told = [slow] if slow else []
    if mixed:
        told.append(WEAK_TEN)
    if plan.is_model and source.nms == "onnx" and plan.target.default_nms != "onnx":
        told.append(f"TensorRT {builder.version} has no EfficientNMS_TRT: the export ends in ONNX NonMaxSuppression")
    return told


def _timing_cache(builder: Builder) -> Path | None:
    """One file for each TensorRT version, GPU and sm: a timing cache is of no use to any other.

    Source: https://docs.nvidia.com/deeplearning/tensorrt/latest/_static/python-api/infer/Core/TimingCache.html
    """
    gpu = builder.gpu
    if gpu is None or gpu.compute_capability is None or builder.version is None:
        return None
    name = "{}-{}-sm_{}{}.timing".format(builder.version, gpu.name, *gpu.compute_capability)
    return cache_folder() / TIMING_FOLDER / re.sub(r"[^A-Za-z0-9._+-]+", "-", name)
