# ruff: noqa: TID253  (this module is torch code; whoever imports it wants torch)
"""Parameters, multiply-accumulates and traffic of a network that is there, counted without arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class LayerWork:
    """What a convolution or linear layer does for one image.

    Args:
        macs: Multiply-accumulates.
        elements: Of its input, weights and output: each is read or written once.
    """

    macs: int
    elements: int


def layer_work(network: nn.Module, size: int) -> tuple[LayerWork, ...]:
    """Every convolution and linear layer, in the order of execution, for one [1, 3, S, S] input; nothing computed."""
    found: list[LayerWork] = []

    def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d | nn.Linear)
        weights = module.weight.numel()
        macs = output.numel() * (weights // module.weight.shape[0])
        found.append(LayerWork(macs=macs, elements=inputs[0].numel() + weights + output.numel()))

    hooks = [
        module.register_forward_hook(add) for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    entries = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    shapes = {name: torch.empty_like(value, device="meta") for name, value in entries.items()}
    try:
        with torch.no_grad():
            torch.func.functional_call(network, shapes, (torch.empty(1, 3, size, size, device="meta"),))
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(found)


def network_size(network: nn.Module, size: int) -> tuple[int, int]:
    """Learned values, and multiply-accumulates of the convolutions and linear layers for one [1, 3, S, S] input.

    The same count as :func:`hardnet_deploy.models.count.count`, for a module in hand whatever its weights.
    """
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return parameters, sum(layer.macs for layer in layer_work(network, size))
