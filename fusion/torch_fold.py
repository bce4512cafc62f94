"""Batch norms of any torch module folded into the layers before them.

A batch norm is folded where a symbolic trace shows, for every input, that it reads the output of one convolution or
linear layer and is the only one to read it, and where one run on an example shows the same. Everything else stays, with
a reason: a wrong trace, a second reader or a shared weight costs speed, not correctness. Where a forward cannot be
traced its children are, under the assumption that fusion.torch_trace states; the report names each such forward.
"""
# ruff: noqa: TID253 - this file is torch code and is imported only by those who need torch

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fusion.errors import FusionModelError, FusionValueError
from fusion.report import FoldedPair, FoldReport, NotFolded, Reason
from fusion.torch_judge import Judge
from fusion.torch_modules import LINEARITIES, folded_arrays, is_batchnorm, rounded_once
from fusion.torch_observe import observe, shapes, undisturbed_rng
from fusion.torch_trace import copy_module, trace_model

Example = Tensor | tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class FoldResult:
    """A folded model and what was done to it.

    Args:
        model: A new module. Every path of the original exists; a folded batch norm is an ``nn.Identity``, and its
            layer has a bias.
        report: Every batch norm of the original, folded or not, with the reason.
    """

    model: nn.Module
    report: FoldReport

    @property
    def folded(self) -> tuple[FoldedPair, ...]:
        """The batch norms that are gone."""
        return self.report.folded

    @property
    def not_folded(self) -> tuple[NotFolded, ...]:
        """The batch norms that stay, each with its reason."""
        return self.report.not_folded

    @property
    def conv_to_batchnorm(self) -> Mapping[str, str]:
        """Path of each folded layer -> path of the batch norm whose output the layer computes now."""
        return self.report.conv_to_batchnorm


def fold_module(model: nn.Module, example: Example) -> FoldResult:
    """A copy of ``model`` in which every batch norm that can be is part of the layer before it.

    Folds BatchNorm1d/2d/3d and SyncBatchNorm into Conv1d/2d/3d, ConvTranspose1d/2d/3d and Linear, also through
    ``nn.Identity`` and dropout in eval mode. Computed in float64, rounded once to the layer's dtype: float16, bfloat16,
    float32 or float64, on any device. Call ``model.eval()`` first: batch norms in training mode stay.

    Args:
        model: Any module. Its parameters, buffers, training flags and torch's and Python's random state are untouched.
            It is copied and the copy run once on ``example``, with the hooks that are registered on it; so is a copy
            of the folded model.
        example: The argument, or the tuple of arguments, of ``forward``.

    Returns:
        The new module and a report in which each batch norm of ``model`` stands once.

    Raises:
        FusionModelError: The model cannot be copied or does not run on the example, or the folded model does not.
    """
    arguments = example if isinstance(example, tuple) else (example,)
    try:
        watched, folded = copy_module(model), copy_module(model)
    except Exception as error:
        raise FusionModelError(f"the model cannot be copied: {error}") from error
    seen = observe(watched, arguments)
    trace = trace_model(watched, seen)

    judge = Judge(watched, seen, trace)
    outcomes = [
        _fold(folded, judge.verdict(path, module)) for path, module in watched.named_modules() if is_batchnorm(module)
    ]
    functions = [NotFolded(path=path, reason=Reason.FUNCTIONAL, detail="F.batch_norm") for path in seen.functional]
    report = FoldReport(
        folded=tuple(one for one in outcomes if isinstance(one, FoldedPair)),
        not_folded=(*(one for one in outcomes if isinstance(one, NotFolded)), *functions),
        untraced=trace.untraced,
    )
    if report.folded:
        _try_out(folded, arguments)
    return FoldResult(model=folded, report=report)


def _try_out(folded: nn.Module, arguments: tuple[Tensor, ...]) -> None:
    """Run a copy once: a forward or hook may ask a batch norm that is gone for what no operation reads, as ``eps``."""
    subject = copy_module(folded)
    try:
        with undisturbed_rng(subject), torch.no_grad():
            subject(*arguments)
    except Exception as error:
        raise FusionModelError(
            f"the model runs on the example of shape {shapes(arguments)}, the folded one does not: {error}. Where a "
            "forward or hook uses an attribute of a batch norm, let it use a copy of the value, or do not fold this "
            "model"
        ) from error


def _fold(model: nn.Module, verdict: FoldedPair | NotFolded) -> FoldedPair | NotFolded:
    """Carry the verdict out in ``model``; numbers that cannot be folded turn it over and leave ``model`` as it was."""
    if isinstance(verdict, NotFolded):
        return verdict
    layer, batchnorm = model.get_submodule(verdict.conv), model.get_submodule(verdict.batchnorm)
    assert isinstance(layer, LINEARITIES)
    try:
        weight, bias = (rounded_once(values, layer.weight) for values in folded_arrays(layer, batchnorm))
    except FusionValueError as error:
        return NotFolded(path=verdict.batchnorm, reason=Reason.NUMBERS, detail=str(error))
    trainable = layer.weight.requires_grad
    stored = torch.empty_like(layer.weight, requires_grad=False).copy_(weight)  # keeps the memory format
    layer.weight = nn.Parameter(stored, requires_grad=trainable)
    layer.bias = nn.Parameter(bias, requires_grad=trainable)
    _become_identity(batchnorm)
    return verdict


def _become_identity(batchnorm: nn.Module) -> None:
    """In place, so that every reference to it sees the change: a second name, a plain list, a bound method."""
    identity = nn.Identity().train(batchnorm.training)
    batchnorm.__class__ = nn.Identity
    vars(batchnorm).clear()
    vars(batchnorm).update(vars(identity))
