# ruff: noqa: TID253  (this module is torch code; whoever imports it wants torch)
"""Weights from a fixed seed, for a model that nobody trained.

Batch-norm statistics are drawn too, not left at 0 and 1: folding them then changes every weight, so that an untrained
model exercises the same arithmetic as a trained one.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch
from torch import nn

from hardnet_deploy.specs import Preprocess

DEFAULT_SEED = 0
PIXEL_DEVIATION = 64.0  # of 8-bit photographs, to the nearest power of two


def initialise(model: nn.Module, *, preprocess: Preprocess, seed: int = DEFAULT_SEED) -> None:
    """Fill every parameter and running statistic in place; the same seed gives the same bytes on any machine.

    Each entry has a generator of its own, seeded by the seed and its state_dict key, so that the order of entries does
    not matter. Convolutions and linear layers: He normal (arXiv 1502.01852), bias 0; detection heads a tenth of that,
    which keeps softmax and decoded boxes in a usable range. The first convolution is divided by the deviation that
    pre-processed photographs have, so that real images keep the rest of the network in the same range. Batch norm:
    gamma and variance uniform in [0.5, 1.5], beta and mean normal with deviation 0.1. One-dimensional weights of other
    modules (L2Norm) keep what their class sets.
    """
    owners = dict(model.named_modules())
    first = next(path for path, module in owners.items() if isinstance(module, nn.Conv2d))
    input_deviation = PIXEL_DEVIATION / preprocess.divisor / float(np.mean(preprocess.std))
    filled = {}
    for key, value in model.state_dict().items():
        path, _, leaf = key.rpartition(".")
        owner = owners[path]
        draw = np.random.Generator(np.random.PCG64([seed, zlib.crc32(key.encode())]))
        shape = tuple(value.shape)
        if isinstance(owner, nn.BatchNorm2d):
            if leaf in {"weight", "running_var"}:
                array = draw.uniform(0.5, 1.5, shape)
            elif leaf in {"bias", "running_mean"}:
                array = draw.standard_normal(shape) * 0.1
            else:
                array = np.zeros(shape)
        elif isinstance(owner, nn.Conv2d | nn.Linear):
            fan_in = int(np.prod(shape[1:]))
            gain = 0.1 if path.startswith(("loc.", "conf.")) else 1.0
            gain /= input_deviation if path == first else 1.0
            array = np.zeros(shape) if leaf == "bias" else draw.standard_normal(shape) * gain * np.sqrt(2.0 / fan_in)
        else:
            continue
        filled[key] = torch.from_numpy(np.asarray(array)).to(value.dtype)
    model.load_state_dict(filled, strict=False)
