"""What an engine build is to do: its options with every default decided, the impossible refused before it begins."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hardnet_deploy.artifacts import manifest_path
from hardnet_deploy.errors import TargetError, UsageError
from hardnet_deploy.files import refuse_unwritable
from hardnet_deploy.models import registry
from hardnet_deploy.specs import ModelSpec
from hardnet_deploy.target_spec import MIB, Precision, Target
from hardnet_deploy.targets import get_target
from hardnet_deploy.workflows.build_request import BuildRequest, refuse_idle
from hardnet_deploy.workflows.given_table import is_cache_file
from hardnet_deploy.workflows.model_layers import layers_of_model, nearest, refuse_table_of_another
from hardnet_deploy.workflows.open_engine import PLAN_SUFFIXES
from hardnet_deploy.workflows.quantise import read_table
from hardnet_deploy.workflows.tensorrt_plan import TensorRTPlan

__all__ = ["BuildPlan", "BuildRequest", "float_units", "parse_batch_range", "parse_size", "plan_build"]

PRECISIONS: Final = ("fp32", "int8")
UNITS: Final = {"K": 1 / 1024, "M": 1, "": 1, "G": 1024, "T": 1024**2}  # in MiB; trtexec's numbers without a unit are
MAX_WORKSPACE_MIB: Final = 1024**2  # 1 TiB: what is over it is a slip of the unit


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """What will be built, every default decided.

    Args:
        source: An ONNX file, or a model's name.
        is_model: True for a model's name.
        chosen: What stands in for what the user left out, in words; None where nothing was.
        target: Which device.
        precision: Of the engine; ``int8`` where both were asked for.
        output: The engine file.
        tensorrt: What the preflight decided; None for the CPU.
    """

    source: str
    is_model: bool
    chosen: str | None
    target: Target
    precision: Precision
    output: Path
    tensorrt: TensorRTPlan | None = None


def plan_build(request: BuildRequest) -> BuildPlan:
    """Decide every default and refuse what the options alone rule out.

    For a target of TensorRT ``preflight`` goes on from here.

    Raises:
        UsageError: Options that cannot be meant, or that would do nothing.
        TargetError: The target or this machine cannot do it.
        InputFileError, ArtifactMismatchError: A model's table cannot be read, or is of something else.
        OutputFileError: The engine clearly cannot be written.
    """
    target, chosen = _target(request)
    if request.int8 and request.fp16 and not target.uses_tensorrt:
        raise UsageError("--int8 and --fp16 exclude each other on the CPU", next_step="--int8 is the faster one")
    precision: Precision = "int8" if request.int8 else "fp16" if request.fp16 else "fp32"
    target.require_precision(precision, option="--")
    if precision == "fp16" and not target.uses_tensorrt:
        raise TargetError(
            target.precision_warning("fp16") or "fp16 is not faster on the CPU",
            got="--fp16",
            wanted="--int8, or fp32 without either",
            next_step="--int8 instead of --fp16; or --target jetson-nano or gpu, where fp16 is faster",
        )
    if request.int8 and request.fp16 and target.precisions["fp16"] != "fast":
        raise UsageError(
            f"--fp16 beside --int8 would gain nothing on target '{target.name}': fp16 is not faster there, so what"
            " --int8 leaves in float runs in fp32",
            next_step="drop --fp16",
        )
    refuse_idle(request, precision, target)
    if target.uses_tensorrt:
        target.require_workspace(parse_size(request.workspace))
        parse_batch_range(request.batch)
    source = request.source
    if source is None:
        source = registry.DEMO_MODEL
        chosen.insert(0, f"no model or file is named: {source}, the trained demo detector")
    is_model = source in registry.MODELS
    if not is_model and request.weights is not None:
        raise UsageError("--weights is for a model's name; a file has its weights", next_step="drop --weights")
    if not is_model and request.code_line != registry.CODE_LINES[0]:
        raise UsageError("--code-line is for a model's name; a file has it in its graph", next_step="drop --code-line")
    stem = source if is_model else Path(source).stem.removesuffix(".fp32")
    output = request.output or Path(f"{stem}.{precision}.{'engine' if target.uses_tensorrt else 'onnx'}")
    _refuse_plan_name(output, target)
    if is_model and precision == "int8":
        _refuse_foreign_int8(request, registry.get(source))
    _refuse_overwriting(request, output, () if is_model else (Path(source), manifest_path(Path(source))))
    return BuildPlan(
        source=source,
        is_model=is_model,
        chosen="; ".join(chosen) or None,
        target=target,
        precision=precision,
        output=output,
    )


def _refuse_plan_name(output: Path, target: Target) -> None:
    if not target.uses_tensorrt and output.suffix in PLAN_SUFFIXES:
        raise UsageError(
            f"-o {output} names a TensorRT plan, and target '{target.name}' is given an ONNX graph",
            wanted=f"a name such as {output.with_suffix('.onnx')}",
            next_step=f"-o {output.with_suffix('.onnx')}; or --target gtx-1080ti, jetson-nano or gpu for a plan",
        )


def _refuse_foreign_int8(request: BuildRequest, spec: ModelSpec) -> None:
    """Layers and a table that are not of the model, told before its export; the rest of a table is held against it."""
    table = None if request.calib is None or is_cache_file(request.calib) else read_table(request.calib)
    if table is None and request.layer_precisions is None:
        return
    known = layers_of_model(spec)
    float_units(request.layer_precisions, known.layers)
    if table is not None and request.calib is not None:
        refuse_table_of_another(table, request.calib, spec, known)


def _refuse_overwriting(request: BuildRequest, output: Path, sources: tuple[Path, ...]) -> None:
    """Outputs that cannot be written, or that are read; the timing cache is both."""
    read = [*filter(None, (request.weights, request.calib, *sources))]
    timings = request.timing_cache
    made = [] if timings is None else [("--timing-cache", timings, timings, read)]
    for path in (output, manifest_path(output)):
        made.append(("-o", output, path, read if timings is None else [*read, timings]))
    for option, named, written, others in made:
        refuse_unwritable(written)
        for other in others:
            if os.path.realpath(written) == os.path.realpath(other):
                raise UsageError(
                    f"{option} {named} would overwrite {other}, which it reads", next_step=f"choose another {option}"
                )


def _target(request: BuildRequest) -> tuple[Target, list[str]]:
    if request.target is not None:
        return get_target(request.target), []
    from hardnet_deploy.workflows.doctor import inspect_environment

    name = inspect_environment().default_target
    return get_target(name), [f"no --target is named: '{name}', what this machine can run"]


def parse_size(text: str | None) -> int | None:
    """Bytes from ``--workspace``: a number and K, M, G or T (powers of 1024; ``B`` and ``iB`` may follow).

    A number alone is MiB, and ``workspace:`` may stand in front of it: trtexec's ``--memPoolSize=workspace:256``.
    Source: NVIDIA/TensorRT@v8.6.1:samples/common/sampleOptions.cpp (getMemoryPoolSizes: MiB).

    Raises:
        UsageError: It is no size, another pool than the workspace, or out of range.
    """
    if text is None:
        return None
    pool, colon, rest = text.rpartition(":")
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([KMGT]?)(?:I?B)?", rest.strip().upper())
    if found is None or (colon and pool != "workspace"):
        raise UsageError(
            f"--workspace {text} is no size",
            wanted="a number with K, M, G or T, such as 256M; or as in trtexec workspace:256, in MiB",
        )
    mib = float(found.group(1)) * UNITS[found.group(2)]
    if not 1 <= mib <= MAX_WORKSPACE_MIB:
        raise UsageError(f"--workspace {text} is out of range", got=f"{mib:g} MiB", wanted="1M to 1T")
    return int(mib * MIB)


def parse_batch_range(text: str | None) -> tuple[int, int, int] | None:
    """``--batch MIN,OPT,MAX``: the batches of a graph whose batch is dynamic.

    Raises:
        UsageError: Not three numbers that ascend from 1.
    """
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) == 3 and all(part.isascii() and part.isdigit() and len(part) <= 4 for part in parts):
        low, usual, high = (int(part) for part in parts)
        if 1 <= low <= usual <= high:
            return low, usual, high
    raise UsageError(
        f"--batch {text} is no range of batches",
        wanted="MIN,OPT,MAX in ascending order, such as 1,8,16",
        next_step="leave --batch out for the fixed batch of the graph, which is 1 for a model",
    )


def float_units(text: str | None, names: Sequence[str]) -> frozenset[str]:
    """The layers that ``--layer-precisions`` leaves in float.

    Args:
        text: ``NAME:PRECISION,...`` with ``*`` for any characters and ``fp32`` or ``int8``; a later entry overrides
            an earlier one. TensorRT's spelling of ``--layerPrecisions``.
        names: Of all layers that can be INT8.

    Raises:
        UsageError: It cannot be read, names no layer, or leaves all of them in float.
    """
    found: set[str] = set()
    for entry in filter(None, (text or "").split(",")):
        pattern, colon, precision = entry.rpartition(":")
        if not colon or precision not in PRECISIONS:
            raise UsageError(
                f"--layer-precisions '{entry}' cannot be read", wanted=f"NAME:{' or NAME:'.join(PRECISIONS)}"
            )
        matched = fnmatch.filter(names, pattern)
        if not matched:
            raise UsageError(
                f"no layer is called '{pattern}'",
                wanted=f"one of {len(names)}, such as {nearest(pattern, tuple(names))}",
                next_step="name a layer, with * for any characters; the manifest of an exported graph lists all of"
                " them under 'achieved'",
            )
        found = found | set(matched) if precision == "fp32" else found - set(matched)
    if found.issuperset(names):
        raise UsageError(
            "--layer-precisions leaves every layer in float", next_step="drop --int8, or name fewer layers"
        )
    return frozenset(found)
