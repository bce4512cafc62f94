"""Machines to plan builds for, values only: nothing of this machine is read. And plans of the small detector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hardnet_deploy.errors import HardnetDeployError
from hardnet_deploy.target_spec import TensorRTFamily
from hardnet_deploy.workflows.build_options import BuildRequest, plan_build
from hardnet_deploy.workflows.environment import Gpu, TensorRT
from hardnet_deploy.workflows.preflight import preflight
from hardnet_deploy.workflows.preflight_machine import Machine
from hardnet_deploy.workflows.tensorrt_plan import TensorRTPlan

GIB = 1024**3
PLUGIN = "EfficientNMS_TRT"


def gpu(name: str, capability: tuple[int, int] | None, memory: int = 16 * GIB) -> Gpu:
    """A GPU."""
    return Gpu(name=name, driver="570", compute_capability=capability, memory=memory)


def tensorrt(version: str, family: TensorRTFamily | None, *, plugins: tuple[str, ...] = (PLUGIN,)) -> TensorRT:
    """An installed TensorRT; without a family a broken one."""
    return TensorRT(
        version=version, family=family, plugins=plugins, problem=None if family else "OSError: no such file"
    )


def machine(
    *gpus: Gpu, trt: TensorRT | None = None, memory: int | None = 32 * GIB, disk: int | None = 32 * GIB
) -> Machine:
    """A machine with room, unless told otherwise."""
    return Machine(gpus=gpus, tensorrt=trt, free_memory=memory, free_disk=disk)


PASCAL_GPU = gpu("NVIDIA GeForce GTX 1080 Ti", (6, 1), 11 * GIB)
NANO_GPU = gpu("NVIDIA Tegra X1", (5, 3), 4 * GIB)
ADA_GPU = gpu("NVIDIA RTX 4090", (8, 9), 24 * GIB)
BARE = machine()
PASCAL_MACHINE = machine(PASCAL_GPU, trt=tensorrt("8.6.1", "8.6"))
NANO_MACHINE = machine(NANO_GPU, trt=tensorrt("8.2.1.8", "8.2"), memory=6 * GIB)
TEN_MACHINE = machine(ADA_GPU, trt=tensorrt("10.9.0.34", "10"))
ELEVEN_MACHINE = machine(ADA_GPU, trt=tensorrt("11.4.0.106", "11"))


def planned(here: Machine = BARE, **options: Any) -> TensorRTPlan:
    """Of the small detector, as a dry run, with INT8 on images of the demo; unless told otherwise."""
    settings: dict[str, Any] = {"source": "float.onnx", "dry_run": True} | options
    if settings.get("int8") and "calib" not in settings:
        settings.setdefault("data", "demo")
    request = BuildRequest(**settings)
    return preflight(plan_build(request), request, here)


def refused(kind: type[HardnetDeployError], message: str, here: Machine = BARE, **options: Any) -> HardnetDeployError:
    """The error of a plan; the folder stays as it was."""
    before = sorted(Path().iterdir())
    with pytest.raises(kind, match=message) as caught:
        planned(here, **options)
    assert sorted(Path().iterdir()) == before
    return caught.value
