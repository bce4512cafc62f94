"""``hardnet-deploy train``: data and a recipe in, weights, a loss curve and a record of the run out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hardnet_deploy.artifacts import versions
from hardnet_deploy.data.dataset import Dataset
from hardnet_deploy.data.sources import open_data
from hardnet_deploy.errors import UsageError
from hardnet_deploy.files import atomic_output, refuse_unwritable, sha256_file, write_durably
from hardnet_deploy.models import registry
from hardnet_deploy.specs import ModelSpec
from hardnet_deploy.train.recipe import Recipe
from hardnet_deploy.workflows.train_options import (
    TrainRequest,
    identity,
    resolve_device,
    resolve_recipe,
    resolve_spec,
    resolve_workers,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

    from hardnet_deploy.train.loop import Outcome, Progress
    from hardnet_deploy.train.start import Taken

CURVE: Final = "curve.png"
RECORD: Final = "train.json"
SCHEMA: Final = 1
PACKAGES: Final = ("torch", "numpy", "Pillow", "safetensors")


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """A finished run.

    Args:
        weights: The safetensors file.
        sha256: Of it.
        curve: Picture of the loss.
        record: The run as JSON: command, recipe, data, versions, loss.
        spec: What was trained.
        dataset: Name of the data, and their digest.
        outcome: Steps, seconds, loss.
        notes: What the user should know.
    """

    weights: Path
    sha256: str
    curve: Path
    record: Path
    spec: ModelSpec
    dataset: Dataset
    outcome: Outcome
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        _, rate, location, confidence = self.outcome.curve[-1]
        return {
            "model": self.spec.name,
            "weights": str(self.weights),
            "sha256": self.sha256,
            "curve": str(self.curve),
            "record": str(self.record),
            "data": {"name": self.dataset.name, "digest": self.dataset.digest, "images": len(self.dataset)},
            "steps": self.outcome.steps,
            "resumed_from": self.outcome.resumed_from,
            "seconds": self.outcome.seconds,
            "last_loss": {"location": location, "confidence": confidence, "learning_rate": rate},
            "notes": list(self.notes),
        }


def run_training(
    request: TrainRequest, *, drawing: Callable[[int, int], None], report: Callable[[Progress], None]
) -> TrainResult:
    """Train, or go on with the run that was interrupted in ``request.output``.

    Args:
        request: The options.
        drawing: Told (done, in all) while demo data are drawn.
        report: Told after each training step.

    Raises:
        UsageError, TargetError, OutputFileError: Before anything long runs.
        InputFileError: Data, starting weights or the interrupted run's checkpoint cannot be read.
        ArtifactMismatchError: The folder holds another run.
        TrainingError: The loss is not finite.
    """
    spec = resolve_spec(request)
    device = resolve_device(request.device)
    recipe = resolve_recipe(request, spec, device)
    workers = resolve_workers(request.workers)
    _set_threads(request.threads)
    folder = request.output
    weights_path, curve_path, record_path = folder / f"{spec.name}.safetensors", folder / CURVE, folder / RECORD
    for path in (weights_path, curve_path, record_path):
        refuse_unwritable(path)
    from hardnet_deploy.train.feed import steps_per_epoch

    if record_path.exists() and not request.restart:
        raise UsageError(
            f"{folder} holds a finished run", next_step="choose another folder with -o, or --restart to train anew here"
        )
    model, taken = _starting_model(request, spec, recipe)
    dataset = open_data(
        request.data, class_names=spec.class_names, count=request.count, for_training=True, progress=drawing
    )
    steps_per_epoch(len(dataset), recipe)
    run_identity = identity(request, spec, recipe, dataset)

    from hardnet_deploy.models.weight_files import save_weights
    from hardnet_deploy.train.curve import draw_curve
    from hardnet_deploy.train.loop import Sitting, train
    from hardnet_deploy.train.state import CHECKPOINT

    if request.restart:  # what an earlier run left would pass for this one's
        for path in (folder / CHECKPOINT, record_path, weights_path, curve_path):
            path.unlink(missing_ok=True)
    sitting = Sitting(device=device, workers=workers, folder=folder, report=report)
    outcome = train(model, spec, dataset, recipe, identity=run_identity, how=sitting)
    about = {
        "model": spec.name,
        "class_names": list(spec.class_names),
        "code_line": request.code_line,
        "data": dataset.name,
        "data_digest": dataset.digest,
        "recipe": recipe.as_dict(),
    }
    save_weights(model.cpu(), weights_path, about=about, half=request.store == "fp16")
    draw_curve(outcome.curve, curve_path, title=f"{spec.name} on {dataset.name}, {outcome.steps} steps")
    notes = _notes(dataset, taken, outcome)
    sha256 = sha256_file(weights_path)
    record = {
        "schema": SCHEMA,
        "command": list(request.command),
        "identity": run_identity,
        "weights": {"file": weights_path.name, "sha256": sha256, "bytes": weights_path.stat().st_size},
        "stored_as": request.store,
        "images": len(dataset),
        "steps": outcome.steps,
        "seconds": outcome.seconds,
        "resumed_from": outcome.resumed_from,
        "device": _describe(device),
        "workers": workers,
        "versions": versions(PACKAGES),
        "notes": list(notes),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "curve": [
            dict(zip(("step", "learning_rate", "location", "confidence"), point, strict=True))
            for point in outcome.curve
        ],
    }
    with atomic_output(record_path) as temporary:
        write_durably(temporary, json.dumps(record, indent=1).encode())
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return TrainResult(
        weights=weights_path,
        sha256=sha256,
        curve=curve_path,
        record=record_path,
        spec=spec,
        dataset=dataset,
        outcome=outcome,
        notes=notes,
    )


def _starting_model(request: TrainRequest, spec: ModelSpec, recipe: Recipe) -> tuple[nn.Module, Taken | None]:
    from hardnet_deploy.models.checkpoint_files import read_checkpoint
    from hardnet_deploy.train.start import draw_weights, take_weights

    model = registry.build(spec, code_line=request.code_line)
    draw_weights(model, seed=recipe.seed)
    if request.weights is None:
        return model, None
    return model, take_weights(model, read_checkpoint(request.weights).state, source=str(request.weights))


def _notes(dataset: Dataset, taken: Taken | None, outcome: Outcome) -> tuple[str, ...]:
    notes = list(dataset.notes)
    if taken is not None:
        notes.append(f"{len(taken.copied)} tensors came from the checkpoint")
        if taken.fresh:
            notes.append(f"{len(taken.fresh)} class heads of another number of classes start afresh")
    if outcome.resumed_from:
        notes.append(f"continued from step {outcome.resumed_from}")
    if outcome.other_threads:
        notes.append(
            f"the sitting before had {outcome.other_threads} threads: an uninterrupted run ends in other bytes"
        )
    return tuple(notes)


def _set_threads(threads: int | None) -> None:
    import torch

    if threads is None:
        return
    if threads < 1:
        raise UsageError(f"--threads {threads} is out of range", wanted="1 or more")
    torch.set_num_threads(threads)


def _describe(device: torch.device) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
