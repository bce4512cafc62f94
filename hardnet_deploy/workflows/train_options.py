"""What a training run is to do: its options with every default decided."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from hardnet_deploy.data.dataset import Dataset
from hardnet_deploy.errors import TargetError, UsageError
from hardnet_deploy.files import sha256_file
from hardnet_deploy.models import class_names as known_classes
from hardnet_deploy.models import registry
from hardnet_deploy.specs import ModelSpec
from hardnet_deploy.train.recipe import (
    EPOCHS,
    MOMENTUM,
    WEIGHT_DECAY,
    Augmentation,
    Optimizer,
    Precision,
    Recipe,
    Schedule,
)
from hardnet_deploy.workflows.export_options import read_classes

if TYPE_CHECKING:
    import torch

Amp = Literal["auto", "off", "bf16", "fp16"]
MOST_WORKERS: Final = 8


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """The options of ``hardnet-deploy train`` as typed; None means that the user left it to the defaults."""

    data: str
    output: Path
    model: str | None = None
    weights: Path | None = None
    code_line: str = registry.CODE_LINES[0]
    classes: Path | None = None
    count: int | None = None
    epochs: int | None = None
    batch: int = 32
    learning_rate: float = 4e-3
    optimizer: Optimizer = "sgd"
    momentum: float | None = None
    weight_decay: float | None = None
    clip_norm: float = 0.0
    warmup_epochs: float | None = None
    schedule: Schedule = "steps"
    location_beta: float = 1.0
    augmentation: Augmentation = "ssd"
    amp: Amp = "auto"
    device: str = "auto"
    workers: int | None = None
    threads: int | None = None
    seed: int = 0
    store: Literal["fp16", "fp32"] = "fp32"
    restart: bool = False
    command: tuple[str, ...] = ()


def resolve_spec(request: TrainRequest) -> ModelSpec:
    """The detector to train: with the classes of ``--classes``, and on demo data with theirs.

    Raises:
        UsageError: No model named where none is meant, a backbone, or a class list that cannot be.
    """
    on_demo = request.data.partition(":")[0] == "demo"
    if request.model is None and not on_demo:
        raise UsageError(
            "no model is named",
            wanted=f"a detector such as {registry.DEFAULT_MODEL}",
            next_step="hardnet-deploy models lists all of them",
        )
    spec = registry.get(request.model or registry.DEMO_MODEL)
    if spec.head is None:
        raise UsageError(f"{spec.name} is a backbone: detectors are trained here", next_step="name an ssd... model")
    if request.classes is not None:
        return registry.with_classes(spec, read_classes(request.classes))
    if on_demo and spec.dataset != "demo":
        return registry.with_classes(spec, known_classes.DEMO)
    return spec


def resolve_recipe(request: TrainRequest, spec: ModelSpec, device: torch.device) -> Recipe:
    """The recipe; what was not asked for is upstream's choice for the model's data set.

    Raises:
        UsageError: A value out of range, or a precision that the device does not train in.
    """
    if request.optimizer == "adamw" and request.momentum is not None:
        raise UsageError("--momentum is SGD's", next_step="drop it, or use --optimizer sgd")
    epochs = EPOCHS[spec.dataset] if request.epochs is None else request.epochs
    decay = WEIGHT_DECAY[spec.dataset] if request.weight_decay is None else request.weight_decay
    return Recipe(
        epochs=epochs,
        batch=request.batch,
        learning_rate=request.learning_rate,
        optimizer=request.optimizer,
        momentum=MOMENTUM if request.momentum is None else request.momentum,
        weight_decay=decay,
        clip_norm=request.clip_norm,
        warmup_epochs=min(1.0, float(epochs)) if request.warmup_epochs is None else request.warmup_epochs,
        schedule=request.schedule,
        location_beta=request.location_beta,
        augmentation=request.augmentation,
        precision=_precision(request.amp, device),
        seed=request.seed,
    )


def _precision(amp: Amp, device: torch.device) -> Precision:
    if amp == "auto":
        return "fp16" if device.type == "cuda" else "fp32"
    if amp == "off":
        return "fp32"
    if amp == "fp16" and device.type == "cpu":
        raise UsageError("--amp fp16 needs CUDA", wanted="--amp bf16 or off on a CPU")
    return amp


def resolve_device(name: str) -> torch.device:
    """``auto`` is CUDA where torch can use it, else the CPU.

    Raises:
        UsageError: No such kind of device.
        TargetError: CUDA was asked for and cannot be used.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in {"cpu", "cuda"}:
        raise UsageError(f"there is no device '{name}'", wanted="auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise TargetError(
            "torch cannot use an NVIDIA GPU here", next_step="--device cpu, or install a torch built for CUDA"
        )
    return torch.device(name)


def resolve_workers(asked: int | None) -> int:
    """Processes that read and augment; by default one for every two cores, at least 1 and at most 8.

    Raises:
        UsageError: A negative number.
    """
    if asked is None:
        return max(1, min(MOST_WORKERS, (os.cpu_count() or 1) // 2))
    if asked < 0:
        raise UsageError(f"--workers {asked} is out of range", wanted="0 or more")
    return asked


def identity(request: TrainRequest, spec: ModelSpec, recipe: Recipe, dataset: Dataset) -> dict[str, Any]:
    """What makes this run this run: an interrupted one is continued only where all of it is equal."""
    return {
        "model": spec.name,
        "class_names": list(spec.class_names),
        "code_line": request.code_line,
        "data": dataset.digest,
        "images": len(dataset),
        "starting_weights": None if request.weights is None else sha256_file(request.weights),
        "recipe": recipe.as_dict(),
    }
