"""What the authors published of speed, and where: milliseconds to stand beside measured ones, never among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

BACKBONES: Final = "https://github.com/PingoLH/Pytorch-HarDNet"
GTX_1080_TI: Final = "GTX 1080 Ti"
JETSON_NANO: Final = "Jetson Nano"


@dataclass(frozen=True, kw_only=True)
class PublishedTime:
    """One published time.

    Args:
        ms: The mean of all iterations.
        device: That it was measured on.
        runtime: That ran the network.
        source: Where it stands.
    """

    ms: float
    device: str
    runtime: str
    source: str

    def as_dict(self) -> dict[str, Any]:
        """For the bench document."""
        return {"ms": self.ms, "device": self.device, "runtime": self.runtime, "source": self.source}


def _on_1080_ti(ms: float) -> PublishedTime:
    return PublishedTime(ms=ms, device=GTX_1080_TI, runtime="PyTorch 1.1.0", source=BACKBONES)


def _on_nano(ms: float) -> PublishedTime:
    return PublishedTime(ms=ms, device=JETSON_NANO, runtime="TensorRT", source=BACKBONES)


# README of Pytorch-HarDNet: mean of 300 random 1024x1024 inputs.
AT_1024_ON_1080_TI: Final = {
    "hardnet68": _on_1080_ti(22.5),
    "resnet50": _on_1080_ti(31.0),
    "hardnet85": _on_1080_ti(38.0),
    "resnet101": _on_1080_ti(51.2),
    "vgg16": _on_1080_ti(49.0),
}
# README of Pytorch-HarDNet: mean of 500 random 320x320 inputs.
AT_320_ON_NANO: Final = {
    "hardnet39ds": _on_nano(32.5),
    "mobilenet_v2": _on_nano(37.9),
    "hardnet68ds": _on_nano(52.6),
    "mobilenet_v2_1.4": _on_nano(57.8),
}
