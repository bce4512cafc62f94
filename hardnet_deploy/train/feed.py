# ruff: noqa: TID253  (this module is torch code; whoever imports it wants torch)
"""Training batches: the same for any number of workers, and from any step onwards.

Every view has a generator of its own, seeded by (seed, epoch, place in the epoch): nothing depends on which worker
makes it, and a resumed run draws what the first would have drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from hardnet_deploy.data.dataset import Dataset, Sample
from hardnet_deploy.data.images import load_image
from hardnet_deploy.errors import InputFileError, UsageError
from hardnet_deploy.specs import Preprocess
from hardnet_deploy.train.augment import augment
from hardnet_deploy.train.recipe import Recipe

ORDER, VIEW = 0, 1  # which stream of random numbers
Place = tuple[int, int, int]  # epoch, place in the epoch, index of the sample
View = tuple[Tensor, Tensor, Tensor] | InputFileError  # pixels, boxes, labels


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One step's input.

    Args:
        pixels: Shape (N, S, S, 3), uint8, RGB.
        boxes: Shape (N, n, 4), corners as fractions; images with fewer objects are filled up with zeros.
        labels: Shape (N, n); 0 marks a filled-up row.
    """

    pixels: Tensor
    boxes: Tensor
    labels: Tensor

    def images(self, spec: Preprocess, device: torch.device) -> Tensor:
        """The network's input, shape (N, 3, S, S), channels last in memory: order, divisor, mean and deviation."""
        pixels = self.pixels.to(device, non_blocking=True)
        if spec.channel_order == "bgr":
            pixels = pixels.flip(-1)
        values = pixels.float() / spec.divisor
        values -= torch.tensor(spec.mean, device=device)
        values /= torch.tensor(spec.std, device=device)
        return values.permute(0, 3, 1, 2)


class _Views(TorchDataset[View]):
    """A view of a sample for each place in the order."""

    def __init__(self, samples: Sequence[Sample], recipe: Recipe, spec: Preprocess) -> None:
        self._samples = samples
        self._recipe = recipe
        self._spec = spec

    def __getitem__(self, place: Place) -> View:
        try:
            return self._view(*place)
        except InputFileError as error:  # as a value: on its way out of a worker an exception loses its parts
            return error

    def _view(self, epoch: int, position: int, index: int) -> View:
        sample = self._samples[index]
        image = load_image(sample.path)
        if image.shape[:2] != (sample.height, sample.width):
            raise InputFileError(
                f"{sample.path} has another size than its annotations say",
                got=f"{image.shape[1]} x {image.shape[0]}",
                wanted=f"{sample.width} x {sample.height}",
                next_step="fetch images and annotations of the same release",
            )
        learnt = ~sample.truth.crowd & (sample.truth.labels > 0)
        draw = np.random.default_rng([self._recipe.seed, VIEW, epoch, position])
        pixels, boxes, labels = augment(
            image,
            sample.truth.boxes[learnt],
            sample.truth.labels[learnt],
            spec=self._spec,
            kind=self._recipe.augmentation,
            draw=draw,
        )
        return torch.from_numpy(pixels), torch.from_numpy(boxes.astype(np.float32)), torch.from_numpy(labels)


def _collate(found: list[View]) -> Batch | InputFileError:
    views = []
    for view in found:
        if isinstance(view, InputFileError):
            return view
        views.append(view)
    most = max(len(labels) for _, _, labels in views)
    boxes = torch.zeros(len(views), most, 4)
    labels = torch.zeros(len(views), most, dtype=torch.int64)
    for row, (_, own_boxes, own_labels) in enumerate(views):
        boxes[row, : len(own_boxes)] = own_boxes
        labels[row, : len(own_labels)] = own_labels
    return Batch(pixels=torch.stack([pixels for pixels, _, _ in views]), boxes=boxes, labels=labels)


class _Order(torch.utils.data.Sampler[list[Place]]):
    """Which samples each step takes, from ``first_step`` to the end of the run."""

    def __init__(self, samples: int, recipe: Recipe, first_step: int) -> None:
        self._samples = samples
        self._recipe = recipe
        self._first_step = first_step

    def __len__(self) -> int:
        return self._recipe.epochs * steps_per_epoch(self._samples, self._recipe) - self._first_step

    def __iter__(self) -> Iterator[list[Place]]:
        steps = steps_per_epoch(self._samples, self._recipe)
        for epoch in range(self._first_step // steps, self._recipe.epochs):
            order = np.random.default_rng([self._recipe.seed, ORDER, epoch]).permutation(self._samples)
            for step in range(self._first_step % steps if epoch == self._first_step // steps else 0, steps):
                start = step * self._recipe.batch
                yield [(epoch, at, int(order[at])) for at in range(start, start + self._recipe.batch)]


def steps_per_epoch(samples: int, recipe: Recipe) -> int:
    """Full batches in one pass.

    Raises:
        UsageError: Fewer samples than a batch takes.
    """
    if samples < recipe.batch:
        raise UsageError(
            f"a batch of {recipe.batch} cannot be made from {samples} images", next_step=f"use --batch {samples or 1}"
        )
    return samples // recipe.batch


def batches(dataset: Dataset, recipe: Recipe, spec: Preprocess, *, first_step: int, workers: int) -> Iterator[Batch]:
    """The run's batches from ``first_step`` on, in order.

    Args:
        dataset: Crowd boxes are left out; difficult objects are learnt, as upstream does.
        recipe: Seed, batch size, augmentation.
        spec: Size and mean.
        first_step: 0 for a fresh run.
        workers: Processes that make views; 0 makes them in this one. The batches do not depend on it.

    Raises:
        InputFileError: An image cannot be read, or is not of the size that its annotations say.
    """
    loader: DataLoader[Batch | InputFileError] = DataLoader(
        _Views(dataset.samples, recipe, spec),  # type: ignore[arg-type]  # collate_fn makes batches of views
        batch_sampler=_Order(len(dataset), recipe, first_step),
        num_workers=workers,
        collate_fn=_collate,
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=_one_thread if workers else None,
        prefetch_factor=4 if workers else None,
    )
    for batch in loader:
        if isinstance(batch, InputFileError):
            raise batch
        yield batch


def _one_thread(worker: int) -> None:
    del worker
    torch.set_num_threads(1)
