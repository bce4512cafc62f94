"""The numbers of a training run, as values: what is not here does not change the result."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from hardnet_deploy.errors import UsageError

Augmentation = Literal["ssd", "light", "mirror", "none"]
Precision = Literal["fp32", "bf16", "fp16"]
Optimizer = Literal["sgd", "adamw"]
Schedule = Literal["steps", "cosine"]

# PingoLH/PytorchSSD-HarDNet, train_test.py and README: epochs and weight decay by data set.
EPOCHS: Final = {"coco": 150, "voc": 300, "demo": 150}
WEIGHT_DECAY: Final = {"coco": 1e-4, "voc": 5e-4, "demo": 1e-4}
MILESTONES: Final = (0.6, 0.8, 0.9)  # of the epochs: the learning rate is multiplied by DECAY at each
DECAY: Final = 0.1
WARMUP_START: Final = 1e-6
NEGATIVES_PER_POSITIVE: Final = 3
MATCH_IOU: Final = 0.5
MOMENTUM: Final = 0.9


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what a training run computes, apart from model, data and starting weights.

    Args:
        epochs: Passes over the data.
        batch: Images a step; a last, smaller batch of an epoch is dropped.
        learning_rate: After warming up.
        optimizer: ``sgd``, upstream's, or ``adamw`` (arXiv 1711.05101), which gets further in a short run from nothing.
        momentum: Of SGD; AdamW has none.
        weight_decay: On every parameter, as upstream has it; decoupled with AdamW.
        clip_norm: Gradients longer than this are shortened to it; 0, upstream's way, leaves them.
        warmup_epochs: Over which the rate rises from 1e-6, linearly.
        schedule: How the rate falls: ``steps``, upstream's, to a tenth at 60, 80 and 90 % of the run, or ``cosine``
            (arXiv 1608.03983 without restarts), which wastes nothing of a short run on rates too low to learn at.
        location_beta: Where the smooth L1 loss of offsets turns from a parabola to a line, in units of the encoding
            (at 1, upstream's, errors up to a tenth of a default box's side weigh little); smaller asks for tighter
            boxes.
        augmentation: ``ssd`` (crop, expand up to 4 times, colours, mirror), ``light`` (milder crop and expand, for
            small networks and short runs), ``mirror`` alone or ``none``.
        precision: Of what PyTorch's autocast lowers, convolutions above all; loss and weights stay float32.
        seed: Of weights, order and augmentation.
    """

    epochs: int
    batch: int = 32
    learning_rate: float = 4e-3
    optimizer: Optimizer = "sgd"
    momentum: float = MOMENTUM
    weight_decay: float = 1e-4
    clip_norm: float = 0.0
    warmup_epochs: float = 1.0
    schedule: Schedule = "steps"
    location_beta: float = 1.0
    augmentation: Augmentation = "ssd"
    precision: Precision = "fp32"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, least, below in (
            ("--epochs", self.epochs, 1, 100_000),
            ("--batch", self.batch, 1, 4096),
            ("--lr", self.learning_rate, 1e-9, 100.0),
            ("--momentum", self.momentum, 0.0, 1.0),
            ("--weight-decay", self.weight_decay, 0.0, 1.0),
            ("--clip-norm", self.clip_norm, 0.0, 1e9),
            ("--warmup", self.warmup_epochs, 0.0, float(self.epochs) + 1e-9),
            ("--location-beta", self.location_beta, 1e-6, 1e6),
            ("--seed", self.seed, 0, 2**63),
        ):
            if not math.isfinite(value) or not least <= value < below:
                raise UsageError(f"{name} {value:g} is out of range", wanted=f"{least:g} or more, below {below:g}")

    def learning_rate_at(self, step: int, *, steps_per_epoch: int) -> float:
        """Rate of step ``step`` (from 0): linear warm-up, then the schedule, which counts all steps."""
        total = self.epochs * steps_per_epoch
        warmup = round(self.warmup_epochs * steps_per_epoch)
        if step < warmup:
            return WARMUP_START + (self.learning_rate - WARMUP_START) * step / warmup
        if self.schedule == "cosine":
            return self.learning_rate * (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) / 2
        passed = sum(step >= round(share * total) for share in MILESTONES)
        return self.learning_rate * DECAY**passed

    def as_dict(self) -> dict[str, Any]:
        """For JSON and for the fingerprint of a run."""
        return asdict(self)
