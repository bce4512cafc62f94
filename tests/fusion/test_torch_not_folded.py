"""What must not be folded, each case with its reason; the model still computes the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from fusion_nets import batchnorms, image, randomised, same_state, state
from kept_batchnorms import STAYS, Net, sequence
from torch import Tensor, nn
from torch.nn import functional

from fusion import Reason
from fusion.torch_fold import fold_module

IMAGE = (2, 6, 9, 8)


@pytest.mark.parametrize(("build", "reason"), STAYS.values(), ids=STAYS)
def test_the_batch_norm_stays_with_its_reason(build: Callable[[], nn.Module], reason: Reason) -> None:
    model, x = randomised(build()), image(*IMAGE)
    if reason is Reason.TRAIN_MODE:
        model.norm.train()
    before = state(model)

    result = fold_module(model, x)

    assert [left.reason for left in result.not_folded] == [reason]
    assert result.folded == ()
    assert same_state(before, state(model))
    assert same_state(before, state(result.model))
    torch.manual_seed(0)
    wanted = model(x)
    torch.manual_seed(0)
    got = result.model(x)
    for one, other in zip(*(value if isinstance(value, tuple) else (value,) for value in (wanted, got)), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", STAYS)
def test_a_pair_beside_it_is_folded_all_the_same(name: str) -> None:
    """One batch norm that stays does not keep the others."""
    build, reason = STAYS[name]
    inner = randomised(build())

    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.inner = nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6), inner

        def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
            return self.inner(torch.relu(self.norm(self.conv(x))))

    model, x = randomised(Around()), image(*IMAGE)
    if reason is Reason.TRAIN_MODE:
        inner.norm.train()
    result = fold_module(model, x)
    assert result.conv_to_batchnorm == {"conv": "norm"}
    assert len(result.not_folded) == 1
    assert result.not_folded[0].path.startswith("inner")


def test_the_reason_names_what_was_found() -> None:
    details = {
        name: fold_module(randomised(STAYS[name][0]()), image(*IMAGE)).not_folded[0].sentence
        for name in ("after ReLU", "shared weight", "output of the conv is an output of the model")
    }
    assert "it follows ReLU 1" in details["after ReLU"]
    assert "conv.weight, twin.weight" in details["shared weight"]
    assert "the output" in details["output of the conv is an output of the model"]


class Flat(nn.Module):
    def __init__(self, layer: nn.Module, channels: int) -> None:
        super().__init__()
        self.layer, self.norm = layer, nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.layer(x))


@pytest.mark.parametrize(
    ("layer", "channels", "shape"),
    [
        (nn.Linear(6, 8), 4, (2, 4, 6)),
        (nn.Linear(6, 8), 8, (2, 8, 6)),  # the batch norm's channels are axis 1, which is not what Linear makes
        (nn.Conv1d(6, 8, 3), 5, (6, 7)),  # no batch: axis 1 is the length
        (nn.Conv1d(6, 8, 3), 8, (6, 10)),
    ],
    ids=["linear, 3-D", "linear, 3-D, equal length", "conv, no batch", "conv, no batch, equal length"],
)
def test_a_batch_norm_over_another_axis_stays(layer: nn.Module, channels: int, shape: tuple[int, ...]) -> None:
    model, x = randomised(Flat(layer, channels)), image(*shape)
    result = fold_module(model, x)
    assert [left.reason for left in result.not_folded] == [Reason.NOT_CHANNELS]
    assert torch.equal(result.model(x), model(x))


BAD_NUMBERS = {
    "variance": lambda norm: norm.running_var.fill_(-1),
    "NaN": lambda norm: norm.running_mean.fill_(float("nan")),
}


@pytest.mark.parametrize("spoil", BAD_NUMBERS.values(), ids=BAD_NUMBERS)
def test_numbers_that_cannot_be_folded_are_a_reason(spoil: Callable[[nn.BatchNorm2d], object]) -> None:
    model = randomised(Net())
    spoil(model.norm)
    result = fold_module(model, image(*IMAGE))
    assert [left.reason for left in result.not_folded] == [Reason.NUMBERS]
    assert list(batchnorms(result.model)) == ["norm"]


@pytest.mark.parametrize(("dtype", "gamma"), [(torch.float16, 6e4), (torch.bfloat16, 3e38)], ids=str)
def test_weights_that_overflow_the_models_dtype_are_a_reason(dtype: torch.dtype, gamma: float) -> None:
    model = randomised(Net()).to(dtype)
    model.norm.weight.data.fill_(gamma)
    model.norm.running_var.fill_(0.01)
    result = fold_module(model, image(*IMAGE).to(dtype))
    assert [left.reason for left in result.not_folded] == [Reason.NUMBERS]
    assert "overflows" in result.not_folded[0].detail


def test_the_batch_norm_function_is_reported_and_left_alone() -> None:
    class Functions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(6, 6, 1)
            self.register_buffer("mean", torch.zeros(6))
            self.register_buffer("var", torch.ones(6))

        def forward(self, x: Tensor) -> Tensor:
            return functional.batch_norm(self.conv(x), self.mean, self.var)

    model, x = randomised(sequence(Functions(), nn.InstanceNorm2d(6))), image(*IMAGE)
    result = fold_module(model, x)
    assert [(left.path, left.reason) for left in result.not_folded] == [("0", Reason.FUNCTIONAL)]
    assert torch.equal(result.model(x), model(x))


def test_a_model_in_training_mode_keeps_every_batch_norm_and_its_statistics() -> None:
    model = randomised(sequence(nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6), nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6))).train()
    before = state(model)
    result = fold_module(model, image(*IMAGE))
    assert [left.reason for left in result.not_folded] == [Reason.TRAIN_MODE] * 2
    assert same_state(before, state(model))
    assert same_state(before, state(result.model))


def test_dropout_in_training_mode_is_not_seen_through() -> None:
    model = randomised(sequence(nn.Conv2d(6, 6, 1), nn.Dropout(), nn.BatchNorm2d(6)))
    model[1].train()
    assert [left.reason for left in fold_module(model, image(*IMAGE)).not_folded] == [Reason.AFTER_OTHER]


def test_a_second_batch_norm_in_a_row_stays() -> None:
    model = randomised(sequence(nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6), nn.BatchNorm2d(6)))
    result = fold_module(model, image(*IMAGE))
    assert result.conv_to_batchnorm == {"0": "1"}
    assert [(left.path, left.reason) for left in result.not_folded] == [("2", Reason.AFTER_OTHER)]


def test_subclasses_that_compute_what_their_base_computes_are_folded() -> None:
    class Named(nn.Conv2d):
        def __init__(self) -> None:
            super().__init__(6, 6, 1)

        def extra_repr(self) -> str:
            return "named"

    class NamedNorm(nn.BatchNorm2d):
        pass

    assert len(fold_module(randomised(sequence(Named(), NamedNorm(6))), image(*IMAGE)).folded) == 1


def test_a_module_called_from_two_parts_that_are_traced_apart_is_counted_once() -> None:
    """The trace sees one call in each part; only the run sees that the part is called twice."""

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair = sequence(nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6))

        def forward(self, x: Tensor) -> Tensor:
            y = self.pair(x)
            return self.pair(y) if y.sum() < 1e9 else y

    model, x = randomised(Shared()), image(*IMAGE)
    result = fold_module(model, x)
    assert [left.reason for left in result.not_folded] == [Reason.CALLED_TWICE]
    assert torch.equal(result.model(x), model(x))
