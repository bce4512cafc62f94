"""How much memory a side will want, before it is loaded, and how much there is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hardnet_deploy.bench.sides import BF16, COMPILE, CUDA_GRAPH, FP16, FUSED, Side

Available = Callable[[], "int | None"]
"""Bytes; None where unknown."""
MIB: Final = 2**20
PROCESS_BYTES: Final = {"torch": 500 * MIB, "onnxruntime": 250 * MIB, "tensorrt": 700 * MIB}
"""Python and the engine's libraries, resident."""
PIXEL_BYTES: Final = 800
"""Of activations and work space for each input pixel: VGG-16's first two maps of 64 float32 channels and a third."""
COPIES: Final = 2
"""Of a torch network's weights, while they are drawn or read."""
FOLDING_COPIES: Final = 3
ARTIFACT_COPIES: Final = 4
"""Of a file: its bytes, the graph read from them, the graph written for the engine, the engine's own weights."""
RESERVE_BYTES: Final = 1024 * MIB
"""Left to everything else on the machine."""
CONTEXT_BYTES: Final = 500 * MIB
"""Of a CUDA context, for each process. An allowance, not measured by us: pytorch/pytorch issue 107667 tells of 300 MB
since CUDA 11.7, which loads kernels when they are needed (over 1000 before), and cuDNN and cuBLAS bring theirs."""
WORKSPACE_BYTES: Final = 512 * MIB
"""Of the convolution algorithms that cuDNN chooses, and of cuBLAS. An allowance likewise, without a source."""
GRAPH_COPIES: Final = 2
"""Of the activations: a CUDA graph keeps its own, beside those of the runs before it was captured."""
DEVICE_RESERVE_BYTES: Final = 2048 * MIB
"""While cuDNN tries its algorithms PyTorch takes "a few GBs" and gives them back (aten/src/ATen/native/cudnn/
Conv_v7.cpp); with less left, what does not fit is not tried, and a slower one is timed."""


def wanted_bytes(side: Side, parameters: int | None) -> int:
    """Estimated peak of resident memory.

    Args:
        side: Which.
        parameters: Of its network; None for a file, whose size tells.
    """
    size = 4 * (parameters or 0)
    if side.artifact is not None and Path(side.artifact).exists():
        size = Path(side.artifact).stat().st_size
    copies = FOLDING_COPIES if FUSED in side.options else COPIES
    if side.artifact is not None:
        copies = ARTIFACT_COPIES
    activations = 0 if side.device == "cuda" else PIXEL_BYTES * side.batch * side.size**2
    return PROCESS_BYTES[side.kind] + copies * size + activations


def wanted_device_bytes(side: Side, parameters: int | None) -> int:
    """Estimated peak of memory on the GPU, once loaded; 0 for a side that runs on the CPU.

    Args:
        side: Which.
        parameters: Of its network; None for a file, whose size tells.
    """
    if side.device != "cuda":
        return 0
    value_bytes = 2 if {FP16, BF16} & set(side.options) else 4
    weights = value_bytes * (parameters or 0)
    if side.artifact is not None and Path(side.artifact).exists():
        weights = Path(side.artifact).stat().st_size
    is_graph = CUDA_GRAPH in side.options and COMPILE not in side.options
    activations = PIXEL_BYTES * value_bytes // 4 * side.batch * side.size**2
    return CONTEXT_BYTES + weights + (GRAPH_COPIES if is_graph else 1) * activations + WORKSPACE_BYTES


def fits(side: Side, parameters: int | None, *, available: Available, on_device: Available) -> bool:
    """Whether another side can be loaded beside those that are; where it is unknown how much is free, it can.

    Args:
        side: Which.
        parameters: See :func:`wanted_bytes`.
        available: Bytes of memory that are free.
        on_device: Of the GPU's; asked only for a side that runs there.
    """
    free = available()
    if free is not None and free < wanted_bytes(side, parameters) + RESERVE_BYTES:
        return False
    wanted = wanted_device_bytes(side, parameters)
    free = on_device() if wanted else None
    return free is None or free >= wanted + DEVICE_RESERVE_BYTES


def available_bytes() -> int | None:
    """What Linux could still give without swapping; None where the system does not tell."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, flags=re.MULTILINE)
    return 1024 * int(found.group(1)) if found else None


def peak_rss_bytes() -> int | None:
    """Of this process so far; None where the system does not tell."""
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB", text, flags=re.MULTILINE)
    return 1024 * int(found.group(1)) if found else None
