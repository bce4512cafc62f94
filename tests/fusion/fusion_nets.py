"""Tiny networks for the fold's tests, with batch norms that do something."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def randomised(model: nn.Module, *, seed: int = 0) -> nn.Module:
    """``model`` in eval mode with statistics and affine parameters far from the identity."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(like: Tensor, low: float, high: float) -> None:
        values = torch.rand(like.shape, generator=generator, dtype=torch.float64) * (high - low) + low
        like.data.copy_(values)

    for module in model.modules():
        if isinstance(module, _BatchNorm):
            if module.running_mean is not None:
                uniform(module.running_mean, -1, 1)
            if module.running_var is not None:
                uniform(module.running_var, 0.2, 3)
            if module.affine:
                uniform(module.weight, -2, 2)
                uniform(module.bias, -1, 1)
        else:
            for parameter in module.parameters(recurse=False):
                uniform(parameter, -0.5, 0.5)
    return model.eval()


def image(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def state(model: nn.Module) -> dict[str, object]:
    """Everything of a model that a fold must leave alone."""
    return {
        "tensors": {name: tensor.clone() for name, tensor in model.state_dict(keep_vars=False).items()},
        "training": {path: module.training for path, module in model.named_modules()},
        "types": {path: type(module) for path, module in model.named_modules()},
        "hooks": {path: len(module._forward_hooks) for path, module in model.named_modules()},
        "pre_hooks": {path: len(module._forward_pre_hooks) for path, module in model.named_modules()},
    }


def same_state(before: dict[str, object], after: dict[str, object]) -> bool:
    tensors, others = before["tensors"], after["tensors"]
    assert isinstance(tensors, dict)
    assert isinstance(others, dict)
    same_tensors = tensors.keys() == others.keys() and all(torch.equal(tensors[name], others[name]) for name in tensors)
    return same_tensors and all(before[key] == after[key] for key in before if key != "tensors")


def float64(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).double()


def batchnorms(model: nn.Module) -> Iterator[str]:
    return (path for path, module in model.named_modules() if isinstance(module, _BatchNorm))


class ConvLayer(nn.Sequential):
    """Convolution, batch norm, activation under the names that HarDNet uses."""

    def __init__(self, channels: int, width: int, kernel: int = 3) -> None:
        super().__init__()
        self.add_module("conv", nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=False))
        self.add_module("norm", nn.BatchNorm2d(width))
        self.add_module("relu", nn.ReLU(inplace=True))


class HarmonicBlock(nn.Module):
    """Four layers, each fed with the concatenation of those at distances 1, 2 and 4 (PingoLH/Pytorch-HarDNet)."""

    links = ((0,), (1, 0), (2,), (3, 2, 0))

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = [channels, 6, 10, 6, 14]
        self.layers = nn.ModuleList(
            ConvLayer(sum(widths[link] for link in links), widths[number + 1])
            for number, links in enumerate(self.links)
        )

    def forward(self, x: Tensor) -> Tensor:
        outputs = [x]
        for layer, links in zip(self.layers, self.links, strict=True):
            parts = [outputs[link] for link in links]
            outputs.append(layer(torch.cat(parts, 1) if len(parts) > 1 else parts[0]))
        return torch.cat([outputs[1], outputs[3], outputs[4]], 1)


class HarmonicNet(nn.Module):
    """Stem, block, depthwise layer without activation, two heads: 4 + 1 + 1 + 1 = 7 batch norms, all foldable."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.ModuleList([ConvLayer(3, 8), HarmonicBlock(8), ConvLayer(26, 12, 1)])
        self.down = nn.Sequential(nn.Conv2d(12, 12, 3, stride=2, padding=1, groups=12, bias=False), nn.BatchNorm2d(12))
        self.loc = nn.Conv2d(12, 4, 3, padding=1)
        self.conf = nn.Conv2d(12, 5, 3, padding=1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        for module in self.base:
            x = module(x)
        x = self.down(x)
        return {"loc": self.loc(x), "conf": self.conf(x)}


def pair() -> nn.Sequential:
    """One convolution from six to eight channels and its batch norm."""
    model = nn.Sequential(nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8))
    randomised(model)
    return model
