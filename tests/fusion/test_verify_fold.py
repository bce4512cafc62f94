from __future__ import annotations

import dataclasses
import gc
import json
import math

import pytest
import torch
from fusion_nets import HarmonicNet, image, pair, randomised, same_state, state
from torch import Tensor, nn

from fusion import FoldVerification, LayerError, OutputError, Tolerance
from fusion.torch_fold import FoldResult, fold_module
from fusion.verify import verify_fold

IMAGE = (2, 6, 9, 8)


def folded(model: nn.Module, x: Tensor) -> FoldResult:
    result = fold_module(model, x)
    assert result.folded
    return result


def test_a_right_fold_is_ok_and_says_how_right() -> None:
    model, x = randomised(HarmonicNet()), image(1, 3, 16, 16)
    verification = verify_fold(model, fold_module(model, x), x)
    assert verification.ok, verification.failures()
    assert [layer.conv for layer in verification.layers][:2] == ["base.0.conv", "base.1.layers.0.conv"]
    assert len(verification.layers) == 7
    assert [output.name for output in verification.outputs] == ["output['loc']", "output['conf']"]
    assert verification.worst_layer is not None
    assert verification.worst_output is not None
    assert 0 < verification.worst_layer.error <= 1e-10
    assert 0 < verification.worst_output.error <= 1e-5
    assert verification.layer_tolerance.bound == 1e-10
    assert verification.output_tolerance.bound == 1e-5


def test_both_models_and_the_random_state_are_left_alone() -> None:
    model, x = nn.Sequential(*randomised(pair()), nn.Dropout(), nn.BatchNorm2d(8)), image(*IMAGE)
    model[2].train()
    model[3].train()
    result = folded(model, x)
    before, drawn = (state(model), state(result.model)), torch.get_rng_state()
    verification = verify_fold(model, result, x)
    assert verification.ok, verification.failures()
    assert same_state(before[0], state(model))
    assert same_state(before[1], state(result.model))
    assert torch.equal(torch.get_rng_state(), drawn)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_other_dtypes_pass_the_same_bounds(dtype: torch.dtype) -> None:
    model, x = randomised(HarmonicNet()).to(dtype), image(1, 3, 16, 16).to(dtype)
    verification = verify_fold(model, fold_module(model, x), x)
    assert verification.ok, verification.failures()
    assert len(verification.layers) == 7


@pytest.mark.parametrize("transposed", [nn.ConvTranspose2d(6, 9, 3, stride=2, groups=3), nn.Linear(8, 9)], ids=repr)
def test_other_layers_are_compared_too(transposed: nn.Module) -> None:
    norm = nn.BatchNorm1d(9) if isinstance(transposed, nn.Linear) else nn.BatchNorm2d(9)
    model = randomised(nn.Sequential(transposed, norm))
    x = image(4, 8) if isinstance(transposed, nn.Linear) else image(*IMAGE)
    assert verify_fold(model, folded(model, x), x).ok


@pytest.mark.needs_cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU that torch can use")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_on_a_gpu_where_float32_is_not_tf32(dtype: torch.dtype) -> None:
    model, x = randomised(HarmonicNet()).to("cuda", dtype), image(1, 3, 16, 16).to("cuda", dtype)
    result = fold_module(model, x)
    assert {parameter.device.type for parameter in result.model.parameters()} == {"cuda"}
    verification = verify_fold(model, result, x)
    assert verification.ok, verification.failures()


def test_a_layer_called_with_keywords_is_compared_with_them() -> None:
    class Sized(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.ConvTranspose2d(6, 6, 3, stride=2), nn.BatchNorm2d(6)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.conv(input=x, output_size=[20, 18]))

    model, x = randomised(Sized()), image(*IMAGE)
    verification = verify_fold(model, folded(model, x), x)
    assert verification.ok, verification.failures()
    assert len(verification.layers) == 1


def test_a_changed_weight_is_found_even_where_the_output_hides_it() -> None:
    """One bit in a layer whose output is multiplied by nearly nothing: only the stored weights show it."""

    class Faint(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.loud, self.faint = pair(), pair()

        def forward(self, x: Tensor) -> Tensor:
            return self.loud(x) + 1e-9 * self.faint(x)

    model, x = Faint().eval(), image(*IMAGE)
    result = folded(model, x)
    weight = result.model.faint[0].weight.data
    weight[0, 0, 0, 0] = torch.nextafter(weight[0, 0, 0, 0], torch.tensor(math.inf))
    verification = verify_fold(model, result, x)
    assert [layer.conv for layer in verification.layers if not layer.weights_match] == ["faint.0"]
    assert not verification.ok
    assert verification.failures() == (
        "folded layer faint.0: its stored weights are not the folded ones, rounded once",
    )


def test_a_wrong_bias_breaks_the_bound_end_to_end() -> None:
    model, x = pair(), image(*IMAGE)
    result = folded(model, x)
    result.model[0].bias.data[3] += 1e-3
    verification = verify_fold(model, result, x)
    assert not verification.ok
    output = verification.outputs[0]
    assert output.error * output.scale == pytest.approx(1e-3, rel=0.01)
    assert "the bound is 1e-05" in verification.failures()[-1]


def test_wrong_wiring_is_found_end_to_end() -> None:
    class Skips(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x).relu()

    model, x = pair(), image(*IMAGE)
    result = folded(model, x)
    wrapped = nn.Module()
    wrapped.add_module("0", result.model[0])
    wrapped.forward = Skips(result.model).forward  # type: ignore[method-assign]
    verification = verify_fold(model, dataclasses.replace(result, model=wrapped), x)
    assert [layer.weights_match for layer in verification.layers] == [True]
    assert not verification.ok


def test_a_model_that_was_not_folded_is_compared_end_to_end_alone() -> None:
    model, x = nn.Sequential(nn.Conv2d(6, 8, 3), nn.ReLU()), image(*IMAGE)
    verification = verify_fold(model, fold_module(model, x), x)
    assert verification.ok
    assert (verification.layers, verification.worst_layer) == ((), None)


def test_a_folded_layer_that_the_example_does_not_reach_is_a_failure() -> None:
    class Chooses(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = pair(), pair()
            self.eval()

        def forward(self, x: Tensor) -> Tensor:
            return self.two(x) if x.sum() > 0 else self.one(x)

    model, x = Chooses(), image(*IMAGE).abs()
    result = folded(model, x)
    assert verify_fold(model, result, x).ok
    verification = verify_fold(model, result, -x)
    assert verification.missing == ("two.0",)
    assert "the run did not reach it" in verification.failures()[0]


def test_zero_outputs_are_equal_and_a_difference_from_zero_is_a_failure() -> None:
    model, x = pair(), image(*IMAGE)
    nn.init.zeros_(model[1].weight)
    nn.init.zeros_(model[1].bias)
    result = folded(model, x)
    verification = verify_fold(model, result, x)
    assert verification.ok, verification.failures()
    assert (verification.outputs[0].error, verification.outputs[0].scale) == (0.0, 0.0)
    result.model[0].bias.data.fill_(1e-30)
    assert not verify_fold(model, result, x).ok


def test_bounds_can_be_given_and_are_named_in_the_sentence() -> None:
    model, x = pair(), image(*IMAGE)
    strict, wide = (Tolerance(bound=bound, why="to see the sentences") for bound in (0.0, 1e-4))
    result = folded(model, x)
    assert verify_fold(model, result, x, output_tolerance=wide).as_dict()["output_bound"] == wide.bound
    result.model[0].bias.data += 0.01
    verification = verify_fold(model, result, x, layer_tolerance=strict, output_tolerance=wide)
    assert not verification.ok
    _, layer, output = verification.failures()
    assert layer.startswith("folded layer 0: error ")
    assert output.startswith("output: error ")
    assert all("in float" in sentence and "to see the sentences" in sentence for sentence in (layer, output))


def test_the_dictionary_is_json_and_holds_the_numbers() -> None:
    model, x = pair(), image(*IMAGE)
    found = json.loads(json.dumps(verify_fold(model, folded(model, x), x).as_dict(), allow_nan=False))
    assert (found["ok"], found["failures"], found["layers_compared"], found["worst_layer"]) == (True, [], 1, "0")
    assert found["worst_layer_error"] == found["layers"][0]["error"]
    assert (found["layer_bound"], found["output_bound"]) == (1e-10, 1e-5)


def test_nothing_compared_is_not_ok() -> None:
    assert not FoldVerification(layers=(), outputs=()).ok


@pytest.mark.parametrize("error", [math.nan, math.inf])
def test_numbers_that_are_not_finite_are_the_worst_and_never_ok(error: float) -> None:
    good = LayerError(conv="good", error=1e-16, scale=1.0, weights_match=True)
    bad = LayerError(conv="bad", error=error, scale=1.0, weights_match=True)
    verification = FoldVerification(layers=(good, bad, good), outputs=(OutputError(name="o", error=0.0, scale=1.0),))
    assert verification.worst_layer is bad
    assert len(verification.failures()) == 1
    assert verification.as_dict()["worst_layer_error"] is None


def test_memory_stays_flat_over_the_layers() -> None:
    """No layer's input or output is held after it was compared: the hooks keep floats alone."""
    blocks = [pair(), *(nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)) for _ in range(5))]
    x = image(*IMAGE)
    alive: list[int] = []

    class Counting(nn.Module):
        def forward(self, y: Tensor) -> Tensor:
            if y.dtype == torch.float32:
                tensors = (one for one in gc.get_objects() if issubclass(type(one), Tensor))
                alive.append(sum(one.dtype == torch.float64 for one in tensors))
            return y

    counted = randomised(nn.Sequential(*[part for block in blocks for part in (block, Counting())]))
    result = folded(counted, x)
    alive.clear()
    gc.collect()
    assert verify_fold(counted, result, x).ok
    assert len(alive) == 12
    assert max(alive) == min(alive)
