"""What must be folded, and what a fold leaves alone."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from fusion_nets import HarmonicNet, batchnorms, float64, image, randomised, same_state, state
from torch import Tensor, nn
from torch.nn import functional

from fusion import Reason
from fusion.torch_fold import FoldResult, fold_module

FLOAT64_ROUNDING = 1e-11  # relative to the largest output, over at most seven layers in float64
IMAGE = (2, 6, 9, 8)


def assert_same_outputs(model: nn.Module, result: FoldResult, *arguments: Tensor) -> None:
    """In float64, where only a wrong fold makes a difference that can be seen."""
    wide = tuple(one.double() for one in arguments)
    with torch.no_grad():
        wanted, got = float64(model)(*wide), fold_module(float64(model), wide).model(*wide)
        stored = copy.deepcopy(result.model).double()(*wide)
    for one, other, rounded in zip(*map(flat, (wanted, got, stored)), strict=True):
        assert float((one - other).abs().max() / one.abs().max()) <= FLOAT64_ROUNDING
        assert float((one - rounded).abs().max() / one.abs().max()) <= 1e-5  # the weights are rounded to float32


def flat(output: object) -> list[Tensor]:
    if isinstance(output, dict):
        return list(output.values())
    return list(output) if isinstance(output, tuple) else [output]  # type: ignore[list-item]


def sequence(*modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(*modules)


FOLDABLE: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "conv2d without bias": (lambda: sequence(nn.Conv2d(6, 8, 3, bias=False), nn.BatchNorm2d(8)), IMAGE),
    "conv2d with bias": (lambda: sequence(nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8)), IMAGE),
    "groups": (lambda: sequence(nn.Conv2d(6, 8, 3, groups=2), nn.BatchNorm2d(8)), IMAGE),
    "depthwise": (lambda: sequence(nn.Conv2d(6, 6, 3, groups=6), nn.BatchNorm2d(6)), IMAGE),
    "depthwise, two outputs each": (lambda: sequence(nn.Conv2d(6, 12, 3, groups=6), nn.BatchNorm2d(12)), IMAGE),
    "dilation": (lambda: sequence(nn.Conv2d(6, 8, 3, dilation=2, padding=2), nn.BatchNorm2d(8)), IMAGE),
    "stride": (lambda: sequence(nn.Conv2d(6, 8, (3, 2), stride=(2, 1)), nn.BatchNorm2d(8)), IMAGE),
    "padding same": (lambda: sequence(nn.Conv2d(6, 8, 3, dilation=2, padding="same"), nn.BatchNorm2d(8)), IMAGE),
    "padding reflect": (
        lambda: sequence(nn.Conv2d(6, 8, 3, padding=2, padding_mode="reflect"), nn.BatchNorm2d(8)),
        IMAGE,
    ),
    "padding circular": (
        lambda: sequence(nn.Conv2d(6, 8, 3, padding=1, padding_mode="circular"), nn.BatchNorm2d(8)),
        IMAGE,
    ),
    "padding replicate": (
        lambda: sequence(nn.Conv2d(6, 8, 3, padding=1, padding_mode="replicate"), nn.BatchNorm2d(8)),
        IMAGE,
    ),
    "conv1d": (lambda: sequence(nn.Conv1d(6, 8, 3, padding=1), nn.BatchNorm1d(8)), (2, 6, 9)),
    "conv3d": (lambda: sequence(nn.Conv3d(6, 8, 3), nn.BatchNorm3d(8)), (2, 6, 4, 5, 6)),
    "transposed 1d": (lambda: sequence(nn.ConvTranspose1d(6, 8, 3, groups=2), nn.BatchNorm1d(8)), (2, 6, 9)),
    "transposed 2d": (lambda: sequence(nn.ConvTranspose2d(6, 8, 3, stride=2), nn.BatchNorm2d(8)), IMAGE),
    "transposed 2d in groups": (
        lambda: sequence(nn.ConvTranspose2d(6, 9, 3, stride=2, groups=3, bias=False), nn.BatchNorm2d(9)),
        IMAGE,
    ),
    "transposed 3d": (lambda: sequence(nn.ConvTranspose3d(6, 4, 2), nn.BatchNorm3d(4)), (2, 6, 3, 4, 5)),
    "linear": (lambda: sequence(nn.Linear(6, 8), nn.BatchNorm1d(8)), (5, 6)),
    "linear without bias": (lambda: sequence(nn.Linear(6, 8, bias=False), nn.BatchNorm1d(8)), (5, 6)),
    "synchronised": (lambda: sequence(nn.Conv2d(6, 8, 3), nn.SyncBatchNorm(8)), IMAGE),
    "affine=False": (lambda: sequence(nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8, affine=False)), IMAGE),
    "another eps": (lambda: sequence(nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8, eps=0.5)), IMAGE),
    "through identity": (lambda: sequence(nn.Conv2d(6, 8, 3), nn.Identity(), nn.BatchNorm2d(8)), IMAGE),
    "through dropout": (lambda: sequence(nn.Conv2d(6, 8, 3), nn.Dropout(), nn.BatchNorm2d(8)), IMAGE),
    "through two dropouts": (
        lambda: sequence(nn.Conv2d(6, 8, 3), nn.Dropout2d(), nn.AlphaDropout(), nn.BatchNorm2d(8)),
        IMAGE,
    ),
    "one child each": (lambda: sequence(sequence(nn.Conv2d(6, 8, 3)), sequence(sequence(nn.BatchNorm2d(8)))), IMAGE),
    "several pairs": (
        lambda: sequence(
            sequence(nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8), nn.ReLU()), nn.Conv2d(8, 4, 1), nn.BatchNorm2d(4)
        ),
        IMAGE,
    ),
}


@pytest.mark.parametrize(("build", "shape"), FOLDABLE.values(), ids=FOLDABLE)
def test_every_batch_norm_is_folded_and_the_numbers_stay(
    build: Callable[[], nn.Module], shape: tuple[int, ...]
) -> None:
    model, x = randomised(build()), image(*shape)
    before = state(model)

    result = fold_module(model, x)

    assert result.not_folded == ()
    assert [pair.batchnorm for pair in result.folded] == list(batchnorms(model))
    assert not list(batchnorms(result.model))
    assert [path for path, _ in result.model.named_modules()] == [path for path, _ in model.named_modules()]
    for pair in result.folded:
        assert type(result.model.get_submodule(pair.batchnorm)) is nn.Identity
        assert result.model.get_submodule(pair.conv).bias is not None
        assert type(result.model.get_submodule(pair.conv)).__name__ == pair.kind
    assert same_state(before, state(model))
    assert_same_outputs(model, result, x)


def test_a_hardnet_like_net_with_concatenations_folds_all_of_its_batch_norms() -> None:
    model, x = randomised(HarmonicNet()), image(1, 3, 16, 16)
    result = fold_module(model, x)
    assert (len(result.folded), result.not_folded, result.report.untraced) == (7, (), ())
    assert result.conv_to_batchnorm["base.1.layers.3.conv"] == "base.1.layers.3.norm"
    assert result.conv_to_batchnorm["down.0"] == "down.1"
    assert result.report.folded[0].channels == 8
    assert_same_outputs(model, result, x)


class Called(nn.Module):
    """Attributes in another order than the calls, the pair in two modules, keyword arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(8)
        self.inner = sequence(nn.ReLU(), nn.Conv2d(6, 8, 3))

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.norm(input=self.inner(x)))


def test_the_wiring_counts_and_not_the_order_of_the_attributes() -> None:
    model, x = randomised(Called()), image(*IMAGE)
    result = fold_module(model, x)
    assert result.conv_to_batchnorm == {"inner.1": "norm"}
    assert_same_outputs(model, result, x)


class ReadsShape(Called):
    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        batch, channels, height, width = y.shape
        return self.norm(y).view(batch, channels * height, -1)[:, :, : y.size(3)] * width


def test_who_asks_for_the_shape_alone_is_no_reader() -> None:
    model, x = randomised(ReadsShape()), image(*IMAGE)
    result = fold_module(model, x)
    assert result.conv_to_batchnorm == {"inner.1": "norm"}
    assert_same_outputs(model, result, x)


class Untraceable(nn.Module):
    """Control flow that depends on data around two children that have none."""

    def __init__(self) -> None:
        super().__init__()
        self.block = sequence(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.other = sequence(nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6))
        self.conv, self.norm = nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(x)
        x = self.other(x) if x.sum() > -1e9 else -x
        return self.norm(self.conv(x))


def test_children_of_a_forward_that_cannot_be_traced_are_folded_and_the_rest_is_said() -> None:
    model, x = randomised(Untraceable()), image(*IMAGE)
    result = fold_module(model, x)
    assert result.conv_to_batchnorm == {"block.0": "block.1", "other.0": "other.1"}
    assert [(left.path, left.reason) for left in result.not_folded] == [("norm", Reason.NOT_SEEN)]
    assert "control flow" in result.not_folded[0].detail
    assert [part.path for part in result.report.untraced] == [""]
    assert_same_outputs(model, result, x)


def test_around_a_part_that_cannot_be_traced_the_rest_is_folded() -> None:
    """Only the innermost forward that fails is closed: the pairs before and behind it are still seen."""
    model = randomised(
        nn.Sequential(nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6), Untraceable(), nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6))
    )
    x = image(*IMAGE)
    result = fold_module(model, x)
    assert result.conv_to_batchnorm == {"0": "1", "2.block.0": "2.block.1", "2.other.0": "2.other.1", "3": "4"}
    assert [left.path for left in result.not_folded] == ["2.norm"]
    assert [part.path for part in result.report.untraced] == ["2"]
    assert_same_outputs(model, result, x)


def test_a_batch_norm_behind_a_closed_part_is_not_folded_into_what_is_inside() -> None:
    class Chooses(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(6, 6, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x) if x.sum() > -1e9 else x

    result = fold_module(randomised(sequence(Chooses(), nn.BatchNorm2d(6))), image(*IMAGE))
    assert [(left.path, left.reason) for left in result.not_folded] == [("1", Reason.AFTER_OTHER)]
    assert result.not_folded[0].detail == "it follows Chooses 0"
    assert [part.path for part in result.report.untraced] == ["0"]


class Options(nn.Module):
    """Arguments with defaults that choose the control flow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6)

    def forward(self, x: Tensor, mask: Tensor | None = None, *, both: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        y = self.conv(x)
        if mask is not None:
            y = y * mask
        z = self.norm(y)
        return (z, y) if both else z


def test_arguments_that_were_not_given_keep_their_defaults_in_the_trace() -> None:
    model, x = randomised(Options()), image(*IMAGE)
    result = fold_module(model, x)
    assert result.conv_to_batchnorm == {"conv": "norm"}
    assert_same_outputs(model, result, x)


def test_an_argument_that_was_given_is_used() -> None:
    result = fold_module(randomised(Options()), (image(*IMAGE), torch.ones(1)))
    assert [left.reason for left in result.not_folded] == [Reason.AFTER_OTHER]


def test_a_module_under_two_names_is_folded_under_both() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6)
            self.same_conv, self.same_norm = self.conv, self.norm
            self.hidden = [self.conv, self.norm]

        def forward(self, x: Tensor) -> Tensor:
            return self.hidden[1](self.same_conv(x))

    model, x = randomised(Twice()), image(*IMAGE)
    result = fold_module(model, x)
    assert result.conv_to_batchnorm == {"conv": "norm"}
    assert isinstance(result.model.same_norm, nn.Identity)
    assert result.model.same_norm is result.model.norm
    assert result.model.same_conv is result.model.conv
    assert_same_outputs(model, result, x)


def test_children_that_are_none_are_no_obstacle() -> None:
    model = nn.Sequential(nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6))
    model.register_module("nothing", None)

    class Runs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.extra = model[:2], None

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x)

    root = Runs()
    root.register_module("nothing", None)
    root.body.add_module("nothing_either", nn.Identity())
    assert len(fold_module(randomised(root), image(*IMAGE)).folded) == 1


@pytest.mark.parametrize("build", [lambda: nn.Conv2d(6, 6, 1), lambda: sequence(nn.ReLU()), nn.Identity])
def test_a_model_without_batch_norm_is_copied(build: Callable[[], nn.Module]) -> None:
    model, x = randomised(build()), image(*IMAGE)
    result = fold_module(model, x)
    assert (result.folded, result.not_folded) == ((), ())
    assert result.model is not model
    assert torch.equal(result.model(x), model(x))
    assert result.report.explain() == ("There is no batch norm to fold.",)
