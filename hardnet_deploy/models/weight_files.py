# ruff: noqa: TID253  (this module is torch code; whoever imports it wants torch)
"""Weights as safetensors: what training writes and the package ships. Holds arrays and text, no code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from hardnet_deploy.errors import CheckpointError
from hardnet_deploy.files import atomic_output, write_durably

FORMAT: Final = "hardnet-deploy weights 1"
LENGTH_BYTES: Final = 8  # a safetensors file begins with the length of its JSON header
HEADER_START: Final = b"{"


def looks_like_safetensors(head: bytes) -> bool:
    """True where the first bytes of a file are those of safetensors."""
    return head[LENGTH_BYTES : LENGTH_BYTES + 1] == HEADER_START


def save_weights(model: nn.Module, path: Path, *, about: Mapping[str, Any], half: bool) -> None:
    """Write the state_dict, training counters left out.

    Args:
        model: Whose weights.
        path: The file; written whole or not at all.
        about: What the weights are, as JSON can carry it: read back by :func:`read_weights`.
        half: Store float16 instead of float32.

    Raises:
        CheckpointError: A weight overflows float16.
        OutputFileError: The file cannot be written.
    """
    from safetensors.torch import save

    kept = {
        key: value.detach().cpu().to(torch.float16 if half else value.dtype).contiguous()
        for key, value in model.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    overflown = [key for key, value in kept.items() if not bool(torch.isfinite(value).all())]
    if overflown:
        raise CheckpointError(
            f"{path} cannot be written",
            got=f"values without a finite float16, in {', '.join(overflown[:3])}",
            next_step="store the weights as fp32",
        )
    # One entry: safetensors writes several in no particular order, and the same weights shall be the same bytes.
    content = save(kept, metadata={FORMAT: json.dumps(dict(about), sort_keys=True)})
    with atomic_output(path) as temporary:
        write_durably(temporary, content)


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by key, and what the file says of them; nothing where another program wrote it.

    Raises:
        CheckpointError: Missing, truncated or not safetensors.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  it is no mapping
        about = json.loads(metadata.get(FORMAT, "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is truncated or no safetensors file",
            got=str(error),
            next_step="fetch or copy it again",
        ) from error
    return tensors, about
