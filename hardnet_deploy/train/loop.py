# ruff: noqa: TID253  (this module is torch code; whoever imports it wants torch)
"""The training loop. On a CPU resumable to the bit, on the same machine with the same number of threads."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from hardnet_deploy.data.dataset import Dataset
from hardnet_deploy.errors import HardnetDeployError
from hardnet_deploy.specs import ModelSpec
from hardnet_deploy.train.feed import Batch, batches, steps_per_epoch
from hardnet_deploy.train.loss import MultiBoxLoss, multibox_loss
from hardnet_deploy.train.recipe import Recipe
from hardnet_deploy.train.state import Curve, TrainingState, load_state
from hardnet_deploy.train.targets import assign

CURVE_EVERY: Final = 20  # steps averaged into one point of the loss curve
SAVE_EVERY: Final = 60.0  # seconds
LESS_EAGER: Final = "begin anew with --restart and a lower --lr, a longer --warmup, or --amp off"


class TrainingError(HardnetDeployError):
    """Training went astray: the loss is no number any more."""

    exit_code = 4


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where training stands.

    Args:
        step: Steps done.
        steps: Of the whole run.
        loss: Mean of the last steps.
        learning_rate: Of the last step.
        images_per_second: Of this sitting.
    """

    step: int
    steps: int
    loss: float
    learning_rate: float
    images_per_second: float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A finished run.

    Args:
        steps: Steps of the whole run.
        resumed_from: Step at which this sitting began; 0 for a run in one sitting.
        curve: Loss curve.
        seconds: Spent on training, over all sittings; what was lost between a checkpoint and a kill is not in it.
        other_threads: PyTorch's threads in the sitting before, where they were others: the bytes are then not those of
            an uninterrupted run.
    """

    steps: int
    resumed_from: int
    curve: Curve
    seconds: float
    other_threads: int | None = None


@dataclass(frozen=True, kw_only=True)
class Sitting:
    """How a run is carried out; nothing here changes what it computes, save the device and the number of threads.

    Args:
        device: Where the network computes.
        workers: Processes that read and augment.
        folder: Where the checkpoint is kept.
        report: Told after each step.
    """

    device: torch.device
    workers: int
    folder: Path
    report: Callable[[Progress], None]


def train(
    model: nn.Module, spec: ModelSpec, dataset: Dataset, recipe: Recipe, *, identity: Mapping[str, Any], how: Sitting
) -> Outcome:
    """Train ``model`` in place, from where an interrupted run in ``how.folder`` stopped if there is one.

    A checkpoint is written every minute, and at the end.

    Args:
        model: With its starting weights.
        spec: Its specification, a detector's.
        dataset: Its labels are ``spec``'s classes.
        recipe: What is done.
        identity: What makes this run this run and no other; compared with an interrupted one's.
        how: Device, workers, folder.

    Raises:
        UsageError: Fewer images than a batch.
        InputFileError: An image, or the checkpoint of the interrupted run, cannot be read.
        ArtifactMismatchError: The folder holds another run.
        TrainingError: The loss is not finite.
        OutputFileError: The checkpoint cannot be written.
    """
    each = steps_per_epoch(len(dataset), recipe)
    run = _Run(model, spec, recipe, each, identity, how)
    found = load_state(how.folder, identity)
    if found is not None:
        run.restore(found)
    began_at, began = run.step, time.monotonic()
    before, saved = run.seconds, began
    model.train()
    if run.step < run.steps:
        for batch in batches(dataset, recipe, spec.preprocess, first_step=run.step, workers=how.workers):
            run.one(batch)
            now = time.monotonic()
            run.seconds = before + now - began
            how.report(run.progress((run.step - began_at) * recipe.batch / (now - began)))
            if now - saved > SAVE_EVERY or run.step == run.steps:
                run.save()
                saved = time.monotonic()
    model.eval()
    others = found.threads if found is not None and found.threads != torch.get_num_threads() else None
    return Outcome(steps=run.steps, resumed_from=began_at, curve=run.curve, seconds=run.seconds, other_threads=others)


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    return torch.optim.SGD(model.parameters(), lr=rate, momentum=recipe.momentum, weight_decay=decay)


class _Run:
    """What changes from step to step."""

    def __init__(
        self, model: nn.Module, spec: ModelSpec, recipe: Recipe, each: int, identity: Mapping[str, Any], how: Sitting
    ) -> None:
        assert spec.head is not None
        self.steps = recipe.epochs * each
        self.step = 0
        self.seconds = 0.0
        self.curve: Curve = []
        self._pending = (0.0, 0.0, 0)
        self._spec, self._recipe, self._each, self._identity, self._how = spec, recipe, each, identity, how
        self._model = model.to(how.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._optimizer = _optimizer(model, recipe)
        self._scaler = torch.amp.GradScaler(how.device.type, enabled=recipe.precision == "fp16")
        self._priors = torch.from_numpy(spec.head.priors()).to(how.device)
        self._variances = spec.head.variances
        self._last = (math.nan, math.nan)

    def one(self, batch: Batch) -> None:
        """One step."""
        rate = self._recipe.learning_rate_at(self.step, steps_per_epoch=self._each)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        device = self._how.device
        with self._autocast():
            loc, conf = self._model(batch.images(self._spec.preprocess, device))
        offsets, classes = assign(batch.boxes.to(device), batch.labels.to(device), self._priors, self._variances)
        loss = multibox_loss(loc, conf, offsets, classes, location_beta=self._recipe.location_beta)
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss.total).backward()  # type: ignore[no-untyped-call]
        if self._recipe.clip_norm:
            self._scaler.unscale_(self._optimizer)
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._recipe.clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self.step += 1
        self._note(loss, rate)

    def _autocast(self) -> AbstractContextManager[object]:
        precision = self._recipe.precision
        if precision == "fp32":
            return nullcontext()
        dtype = torch.bfloat16 if precision == "bf16" else torch.float16
        return torch.autocast(self._how.device.type, dtype)

    def _note(self, loss: MultiBoxLoss, rate: float) -> None:
        location, confidence = float(loss.location.detach()), float(loss.confidence.detach())
        if not math.isfinite(location + confidence):
            raise TrainingError(
                f"the loss is {location + confidence} at step {self.step} of {self.steps}",
                next_step=LESS_EAGER,
            )
        sums = self._pending
        self._pending = (sums[0] + location, sums[1] + confidence, sums[2] + 1)
        self._last = (rate, (self._pending[0] + self._pending[1]) / self._pending[2])
        if self.step % CURVE_EVERY == 0 or self.step == self.steps:
            count = self._pending[2]
            self.curve.append((self.step, rate, self._pending[0] / count, self._pending[1] / count))
            self._pending = (0.0, 0.0, 0)

    def progress(self, images_per_second: float) -> Progress:
        """For the user."""
        rate, loss = self._last
        return Progress(
            step=self.step, steps=self.steps, loss=loss, learning_rate=rate, images_per_second=images_per_second
        )

    def save(self) -> None:
        """Write the checkpoint.

        Raises:
            TrainingError: A weight is not finite; the checkpoint before stays.
        """
        if not all(bool(torch.isfinite(value).all()) for value in self._model.parameters()):
            raise TrainingError(f"a weight is not finite after step {self.step} of {self.steps}", next_step=LESS_EAGER)
        TrainingState(
            identity=self._identity,
            step=self.step,
            model=self._model.state_dict(),
            optimizer=self._optimizer.state_dict(),
            scaler=self._scaler.state_dict(),
            curve=self.curve,
            pending=self._pending,
            seconds=self.seconds,
            threads=torch.get_num_threads(),
        ).save(self._how.folder)

    def restore(self, state: TrainingState) -> None:
        """Go back to where a checkpoint was written."""
        self._model.load_state_dict(state.model)
        self._optimizer.load_state_dict(state.optimizer)
        self._scaler.load_state_dict(state.scaler)
        self.step, self.seconds = state.step, state.seconds
        self.curve = [(int(point[0]), *map(float, point[1:])) for point in state.curve]  # type: ignore[misc]
        self._pending = (state.pending[0], state.pending[1], state.pending[2])
