# ruff: noqa: TID253  (this module is torch code; whoever imports it wants torch)
"""SSD on HarDNet68 and HarDNet85, after PingoLH/PytorchSSD-HarDNet at a2a0a268, and on the small demo HarDNet.

Two code lines train the same keys to different networks: PingoLH's fork normalises a copy of the first source, the
repository it came from (lzx1413/PytorchSSD) normalises in place, so that the rest of its backbone reads the normalised
tensor. A checkpoint must be deployed with the line that trained it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from hardnet_deploy.models.hardnet import ARCHITECTURES, stem_modules
from hardnet_deploy.models.layers import HarDBlock, conv_layer, normalised

FIRST_SOURCE = 9  # index in `base`; its output has stride 8
L2NORM_EPSILON = 1e-10
SMALLEST_SQUARE = 1e-30


class CodeLine(enum.Enum):
    """Which repository trained a checkpoint."""

    PINGOLH = "pingolh"
    LZX1413 = "lzx1413"


@dataclass(frozen=True, kw_only=True)
class DetectorBase:
    """How a backbone's row is cut and closed for detection.

    Args:
        blocks: How many of the backbone's blocks are kept.
        downsamples: Whether a 2x2 max pool follows each of them.
        bridge: Inner width of the top-level ``bridge`` that closes 85; None where, as in 68, a dilated convolution at
            the end of ``base`` does.
        extra_widths: Channels of the ``extras``, in pairs of a 1x1 and a spatial convolution, for the longest list
            that an input size needs (:data:`EXTRA_KERNELS`).
        normalised_extras: Whether the extras are conv layers with batch norm instead of upstream's bare convolutions:
            what lets a detector be trained from nothing (arXiv 1810.08425).
    """

    blocks: int
    downsamples: tuple[bool, ...]
    bridge: int | None
    extra_widths: tuple[int, ...]
    normalised_extras: bool = False


_UPSTREAM_EXTRAS = (256, 512, 128, 256, 128, 256, 128, 256, 128, 256)
DETECTOR_BASES: dict[str, DetectorBase] = {
    "68": DetectorBase(blocks=4, downsamples=(True, False, True, False), bridge=None, extra_widths=_UPSTREAM_EXTRAS),
    "85": DetectorBase(
        blocks=5, downsamples=(True, False, True, False, False), bridge=960, extra_widths=_UPSTREAM_EXTRAS
    ),
    "demo": DetectorBase(
        blocks=4,
        downsamples=(True, False, True, False),
        bridge=None,
        extra_widths=(64, 128, 64, 128, 64, 96, 48, 96),
        normalised_extras=True,
    ),
}

# (kernel, stride, padding) of the second convolution of each pair, the source; the first is 1x1.
EXTRA_KERNELS: dict[int, tuple[tuple[int, int, int], ...]] = {
    300: ((3, 2, 1), (3, 2, 1), (3, 1, 0), (3, 1, 0)),
    512: ((3, 2, 1), (3, 2, 1), (3, 2, 1), (3, 2, 1), (4, 1, 1)),
}


@fx.wrap
def head_rows(feature: Tensor, row: int) -> Tensor:
    """Head output [N, boxes*row, H, W] to [N, H*W*boxes, row]: one row per default box, in prior order."""
    return feature.permute(0, 2, 3, 1).reshape(feature.shape[0], -1, row)


@fx.wrap
def concat_rows(parts: list[Tensor], label: str) -> Tensor:
    """Rows of all levels, each [N, P_k, row], to [N, P, row]. ``label`` names the result in graphs."""
    del label
    return torch.cat(parts, 1)


class L2Norm(nn.Module):
    """Channel-wise unit length times a learned scale: x / (sqrt(sum_c x^2) + 1e-10) * weight_c.

    The epsilon stands outside the root, as in the original. Overflows in float16 from a channel RMS of 14.3 upwards
    (320 channels), so every reduced-precision engine keeps it in float32.
    """

    def __init__(self, channels: int, scale: float = 20.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), scale))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[N, C, H, W] to (scaled, unit length), both [N, C, H, W]."""
        squares = x.pow(2).sum(dim=1, keepdim=True)
        if self.training:
            squares = squares.clamp(min=SMALLEST_SQUARE)  # the root's gradient at 0 is no number
        norm = squares.sqrt() + L2NORM_EPSILON
        unit = x / norm
        return unit * self.weight.view(1, -1, 1, 1), unit


class SSDHarDNet(nn.Module):
    """SSD detector: images [N, 3, S, S] to ``loc`` [N, P, 4] and ``conf`` logits [N, P, C].

    Args:
        architecture: ``68``, ``85`` or ``demo``.
        size: 300 or 512.
        boxes_per_cell: Default boxes per cell of each source level.
        num_classes: Classes with background, which is class 0.
        code_line: Which repository's L2Norm the weights were trained with.
    """

    def __init__(
        self,
        architecture: str,
        *,
        size: int,
        boxes_per_cell: tuple[int, ...],
        num_classes: int,
        code_line: CodeLine = CodeLine.PINGOLH,
    ) -> None:
        super().__init__()
        arch = ARCHITECTURES[architecture]
        cut = DETECTOR_BASES[architecture]
        self.num_classes = num_classes
        self.normalises_in_place = code_line is CodeLine.LZX1413

        modules = stem_modules(arch, nn.ReLU)
        channels = arch.stem[1]
        for index in range(cut.blocks):
            block = HarDBlock(
                channels,
                arch.growths[index],
                arch.multiplier,
                arch.layers[index],
                depthwise=False,
                activation=nn.ReLU,
            )
            channels = arch.widths[index]
            modules += [block, conv_layer(block.out_channels, channels, kernel=1, activation=nn.ReLU)]
            if cut.downsamples[index]:
                # Only the first pool rounds up (75 to 38 at 300); it makes no difference at even sizes.
                modules.append(nn.MaxPool2d(2, stride=2, ceil_mode=index == 0))
        if cut.bridge is None:
            modules.append(
                nn.Sequential(
                    nn.MaxPool2d(3, stride=1, padding=1),
                    nn.Conv2d(channels, channels, 3, padding=4, dilation=4, bias=False),
                    nn.BatchNorm2d(channels),
                    nn.ReLU(inplace=True),
                    conv_layer(channels, channels, kernel=1, activation=nn.ReLU),
                )
            )
        self.base = nn.ModuleList(modules)
        if cut.bridge is not None:
            self.bridge = nn.Sequential(
                nn.MaxPool2d(3, stride=1, padding=1),
                conv_layer(channels, cut.bridge, kernel=3, activation=nn.ReLU),
                conv_layer(cut.bridge, channels, kernel=1, activation=nn.ReLU),
            )

        source_channels = [arch.widths[2], channels]
        extras: list[nn.Module] = []
        for index, (kernel, stride, padding) in enumerate(EXTRA_KERNELS[size]):
            narrow, wide = cut.extra_widths[2 * index : 2 * index + 2]
            bias = not cut.normalised_extras
            pair = (
                nn.Conv2d(channels, narrow, 1, bias=bias),
                nn.Conv2d(narrow, wide, kernel, stride=stride, padding=padding, bias=bias),
            )
            extras += (normalised(conv) for conv in pair) if cut.normalised_extras else pair
            channels = wide
            source_channels.append(wide)
        self.extras = nn.ModuleList(extras)
        self.L2Norm = L2Norm(source_channels[0])
        self.loc = nn.ModuleList(
            nn.Conv2d(fed, boxes * 4, 3, padding=1) for fed, boxes in zip(source_channels, boxes_per_cell, strict=True)
        )
        self.conf = nn.ModuleList(
            nn.Conv2d(fed, boxes * num_classes, 3, padding=1)
            for fed, boxes in zip(source_channels, boxes_per_cell, strict=True)
        )

    def sources(self, images: Tensor) -> list[Tensor]:
        """Feature maps that the heads read, finest first."""
        x = images
        sources: list[Tensor] = []
        for index, module in enumerate(self.base):
            x = module(x)
            if index == FIRST_SOURCE:
                scaled, unit = self.L2Norm(x)
                sources.append(scaled)
                if self.normalises_in_place:
                    x = unit
        if hasattr(self, "bridge"):
            x = self.bridge(x)
        sources.append(x)
        for index, extra in enumerate(self.extras):
            x = extra(x) if isinstance(extra, nn.Sequential) else torch.relu(extra(x))
            if index % 2 == 1:
                sources.append(x)
        return sources

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images [N, 3, S, S] to ``loc`` [N, P, 4] and ``conf`` logits [N, P, C]."""
        loc_rows, conf_rows = [], []
        for source, loc, conf in zip(self.sources(images), self.loc, self.conf, strict=True):
            loc_rows.append(head_rows(loc(source), 4))
            conf_rows.append(head_rows(conf(source), self.num_classes))
        return concat_rows(loc_rows, "loc"), concat_rows(conf_rows, "conf")
