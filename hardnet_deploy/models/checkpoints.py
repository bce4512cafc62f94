# ruff: noqa: TID253  (this module is torch code; whoever imports it wants torch)
"""Reading a checkpoint without running code in it, and matching it to a model.

Accepted: a state_dict saved by ``torch.save``, zipped or in the legacy format, bare or under a usual wrapping key, with
or without ``module.`` prefixes. Loading is always ``weights_only=True``: anything that would need to import a class is
refused.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from hardnet_deploy.errors import CheckpointError
from hardnet_deploy.models import registry

WRAPPING_KEYS: Final = ("state_dict", "model_state_dict", "model", "net", "weights")
OPTIONAL_LEAF: Final = "num_batches_tracked"  # counters of training; absent before PyTorch 0.4.1, unused in eval
SHOWN_KEYS: Final = 8
PICKLE_START: Final = b"\x80"
TORCH_PICKLE_PROTOCOL: Final = 2


@dataclass(frozen=True, kw_only=True)
class LoadedCheckpoint:
    """What loading did beyond copying: worth a line to the user each."""

    notes: tuple[str, ...]


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


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors of a checkpoint by key, wrapping key and ``module.`` prefix removed, on the CPU.

    Raises:
        CheckpointError: Missing, a folder, empty, HTML, truncated, a pickle with code in it, or without tensors.
    """
    if not path.exists():
        raise CheckpointError(f"no checkpoint at {path}", next_step="check the path given to --weights")
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder, not a checkpoint", next_step="name the .pth file inside it")
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise CheckpointError(f"the checkpoint {path} is empty", next_step="fetch or save it again")
    foreign = _looks_like(head)
    if foreign:
        raise CheckpointError(
            f"{path} is not a checkpoint",
            got=foreign,
            wanted="a state_dict saved by torch.save",
            next_step="fetch the file again and compare its size with the one published",
        )
    loaded = _load(path, head)
    return _tensors(_unwrap(loaded, path), path)


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
        imported = re.search(r"Unsupported (?:global|class)[^\n]*?GLOBAL ([\w.]+)|Unsupported class ([\w.]+)", text)
        foreign_pickle = head[:1] == PICKLE_START and head[1] > TORCH_PICKLE_PROTOCOL
        if imported or foreign_pickle:
            name = next(filter(None, imported.groups()), None) if imported else None
            raise CheckpointError(
                f"{path} holds code, not only tensors, and is not loaded"
                if imported
                else f"{path} is a plain pickle, which can hold code, and is not loaded",
                got=f"a pickle that wants to import {name}" if name else f"pickle protocol {head[1]}",
                wanted="a state_dict saved by torch.save",
                next_step="where you trust its author, load it there and save model.state_dict() instead",
            ) from error
        known = head.startswith((b"PK", PICKLE_START))
        raise CheckpointError(
            f"the checkpoint {path} is truncated or damaged" if known else f"{path} is not a checkpoint",
            got=f"{path.stat().st_size} bytes that torch.load cannot read",
            wanted="a state_dict saved by torch.save",
            next_step="fetch or save it again",
        ) from error


def _unwrap(loaded: object, path: Path) -> Mapping[str, object]:
    found = loaded
    for _ in range(2):
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
        raise CheckpointError(f"{path} mixes tensors with other values", got=f"no tensor at: {_listing(odd)}")
    tensors = {str(key): value for key, value in found.items() if isinstance(value, Tensor)}
    while tensors and all(key.startswith("module.") for key in tensors):
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    return tensors


def _listing(keys: Iterable[str]) -> str:
    items = list(keys)
    shown = ", ".join(items[:SHOWN_KEYS])
    return shown if len(items) <= SHOWN_KEYS else f"{shown} and {len(items) - SHOWN_KEYS} more"


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items() if not key.endswith(OPTIONAL_LEAF)}


def models_that_fit(state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Names of the registered models whose keys and shapes are those of ``state``."""
    wanted = _shapes(state)
    return tuple(
        name for name in registry.names() if _shapes(registry.build(name, device="meta").state_dict()) == wanted
    )


def _refuse_mismatch(model: nn.Module, state: Mapping[str, Tensor], *, name: str, path: Path) -> None:
    wanted, got = _shapes(model.state_dict()), _shapes(state)
    missing = [key for key in wanted if key not in got]
    unexpected = [key for key in got if key not in wanted]
    reshaped = [
        f"{key} {list(got[key])} instead of {list(shape)}"
        for key, shape in wanted.items()
        if key in got and got[key] != shape
    ]
    if not (missing or unexpected or reshaped):
        return
    parts = [
        f"{len(found)} {label} ({_listing(found)})"
        for label, found in (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
        if found
    ]
    fitting = models_that_fit(state)
    if fitting:
        next_step = f"these weights fit {' and '.join(fitting)}: name that model"
    elif reshaped and not missing and not unexpected and all(entry.startswith("conf.") for entry in reshaped):
        next_step = "only the class heads differ: give your own class list with --classes FILE"
    else:
        next_step = "these weights fit no model that `hardnet-deploy models` lists; check where they come from"
    raise CheckpointError(
        f"{path} does not fit {name}",
        got="; ".join(parts),
        wanted=f"the {len(wanted)} keys of {name}",
        next_step=next_step,
    )


def load_checkpoint(model: nn.Module, path: Path, *, name: str) -> LoadedCheckpoint:
    """Copy a checkpoint into ``model``, strictly: every key must be there, none more, shapes equal, values finite.

    Args:
        model: Built by :func:`registry.build`; changed in place, and only when everything fits.
        path: The checkpoint.
        name: The model's name, for messages.

    Returns:
        Notes: what was converted or absent without harm.

    Raises:
        CheckpointError: Unreadable (see :func:`read_state_dict`), not this model's, or with NaN or infinite values.
    """
    state = read_state_dict(path)
    _refuse_mismatch(model, state, name=name, path=path)
    wanted = model.state_dict()
    notes = []
    typed = {key: value for key, value in state.items() if key in wanted}
    odd = [key for key, value in typed.items() if value.is_floating_point() != wanted[key].is_floating_point()]
    if odd:
        raise CheckpointError(f"{path} stores integers where {name} has weights", got=_listing(odd))
    bad = [key for key, value in typed.items() if value.is_floating_point() and not bool(torch.isfinite(value).all())]
    if bad:
        raise CheckpointError(
            f"{path} has NaN or infinite values",
            got=_listing(bad),
            next_step="use an earlier checkpoint of the training",
        )
    negative = [key for key, value in typed.items() if key.endswith("running_var") and bool((value < 0).any())]
    if negative:
        raise CheckpointError(f"{path} has negative variances", got=_listing(negative))
    converted = {value.dtype for key, value in typed.items() if value.is_floating_point()} - {torch.float32}
    if converted:
        notes.append(f"weights stored as {', '.join(sorted(map(str, converted)))} were converted to float32")
    absent = sum(key.endswith(OPTIONAL_LEAF) and key not in state for key in wanted)
    if absent:
        notes.append(f"{absent} training counters (num_batches_tracked) are absent; deployment does not use them")
    model.load_state_dict(typed, strict=False)
    return LoadedCheckpoint(notes=tuple(notes))
