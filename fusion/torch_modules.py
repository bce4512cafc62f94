"""What one torch module is to a fold: its kind, its statistics as arrays, and what forbids to touch it."""
# ruff: noqa: TID253 - this file is torch code and is imported only by those who need torch

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.utils import parametrize

from fusion.conv_bn import Array, BatchNormStats, fold_batchnorm
from fusion.errors import FusionValueError
from fusion.report import Reason

Linearity = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d | nn.Linear

LINEARITIES = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
)
"""Layers linear in their input, with an own weight for every output channel."""

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
BATCHNORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

_BEHAVIOUR = (
    *(
        "forward",
        "_conv_forward",
        "_output_padding",
        "_check_input_dim",
        "__call__",
        "_call_impl",
        "_wrapped_call_impl",
    ),
    *("__getattr__", "__getattribute__", "weight", "bias", "running_mean", "running_var", "training", "eps"),
)
"""What a subclass must not define if it is to compute what its base class computes."""


def is_batchnorm(module: nn.Module) -> bool:
    """True for every torch batch norm, subclasses and scripted ones included."""
    if isinstance(module, torch.jit.ScriptModule):
        return module.original_name in {cls.__name__ for cls in BATCHNORMS}
    return isinstance(module, _BatchNorm)


def is_transparent(module: nn.Module) -> bool:
    """True where the output is the input itself: Identity and Dropout in eval mode, with nothing attached."""
    dropout = isinstance(module, _DropoutNd) and type(module) in DROPOUTS and not module.training
    return (dropout or type(module) is nn.Identity) and obstacle(module) is None


def obstacle(module: nn.Module) -> Reason | None:
    """What forbids to rewrite this module, whatever surrounds it; None where nothing does."""
    if parametrize.is_parametrized(module):
        return Reason.PARAMETRIZED
    if _has_own_behaviour(module):
        return Reason.OWN_FORWARD
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    if any(getattr(module, name, None) for name in hooks):
        return Reason.HAS_HOOKS
    return None


def _has_own_behaviour(module: nn.Module) -> bool:
    known = (*LINEARITIES, *BATCHNORMS, *DROPOUTS, nn.Identity)
    if isinstance(module, torch.jit.ScriptModule) or any(name in vars(module) for name in _CALLS):
        return True
    for cls in type(module).__mro__:
        if cls in known:
            return False
        if any(name in vars(cls) for name in _BEHAVIOUR):
            return True
    return True


_CALLS = ("forward", "_conv_forward", "_check_input_dim")
"""Methods that an instance can be given in its own dictionary."""


def shared_parameters(model: nn.Module) -> dict[int, set[str]]:
    """Identity of each parameter that more than one module (or name) holds -> its names."""
    names: dict[int, set[str]] = defaultdict(set)
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            names[id(parameter)].add(f"{path}.{name}".lstrip("."))
    return {key: held for key, held in names.items() if len(held) > 1}


def batchnorm_stats(batchnorm: nn.Module) -> BatchNormStats:
    """Parameters and running statistics as float64 arrays. The batch norm must have running statistics."""
    assert isinstance(batchnorm, _BatchNorm)
    assert batchnorm.running_mean is not None
    assert batchnorm.running_var is not None
    gamma: Tensor | None = batchnorm.weight  # torch declares these as never None, which affine=False makes them
    beta: Tensor | None = batchnorm.bias
    return BatchNormStats(
        gamma=_optional(gamma),
        beta=_optional(beta),
        mean=as_float64(batchnorm.running_mean),
        var=as_float64(batchnorm.running_var),
        eps=batchnorm.eps,
    )


def folded_arrays(layer: Linearity, batchnorm: nn.Module) -> tuple[Array, Array]:
    """Weight and bias of the folded layer in float64, not yet rounded to the layer's dtype.

    Raises:
        FusionShapeError: The batch norm has another number of channels.
        FusionValueError: Numbers that cannot be folded.
    """
    transposed = isinstance(layer, TRANSPOSED)
    return fold_batchnorm(
        as_float64(layer.weight),
        _optional(layer.bias),
        batchnorm_stats(batchnorm),
        out_axis=1 if transposed else 0,
        groups=layer.groups if isinstance(layer, TRANSPOSED) else 1,
    )


def as_float64(tensor: Tensor) -> Array:
    """The values of ``tensor`` as a float64 array on the CPU; exact for every floating dtype."""
    array: Array = tensor.detach().to("cpu", torch.float64).numpy()
    return array


def _optional(tensor: Tensor | None) -> Array | None:
    return None if tensor is None else as_float64(tensor)


def rounded_once(values: Array, like: Tensor) -> Tensor:
    """Float64 ``values`` as a tensor with the dtype, device and memory layout of ``like``, rounded to nearest once.

    torch narrows float64 to the 16-bit types by way of float32, which rounds twice. NumPy narrows to float16 directly;
    for bfloat16 the way over float32 is made harmless by rounding that step to odd (Boldo and Melquiond, "Emulation of
    FMA and correctly rounded sums: proved algorithms using rounding to odd", IEEE Trans. Computers 57(4), 2008).

    Raises:
        FusionValueError: A value overflows the dtype.
    """
    with np.errstate(over="ignore"):
        if like.dtype == torch.float16:
            narrow = torch.from_numpy(values.astype(np.float16))
        elif like.dtype == torch.bfloat16:
            narrow = torch.from_numpy(_float32_rounded_to_odd(values)).to(torch.bfloat16)
        else:
            narrow = torch.from_numpy(values).to(like.dtype)
    if not torch.isfinite(narrow).all():
        raise FusionValueError(f"a folded value overflows {like.dtype}")
    return narrow.to(like.device)


def _float32_rounded_to_odd(values: Array) -> Array:
    nearest = values.astype(np.float32)
    too_far = np.abs(nearest.astype(np.float64)) > np.abs(values)
    toward_zero = np.where(too_far, np.nextafter(nearest, np.float32(0)), nearest)
    inexact = toward_zero.astype(np.float64) != values
    odd: Array = (toward_zero.view(np.uint32) | inexact.astype(np.uint32)).view(np.float32)
    return odd


def output_rank(layer: nn.Module) -> int:
    """Dimensions of the output in which axis 1 holds the output channels: batch, channels, and the axes convolved."""
    return 2 if isinstance(layer, nn.Linear) else 2 + len(getattr(layer, "kernel_size", ()))


def parameters_of(layer: Linearity) -> Iterable[Tensor]:
    """Weight and, where there is one, bias."""
    return (layer.weight,) if layer.bias is None else (layer.weight, layer.bias)
