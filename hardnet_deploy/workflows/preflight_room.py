"""How much memory and disk a build is expected to need, and the refusal where there is less."""

from __future__ import annotations

from typing import Final

from hardnet_deploy.errors import TargetError
from hardnet_deploy.target_spec import MIB, Target, TensorRTFamily
from hardnet_deploy.workflows.environment import Gpu
from hardnet_deploy.workflows.preflight_machine import Machine, mib
from hardnet_deploy.workflows.preflight_source import FLOAT32_BYTES, Source
from hardnet_deploy.workflows.tensorrt_plan import Estimate

LIBRARIES: Final[dict[TensorRTFamily, tuple[int, int]]] = {
    # (main memory, GPU memory) that CUDA and TensorRT's own libraries take before a network is read, in MiB, as
    # builders logged it. 8.2 on a Jetson: CUDA 229 + cuBLAS 159 + cuDNN 240, in the one memory that both share.
    "8.2": (640, 0),  # https://github.com/NVIDIA/TensorRT/issues/2217
    "8.6": (1770, 740),  # https://github.com/NVIDIA/TensorRT/issues/4299
    "10": (3780, 800),  # https://github.com/ultralytics/ultralytics/issues/22735: PyTorch's 1300 are among them
    "11": (3780, 800),  # not published; taken as for 10
}
WEIGHT_COPIES: Final = 3
"""Of the network, of the engine, and of merged layers: "at least two copies of the weights in host memory" and
"additional temporary weight tensors", https://docs.nvidia.com/deeplearning/tensorrt/latest/architecture/how-trt-works.html"""
MAPS: Final = 48
"""Values of feature maps alive at once, by pixel of the input: three maps of 64 channels at half its side."""
DISK_EXTRA: Final = 64 * MIB
FORMULA: Final = (
    "main memory: libraries + 3 x weights; GPU: libraries + weights + 48 x 4 bytes x batch x input pixels + workspace;"
    " disk: 2 x weights + 64 MiB; weights as float32"
)


def estimate_build(
    source: Source, family: TensorRTFamily, *, workspace_bytes: int | None, largest_batch: int
) -> Estimate:
    """What a build is expected to need by :data:`FORMULA`; published logs and no measurement of ours stand behind it.

    Args:
        source: What is built from.
        family: The TensorRT generation.
        workspace_bytes: Limit of the workspace; None counts none, since TensorRT then makes do with what is free.
        largest_batch: Images.
    """
    host, device = (part * MIB for part in LIBRARIES[family])
    maps = MAPS * FLOAT32_BYTES * largest_batch * source.input_pixels
    return Estimate(
        host_bytes=host + WEIGHT_COPIES * source.weight_bytes,
        device_bytes=device + source.weight_bytes + maps + (workspace_bytes or 0),
        disk_bytes=2 * source.weight_bytes + DISK_EXTRA,
        formula=FORMULA,
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
    if gpu is None:
        if target.memory is not None:
            both = estimate.host_bytes if target.memory_is_shared else 0
            _refuse_less(f"the {target.device}", "memory", estimate.device_bytes + both, target.memory, smaller)
        return
    free = f"close other programs or add swap; or {smaller}"
    if target.memory_is_shared:
        both = estimate.host_bytes + estimate.device_bytes
        _refuse_less("this machine", "free memory and swap", both, machine.free_memory, free)
    else:
        _refuse_less("this machine", "free memory and swap", estimate.host_bytes, machine.free_memory, free)
        _refuse_less(gpu.name, "memory", estimate.device_bytes, gpu.memory, smaller)
    _refuse_less(
        "the output folder",
        "free disk",
        estimate.disk_bytes,
        machine.free_disk,
        "free some, or write elsewhere with -o",
    )


def _refuse_less(where: str, what: str, needed: int, there: int | None, next_step: str) -> None:
    if there is None or there >= needed:
        return
    raise TargetError(
        f"{where} has too little {what} for this build",
        got=mib(there),
        wanted=f"about {mib(needed)} (estimated: {FORMULA})",
        next_step=next_step,
    )
