"""The networks that HarDNet is published against, by name; building one is :mod:`hardnet_deploy.bench.rivals`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Rival:
    """A published network.

    Args:
        name: On the command line.
        title: In tables.
        parameters: Learned values at 1000 classes.
        gmacs: 1e9 multiply-accumulates at 224 x 224, as the HarDNet README rounds them
            (https://github.com/PingoLH/Pytorch-HarDNet).
    """

    name: str
    title: str
    parameters: int
    gmacs: float


RIVALS: Final[Mapping[str, Rival]] = MappingProxyType(
    {
        rival.name: rival
        for rival in (
            # Parameters: "num_params" of https://docs.pytorch.org/vision/stable/models.html; 1.4x has none there.
            Rival(name="resnet50", title="ResNet-50", parameters=25_557_032, gmacs=4.1),
            Rival(name="resnet101", title="ResNet-101", parameters=44_549_160, gmacs=7.8),
            Rival(name="vgg16", title="VGG-16", parameters=138_357_544, gmacs=15.5),
            Rival(name="mobilenet_v2", title="MobileNetV2", parameters=3_504_872, gmacs=0.3),
            Rival(name="mobilenet_v2_1.4", title="MobileNetV2 1.4x", parameters=6_108_776, gmacs=0.6),
        )
    }
)


def is_rival(name: str) -> bool:
    """True for a name of :data:`RIVALS`."""
    return name in RIVALS
