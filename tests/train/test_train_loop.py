"""Training: it learns, the same command gives the same bytes, and so does one that was interrupted."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_boxes import drawn_boxes

from hardnet_deploy.data.dataset import Dataset
from hardnet_deploy.errors import ArtifactMismatchError, InputFileError, UsageError
from hardnet_deploy.models import registry
from hardnet_deploy.specs import ModelSpec
from hardnet_deploy.train.feed import batches
from hardnet_deploy.train.loop import Outcome, Progress, Sitting, TrainingError, train
from hardnet_deploy.train.recipe import Recipe
from hardnet_deploy.train.start import draw_weights
from hardnet_deploy.train.state import CHECKPOINT

SPEC = registry.with_classes(registry.get("ssd300-hardnet-demo"), ("red", "blue"))
RECIPE = Recipe(epochs=3, batch=2, learning_rate=2e-3, warmup_epochs=0.0, augmentation="light", seed=3)


class _KilledError(Exception):
    pass


def _train(
    dataset: Dataset,
    folder: Path,
    *,
    recipe: Recipe = RECIPE,
    report: Callable[[Progress], None] = lambda _: None,
    identity: str = "run",
    workers: int = 0,
    spec: ModelSpec = SPEC,
) -> tuple[dict[str, torch.Tensor], Outcome]:
    model = registry.build(spec)
    draw_weights(model, seed=recipe.seed)
    folder.mkdir(exist_ok=True)
    how = Sitting(device=torch.device("cpu"), workers=workers, folder=folder, report=report)
    outcome = train(model, spec, dataset, recipe, identity={"what": identity}, how=how)
    return dict(model.state_dict()), outcome


def _same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return drawn_boxes(tmp_path_factory.mktemp("images"))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_that_was_killed_ends_in_the_same_bytes(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    monkeypatch.setattr("hardnet_deploy.train.loop.SAVE_EVERY", 0.0)  # a checkpoint after every step
    recipe = dataclasses.replace(RECIPE, precision=precision)
    whole, outcome = _train(data, tmp_path / "whole", recipe=recipe)
    assert (outcome.steps, outcome.resumed_from) == (9, 0)

    def kill(at: Progress) -> None:
        if at.step == 5:  # in the middle of the second epoch; the checkpoint is of step 4
            raise _KilledError

    with pytest.raises(_KilledError):
        _train(data, tmp_path / "killed", recipe=recipe, report=kill)
    resumed, rest = _train(data, tmp_path / "killed", recipe=recipe)
    assert rest.resumed_from == 4
    assert _same(whole, resumed)
    assert rest.curve == outcome.curve


def test_the_same_run_again_gives_the_same_bytes_and_another_seed_does_not(data: Dataset, tmp_path: Path) -> None:
    first, _ = _train(data, tmp_path / "1")
    second, _ = _train(data, tmp_path / "2")
    other, _ = _train(data, tmp_path / "3", recipe=dataclasses.replace(RECIPE, seed=4))
    assert _same(first, second)
    assert not _same(first, other)


def test_it_learns_its_images_by_heart(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hardnet_deploy.train.loop.CURVE_EVERY", 1)
    recipe = dataclasses.replace(RECIPE, epochs=14, augmentation="none", batch=6, optimizer="adamw")
    _, outcome = _train(data, tmp_path / "run", recipe=recipe)
    losses = [location + confidence for _, _, location, confidence in outcome.curve]
    assert len(losses) == 14
    assert min(losses[-3:]) < losses[0] / 2


def test_every_parameter_moves(data: Dataset, tmp_path: Path) -> None:
    start = registry.build(SPEC)
    draw_weights(start, seed=RECIPE.seed)
    trained, _ = _train(data, tmp_path / "run")
    still = [key for key, value in start.named_parameters() if torch.equal(value, trained[key])]
    # A level that no object is matched to learns no offsets; its weights still decay.
    assert [key for key in still if not (key.startswith("loc.") and key.endswith(".bias"))] == []


@pytest.mark.parametrize("change", [{"augmentation": "ssd"}, {"augmentation": "none"}])
def test_batches_do_not_depend_on_the_workers(data: Dataset, change: dict[str, str]) -> None:
    recipe = dataclasses.replace(RECIPE, **change)
    alone, shared = (list(batches(data, recipe, SPEC.preprocess, first_step=4, workers=n)) for n in (0, 2))
    assert len(alone) == len(shared) == 5
    for mine, theirs in zip(alone, shared, strict=True):
        assert torch.equal(mine.pixels, theirs.pixels)
        assert torch.equal(mine.boxes, theirs.boxes)
        assert torch.equal(mine.labels, theirs.labels)


def test_an_epoch_shows_every_image_once_and_the_next_in_another_order(data: Dataset) -> None:
    recipe = dataclasses.replace(RECIPE, epochs=2, batch=2, augmentation="none")
    seen = [
        batch.pixels[row].numpy().tobytes()
        for batch in batches(data, recipe, SPEC.preprocess, first_step=0, workers=0)
        for row in range(2)
    ]
    assert len(set(seen[:6])) == len(set(seen[6:])) == 6
    assert set(seen[:6]) == set(seen[6:])
    assert seen[:6] != seen[6:]


def test_a_batch_becomes_what_the_detector_is_fed(data: Dataset) -> None:
    from hardnet_deploy.data.images import load_image
    from hardnet_deploy.data.preprocess import preprocess_image

    recipe = dataclasses.replace(RECIPE, augmentation="none", batch=6)
    (batch, *_) = batches(data, recipe, SPEC.preprocess, first_step=0, workers=0)
    made = batch.images(SPEC.preprocess, torch.device("cpu")).numpy()
    wanted = [preprocess_image(load_image(sample.path), SPEC.preprocess) for sample in data.samples]
    for image in made:
        assert any(np.array_equal(image, one) for one in wanted)


def test_a_folder_with_another_run_is_left_alone(data: Dataset, tmp_path: Path) -> None:
    _train(data, tmp_path / "run")
    before = (tmp_path / "run" / CHECKPOINT).read_bytes()
    with pytest.raises(ArtifactMismatchError, match="another training run"):
        _train(data, tmp_path / "run", identity="another")
    assert (tmp_path / "run" / CHECKPOINT).read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_is_refused_and_not_begun_anew(
    data: Dataset, tmp_path: Path, content: bytes | None
) -> None:
    _train(data, tmp_path / "run")
    path = tmp_path / "run" / CHECKPOINT
    path.write_bytes(path.read_bytes()[:1000] if content is None else content)
    with pytest.raises(InputFileError, match="damaged"):
        _train(data, tmp_path / "run")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_named(data: Dataset, tmp_path: Path, workers: int) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    samples = (dataclasses.replace(data.samples[0], path=broken), *data.samples[1:])
    with pytest.raises(InputFileError, match=r"broken\.png is not an image"):
        _train(dataclasses.replace(data, samples=samples), tmp_path / "run", workers=workers)


def test_an_image_of_another_size_than_annotated_is_refused(data: Dataset, tmp_path: Path) -> None:
    samples = tuple(dataclasses.replace(sample, width=65) for sample in data.samples)
    with pytest.raises(InputFileError, match="another size than its annotations"):
        _train(dataclasses.replace(data, samples=samples), tmp_path / "run")


def test_fewer_images_than_a_batch_are_refused(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="batch of 32"):
        _train(data, tmp_path / "run", recipe=dataclasses.replace(RECIPE, batch=32))


def test_a_loss_that_is_no_number_stops_the_run(data: Dataset, tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, learning_rate=90.0, epochs=20)
    with pytest.raises(TrainingError, match="the loss is"):
        _train(data, tmp_path / "run", recipe=recipe)


def test_crowds_are_not_learnt(data: Dataset) -> None:
    crowds = tuple(
        dataclasses.replace(sample, truth=dataclasses.replace(sample.truth, crowd=np.ones(1, np.bool_)))
        for sample in data.samples
    )
    (batch, *_) = batches(dataclasses.replace(data, samples=crowds), RECIPE, SPEC.preprocess, first_step=0, workers=0)
    assert not batch.labels.any()
