"""How much memory and disk a build is expected to need, and the refusal where there is less."""

from __future__ import annotations

from hardnet_deploy.engines.build_room import FORMULA, BuildRoom
from hardnet_deploy.errors import TargetError
from hardnet_deploy.target_spec import Target, TensorRTFamily
from hardnet_deploy.workflows.environment import Gpu
from hardnet_deploy.workflows.preflight_machine import Machine, mib
from hardnet_deploy.workflows.preflight_source import Source
from hardnet_deploy.workflows.tensorrt_plan import Estimate


def estimate_build(
    source: Source, target: Target, family: TensorRTFamily, *, workspace_bytes: int | None, largest_batch: int
) -> Estimate:
    """What a build is expected to need, by the formula of ``engines.build_room``.

    Args:
        source: What is built from.
        target: Whether CPU and GPU share their memory.
        family: The TensorRT generation.
        workspace_bytes: Limit of the workspace; None where there is none.
        largest_batch: Images.
    """
    room = BuildRoom(
        family=family,
        weights=source.weight_bytes,
        pixels=largest_batch * source.input_pixels,
        workspace=workspace_bytes,
    )
    shared = target.memory_is_shared
    return Estimate(
        host_bytes=room.host_bytes + (room.device_bytes if shared else 0),
        device_bytes=None if shared else room.device_bytes,
        disk_bytes=room.disk_bytes,
        formula=f"{FORMULA}; main memory and GPU are one here" if shared else FORMULA,
    )


def check_room(estimate: Estimate, target: Target, machine: Machine, gpu: Gpu | None) -> None:
    """Refuse a build that memory or disk will not hold.

    Args:
        estimate: What it needs.
        target: For the memory of a named board that is not here.
        machine: For what is free, where the GPU is here.
        gpu: The GPU that builds; None where it is not in this machine.

    Raises:
        TargetError: There is less than the estimate.
    """
    smaller = "use a smaller --workspace, or a smaller model or batch"
    formula = estimate.formula
    if gpu is None:
        if target.memory is not None:
            needed = estimate.host_bytes if estimate.device_bytes is None else estimate.device_bytes
            _refuse_less(f"the {target.device}", "memory", needed, target.memory, smaller, formula)
        return
    free = f"close other programs or add swap; or {smaller}"
    _refuse_less("this machine", "free memory and swap", estimate.host_bytes, machine.free_memory, free, formula)
    if estimate.device_bytes is not None:
        _refuse_less(gpu.name, "memory", estimate.device_bytes, gpu.memory, smaller, formula)
    _refuse_less(
        "the output folder",
        "free disk",
        estimate.disk_bytes,
        machine.free_disk,
        "free some, or write elsewhere with -o",
        formula,
    )


def _refuse_less(where: str, what: str, needed: int, there: int | None, next_step: str, formula: str) -> None:
    if there is None or there >= needed:
        return
    raise TargetError(
        f"{where} has too little {what} for this build",
        got=mib(there),
        wanted=f"about {mib(needed)} (estimated: {formula})",
        next_step=next_step,
    )
