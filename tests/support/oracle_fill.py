"""Weights and inputs that the golden outputs were made with: drawn per key, so that none need storing.

Every state_dict entry has its own PCG64 generator, seeded with the CRC-32 of its key; drawn in float64, rounded once to
float32. Convolutions: normal times sqrt(2 / fan_in), detection heads a tenth of that, bias normal times 0.01. Batch
norm: weight and variance uniform in [0.5, 1.5], bias and mean normal times 0.1. Linear: normal times 0.01. L2Norm: 20.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch
from torch import nn


def fill(model: nn.Module) -> None:
    owners = dict(model.named_modules())
    state = {}
    for key, value in model.state_dict().items():
        path, _, leaf = key.rpartition(".")
        draw = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
        state[key] = torch.from_numpy(np.asarray(_entry(owners[path], key, leaf, tuple(value.shape), draw)))
    model.load_state_dict(state)


def _entry(owner: nn.Module, key: str, leaf: str, shape: tuple[int, ...], draw: np.random.Generator) -> np.ndarray:
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if isinstance(owner, nn.BatchNorm2d):
        if leaf in {"weight", "running_var"}:
            return draw.uniform(0.5, 1.5, shape).astype(np.float32)
        return (draw.standard_normal(shape) * 0.1).astype(np.float32)
    if isinstance(owner, nn.Conv2d) and leaf == "weight":
        values = draw.standard_normal(shape) * np.sqrt(2.0 / np.prod(shape[1:]))
        if key.startswith(("loc.", "conf.")):
            values = values * 0.1
        return values.astype(np.float32)
    if isinstance(owner, nn.Conv2d | nn.Linear):
        return (draw.standard_normal(shape) * 0.01).astype(np.float32)
    return np.full(shape, 20.0, np.float32)


def golden_input(*shape: int) -> torch.Tensor:
    draw = np.random.Generator(np.random.PCG64(12345))
    return torch.from_numpy(draw.standard_normal(shape).astype(np.float32))
