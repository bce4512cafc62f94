"""How much memory and disk a TensorRT build is expected to need: one formula, for plans built here and for kits.

Published logs and allowances stand behind it; of TensorRT itself nothing was measured by this project.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hardnet_deploy.target_spec import MIB, TensorRTFamily

LIBRARIES: Final[dict[TensorRTFamily, tuple[int, int]]] = {
    # (main memory, GPU memory) that CUDA and TensorRT's own libraries take before a network is read, in MiB, as
    # builders logged it. 8.2 on a Jetson: CUDA 229 + cuBLAS 159 + cuDNN 240, in the one memory that both share.
    "8.2": (640, 0),  # https://github.com/NVIDIA/TensorRT/issues/2217
    "8.6": (1770, 740),  # https://github.com/NVIDIA/TensorRT/issues/4299
    "10": (3780, 800),  # https://github.com/ultralytics/ultralytics/issues/22735: PyTorch's 1300 are among them
    "11": (3780, 800),  # an allowance, not measured: no log is published, taken as for 10
}
WEIGHT_BYTES: Final = 4
WEIGHT_COPIES: Final = 3
"""Of the network, of the engine, and of merged layers: "at least two copies of the weights in host memory" and
"additional temporary weight tensors", https://docs.nvidia.com/deeplearning/tensorrt/latest/architecture/how-trt-works.html;
that these are one copy more is an allowance, not measured."""
MAPS: Final = 48
"""Values of feature maps that live at once, by pixel of the input: counted in the exported graphs, of which HarDNet-85
has most (hardnet39ds 24, HarDNet-68 32). TensorRT's own reuse of memory was not measured."""
PLAN_SIZES: Final = 2
"""Plan and timing cache, in sizes of the weights: an allowance, not measured."""
DISK_EXTRA: Final = 64 * MIB
"""Manifests, logs, reports: an allowance, not measured."""
FORMULA: Final = (
    f"main memory: libraries + {WEIGHT_COPIES} x weights; GPU: libraries + weights + {MAPS} x {WEIGHT_BYTES} bytes x"
    f" batch x input pixels + workspace; disk: {PLAN_SIZES} x weights + {DISK_EXTRA // MIB} MiB; weights as float32;"
    " libraries by published logs, the rest of main memory and disk an allowance, not measured"
)


@dataclass(frozen=True, kw_only=True)
class BuildRoom:
    """What a build is expected to need by :data:`FORMULA`, in bytes.

    Args:
        family: The TensorRT generation.
        weights: Of the graph's constants, as float32.
        pixels: Of a batch of inputs: N * S * S.
        workspace: The builder's limit; None counts none, since TensorRT then makes do with what is free.
    """

    family: TensorRTFamily
    weights: int
    pixels: int
    workspace: int | None

    @property
    def host_bytes(self) -> int:
        """Main memory."""
        return LIBRARIES[self.family][0] * MIB + WEIGHT_COPIES * self.weights

    @property
    def maps(self) -> int:
        """Feature maps, on the GPU."""
        return MAPS * WEIGHT_BYTES * self.pixels

    @property
    def device_bytes(self) -> int:
        """Memory of the GPU."""
        return LIBRARIES[self.family][1] * MIB + self.weights + self.maps + (self.workspace or 0)

    @property
    def disk_bytes(self) -> int:
        """Where the engine is written."""
        return PLAN_SIZES * self.weights + DISK_EXTRA
