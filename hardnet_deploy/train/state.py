# ruff: noqa: TID253  (this module is torch code; whoever imports it wants torch)
"""A training run on disk: everything that its continuation needs to end in the same bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from hardnet_deploy.errors import ArtifactMismatchError, InputFileError
from hardnet_deploy.files import atomic_output, write_durably

SCHEMA: Final = 1
CHECKPOINT: Final = "training.checkpoint"
Curve = list[tuple[int, float, float, float]]  # step, learning rate, location loss, confidence loss


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """Where a run stands after ``step`` steps.

    Args:
        identity: What the run is: recipe, model, data, starting weights. A state of another identity is not continued.
        step: Steps done.
        model: state_dict, float32.
        optimizer: Its state_dict.
        scaler: State of the loss scaling; empty without it.
        curve: Means over the steps since the entry before.
        pending: Sums towards the next entry: location, confidence, steps.
        seconds: Spent on training so far, over all sittings.
        threads: PyTorch's, on which the last bits of sums depend.
    """

    identity: Mapping[str, Any]
    step: int
    model: dict[str, Any]
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    curve: Curve
    pending: tuple[float, float, int]
    seconds: float
    threads: int

    def save(self, folder: Path) -> None:
        """Write it, whole or not at all.

        Raises:
            OutputFileError: It cannot be written.
        """
        record = {"schema": SCHEMA, **{name: getattr(self, name) for name in self.__dataclass_fields__}}
        record["identity"] = dict(self.identity)
        content = io.BytesIO()
        torch.save(record, content)
        with atomic_output(folder / CHECKPOINT) as temporary:
            write_durably(temporary, content.getvalue())


def load_state(folder: Path, identity: Mapping[str, Any]) -> TrainingState | None:
    """The state that an interrupted run left in ``folder``; None where there is none.

    Raises:
        InputFileError: The file is damaged.
        ArtifactMismatchError: It belongs to a run with another recipe, model, data or starting weights.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        record = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251  plain values and tensors only
        schema = record.pop("schema")
        state = TrainingState(**record)
    except Exception as error:  # torch.load has no common base of what it raises
        raise InputFileError(
            f"{path} is damaged: training cannot go on from it",
            got=(str(error).splitlines() or [type(error).__name__])[0],
            next_step="--restart trains from the beginning",
        ) from error
    differing = [name for name in {**identity, **state.identity} if identity.get(name) != state.identity.get(name)]
    if schema != SCHEMA or differing:
        raise ArtifactMismatchError(
            f"{folder} holds another training run",
            got="; ".join(f"{name}: {state.identity.get(name)}" for name in differing) or f"schema {schema}",
            wanted="; ".join(f"{name}: {identity.get(name)}" for name in differing) or f"schema {SCHEMA}",
            next_step="choose another folder with -o, or --restart to begin anew here",
        )
    return state
