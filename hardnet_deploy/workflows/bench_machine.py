"""What this machine can time."""

from __future__ import annotations

import os
import shutil
from typing import Final

from hardnet_deploy.bench.engine_columns import Machine
from hardnet_deploy.errors import TargetError
from hardnet_deploy.runners.trt import sm_text, tensorrt_here
from hardnet_deploy.targets import TARGETS
from hardnet_deploy.workflows.environment import attempt

COMPILER: Final = "g++"
"""What torch.compile compiles with for the CPU where the variable CXX names nothing else."""


def read_machine() -> Machine:
    """This machine."""
    no_cuda = None if _has_cuda() else "no NVIDIA GPU that PyTorch can use"
    target, no_tensorrt = _tensorrt()
    return Machine(
        no_cuda=no_cuda,
        no_tensorrt=no_tensorrt,
        no_compiler=None if no_cuda is None else _no_compiler(),
        tensorrt_target=target,
    )


def _has_cuda() -> bool:
    import torch

    found, _ = attempt(torch.cuda.is_available)
    return bool(found)


def _tensorrt() -> tuple[str | None, str | None]:
    """The target that this machine is, or why it is none."""
    try:
        here = tensorrt_here()
    except TargetError as error:
        return None, "; ".join(filter(None, (error.what, error.got)))
    major, _, minor = here.compute_capability.partition(".")
    for target in TARGETS.values():
        if target.uses_tensorrt and target.serves((int(major), int(minor))):
            return target.name, None
    return None, f"no target serves {here.gpu} ({sm_text(here.compute_capability)})"


def _no_compiler() -> str | None:
    name = os.environ.get("CXX") or COMPILER
    return None if shutil.which(name) else f"torch.compile needs a C++ compiler, and there is no {name}"
