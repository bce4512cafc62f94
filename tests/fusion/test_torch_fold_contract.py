"""What a fold promises besides the pairs: rounding, dtypes, an untouched original, clear errors."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from fusion_nets import HarmonicNet, image, randomised, same_state, state
from torch import Tensor, nn

from fusion import FusionModelError, fold_batchnorm
from fusion.torch_fold import fold_module
from fusion.torch_modules import batchnorm_stats, rounded_once

IMAGE = (2, 6, 9, 8)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_weights_are_the_float64_fold_rounded_once_to_the_models_dtype(dtype: torch.dtype) -> None:
    model = randomised(nn.Sequential(nn.Conv2d(16, 64, 3, bias=False), nn.BatchNorm2d(64))).to(dtype)
    result = fold_module(model, image(1, 16, 5, 5).to(dtype))

    wide = model[0].weight.detach().double().numpy()
    weight, bias = fold_batchnorm(wide, None, batchnorm_stats(model[1]), out_axis=0)

    assert {parameter.dtype for parameter in result.model.parameters()} == {dtype}
    for got, wanted in ((result.model[0].weight, weight), (result.model[0].bias, bias)):
        spacing = torch.finfo(dtype).eps * np.maximum(np.abs(wanted), torch.finfo(dtype).tiny)
        assert (np.abs(got.detach().double().numpy() - wanted) <= spacing / 2).all()


@pytest.mark.parametrize(("dtype", "bits"), [(torch.bfloat16, 8), (torch.float16, 11)], ids=["bfloat16", "float16"])
def test_rounding_over_float32_would_round_twice(dtype: torch.dtype, bits: int) -> None:
    """A hair above the middle of two neighbours: float32 drops the hair, and the tie then goes to the even one."""
    below, above = 1.0, 1.0 + 2.0 ** (1 - bits)
    middle = (below + above) / 2
    hair = 2.0**-40
    values = np.array([middle - hair, middle, middle + hair, -middle - hair, 0.0, -0.0, below, 2.0**-14 + 2.0**-50])

    rounded = rounded_once(values, torch.empty(0, dtype=dtype)).double().tolist()

    assert rounded == [below, below, above, -above, 0.0, -0.0, below, 2.0**-14]
    assert torch.tensor(middle + hair, dtype=torch.float64).to(torch.float32).to(dtype).item() == below


def test_memory_format_and_requires_grad_are_kept() -> None:
    model = randomised(nn.Sequential(nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8))).to(memory_format=torch.channels_last)
    model[0].weight.requires_grad_(requires_grad=False)
    folded = fold_module(model, image(*IMAGE)).model[0]
    assert folded.weight.is_contiguous(memory_format=torch.channels_last)
    assert (folded.weight.requires_grad, folded.bias.requires_grad) == (False, False)


def test_nothing_is_shared_with_the_original_and_the_random_state_is_kept() -> None:
    class Draws(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6)
            self.register_buffer("count", torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            self.count += 1
            return self.norm(self.conv(x)) + torch.rand(1) + random.random()

    model = randomised(Draws())
    before, drawn, python = state(model), torch.get_rng_state(), random.getstate()
    result = fold_module(model, image(*IMAGE))
    assert torch.equal(torch.get_rng_state(), drawn)
    assert random.getstate() == python
    for tensor in result.model.state_dict().values():
        tensor.fill_(3)
    assert same_state(before, state(model))


def test_training_flags_survive_in_both_models() -> None:
    model = randomised(nn.Sequential(nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8), nn.Dropout(), nn.ReLU()))
    model[2].train()
    result = fold_module(model, image(*IMAGE))
    assert len(result.folded) == 1
    assert [module.training for module in model.modules()] == [False, False, False, True, False]
    assert [module.training for module in result.model.modules()] == [False, False, False, True, False]


def test_a_folded_model_has_nothing_left_to_fold() -> None:
    model, x = randomised(HarmonicNet()), image(1, 3, 16, 16)
    once = fold_module(model, x).model
    twice = fold_module(once, x)
    assert twice.report.total == 0
    assert same_state(state(once), state(twice.model))


def test_a_model_that_does_not_run_on_the_example_is_an_error_that_says_so() -> None:
    with pytest.raises(FusionModelError, match=r"shape \(2, 5, 9, 8\)"):
        fold_module(randomised(nn.Sequential(nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8))), image(2, 5, 9, 8))


class ReadsEps(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self[1].eps


def hooked_on_eps() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8))
    model.register_forward_hook(lambda self, _, y: y + self[1].eps)
    return model


@pytest.mark.parametrize("build", [lambda: ReadsEps(nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8)), hooked_on_eps])
def test_a_folded_model_that_does_not_run_is_an_error_that_names_the_way_out(build: Callable[[], nn.Module]) -> None:
    """No operation on tensors reads eps, so only a run of the folded model shows that it is missed."""
    model = randomised(build())
    with pytest.raises(FusionModelError, match=r"no attribute 'eps'.*do not fold this model"):
        fold_module(model, image(*IMAGE))


def test_batch_norms_that_share_their_tensors_with_each_other_are_folded() -> None:
    model, x = (
        nn.Sequential(nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6), nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6)),
        image(*IMAGE),
    )
    model[3].weight = model[1].weight
    result = fold_module(randomised(model), x)
    assert len(result.folded) == 2
    assert torch.allclose(result.model(x), model(x), atol=1e-5)


def test_a_model_that_cannot_be_copied_is_an_error_that_says_so() -> None:
    class Locked(nn.Conv2d):
        def __deepcopy__(self, memo: object) -> nn.Module:
            raise RuntimeError("locked")

    with pytest.raises(FusionModelError, match="cannot be copied: locked"):
        fold_module(randomised(nn.Sequential(Locked(6, 8, 3), nn.BatchNorm2d(8))), image(*IMAGE))
