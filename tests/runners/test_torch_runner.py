"""PyTorch as a runner: the model's own outputs, with boxes and scores by upstream's formulas in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hardnet_deploy.models import registry
from hardnet_deploy.models.initialise import initialise
from hardnet_deploy.runners.torch import TorchRunner
from hardnet_deploy.specs import TensorInfo

NAME = "ssd300-hardnet68-voc"
# One float32 rounding of values of the order of 1, some operations long.
FLOAT32_STEPS = 1e-5


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    model = registry.build(NAME)
    initialise(model, preprocess=registry.get(NAME).preprocess)
    return model


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(6).normal(0, 60, (2, 3, 300, 300)).astype(np.float32)


def test_a_detector_returns_the_models_outputs_and_their_boxes(model: torch.nn.Module, images: np.ndarray) -> None:
    spec = registry.get(NAME)
    assert spec.head is not None
    with TorchRunner(model, spec) as runner:
        got = runner.infer({"images": images})
        assert tuple(got) == runner.outputs == ("loc", "conf", "boxes", "scores")
    with torch.inference_mode():
        loc, conf = (tensor.double().numpy() for tensor in model(torch.from_numpy(images)))
    assert np.array_equal(got["loc"], loc)
    assert np.array_equal(got["conf"], conf)
    power = np.exp(conf - conf.max(axis=2, keepdims=True))
    assert np.abs(got["scores"] - power / power.sum(axis=2, keepdims=True)).max() < FLOAT32_STEPS
    priors = spec.head.priors64()
    centre = priors[:, :2] + loc[..., :2] * 0.1 * priors[:, 2:]
    half = priors[:, 2:] * np.exp(loc[..., 2:] * 0.2) / 2
    wanted = np.concatenate((centre - half, centre + half), axis=2)
    assert (np.abs(got["boxes"] - wanted) <= FLOAT32_STEPS * (1 + np.abs(wanted))).all()
    assert {value.dtype for value in got.values()} == {np.dtype(np.float32)}
    assert not any(np.array_equal(*(value[row] for row in range(2))) for value in got.values())


def test_images_of_a_batch_do_not_mix(model: torch.nn.Module, images: np.ndarray) -> None:
    runner = TorchRunner(model, registry.get(NAME))
    together = runner.infer({"images": images})["conf"]
    alone = runner.infer({"images": images[1:]})["conf"]
    assert np.abs(together[1:] - alone).max() < FLOAT32_STEPS * np.abs(alone).max()


def test_outputs_are_the_callers_and_feeds_are_left_alone() -> None:
    """A feed may be read-only or run backwards, as slices of a data set are."""
    spec = registry.with_size(registry.get("hardnet39ds"), 64)
    model = registry.build(spec)
    initialise(model, preprocess=spec.preprocess)
    runner = TorchRunner(model, spec)
    assert runner.outputs == ("logits",)
    assert runner.name == "PyTorch (CPU)"
    assert runner.inputs == (TensorInfo(name="images", dtype="float32", shape=(-1, 3, 64, 64)),)
    feed = np.random.default_rng(8).normal(0, 1, (2, 3, 64, 64)).astype(np.float32)
    before = feed.copy()
    feed.flags.writeable = False
    first = runner.infer({"images": feed})["logits"]
    kept = first.copy()
    assert first.shape == (2, 1000)
    assert first.flags.writeable
    backwards = runner.infer({"images": feed[::-1]})["logits"]
    assert np.array_equal(first, kept)
    assert np.array_equal(feed, before)
    assert np.abs(backwards[::-1] - first).max() < FLOAT32_STEPS * np.abs(first).max()
    with torch.inference_mode():
        assert np.array_equal(first, model(torch.from_numpy(before)).numpy())
