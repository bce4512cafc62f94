"""A folded model compared with its original: each folded layer in float64, then the outputs end to end.

Layers. While the original runs once, each folded layer's input is widened to float64 and goes through the original
layer and batch norm and through the layer with the folded weights, both in float64 and with weights that were never
rounded; one layer at a time, so memory stays flat. That proves the algebra. The weights stored in the folded model must
then be exactly those, rounded once to their dtype, which ties the proof to the model that will be used.

End to end. Original and folded model run on the same input and every output is compared: as they are, in float32 (in
float64 where the model is float64), and once more in float64 with folded weights that were never rounded. The float64
runs prove the wiring. They also show what float32 changes in the original by itself, which bounds what it may change
between the two. A float16 or bfloat16 model is widened to float32 first and its folded layers get the folded weights in
float32: in 16 bits the rounding of the unfolded model alone, 5e-4 and more, would hide a real difference.

A model that makes narrower numbers by itself when it is given float64 (a cast in its forward, a constant that is no
buffer) has no float64 run to compare; a note says so and the float32 bound then stays the strict one.

Cost: two plain forwards, two in float64 (unless these are asked for only where needed) and two float64 passes over the
folded layers. Extra memory: one copy of the model at a time, in float64 for the float64 forwards, and for the largest
folded layer its float64 input, weights and outputs with torch's scratch space.
"""
# ruff: noqa: TID253 - this file is torch code and is imported only by those who need torch

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from fusion.conv_bn import Array
from fusion.report import FoldedPair
from fusion.torch_fold import Example, FoldResult
from fusion.torch_modules import LINEARITIES, Linearity, folded_arrays, rounded_once
from fusion.torch_observe import tensors_in, undisturbed_rng
from fusion.torch_outputs import compare_outputs, relative_error, rounding
from fusion.torch_trace import copy_module
from fusion.verdict import LAYER_TOLERANCE, OUTPUT_TOLERANCE, FoldVerification, LayerError, Tolerance

_SEED = 0
_HALVES = (torch.float16, torch.bfloat16)
_WIDEST = (torch.float64, torch.complex128)


def verify_fold(
    original: nn.Module,
    result: FoldResult,
    example: Example,
    *,
    layer_tolerance: Tolerance = LAYER_TOLERANCE,
    output_tolerance: Tolerance = OUTPUT_TOLERANCE,
    always_in_float64: bool = True,
) -> FoldVerification:
    """Compare ``result`` with the model it was made from, on ``example``.

    The outputs may be a tensor or nested tuples, lists and mappings of tensors, numbers, strings and None. Tensors of
    integers or booleans must be equal. Neither model is changed, nor is torch's or Python's random state; both run
    with the same seed.

    Args:
        original: The model that was given to ``fold_module``, unchanged since.
        result: What ``fold_module`` returned.
        example: The argument, or the tuple of arguments, of ``forward``.
        layer_tolerance: Bound on each folded layer in float64.
        output_tolerance: Bound on each output end to end in float32, where the original's own rounding allows no more.
        always_in_float64: False runs the two models end to end in float64 only where an output breaks the bound, which
            saves two forwards; every folded layer is compared in float64 in any case.

    Returns:
        Errors relative to the largest magnitude of the tensor compared. ``ok`` is false where a bound is broken, a
        number is not finite, a folded layer was not reached or nothing was compared.
    """
    arguments = example if isinstance(example, tuple) else (example,)
    widen = any(tensor.dtype in _HALVES for tensor in (*original.parameters(), *original.buffers()))
    if widen:
        arguments = tuple(tensor.float() if tensor.dtype in _HALVES else tensor for tensor in arguments)

    reference = _copy(original, widen=widen)
    layers: dict[str, LayerError] = {}
    for pair in result.folded:
        layer = reference.get_submodule(pair.conv)
        layer.register_forward_pre_hook(_comparison(original, result.model, pair, layers), with_kwargs=True)
    wanted = _run(reference, arguments)
    del reference

    folded = _copy(result.model, widen=widen)
    if widen:
        _set_folded_weights(folded, original, result)
    outputs, problems = compare_outputs("output", wanted, _run(folded, arguments))
    del folded
    within = bool(outputs) and all(output.error <= output_tolerance.bound for output in outputs)
    needed = always_in_float64 or not within
    wide = _compare_in_float64(original, result, arguments, wanted) if needed else _InFloat64()
    return FoldVerification(
        layers=tuple(layers[pair.conv] for pair in result.folded if pair.conv in layers),
        outputs=tuple(
            dataclasses.replace(
                output,
                float64_error=wide.errors.get(output.name),
                rounding_of_original=wide.roundings.get(output.name),
            )
            for output in outputs
        ),
        missing=tuple(pair.conv for pair in result.folded if pair.conv not in layers),
        problems=(*problems, *wide.problems),
        notes=wide.notes,
        layer_tolerance=layer_tolerance,
        output_tolerance=output_tolerance,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _InFloat64:
    """Outputs by name: error of the folded model in float64, and what float32 changes in the original."""

    errors: dict[str, float] = dataclasses.field(default_factory=dict)
    roundings: dict[str, float] = dataclasses.field(default_factory=dict)
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _compare_in_float64(
    original: nn.Module, result: FoldResult, arguments: tuple[Tensor, ...], narrow: object
) -> _InFloat64:
    """Both models end to end in float64, and ``narrow``, what the original returned in float32, against it."""
    cannot = "original and folded model could not be compared end to end in float64"
    seen = _NarrowResults()
    try:
        arguments, model = _to_float64(arguments), copy_module(original).double()
        with seen:
            wanted = _run(model, arguments)
        del model
    except Exception as error:  # noqa: BLE001 - forward is the user's code and may raise anything
        why = str(error).strip().split("\n", maxsplit=1)[0] or type(error).__name__
        return _InFloat64(notes=(f"{cannot}: the original does not run in float64: {why}",))
    if seen.found:
        return _InFloat64(notes=(f"{cannot}: the original makes {seen.found} by itself",))
    folded = copy_module(result.model).double()
    _set_folded_weights(folded, original, result)
    try:
        got = _run(folded, arguments)
    except Exception as error:  # noqa: BLE001 - forward is the user's code and may raise anything
        return _InFloat64(problems=(f"in float64 the original runs and the folded model does not: {error}",))
    errors, problems = compare_outputs("output", wanted, got)
    return _InFloat64(
        errors={output.name: output.error for output in errors},
        roundings=rounding(narrow, wanted),
        problems=tuple(f"in float64, {problem}" for problem in problems),
    )


class _NarrowResults(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Looks for operations that return floating numbers narrower than float64."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.found = ""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here; torch would otherwise import its compiler, which takes a second."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returned = func(*args, **(kwargs or {}))
        for tensor in tensors_in(returned):
            floating = tensor.is_floating_point() or tensor.is_complex()
            if floating and tensor.numel() and tensor.dtype not in _WIDEST:
                self.found = str(tensor.dtype)
        return returned


def _comparison(
    original: nn.Module, folded: nn.Module, pair: FoldedPair, found: dict[str, LayerError]
) -> Callable[..., None]:
    """A pre-forward hook that compares, on its input, layer and batch norm of ``pair`` with the folded layer."""

    def compare(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        layer = copy.deepcopy(_layer(original, pair)).double()
        batchnorm = copy.deepcopy(_batchnorm(original, pair)).double()
        weight, bias = folded_arrays(layer, batchnorm)
        matches = _holds(_layer(folded, pair), weight, bias)
        wide_args, wide_kwargs = _to_float64(args), _to_float64(kwargs)
        wanted = batchnorm(layer(*wide_args, **wide_kwargs))
        _set_weights(layer, weight, bias)
        if wanted.numel():
            error, scale = relative_error(wanted, layer(*wide_args, **wide_kwargs))
            found[pair.conv] = LayerError(conv=pair.conv, error=error, scale=scale, weights_match=matches)

    return compare


def _layer(model: nn.Module, pair: FoldedPair) -> Linearity:
    layer = model.get_submodule(pair.conv)
    assert isinstance(layer, LINEARITIES)
    return layer


def _batchnorm(model: nn.Module, pair: FoldedPair) -> nn.Module:
    return model.get_submodule(pair.batchnorm)


def _set_folded_weights(folded: nn.Module, original: nn.Module, result: FoldResult) -> None:
    """Give the folded layers their weights again, rounded only to the dtype that they have in ``folded``."""
    for pair in result.folded:
        _set_weights(_layer(folded, pair), *folded_arrays(_layer(original, pair), _batchnorm(original, pair)))


def _holds(layer: Linearity, weight: Array, bias: Array) -> bool:
    if layer.bias is None or layer.bias.dtype != layer.weight.dtype:
        return False
    pairs = ((layer.weight, weight), (layer.bias, bias))
    return all(torch.equal(stored, rounded_once(values, stored)) for stored, values in pairs)


def _set_weights(layer: Linearity, weight: Array, bias: Array) -> None:
    like = layer.weight
    layer.weight = nn.Parameter(rounded_once(weight, like), requires_grad=False)
    layer.bias = nn.Parameter(rounded_once(bias, like), requires_grad=False)


def _copy(model: nn.Module, *, widen: bool) -> nn.Module:
    model = copy_module(model)
    return model.float() if widen else model


def _run(model: nn.Module, arguments: tuple[Tensor, ...]) -> object:
    with torch.no_grad(), undisturbed_rng(model), _full_float32():
        torch.manual_seed(_SEED)
        output: object = model(*arguments)
    return output


@contextmanager
def _full_float32() -> Iterator[None]:
    """Products in full float32: NVIDIA GPUs otherwise convolve float32 in TF32, with 10 bits of mantissa."""
    cudnn: Any = torch.backends.cudnn  # mypy does not see the attributes that torch adds at import
    settings = (cudnn.conv, torch.backends.cuda.matmul)
    before = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = "ieee"
        yield
    finally:
        for setting, value in zip(settings, before, strict=True):
            setting.fp32_precision = value


def _to_float64(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {key: _to_float64(item) for key, item in value.items()}
    return tuple(map(_to_float64, value)) if isinstance(value, tuple) else value
