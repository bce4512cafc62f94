"""What two runs of a model returned, compared tensor by tensor."""
# ruff: noqa: TID253 - this file is torch code and is imported only by those who need torch

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from fusion.verdict import OutputError


def relative_error(wanted: Tensor, got: Tensor) -> tuple[float, float]:
    """Largest absolute difference over the largest magnitude of ``wanted``, and that magnitude."""
    scale = float(torch.linalg.vector_norm(wanted, ord=math.inf))
    difference = float(torch.linalg.vector_norm(wanted - got, ord=math.inf))
    if difference == 0 and math.isfinite(scale):
        return 0.0, scale
    return (difference / scale if scale else math.inf), scale


def compare_outputs(name: str, wanted: object, got: object) -> tuple[list[OutputError], list[str]]:
    """Errors of the tensors in two nested outputs, and sentences about what does not correspond."""
    if isinstance(wanted, Tensor) and isinstance(got, Tensor):
        return _compare_tensors(name, wanted, got)
    children = _children(wanted)
    if children is None:
        plain = wanted is None or isinstance(wanted, bool | int | float | complex | str | bytes)
        if not plain:
            return [], [f"{name} is a {type(wanted).__name__}, which cannot be compared"]
        return [], [] if type(wanted) is type(got) and wanted == got else [
            f"{name} is {got!r} in the folded model and {wanted!r} in the original"
        ]
    others = _children(got)
    if others is None or list(children) != list(others):
        return [], [f"{name} has another structure in the folded model"]
    errors: list[OutputError] = []
    problems: list[str] = []
    for key, child in children.items():
        more_errors, more_problems = compare_outputs(f"{name}[{key!r}]", child, others[key])
        errors += more_errors
        problems += more_problems
    return errors, problems


def _children(value: object) -> Mapping[Any, object] | None:
    if isinstance(value, Mapping):
        return value
    return dict(enumerate(value)) if isinstance(value, list | tuple) else None


def _compare_tensors(name: str, wanted: Tensor, got: Tensor) -> tuple[list[OutputError], list[str]]:
    if wanted.shape != got.shape or wanted.dtype != got.dtype:
        original, folded = (f"{one.dtype} {tuple(one.shape)}" for one in (wanted, got))
        return [], [f"{name} is {folded} in the folded model and {original} in the original"]
    if not wanted.numel():
        return [], []
    if not (wanted.is_floating_point() or wanted.is_complex()):
        different = int((wanted != got).sum())
        if different:
            return [], [f"{name} differs in {different} of {wanted.numel()} integers or booleans"]
        return [OutputError(name=name, error=0.0, scale=float(wanted.double().abs().max()))], []
    error, scale = relative_error(_wide(wanted), _wide(got))
    return [OutputError(name=name, error=error, scale=scale)], []


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)


def named_tensors(name: str, value: object) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a nested output, named as ``compare_outputs`` names them."""
    if isinstance(value, Tensor):
        yield name, value
    for key, child in (_children(value) or {}).items():
        yield from named_tensors(f"{name}[{key!r}]", child)


def rounding(narrow: object, wide: object) -> dict[str, float]:
    """What the narrower type changed in each floating output, relative to the largest magnitude in ``wide``.

    Args:
        narrow: What a model returned.
        wide: What it returned when it ran in float64.

    Returns:
        Name -> error, for the tensors that both hold in one shape.
    """
    others = dict(named_tensors("output", wide))
    return {
        name: relative_error(_wide(others[name]), _wide(tensor))[0]
        for name, tensor in named_tensors("output", narrow)
        if (tensor.is_floating_point() or tensor.is_complex())
        and tensor.numel()
        and name in others
        and others[name].shape == tensor.shape
    }
