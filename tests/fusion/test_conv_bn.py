from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from fusion import BatchNormStats, FusionShapeError, FusionValueError, fold_batchnorm

FLOAT64_ROUNDING = 1e-12  # sums of at most 200 products of numbers near one, in float64


def stats(channels: int, *, seed: int = 0, **changes: Any) -> BatchNormStats:
    rng = np.random.default_rng(seed)
    made = BatchNormStats(
        gamma=rng.uniform(-2, 2, channels),
        beta=rng.uniform(-1, 1, channels),
        mean=rng.uniform(-1, 1, channels),
        var=rng.uniform(0.1, 3, channels),
        eps=1e-5,
    )
    return dataclasses.replace(made, **changes)


def batch_norm(y: torch.Tensor, bn: BatchNormStats) -> torch.Tensor:
    gamma, beta = (None if one is None else torch.from_numpy(one) for one in (bn.gamma, bn.beta))
    return functional.batch_norm(
        y, torch.from_numpy(bn.mean), torch.from_numpy(bn.var), gamma, beta, training=False, eps=bn.eps
    )


def tensors(*shapes: tuple[int, ...]) -> list[torch.Tensor]:
    rng = np.random.default_rng(3)
    return [torch.from_numpy(rng.standard_normal(shape)) for shape in shapes]


@pytest.mark.parametrize("with_bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("groups", [1, 2, 6], ids=lambda groups: f"{groups} groups")
@pytest.mark.parametrize("rank", [1, 2, 3], ids=lambda rank: f"{rank}d")
def test_conv_then_batch_norm_is_the_folded_conv(rank: int, groups: int, with_bias: bool) -> None:
    x, weight, bias = tensors((2, 6, *[7] * rank), (12, 6 // groups, *[3] * rank), (12,))
    bn = stats(12)
    conv = getattr(functional, f"conv{rank}d")
    wanted = batch_norm(conv(x, weight, bias if with_bias else None, padding=1, groups=groups), bn)

    folded = fold_batchnorm(weight.numpy(), bias.numpy() if with_bias else None, bn, out_axis=0, groups=groups)

    got = conv(x, *map(torch.from_numpy, folded), padding=1, groups=groups)
    assert torch.allclose(got, wanted, rtol=0, atol=FLOAT64_ROUNDING)


@pytest.mark.parametrize("with_bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("groups", [1, 2, 6], ids=lambda groups: f"{groups} groups")
@pytest.mark.parametrize("rank", [1, 2, 3], ids=lambda rank: f"{rank}d")
def test_transposed_conv_scales_the_channel_that_belongs_to_the_group(rank: int, groups: int, with_bias: bool) -> None:
    x, weight, bias = tensors((2, 6, *[5] * rank), (6, 18 // groups, *[3] * rank), (18,))
    bn = stats(18)
    conv = getattr(functional, f"conv_transpose{rank}d")
    wanted = batch_norm(conv(x, weight, bias if with_bias else None, stride=2, groups=groups), bn)

    folded = fold_batchnorm(weight.numpy(), bias.numpy() if with_bias else None, bn, out_axis=1, groups=groups)

    got = conv(x, *map(torch.from_numpy, folded), stride=2, groups=groups)
    assert torch.allclose(got, wanted, rtol=0, atol=FLOAT64_ROUNDING)


@pytest.mark.parametrize("out_axis", [0, 1])
def test_a_matrix_folds_along_either_axis(out_axis: int) -> None:
    x, weight, bias = tensors((4, 5), (7, 5), (7,))
    bn = stats(7)
    wanted = batch_norm(functional.linear(x, weight, bias), bn)

    stored = weight.numpy() if out_axis == 0 else weight.numpy().T
    folded, shift = fold_batchnorm(stored, bias.numpy(), bn, out_axis=out_axis)

    product = x.numpy() @ (folded.T if out_axis == 0 else folded) + shift
    assert np.allclose(product, wanted.numpy(), rtol=0, atol=FLOAT64_ROUNDING)


def test_missing_gamma_and_beta_are_one_and_zero() -> None:
    weight = np.random.default_rng(0).standard_normal((3, 2, 1, 1))
    ones = stats(3, gamma=np.ones(3), beta=np.zeros(3))
    explicit = fold_batchnorm(weight, None, ones, out_axis=0)
    implicit = fold_batchnorm(weight, None, dataclasses.replace(ones, gamma=None, beta=None), out_axis=0)
    assert all(np.array_equal(one, other) for one, other in zip(explicit, implicit, strict=True))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_result_is_the_float64_result_rounded_once(dtype: type[np.floating[Any]]) -> None:
    rng = np.random.default_rng(5)
    weight, bias = rng.standard_normal((64, 32, 3, 3)).astype(dtype), rng.standard_normal(64).astype(dtype)
    exact = fold_batchnorm(weight.astype(np.float64), bias.astype(np.float64), stats(64), out_axis=0)

    folded = fold_batchnorm(weight, bias, stats(64), out_axis=0)

    assert [one.dtype for one in folded] == [dtype, dtype]
    assert all(np.array_equal(got, wanted.astype(dtype)) for got, wanted in zip(folded, exact, strict=True))


def test_arguments_are_not_changed_and_not_shared() -> None:
    weight, bias, bn = np.ones((2, 1, 1, 1)), np.ones(2), stats(2, gamma=None, beta=None)
    before = [one.copy() for one in (weight, bias, bn.mean, bn.var)]
    folded = fold_batchnorm(weight, bias, bn, out_axis=0)
    for one in folded:
        one[...] = 7
    assert all(np.array_equal(one, other) for one, other in zip(before, (weight, bias, bn.mean, bn.var), strict=True))


@pytest.mark.parametrize("name", ["gamma", "beta", "mean", "var"])
@pytest.mark.parametrize("shape", [(3,), (1,), (), (4, 1)], ids=str)
def test_a_vector_of_another_length_is_refused_even_where_it_would_broadcast(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(FusionShapeError, match=name):
        fold_batchnorm(np.ones((4, 2, 1, 1)), None, stats(4, **{name: np.ones(shape)}), out_axis=0)


def test_a_bias_of_another_length_is_refused() -> None:
    with pytest.raises(FusionShapeError, match="bias"):
        fold_batchnorm(np.ones((4, 2, 1, 1)), np.ones(2), stats(4), out_axis=0)


@pytest.mark.parametrize(
    ("shape", "out_axis", "groups"), [((4,), 0, 1), ((4, 2), 2, 1), ((4, 2), -1, 1), ((4, 2), 1, 3), ((4, 2), 1, 0)]
)
def test_an_axis_or_a_number_of_groups_that_is_not_there_is_refused(
    shape: tuple[int, ...], out_axis: int, groups: int
) -> None:
    with pytest.raises(FusionShapeError, match="out_axis"):
        fold_batchnorm(np.ones(shape), None, stats(4), out_axis=out_axis, groups=groups)


BAD_NUMBERS = {
    "variance zero, eps zero": {"var": np.array([1.0, 0.0]), "eps": 0.0},
    "variance negative": {"var": np.array([1.0, -1.0])},
    "variance minus eps": {"var": np.array([1.0, -1e-5])},
    "variance NaN": {"var": np.array([1.0, np.nan])},
    "eps NaN": {"eps": float("nan")},
    "eps infinite": {"eps": float("inf")},
    "mean infinite": {"mean": np.array([1.0, np.inf])},
    "gamma NaN": {"gamma": np.array([np.nan, 1.0])},
    "beta infinite": {"beta": np.array([-np.inf, 1.0])},
    "scale overflows": {"gamma": np.array([1e300, 1.0]), "var": np.array([1e-300, 1.0]), "eps": 0.0},
}


@pytest.mark.parametrize("changes", BAD_NUMBERS.values(), ids=BAD_NUMBERS)
def test_numbers_that_cannot_be_folded_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(FusionValueError):
        fold_batchnorm(np.full((2, 1), 2.0), None, stats(2, **changes), out_axis=0)


def test_the_smallest_variance_with_eps_is_fine() -> None:
    weight, bias = fold_batchnorm(np.ones((1, 1)), None, stats(1, var=np.zeros(1)), out_axis=0)
    assert np.isfinite(weight).all()
    assert np.isfinite(bias).all()


@pytest.mark.parametrize("weight", [np.array([[np.nan]]), np.array([[np.inf]])])
def test_a_weight_that_is_not_finite_is_refused(weight: np.ndarray[Any, Any]) -> None:
    with pytest.raises(FusionValueError, match="weight"):
        fold_batchnorm(weight, None, stats(1), out_axis=0)


def test_an_overflow_of_float16_is_refused_and_named() -> None:
    large = stats(1, gamma=np.array([1e5]), var=np.ones(1))
    with pytest.raises(FusionValueError, match="weight overflows float16"):
        fold_batchnorm(np.ones((1, 1), dtype=np.float16), None, large, out_axis=0)
    shifted = dataclasses.replace(large, gamma=np.ones(1), beta=np.array([1e5]))
    with pytest.raises(FusionValueError, match="bias overflows float16"):
        fold_batchnorm(np.ones((1, 1), dtype=np.float16), None, shifted, out_axis=0)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.complex64, np.bool_])
def test_other_dtypes_are_refused(dtype: type[np.generic]) -> None:
    with pytest.raises(FusionValueError, match=np.dtype(dtype).name):
        fold_batchnorm(np.ones((1, 1), dtype=dtype), None, stats(1), out_axis=0)


def test_a_dead_channel_becomes_its_beta() -> None:
    weight, bias = fold_batchnorm(np.ones((2, 1)), None, stats(2, gamma=np.zeros(2)), out_axis=0)
    assert not weight.any()
    assert np.array_equal(bias, stats(2).beta)
