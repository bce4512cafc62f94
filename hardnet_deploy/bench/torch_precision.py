# ruff: noqa: TID253  (this module is torch code; whoever imports it wants torch)
"""In what PyTorch computes: half precision, and float32 with TF32 or without."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from hardnet_deploy.bench.sides import BF16, FP16, TF32, Side
from hardnet_deploy.models.ssd import L2Norm

HALVES = {FP16: torch.float16, BF16: torch.bfloat16}
DTYPE_NAMES = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}


def dtype_of(side: Side) -> torch.dtype:
    """What a side's options ask for."""
    return next((HALVES[option] for option in side.options if option in HALVES), torch.float32)


class _InFloat32(nn.Module):
    """A float32 layer inside a half-precision network."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner.float()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(one.to(x.dtype) for one in self.inner(x.float()))


def in_dtype(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The network in place in ``dtype``; L2Norm stays in float32, as its squares leave float16."""
    if dtype == torch.float32:
        return module
    module = module.to(dtype)
    for path, layer in list(module.named_modules()):
        if isinstance(layer, L2Norm):
            module.set_submodule(path, _InFloat32(layer))
    return module


@contextlib.contextmanager
def float32_mode(*, tf32: bool) -> Iterator[None]:
    """Inference, the fastest cuDNN algorithm for each shape, and TF32 as asked; in each turn, as sides differ."""
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=tf32):
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)


def precision_text(side: Side, module: nn.Module) -> str:
    """For a row: of a side's network, as :func:`in_dtype` left it."""
    dtype = dtype_of(side)
    name = DTYPE_NAMES[dtype]
    if dtype != torch.float32:
        return name + (", L2Norm in float32" if any(isinstance(one, _InFloat32) for one in module.modules()) else "")
    return name if side.device == "cpu" else f"{name}, TF32 {'on' if TF32 in side.options else 'off'}"
