# ruff: noqa: TID253  (this module is torch code; whoever imports it wants torch)
"""Reading a checkpoint without running code in it.

Accepted: safetensors, and a state_dict saved by ``torch.save``, zipped or in the legacy format, bare or under a usual
wrapping key, with or without ``module.`` prefixes. Loading is always ``weights_only=True``: anything that would need to
import a class is refused.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from hardnet_deploy.errors import CheckpointError
from hardnet_deploy.models.weight_files import looks_like_safetensors, read_weights

WRAPPING_KEYS: Final = ("state_dict", "model_state_dict", "model", "net", "weights")
SHOWN_KEYS: Final = 8
MOST_WRAPPINGS: Final = 2  # {"state_dict": {"model": {...}}}
PICKLE_START: Final = b"\x80"
TORCH_PICKLE_PROTOCOL: Final = b"\x02"
WANTED: Final = "a state_dict saved by torch.save, or safetensors"


def listing(keys: Iterable[str]) -> str:
    """The first few keys, and how many more there are."""
    items = list(keys)
    shown = ", ".join(items[:SHOWN_KEYS])
    return shown if len(items) <= SHOWN_KEYS else f"{shown} and {len(items) - SHOWN_KEYS} more"


def _looks_like(head: bytes) -> str | None:
    """What the file is, where its first bytes say that it is no checkpoint."""
    text = head.lstrip()[:64].lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "an HTML page (a download link that answered with a page)"
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file it points to"
    if head.startswith((b"\x89PNG", b"\xff\xd8\xff")):
        return "an image"
    if head.startswith(b"\x89HDF"):
        return "an HDF5 file"
    return None


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint's content.

    Args:
        state: Tensors by key, wrapping key and ``module.`` prefix removed, on the CPU.
        about: What the file says of itself; only files that this project wrote say anything.
    """

    state: dict[str, Tensor]
    about: Mapping[str, Any]


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of either format; which one is told by its first bytes, not by its name.

    Raises:
        CheckpointError: Missing, a folder, empty, HTML, truncated, TorchScript, a pickle with code in it, or without
            tensors.
    """
    head = _first_bytes(path)
    foreign = _looks_like(head)
    if foreign:
        raise CheckpointError(
            f"{path} is not a checkpoint",
            got=foreign,
            wanted=WANTED,
            next_step="fetch the file again and compare its size with the one published",
        )
    if looks_like_safetensors(head):
        tensors, about = read_weights(path)
        return Checkpoint(state=_tensors(tensors, path), about=about)
    return Checkpoint(state=_tensors(_unwrap(_load(path, head), path), path), about={})


def _first_bytes(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise CheckpointError(f"{path} is a folder, not a checkpoint", next_step="name the .pth file inside it")
        with path.open("rb") as file:
            head = file.read(512)
    except FileNotFoundError:
        raise CheckpointError(f"no checkpoint at {path}", next_step="check the path given to --weights") from None
    except (OSError, ValueError) as error:
        got = error.strerror if isinstance(error, OSError) else str(error)
        raise CheckpointError(f"the checkpoint {path} cannot be read", got=got) from error
    if not head:
        raise CheckpointError(f"the checkpoint {path} is empty", next_step="fetch or save it again")
    return head


def _load(path: Path, head: bytes) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of pickle protocols that it then refuses; we say so ourselves
            return torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251  the one place that may
    except OSError as error:
        raise CheckpointError(f"the checkpoint {path} cannot be read", got=error.strerror or str(error)) from error
    except Exception as error:
        # torch raises half a dozen types for a bad file; each becomes one sentence.
        text = str(error)
        if "TorchScript" in text:
            raise CheckpointError(
                f"{path} is a TorchScript program, not a state_dict",
                wanted=WANTED,
                next_step="load it with torch.jit.load where you trust its author, and save its state_dict()",
            ) from error
        imported = re.search(r"Unsupported (?:global|class)[^\n]*?GLOBAL ([\w.]+)|Unsupported class ([\w.]+)", text)
        foreign_pickle = head[:1] == PICKLE_START and head[1:2] > TORCH_PICKLE_PROTOCOL
        if imported or foreign_pickle:
            name = next(filter(None, imported.groups()), None) if imported else None
            raise CheckpointError(
                f"{path} holds code, not only tensors, and is not loaded"
                if imported
                else f"{path} is a plain pickle, which can hold code, and is not loaded",
                got=f"a pickle that wants to import {name}" if name else f"pickle protocol {head[1]}",
                wanted=WANTED,
                next_step="where you trust its author, load it there and save model.state_dict() instead",
            ) from error
        known = head.startswith((b"PK", PICKLE_START))
        raise CheckpointError(
            f"the checkpoint {path} is truncated or damaged" if known else f"{path} is not a checkpoint",
            got=f"{path.stat().st_size} bytes that torch.load cannot read",
            wanted=WANTED,
            next_step="fetch or save it again",
        ) from error


def _unwrap(loaded: object, path: Path) -> Mapping[str, object]:
    found = loaded
    for _ in range(MOST_WRAPPINGS + 1):
        if not isinstance(found, Mapping):
            break
        if any(isinstance(value, Tensor) for value in found.values()):
            return found
        wrapped = next((found[key] for key in WRAPPING_KEYS if isinstance(found.get(key), Mapping)), None)
        if wrapped is None:
            break
        found = wrapped
    kind = f"a mapping with the keys {', '.join(map(str, list(found)[:5]))}" if isinstance(found, Mapping) else None
    raise CheckpointError(
        f"{path} holds no state_dict",
        got=kind or f"a {type(found).__name__}",
        wanted=f"tensors by name, bare or under one of {', '.join(WRAPPING_KEYS)}",
        next_step="save model.state_dict()",
    )


def _tensors(found: Mapping[str, object], path: Path) -> dict[str, Tensor]:
    odd = [str(key) for key, value in found.items() if not isinstance(value, Tensor)]
    if odd:
        raise CheckpointError(f"{path} mixes tensors with other values", got=f"no tensor at: {listing(odd)}")
    tensors = {str(key): value for key, value in found.items() if isinstance(value, Tensor)}
    while tensors and all(key.startswith("module.") for key in tensors):
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    return tensors
