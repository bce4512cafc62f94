"""Peak rates of the devices that are deployed to, with their sources.

Peaks are the makers' figures: dense arithmetic at the nominal boost clock, memory at its nominal rate. They are no
limits: a card may clock above its boost clock while power and temperature let it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

GIGA: Final = 1e9
TERA: Final = 1e12
_GTX: Final = "https://www.nvidia.com/en-gb/geforce/products/10series/geforce-gtx-1080-ti/"
_CUDA_RATES: Final = (
    "https://docs.nvidia.com/cuda/archive/11.0/cuda-c-programming-guide/index.html#arithmetic-instructions"
)
_PASCAL: Final = "https://developer.nvidia.com/blog/mixed-precision-programming-cuda-8/ (dp4a: four products at once)"
_NANO: Final = "https://developer.nvidia.com/embedded/jetson-nano"
_H200: Final = "https://www.nvidia.com/en-us/data-center/h200/"


@dataclass(frozen=True, kw_only=True)
class Peak:
    """Nominal rates of a device in one precision.

    Args:
        flops: Operations a second, a multiply-accumulate being two.
        bandwidth: Bytes a second between the chip and its memory.
        source: Where both come from, and how they follow from it.
    """

    flops: float
    bandwidth: float
    source: str

    @property
    def ridge(self) -> float:
        """Operations a byte above which arithmetic is the bound."""
        return self.flops / self.bandwidth

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"flops": self.flops, "bandwidth": self.bandwidth, "ridge": self.ridge, "source": self.source}


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device with its peaks.

    Args:
        name: As ``--target`` takes it.
        title: In words.
        by_precision: Peak in ``fp32``, ``fp16`` and ``int8``, as far as there are kernels.
    """

    name: str
    title: str
    by_precision: Mapping[str, Peak]


def _peaks(bandwidth: float, rates: Mapping[str, tuple[float, str]]) -> Mapping[str, Peak]:
    return {name: Peak(flops=rate, bandwidth=bandwidth, source=source) for name, (rate, source) in rates.items()}


DEVICES: Final[Mapping[str, Device]] = {
    "gtx-1080ti": Device(
        name="gtx-1080ti",
        title="GeForce GTX 1080 Ti",
        by_precision=_peaks(
            484 * GIGA,
            {
                "fp32": (11.34 * TERA, f"3584 cores x 2 x 1.582 GHz boost, 484 GB/s: {_GTX}"),
                "fp16": (
                    11.34 * TERA,
                    f"16 bits stored, FP32 computed: FP16 has 1/64 of its rate on sm_61 ({_CUDA_RATES}); {_GTX}",
                ),
                "int8": (45.36 * TERA, f"dp4a, 4 x FP32: {_PASCAL}; {_GTX}"),
            },
        ),
    ),
    "jetson-nano": Device(
        name="jetson-nano",
        title="Jetson Nano",
        by_precision=_peaks(
            25.6 * GIGA,
            {
                "fp32": (0.236 * TERA, f"half of FP16: 128 cores x 2 x 0.9216 GHz; 25.6 GB/s: {_NANO}"),
                "fp16": (0.472 * TERA, f"472 GFLOPS, 25.6 GB/s: {_NANO}"),
            },
        ),
    ),
    "h200": Device(
        name="h200",
        title="H200 SXM",
        by_precision=_peaks(
            4.8 * TERA,
            {
                "fp32": (67 * TERA, f"67 TFLOPS without tensor cores (TF32 has 494 on them), 4.8 TB/s: {_H200}"),
                "fp16": (989.5 * TERA, f"tensor cores, dense: half of 1979 TFLOPS with sparsity, 4.8 TB/s: {_H200}"),
                "int8": (1979 * TERA, f"tensor cores, dense: half of 3958 TOPS with sparsity, 4.8 TB/s: {_H200}"),
            },
        ),
    ),
}
"""Of data sheets, by name."""


_CALLED: Final[Mapping[tuple[str, ...], str]] = {("gtx", "1080", "ti"): "gtx-1080ti", ("h200",): "h200"}
"""Words of the name that a driver gives a GPU, to its row. The SXM card calls itself ``NVIDIA H200``; an ``H200 NVL``
and a ``GH200`` are others, with other rates."""
_MAKER: Final = ("nvidia", "geforce")


def device_of_gpu(name: str) -> Device | None:
    """The row for the GPU that calls itself ``name``, every word of it but the maker's; None for any other."""
    words = tuple(word for word in name.lower().split() if word not in _MAKER)
    row = _CALLED.get(words)
    return None if row is None else DEVICES[row]
