# ruff: noqa: TID253  (this module is torch and onnx code; whoever imports it wants both)
"""The tensors inside a PyTorch network and inside an ONNX graph, under the names that both share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import fx, nn

from hardnet_deploy.evaluate.layers import InnerTensor
from hardnet_deploy.models.trace import trace
from hardnet_deploy.runners.graph import cut, tensor_infos
from hardnet_deploy.runners.ort import OrtRunner
from hardnet_deploy.specs import F32
from hardnet_deploy.tensor_names import BOXES, CONF, INPUT, LOC, LOGITS, SCORES

_LAST: Final = (LOC, CONF, BOXES, SCORES, LOGITS)
_FLOATS: Final = ("float16", "float32", "float64")


class TorchInner:
    """Inside a registered network.

    Args:
        network: In eval mode.
        size: Side of its input.
    """

    def __init__(self, network: nn.Module, *, size: int) -> None:
        self._traced = trace(network)
        self._size = size

    @cached_property
    def tensors(self) -> Mapping[str, InnerTensor]:
        """Every tensor by name, in topological order."""
        shapes = self._traced.shapes((1, 3, self._size, self._size))
        found: dict[str, InnerTensor] = {}
        for node, shape in shapes.items():
            size = 4 * math.prod(shape)
            found.setdefault(self._traced.names[node], InnerTensor(operation=self._operation(node), bytes=size))
        return MappingProxyType(found)

    def values(self, images: F32, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """The tensors ``names`` for one batch."""
        wanted = set(names)
        running = self._traced.tensors(torch.from_numpy(images.copy()))
        # Copied at once: the next layer may work in place.
        return {name: value.numpy().copy() for name, value in running if name in wanted}

    def _operation(self, node: fx.Node) -> str:
        if node.op == "placeholder":
            return "input"
        if node.op == "call_module":
            path = str(node.target)
            return f"{type(self._traced.module.get_submodule(path)).__name__} {path}"
        return str(getattr(node.target, "__name__", node.target))


class OnnxInner:
    """Inside an ONNX graph, up to what goes into its NMS.

    Args:
        model: Left as it is.
        batch: Its batch, None for any.
    """

    def __init__(self, model: onnx.ModelProto, *, batch: int | None) -> None:
        self._model = model
        self._batch = batch
        self._open: tuple[tuple[str, ...], OrtRunner] | None = None

    @cached_property
    def tensors(self) -> Mapping[str, InnerTensor]:
        """Every floating-point tensor of known shape by name, in topological order."""
        graph = self._model.graph
        known = {value.name: value for value in (*graph.value_info, *graph.output, *graph.input)}
        needed = self._ancestors()
        found: dict[str, InnerTensor] = {}
        sources = [(INPUT, "input")] + [(name, _operation(node)) for node in graph.node for name in node.output]
        for name, operation in sources:
            if name not in known or name not in needed:
                continue
            (info,) = tensor_infos([known[name]])
            if info.dtype in _FLOATS:
                values = math.prod(side for side in info.shape[1:] if side > 0)
                found[name] = InnerTensor(operation=operation, bytes=values * np.dtype(info.dtype).itemsize)
        return MappingProxyType(found)

    @cached_property
    def _real(self) -> Mapping[str, NDArray[Any]]:
        """Channels that are not there to fill up, of tensors that have others too."""
        from calibration.align import real_channels

        return real_channels(self._model)

    def values(self, images: F32, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """The tensors ``names`` for one batch; channels that only fill up are left out."""
        count = len(images)
        computed = tuple(name for name in names if name != INPUT)
        found: dict[str, NDArray[Any]] = {INPUT: images.copy()} if INPUT in names else {}
        if computed:
            if self._open is None or self._open[0] != computed:
                self._open = (computed, OrtRunner(cut(self._model, computed)))
            fed = np.concatenate([images] + [images[-1:]] * ((self._batch or count) - count))
            found |= {
                name: value[:count, self._real[name]] if name in self._real else value[:count]
                for name, value in self._open[1].infer({self._model.graph.input[0].name: fed}).items()
            }
        return found

    def _ancestors(self) -> set[str]:
        """What the last tensors before the NMS are computed from, they included."""
        producers = {name: node for node in self._model.graph.node for name in node.output if name}
        pending = [name for name in _LAST if name in producers]
        needed: set[str] = set()
        while pending:
            name = pending.pop()
            if name not in needed:
                needed.add(name)
                pending += producers[name].input if name in producers else []
        return needed


def _operation(node: onnx.NodeProto) -> str:
    return f"{node.op_type} {node.name}".strip()
