# ruff: noqa: TID253  (this module is torch code; whoever imports it wants torch)
"""Layers of HarDNet: Conv-BN-activation, depthwise Conv-BN, their combination, and the harmonic dense block.

Child names are those of the original code (PingoLH/Pytorch-HarDNet at de9662f3), because checkpoints are read by them.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, fx, nn


@fx.wrap
def concat(parts: list[Tensor], label: str) -> Tensor:
    """Concatenation of [N, C_i, H, W] over channels. ``label`` names the result in traced and exported graphs."""
    del label
    return torch.cat(parts, 1)


def conv_layer(
    in_channels: int, out_channels: int, *, kernel: int, activation: type[nn.Module], stride: int = 1
) -> nn.Sequential:
    """Conv2d without bias, padding ``kernel // 2``, then BatchNorm2d and the activation."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False)
    return normalised(conv, activation=activation)


def normalised(conv: nn.Conv2d, *, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """``conv``, then BatchNorm2d and the activation, under the children's names of every conv layer."""
    return nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(conv.out_channels), relu=activation(inplace=True)))


def depthwise_layer(channels: int, *, stride: int = 1) -> nn.Sequential:
    """3x3 depthwise Conv2d without bias, then BatchNorm2d; no activation."""
    return nn.Sequential(
        OrderedDict(
            dwconv=nn.Conv2d(channels, channels, 3, stride=stride, padding=1, groups=channels, bias=False),
            norm=nn.BatchNorm2d(channels),
        )
    )


def combined_layer(in_channels: int, out_channels: int, *, activation: type[nn.Module]) -> nn.Sequential:
    """1x1 :func:`conv_layer`, then :func:`depthwise_layer`: the layer of the ds variants."""
    return nn.Sequential(
        OrderedDict(
            layer1=conv_layer(in_channels, out_channels, kernel=1, activation=activation),
            layer2=depthwise_layer(out_channels),
        )
    )


def links(layer: int) -> tuple[int, ...]:
    """Layers whose outputs layer ``layer`` (from 1) reads, nearest first; 0 is the block's input.

    HarDNet, section 3 (arXiv 1909.00948): layer l is linked to l - 2^i for every i >= 0 with 2^i dividing l.
    """
    found = []
    step = 1
    while layer % step == 0:
        found.append(layer - step)
        step *= 2
    return tuple(found)


def width(layer: int, growth: int, multiplier: float) -> int:
    """Output channels of layer ``layer`` (from 1): growth, times the multiplier per further power of two, made even.

    The multiplications run one after the other in floating point, as in the original, since that decides roundings.
    """
    channels = float(growth)
    for _ in links(layer)[1:]:
        channels *= multiplier
    return int(int(channels + 1) / 2) * 2


class HarDBlock(nn.Module):
    """Harmonic dense block: [N, in_channels, H, W] to [N, out_channels, H, W].

    Args:
        in_channels: Width of layer 0, the block's input.
        growth: Width of the odd layers.
        multiplier: Widening of layers that more links read.
        n_layers: Number of layers after the input.
        depthwise: Layers are :func:`combined_layer` instead of 3x3 :func:`conv_layer`.
        activation: Class of the activation.
    """

    def __init__(
        self,
        in_channels: int,
        growth: int,
        multiplier: float,
        n_layers: int,
        *,
        depthwise: bool,
        activation: type[nn.Module],
    ) -> None:
        super().__init__()
        widths = [in_channels, *(width(layer, growth, multiplier) for layer in range(1, n_layers + 1))]
        self.links = tuple(links(layer) for layer in range(1, n_layers + 1))
        # Odd layers and the last make the output; the block's input never does.
        self.kept = tuple(layer for layer in range(1, n_layers + 1) if layer % 2 == 1 or layer == n_layers)
        self.out_channels = sum(widths[layer] for layer in self.kept)
        layers = []
        for layer, sources in enumerate(self.links, start=1):
            fed = sum(widths[source] for source in sources)
            if depthwise:
                layers.append(combined_layer(fed, widths[layer], activation=activation))
            else:
                layers.append(conv_layer(fed, widths[layer], kernel=3, activation=activation))
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] to [N, out_channels, H, W]."""
        outputs = [x]
        for index, layer in enumerate(self.layers):
            sources = [outputs[source] for source in self.links[index]]
            fed = concat(sources, f"in.{index}") if len(sources) > 1 else sources[0]
            outputs.append(layer(fed))
        return concat([outputs[layer] for layer in self.kept], "out")
