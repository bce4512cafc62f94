# ruff: noqa: TID253  (this module is torch code; whoever imports it wants torch)
"""HarDNet backbones: 39ds, 68ds, 68 and 85, with their classification head.

Structure and widths after PingoLH/Pytorch-HarDNet at de9662f3 (arXiv 1909.00948). ``base`` is a ModuleList in which
every item, pools included, takes an index: state_dict keys are ``base.<index>...``.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from hardnet_deploy.models.layers import HarDBlock, conv_layer, depthwise_layer


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One row of the block table.

    Args:
        stem: Widths of the first two convolutions.
        multiplier: Widening of a layer per further link to it.
        widths: Channels of each block's closing 1x1 convolution.
        growths: Growth of each block.
        layers: Layers of each block.
        downsamples: Whether a stride-2 layer follows the block.
        depthwise: The ds variants: combined layers, strided depthwise layers instead of pools, a 1x1 second stem layer.
        dropout: Of the classification head.
        inner_dropout: Dropout before the last 1x1 convolution; a no-op in deployment that still takes an index.
    """

    stem: tuple[int, int]
    multiplier: float
    widths: tuple[int, ...]
    growths: tuple[int, ...]
    layers: tuple[int, ...]
    downsamples: tuple[bool, ...]
    depthwise: bool
    dropout: float
    inner_dropout: float | None = None


_WIDE_68 = {
    "stem": (32, 64),
    "multiplier": 1.7,
    "widths": (128, 256, 320, 640, 1024),
    "growths": (14, 16, 20, 40, 160),
    "layers": (8, 16, 16, 16, 4),
    "downsamples": (True, False, True, True, False),
}

ARCHITECTURES: dict[str, Architecture] = {
    "39ds": Architecture(
        stem=(24, 48),
        multiplier=1.6,
        widths=(96, 320, 640, 1024),
        growths=(16, 20, 64, 160),
        layers=(4, 16, 8, 4),
        downsamples=(True, True, True, False),
        depthwise=True,
        dropout=0.05,
    ),
    "68ds": Architecture(**_WIDE_68, depthwise=True, dropout=0.05),  # type: ignore[arg-type]  # a shared row
    "68": Architecture(**_WIDE_68, depthwise=False, dropout=0.1),  # type: ignore[arg-type]  # a shared row
    "85": Architecture(
        stem=(48, 96),
        multiplier=1.7,
        widths=(192, 256, 320, 480, 720, 1280),
        growths=(24, 24, 28, 36, 48, 256),
        layers=(8, 16, 16, 16, 16, 4),
        downsamples=(True, False, True, False, True, False),
        depthwise=False,
        dropout=0.2,
        inner_dropout=0.1,
    ),
    # Ours: the blocks of 68, thin enough to be trained on two CPU cores within the hour. A detector only.
    "demo": Architecture(
        stem=(16, 32),
        multiplier=1.7,
        widths=(64, 96, 128, 192),
        growths=(12, 16, 16, 24),
        layers=(4, 4, 8, 8),
        downsamples=(True, False, True, False),
        depthwise=False,
        dropout=0.1,
    ),
}


def stem_modules(arch: Architecture, activation: type[nn.Module]) -> list[nn.Module]:
    """The two stem convolutions and the first downsampling: three items of ``base``."""
    first, second = arch.stem
    return [
        conv_layer(3, first, kernel=3, stride=2, activation=activation),
        conv_layer(first, second, kernel=1 if arch.depthwise else 3, activation=activation),
        depthwise_layer(second, stride=2) if arch.depthwise else nn.MaxPool2d(3, stride=2, padding=1),
    ]


class HarDNet(nn.Module):
    """Classifier: images [N, 3, H, W], H and W from 32 upwards, to logits [N, 1000]."""

    def __init__(self, arch: Architecture, *, num_classes: int = 1000) -> None:
        super().__init__()
        activation = nn.ReLU6
        modules = stem_modules(arch, activation)
        channels = arch.stem[1]
        for index, out_channels in enumerate(arch.widths):
            block = HarDBlock(
                channels,
                arch.growths[index],
                arch.multiplier,
                arch.layers[index],
                depthwise=arch.depthwise,
                activation=activation,
            )
            modules.append(block)
            if arch.inner_dropout is not None and index == len(arch.widths) - 1:
                modules.append(nn.Dropout(arch.inner_dropout))
            modules.append(conv_layer(block.out_channels, out_channels, kernel=1, activation=activation))
            channels = out_channels
            if arch.downsamples[index]:
                modules.append(depthwise_layer(channels, stride=2) if arch.depthwise else nn.MaxPool2d(2, stride=2))
        modules.append(
            nn.Sequential(
                nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Dropout(arch.dropout), nn.Linear(channels, num_classes)
            )
        )
        self.base = nn.ModuleList(modules)

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] to logits [N, num_classes]."""
        x = images
        for module in self.base:
            x = module(x)
        return x
