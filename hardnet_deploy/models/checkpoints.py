# ruff: noqa: TID253  (this module is torch code; whoever imports it wants torch)
"""Matching a checkpoint to a model: every key there, none more, shapes equal, values usable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from hardnet_deploy.errors import CheckpointError
from hardnet_deploy.models import registry
from hardnet_deploy.models.checkpoint_files import listing, read_checkpoint

OPTIONAL_LEAF: Final = "num_batches_tracked"  # counters of training; absent before PyTorch 0.4.1, unused in eval
FLOATS: Final = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True, kw_only=True)
class LoadedCheckpoint:
    """What loading did beyond copying: worth a line to the user each."""

    notes: tuple[str, ...]


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
        f"{len(found)} {label} ({listing(found)})"
        for label, found in (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
        if found
    ]
    fitting = models_that_fit(state)
    classes = None if missing or unexpected else _classes_of_heads(wanted, got)
    if fitting:
        next_step = f"these weights fit {' and '.join(fitting)}: name that model"
        next_step += f", or name {classes} classes of your own with --classes FILE" if classes else ""
    elif classes:
        next_step = (
            f"only the class heads differ, which are of {classes} classes and background: name these with --classes "
            "FILE, a name a line; a command that has no --classes takes a file that was exported with it"
        )
    else:
        next_step = "these weights fit no model that `hardnet-deploy models` lists; check where they come from"
    raise CheckpointError(
        f"{path} does not fit {name}",
        got="; ".join(parts),
        wanted=f"the {len(wanted)} keys of {name}",
        next_step=next_step,
    )


def _classes_of_heads(wanted: Mapping[str, tuple[int, ...]], got: Mapping[str, tuple[int, ...]]) -> int | None:
    """Classes, without background, of weights that differ in the class heads alone; None for any other difference.

    A default box has the four sides of its location and a score for each class, so the location heads, which are the
    same, tell how many boxes the class heads are for.
    """
    reshaped = [key for key, shape in wanted.items() if got[key] != shape]
    found = set()
    for key in reshaped:
        kind, _, place = key.partition(".")
        boxes = got[f"loc.{place}"][0] // 4 if kind == "conf" and got[key] else 0
        if not boxes or got[key][0] % boxes or got[key][1:] != wanted[key][1:]:
            return None
        found.add(got[key][0] // boxes - 1)
    return found.pop() if len(found) == 1 and min(found) >= 1 else None


def load_checkpoint(
    model: nn.Module, path: Path, *, name: str, expected: Mapping[str, Any] | None = None
) -> LoadedCheckpoint:
    """Copy a checkpoint into ``model``, strictly: every key must be there, none more, shapes equal, values finite.

    Args:
        model: Built by :func:`registry.build`; changed in place, and only when everything fits.
        path: The checkpoint.
        name: The model's name, for messages.
        expected: What the file must not contradict, such as ``class_names``, where it says anything of itself.

    Returns:
        Notes: what was converted or absent without harm.

    Raises:
        CheckpointError: Unreadable (see :func:`read_checkpoint`), not this model's, trained as something else, or with
            NaN or infinite values.
    """
    checkpoint = read_checkpoint(path)
    state = checkpoint.state
    _refuse_mismatch(model, state, name=name, path=path)
    for what, wanted_value in (expected or {}).items():
        if what in checkpoint.about and checkpoint.about[what] != wanted_value:
            raise CheckpointError(
                f"{path} was trained with another {what.replace('_', ' ')} than asked for",
                got=_short(checkpoint.about[what]),
                wanted=_short(wanted_value),
                next_step="name the model, classes and code line that it was trained as",
            )
    wanted = model.state_dict()
    typed = {key: value for key, value in state.items() if key in wanted}
    odd = [f"{key} is {_kind(value)}" for key, value in typed.items() if not _usable(value, wanted[key])]
    if odd:
        raise CheckpointError(
            f"{path} holds tensors of another kind than {name} has",
            got=listing(odd),
            wanted="dense floating-point weights",
            next_step="save the state_dict of the float model",
        )
    # Converted first: a float64 value may be beyond what float32 can hold.
    ready = {key: value.to(wanted[key].dtype) for key, value in typed.items()}
    bad = [key for key, value in ready.items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise CheckpointError(
            f"{path} has NaN or infinite values",
            got=listing(bad),
            next_step="use an earlier checkpoint of the training",
        )
    negative = [key for key, value in ready.items() if key.endswith("running_var") and bool((value < 0).any())]
    if negative:
        raise CheckpointError(f"{path} has negative variances", got=listing(negative))
    notes = []
    converted = {str(value.dtype) for value in typed.values() if value.is_floating_point()} - {str(torch.float32)}
    if converted:
        notes.append(f"weights stored as {', '.join(sorted(converted))} were converted to float32")
    absent = sum(key.endswith(OPTIONAL_LEAF) and key not in state for key in wanted)
    if absent:
        notes.append(f"{absent} training counters (num_batches_tracked) are absent; deployment does not use them")
    model.load_state_dict(ready, strict=False)
    return LoadedCheckpoint(notes=tuple(notes))


def _short(value: object) -> str:
    return listing(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _kind(value: Tensor) -> str:
    if value.is_meta:
        return "without values (on the meta device)"
    layout = "" if value.layout == torch.strided else f"{value.layout} "
    return f"{layout}{value.dtype}"


def _usable(value: Tensor, wanted: Tensor) -> bool:
    if value.is_meta or value.layout != torch.strided or value.is_quantized:
        return False
    return (
        value.dtype in FLOATS if wanted.is_floating_point() else not (value.is_floating_point() or value.is_complex())
    )
