"""How much memory a side will want, before it is loaded, and how much there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from hardnet_deploy.bench.sides import FUSED, Side

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
