"""What a source and its options cannot be built into with the TensorRT at hand, each refused with the way out."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hardnet_deploy.errors import ArtifactMismatchError, TargetError, UsageError
from hardnet_deploy.export.parser_table import WEAKLY_TYPED
from hardnet_deploy.nms.efficient import PLUGIN_OP
from hardnet_deploy.target_spec import DEFAULT_OPSET
from hardnet_deploy.workflows.build_options import BuildPlan, float_units, parse_batch_range
from hardnet_deploy.workflows.build_request import BuildRequest, refuse_beside_scales, refuse_without_data
from hardnet_deploy.workflows.calibration_faults import calibration_faults
from hardnet_deploy.workflows.next_commands import export_command
from hardnet_deploy.workflows.preflight_builder import Builder
from hardnet_deploy.workflows.preflight_machine import version_numbers
from hardnet_deploy.workflows.preflight_source import Source
from hardnet_deploy.workflows.tensorrt_plan import ScalesFrom

if TYPE_CHECKING:
    from calibration.trt_cache import CacheHeader

SHOWN: Final = 3
DEPRECATED_PLUGIN: Final = "; it is deprecated since 10.12 (NVIDIA/TensorRT@v11.1:plugin/README.md)"
ALGORITHM: Final = "EntropyCalibration2"


def check_precisions(request: BuildRequest, builder: Builder) -> None:
    """``--int8 --fp16`` together: flags of TensorRT 10's weak typing.

    Raises:
        TargetError: TensorRT 11, which has no flags: its precision stands in the graph
            (https://docs.nvidia.com/deeplearning/tensorrt/11.4.1/api/migration/tensorrt-10x-to-11x-python-api-reference.html).
    """
    if not (request.int8 and request.fp16):
        return
    if builder.family == "11":
        raise TargetError(
            "--int8 and --fp16 are flags to combine in TensorRT 10 alone: TensorRT 11 takes every type from the graph",
            got=f"TensorRT {builder.version}",
            next_step="--int8 alone: what it leaves in float runs in fp32; or build with TensorRT 10",
        )


def check_source(source: Source, plan: BuildPlan, request: BuildRequest, builder: Builder) -> tuple[str, ...]:
    """Refuse a graph that the target's TensorRT does not take.

    Returns:
        What is accepted with a warning.

    Raises:
        TargetError: Q/DQ without INT8 hardware; fp16-typed for a TensorRT with flags; opset, batch or NMS that the
            target does not take; EfficientNMS_TRT missing; a node that its parser refuses.
        UsageError: A graph of another precision than was asked for, or a batch it does not have.
    """
    target = builder.target
    if source.has_qdq:
        _check_qdq(source, plan, request, builder)
    elif source.is_half and plan.precision != "fp16":
        raise UsageError(f"{source.label} is fp16-typed already", got=plan.precision, next_step="add --fp16")
    if source.is_half and builder.family in WEAKLY_TYPED:
        raise TargetError(
            f"{source.label} is fp16-typed, and {target.runtime} takes fp16 as a flag of the build",
            next_step=f"{export_command(plan, request)}, without --precision fp16, then build from it with --fp16",
        )
    again = f"{export_command(plan, request, '--opset', str(DEFAULT_OPSET))}, then build from it"
    target.require_opset(source.opset, way_out=again)
    _check_batch(source, plan, request, builder)
    if source.nms is not None:
        other = f"{export_command(plan, request, '--nms', target.nms_kinds[0])}, then build from it"
        target.require_nms(source.nms, way_out=other)
    if source.nms == "efficient" and not builder.has_plugin:
        raise TargetError(
            f"TensorRT {builder.version} has no plugin {PLUGIN_OP}, with which {source.label} ends",
            got="the registry of its plugins has none of that name"
            + ("" if builder.family in WEAKLY_TYPED else DEPRECATED_PLUGIN),
            next_step=f"{export_command(plan, request, '--nms', 'onnx')}, then build from it"
            if "onnx" in target.nms_kinds
            else "install the plugin library of the same TensorRT version (JetPack 4.6.1 has it)",
        )
    report = source.check(target)
    if report is None:
        return ()
    if not report.accepted:
        told = [f"{finding.node or 'the graph'}: {finding.message}" for finding in report.errors]
        more = f" (and {len(told) - SHOWN} more)" if len(told) > SHOWN else ""
        raise TargetError(
            f"{target.runtime} would not take {source.label}",
            got="; ".join(told[:SHOWN]) + more,
            next_step=f"export it for this device: {export_command(plan, request)}",
        )
    return tuple(dict.fromkeys(finding.message for finding in report.warnings))


def _check_qdq(source: Source, plan: BuildPlan, request: BuildRequest, builder: Builder) -> None:
    """A network with Q/DQ does not build without INT8 hardware: https://github.com/NVIDIA/TensorRT/issues/3157."""
    target = builder.target
    if target.precisions["int8"] == "refused":
        raise TargetError(
            f"{source.label} has QuantizeLinear and DequantizeLinear, which do not build on target '{target.name}':"
            " it has no hardware for int8",
            wanted="the float graph",
            next_step=f"{export_command(plan, request)}, then build from it with --fp16",
        )
    if plan.precision != "int8":
        raise UsageError(f"{source.label} is INT8 already (Q/DQ)", got=plan.precision, next_step="add --int8")


def _check_batch(source: Source, plan: BuildPlan, request: BuildRequest, builder: Builder) -> None:
    fixed = f"{export_command(plan, request, '--batch', '1')}, then build from it without --batch"
    builder.target.require_batch(
        source.batch, way_out="leave --batch out: a model is exported with batch 1" if plan.is_model else fixed
    )
    asked = parse_batch_range(request.batch)
    if source.batch is None and asked is None:
        raise UsageError(
            f"{source.label} has a dynamic batch, and TensorRT builds for a range of batches",
            wanted="--batch MIN,OPT,MAX",
            next_step="add --batch 1,8,16, with the batches you will run",
        )
    if source.batch is not None and asked is not None:
        raise UsageError(
            f"{source.label} has the fixed batch {source.batch}, so --batch would do nothing",
            next_step=f"drop --batch; or {export_command(plan, request, '--batch', 'dynamic')}, and build from it",
        )


def check_scales(
    source: Source, plan: BuildPlan, request: BuildRequest, builder: Builder, *, typed: bool
) -> ScalesFrom | None:
    """Where the INT8 scales come from; None without INT8.

    Raises:
        UsageError: Nothing to take them from, two sources at once, or a layer beside a cache that the graph lacks.
        TargetError: A calibration cache, for a TensorRT or a typing that takes none.
        ArtifactMismatchError: A calibration cache of another TensorRT.
        InputFileError: A cache that cannot be read.
    """
    if plan.precision != "int8":
        return None
    if source.has_qdq:
        refuse_beside_scales(request, source.label)
        given = {"--calib": request.calib, "--layer-precisions": request.layer_precisions}
        idle = [name for name, value in given.items() if value is not None]
        if idle:
            raise UsageError(
                f"{source.label} has its scales and layers in Q/DQ, so {' and '.join(idle)} would do nothing",
                next_step="drop them, or give the float graph",
            )
        return "graph"
    refuse_without_data(request, source.dataset, detects=source.detects)
    if request.calib is None:
        return "data"
    header = _header(request)
    if header is None:
        return "table"
    refuse_beside_scales(request, str(request.calib))
    if typed:
        newest = builder.family == "11"
        raise TargetError(
            f"{request.calib} is a calibration cache, and this build takes INT8 scales from the graph (Q/DQ)",
            got="TensorRT 11 has no calibrators" if newest else "strongly typed; the cache is deprecated since 10.1",
            wanted="the table F.calib.json, from which the Q/DQ is written",
            next_step="hardnet-deploy calibrate writes the table"
            + ("" if newest else "; or --int8 --fp16, which is weakly typed and takes the cache"),
        )
    wanted = cache_header(builder)
    if wanted is not None and str(header) != wanted:
        raise ArtifactMismatchError(
            f"{request.calib} is the calibration cache of another TensorRT, which would ignore it",
            got=str(header),
            wanted=wanted,
            next_step=f"hardnet-deploy calibrate --cache F --tensorrt {builder.version or builder.target.tensorrt}",
        )
    if source.model is not None and request.layer_precisions is not None:
        from calibration.graph import GraphMap

        with calibration_faults():
            float_units(request.layer_precisions, [unit.name for unit in GraphMap(source.model).units])
    return "cache"


def _header(request: BuildRequest) -> CacheHeader | None:
    """The header of a TensorRT calibration cache; None for anything else."""
    from calibration.trt_cache import is_cache, read_cache

    text = ""
    with contextlib.suppress(OSError):  # the reader of tables says it better
        text = request.calib.read_bytes().decode("utf-8", "replace") if request.calib else ""
    if not is_cache(text):
        return None
    with calibration_faults():
        return read_cache(text, source=str(request.calib)).header


def cache_header(builder: Builder) -> str | None:
    """First line of the calibration cache that the TensorRT takes; None where it is not known which one will build."""
    from calibration.trt_cache import header_for

    single = len(builder.target.tensorrt_families) == 1
    numbers = version_numbers(builder.version or (builder.target.tensorrt if single else None))
    if numbers is None or builder.family == "11":
        return None
    with calibration_faults():
        return str(header_for(*numbers, ALGORITHM))


def check_timing_cache(path: Path | None, builder: Builder, *, locked: bool) -> None:
    """``--locked`` needs a timing cache, and a TensorRT that has ``BuilderFlag.ERROR_ON_TIMING_CACHE_MISS``.

    Args:
        path: The timing cache; None where none was named and the GPU that builds is not here.
        builder: What builds.
        locked: Whether a layer that the cache does not know fails the build.

    Raises:
        TargetError: TensorRT 8.x, whose bindings have no such flag (8.2.1, 8.6.1).
        UsageError: There is nothing to be locked to.
    """
    if not locked:
        return
    if builder.family in WEAKLY_TYPED:
        raise TargetError(
            f"{builder.target.runtime} cannot refuse a timing cache miss, so --locked cannot be kept",
            wanted="TensorRT 10 or 11",
            next_step="drop --locked",
        )
    if path is None or not path.is_file():
        raise UsageError(
            "--locked fails on every layer that the timing cache does not know, and there is no timing cache",
            got=None if path is None else f"no file {path}",
            wanted="--timing-cache with a file that an earlier build wrote",
            next_step="build once without --locked",
        )
