"""The comparison in float64, and the float32 bound that follows the original's own rounding."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest
import torch
from fusion_nets import HarmonicNet, image, pair, randomised
from torch import Tensor, nn

from fusion import FoldVerification, OutputError
from fusion.torch_fold import fold_module
from fusion.verify import verify_fold
from hardnet_deploy.models import registry
from hardnet_deploy.models.initialise import initialise

IMAGE = (2, 6, 9, 8)
BASE = 1e-5


class Then(nn.Module):
    """A pair that can be folded, and what follows it."""

    def __init__(self, then: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.pair, self.then = pair(), then
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.then(self.pair(x))


def verified(model: nn.Module, x: Tensor) -> FoldVerification:
    result = fold_module(model, x)
    assert result.folded
    return verify_fold(model, result, x)


def test_weights_on_which_float32_rounds_more_than_the_base_bound_are_not_refused() -> None:
    spec = registry.with_size(registry.get("hardnet68ds"), 64)
    model = registry.build(spec).eval()
    initialise(model, preprocess=spec.preprocess, seed=5)
    verification = verified(model, image(1, 3, 64, 64))
    assert verification.ok, verification.failures()
    assert verification.notes == ()
    (output,) = verification.outputs
    assert output.float64_error is not None
    assert 0 < output.float64_error <= 1e-12
    assert output.rounding_of_original is not None
    assert 1e-6 < output.rounding_of_original < 1e-4


def amplified(y: Tensor) -> Tensor:
    """Takes an error in ``y`` a hundred times larger."""
    return torch.sin(100 * y)


def test_the_bound_follows_the_rounding_of_the_original() -> None:
    verification = verified(Then(amplified), image(*IMAGE))
    (output,) = verification.outputs
    assert output.rounding_of_original is not None
    assert output.rounding_of_original > BASE
    assert output.error > BASE
    assert verification.ok, verification.failures()
    (written,) = json.loads(json.dumps(verification.as_dict(), allow_nan=False))["outputs"]
    assert written["bound"] == pytest.approx(4 * output.rounding_of_original)
    assert (written["float64_error"], written["rounding_of_original"]) == (
        output.float64_error,
        output.rounding_of_original,
    )


@pytest.mark.parametrize(
    ("own", "error", "ok"),
    [
        (None, 1.1e-5, False),
        (1e-7, 1.1e-5, False),
        (5e-6, 1.9e-5, True),
        (5e-6, 2.1e-5, False),
        (0.5, 1.1e-5, False),
        (math.nan, 1.1e-5, False),
        (math.inf, 1.1e-5, False),
    ],
)
def test_the_bound_is_never_wider_than_rounding_explains(own: float | None, error: float, ok: bool) -> None:
    output = OutputError(name="o", error=error, scale=1.0, float64_error=1e-14, rounding_of_original=own)
    assert FoldVerification(layers=(), outputs=(output,)).ok is ok


@pytest.mark.parametrize("error", [1e-9, math.nan, math.inf])
def test_an_error_in_float64_is_a_failure_however_large_the_rounding(error: float) -> None:
    output = OutputError(name="o", error=0.0, scale=1.0, float64_error=error, rounding_of_original=1e-4)
    verification = FoldVerification(layers=(), outputs=(output,))
    (failure,) = verification.failures()
    assert "float64, end to end" in failure


def test_wrong_wiring_below_the_rounding_of_float32_is_found_in_float64() -> None:
    model, x = Then(lambda y: y), image(*IMAGE)
    result = fold_module(model, x)
    result.model.then = lambda y: y * (1 + 1e-8)
    failures = verify_fold(model, result, x).failures()
    assert len(failures) == 1
    assert "float64, end to end" in failures[0]


NOT_IN_FLOAT64: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "a cast that float64 weights refuse": (
        lambda y: torch.nn.functional.conv2d(y, torch.ones(1, 8, 1, 1)),
        "does not run in float64",
    ),
    "a cast there and back": (lambda y: y.float().to(y.dtype), "makes torch.float32 by itself"),
    "a cast to the end": (lambda y: y.float(), "makes torch.float32 by itself"),
    "values that leave torch": (lambda y: torch.tensor(y.tolist()), "makes torch.float32 by itself"),
}


@pytest.mark.parametrize(("then", "note"), NOT_IN_FLOAT64.values(), ids=NOT_IN_FLOAT64)
def test_a_model_with_no_float64_run_passes_with_a_note_and_the_strict_bound(
    then: Callable[[Tensor], Tensor], note: str
) -> None:
    verification = verified(Then(then), image(*IMAGE))
    assert verification.ok, verification.failures()
    assert len(verification.notes) == 1
    assert note in verification.notes[0]
    assert verification.as_dict()["notes"] == list(verification.notes)
    (output,) = verification.outputs
    assert (output.float64_error, output.rounding_of_original, output.bound(BASE)) == (None, None, BASE)


def test_random_draws_that_depend_on_the_dtype_do_not_widen_the_bound() -> None:
    model = nn.Sequential(*randomised(pair()), nn.Dropout())
    model[2].train()
    verification = verified(model, image(*IMAGE))
    assert verification.ok, verification.failures()
    assert verification.outputs[0].bound(BASE) == BASE


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_models_of_other_dtypes_are_compared_in_float64_too(dtype: torch.dtype) -> None:
    verification = verified(randomised(HarmonicNet()).to(dtype), image(1, 3, 16, 16).to(dtype))
    assert verification.notes == ()
    assert all(one.float64_error is not None and one.float64_error <= 1e-12 for one in verification.outputs)


def test_float64_end_to_end_may_be_left_for_when_it_is_needed() -> None:
    model, x = Then(lambda y: y), image(*IMAGE)
    result = fold_module(model, x)
    within = verify_fold(model, result, x, always_in_float64=False)
    assert within.ok
    assert within.outputs[0].float64_error is None
    assert within.layers
    needed = Then(amplified)
    result = fold_module(needed, x)
    beyond = verify_fold(needed, result, x, always_in_float64=False)
    assert beyond.ok, beyond.failures()
    assert beyond.outputs[0].error > BASE
    assert beyond.outputs[0].float64_error is not None
