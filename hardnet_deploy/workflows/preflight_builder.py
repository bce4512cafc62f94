"""Which TensorRT on which GPU will build, and the refusals that follow from that alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from hardnet_deploy.errors import TargetError
from hardnet_deploy.export.parser_table import PARSERS
from hardnet_deploy.nms.efficient import PLUGIN_OP
from hardnet_deploy.target_spec import Target, TensorRTFamily
from hardnet_deploy.workflows.environment import Gpu, TensorRT
from hardnet_deploy.workflows.preflight_machine import Machine, version_numbers

UNSERVED: Final = {
    # https://github.com/NVIDIA/TensorRT/issues/3826; 10.1's support matrix begins at SM 7.0
    (6, 1): "TensorRT 10 and later stop with 'Unsupported SM: 0x601'",
    # JetPack 4.6.x is the last for the board: https://developer.nvidia.com/jetpack-sdk-461; on other systems 8.5.3 was
    # the last TensorRT for Maxwell: https://github.com/NVIDIA/TensorRT/issues/3589
    (5, 3): "JetPack 4.6 is the last one for this board, and its TensorRT is 8.2",
}
TROUBLED: Final = {
    (10, 2, 0): "TensorRT 10.2.0 is known to fail when it loads its builder library, and other exporters refuse it:"
    " install another 10.x (https://github.com/ultralytics/ultralytics/pull/24367)",
}


@dataclass(frozen=True, kw_only=True)
class Builder:
    """What will build.

    Args:
        target: The target, narrowed to the installed TensorRT where there is one that serves it.
        family: The TensorRT generation; the target's oldest where none is installed.
        gpu: The GPU; None where it is not in this machine.
        tensorrt: The installed TensorRT that serves the target; None where there is none.
        warnings: What the user should know.
    """

    target: Target
    family: TensorRTFamily
    gpu: Gpu | None
    tensorrt: TensorRT | None
    warnings: tuple[str, ...]

    @property
    def has_plugin(self) -> bool:
        """False where EfficientNMS_TRT is known to be missing."""
        return self.tensorrt is None or PLUGIN_OP in self.tensorrt.plugins

    @property
    def version(self) -> str | None:
        """Of the installed TensorRT."""
        return None if self.tensorrt is None else self.tensorrt.version


def choose_builder(target: Target, machine: Machine, *, kit: Callable[[], str], building: bool) -> Builder:
    """Which TensorRT and GPU are meant.

    Args:
        target: The device and its software.
        machine: This machine.
        kit: Gives the command that makes a kit instead, for the way out.
        building: True for a real build, which needs both here; False for ``--dry-run``, which needs neither.

    Raises:
        TargetError: This machine has the wrong GPU or TensorRT; or, to build, none.
    """
    gpu, installed = machine.gpu_for(target), machine.tensorrt
    way_out = partial(_way_out, target, kit)
    if gpu is None:
        _refuse_other_gpu(target, machine)
        if building:
            _refuse_absent_gpu(target, machine, way_out)
        if installed is not None and installed.family is not None and machine.gpus:
            told = f"TensorRT {installed.version} of this machine is for its {machine.gpus[0].name}; the plan is for"
            return _elsewhere(target, f"{told} {target.runtime} on the {target.device}")
    if installed is None:
        if building:
            raise TargetError(
                "TensorRT is not installed on this machine",
                wanted=target.runtime,
                next_step=f"install it, or {way_out()}",
            )
        return _elsewhere(target)
    if installed.problem is not None or installed.family is None:
        fault = f"the installed TensorRT does not load ({installed.problem})"
        if building:
            raise TargetError(fault, wanted=target.runtime, next_step=f"install it again, or {way_out()}")
        return _elsewhere(target, fault)
    _refuse_family(target, installed, way_out)
    _refuse_too_old(target, installed)
    return Builder(
        target=_narrowed(target, installed.family),
        family=installed.family,
        gpu=gpu,
        tensorrt=installed,
        warnings=tuple(_troubles(target, installed)),
    )


def _elsewhere(target: Target, *warnings: str) -> Builder:
    return Builder(target=target, family=target.tensorrt_families[0], gpu=None, tensorrt=None, warnings=warnings)


def _narrowed(target: Target, family: TensorRTFamily) -> Target:
    """The target with the one TensorRT generation that is installed, and what its parser takes."""
    row = PARSERS[family]
    return dataclasses.replace(target, tensorrt_families=(family,), min_opset=row.min_opset, max_opset=row.max_opset)


def _way_out(target: Target, kit: Callable[[], str]) -> str:
    if target.compute_capability is None:
        return "add --dry-run to see the plan; --target cpu builds for this machine as it is"
    return f"{kit()} makes a folder that builds on the device"


def _refuse_other_gpu(target: Target, machine: Machine) -> None:
    """``gpu`` is the GPU of this machine: it must be one that the target's TensorRT serves."""
    if target.compute_capability is not None or not machine.gpus:
        return
    gpu = machine.gpus[0]
    if gpu.compute_capability is None:
        raise TargetError(
            f"the driver does not tell the compute capability of {gpu.name}", next_step="update the NVIDIA driver"
        )
    major, minor = gpu.compute_capability
    board = {(6, 1): "gtx-1080ti", (5, 3): "jetson-nano"}.get(gpu.compute_capability)
    lowest = "{}{}".format(*(target.minimum_compute_capability or ("?", "?")))
    raise TargetError(
        f"{gpu.name} (sm_{major}{minor}) is not served by {target.runtime}",
        got=UNSERVED.get(gpu.compute_capability),
        wanted=f"sm_{lowest} or newer",
        next_step=f"use --target {board}" if board else "use --target cpu",
    )


def _refuse_absent_gpu(target: Target, machine: Machine, way_out: Callable[[], str]) -> None:
    there = f"a {target.device}" if target.compute_capability else "an NVIDIA GPU"
    raise TargetError(
        f"target '{target.name}' builds on {there}, and there is none in this machine",
        got=", ".join(gpu.name for gpu in machine.gpus) or "no NVIDIA GPU",
        next_step=way_out(),
    )


def _refuse_family(target: Target, installed: TensorRT, way_out: Callable[[], str]) -> None:
    if installed.family in target.tensorrt_families:
        return
    told = f"TensorRT {installed.version} does not serve target '{target.name}'"
    if target.compute_capability is not None:
        told += " ({}, sm_{}{})".format(target.device, *target.compute_capability)
    raise TargetError(
        told,
        got=UNSERVED.get(target.compute_capability or (0, 0)),
        wanted=target.runtime,
        next_step=f"install TensorRT {target.tensorrt}, or {way_out()}",
    )


def _refuse_too_old(target: Target, installed: TensorRT) -> None:
    """JetPack 4.6 without .1 has TensorRT 8.0.1, whose EfficientNMS_TRT fails: NVIDIA/TensorRT issue 1538."""
    numbers = version_numbers(installed.version)
    if numbers is None or target.minimum_tensorrt is None or numbers >= target.minimum_tensorrt:
        return
    nano = target.name == "jetson-nano"
    raise TargetError(
        f"TensorRT {installed.version} is too old for target '{target.name}'"
        + (": its EfficientNMS_TRT fails (JetPack 4.6 without .1)" if nano else ""),
        got=f"TensorRT {installed.version}",
        wanted=target.runtime,
        next_step="install JetPack 4.6.1 or later" if nano else f"install TensorRT {target.tensorrt}",
    )


def _troubles(target: Target, installed: TensorRT) -> list[str]:
    numbers = version_numbers(installed.version)
    if numbers is None:
        return [f"the version '{installed.version}' of TensorRT cannot be read"]
    told = [TROUBLED[numbers]] if numbers in TROUBLED else []
    known = version_numbers(target.tensorrt) if len(target.tensorrt_families) == 1 else None
    if known is not None and numbers != known:
        told.append(
            f"TensorRT {installed.version} is not the version known to serve '{target.name}': {target.tensorrt}"
        )
    return told
