# ruff: noqa: TID253  (this module is torch code; whoever imports it wants torch)
"""Parameters and multiply-accumulates of a network, counted on the meta device: no memory, no arithmetic."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hardnet_deploy.models import registry
from hardnet_deploy.specs import ModelSpec


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Size of a network.

    Args:
        parameters: Learned values; running statistics are not counted.
        macs: Multiply-accumulates of the convolutions and linear layers for one [1, 3, S, S] input, by S. Nothing
            else is counted: not batch norm, not activations, not pooling.
    """

    parameters: int
    macs: dict[int, int]


def count(spec: ModelSpec, sizes: Iterable[int]) -> Counts:
    """Count ``spec`` at each input side in ``sizes``."""
    model = registry.build(spec, device="meta")
    total = 0

    def add(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        assert isinstance(module, nn.Conv2d | nn.Linear)
        total += output.numel() * (module.weight.numel() // module.weight.shape[0])

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(add)
    macs = {}
    for size in sizes:
        total = 0
        with torch.inference_mode():
            model(torch.empty(1, 3, size, size, device="meta"))
        macs[size] = total
    return Counts(parameters=sum(parameter.numel() for parameter in model.parameters()), macs=macs)
