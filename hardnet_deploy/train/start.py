# ruff: noqa: TID253  (this module is torch code; whoever imports it wants torch)
"""Weights that training starts from: drawn from a seed, or taken from a checkpoint as far as they fit."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from hardnet_deploy.errors import CheckpointError

HEAD_GAIN: Final = 0.1  # keeps the first losses near those of equal probabilities


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What a checkpoint gave.

    Args:
        copied: Entries taken over.
        fresh: Entries that start from the seed: heads of another number of classes.
    """

    copied: tuple[str, ...]
    fresh: tuple[str, ...]


def draw_weights(model: nn.Module, *, seed: int) -> None:
    """Fill the model in place: He normal (arXiv 1502.01852), heads a tenth of it, biases 0, batch norm at identity.

    Every entry has a generator of its own, seeded by the seed and its key: the same bytes on any machine.
    """
    owners = dict(model.named_modules())
    filled = {}
    for key, value in model.state_dict().items():
        path, _, leaf = key.rpartition(".")
        if isinstance(owners[path], nn.Conv2d) and leaf == "weight":
            draw = np.random.Generator(np.random.PCG64([seed, zlib.crc32(key.encode())]))
            gain = HEAD_GAIN if path.startswith(("loc.", "conf.")) else 1.0
            deviation = gain * np.sqrt(2.0 / np.prod(value.shape[1:]))
            filled[key] = torch.from_numpy(draw.standard_normal(tuple(value.shape)) * deviation).to(value.dtype)
        elif isinstance(owners[path], nn.Conv2d):
            filled[key] = torch.zeros_like(value)
    model.load_state_dict(filled, strict=False)


def take_weights(model: nn.Module, state: Mapping[str, Tensor], *, source: str) -> Taken:
    """Copy a checkpoint's entries; class heads of another shape keep what they have.

    Args:
        model: Changed in place, only where everything else fits.
        state: The checkpoint's tensors.
        source: Its name, for messages.

    Raises:
        CheckpointError: Something other than the class heads differs, or values are not finite.
    """
    wanted = {key: value for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    fresh = [key for key, value in wanted.items() if key in state and state[key].shape != value.shape]
    missing = [key for key in wanted if key not in state]
    foreign = [key for key in fresh if not key.startswith("conf.")]
    if missing or foreign:
        raise CheckpointError(
            f"{source} does not fit the model to be trained",
            got=f"{len(missing)} entries missing, {len(foreign)} of another shape, such as {(missing + foreign)[0]}",
            wanted="weights of the same model; only the class heads (conf.*) may differ",
            next_step="name the model that the checkpoint belongs to",
        )
    copied = {key: state[key].to(value.dtype) for key, value in wanted.items() if key not in fresh}
    broken = [key for key, value in copied.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise CheckpointError(f"{source} has NaN or infinite values", got=", ".join(broken[:3]))
    model.load_state_dict(copied, strict=False)
    return Taken(copied=tuple(copied), fresh=tuple(fresh))
