"""The graph of a model's modules by symbolic tracing, in as few parts as the model allows.

Where a forward cannot be traced (its control flow depends on data), the module becomes one opaque node of the graph
around it, and its children are traced one by one. Of such a forward one thing is assumed: that it calls its children as
wholes, and reaches into none of them on a path that the example did not take.
"""
# ruff: noqa: TID253 - this file is torch code and is imported only by those who need torch

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from fusion.report import Untraced
from fusion.torch_modules import LINEARITIES, is_batchnorm
from fusion.torch_observe import Observation, undisturbed_rng


@dataclass(frozen=True, kw_only=True)
class Part:
    """One traced module.

    Args:
        path: Path of the module in the model.
        graph: Its graph; children that were not entered are ``call_module`` nodes.
        paths: Target of each ``call_module`` node -> path in the model.
    """

    path: str
    graph: fx.Graph
    paths: Mapping[str, str]

    def path_of(self, node: fx.Node) -> str:
        """Path in the model of the module that a ``call_module`` node calls."""
        return self.paths[str(node.target)]


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Everything that could be traced of a model, and what could not."""

    parts: tuple[Part, ...]
    untraced: tuple[Untraced, ...]

    def calls(self) -> dict[str, list[tuple[Part, fx.Node]]]:
        """Path of each module -> the nodes that call it."""
        found: dict[str, list[tuple[Part, fx.Node]]] = {}
        for part in self.parts:
            for node in part.graph.nodes:
                if node.op == "call_module":
                    found.setdefault(part.path_of(node), []).append((part, node))
        return found


def trace_model(model: nn.Module, seen: Observation) -> Trace:
    """Trace ``model``, or the largest parts of it that hold a batch norm and can be traced.

    Args:
        model: A copy; tracing runs its Python code, which may set attributes and buffers.
        seen: The run of that model: modules it did not call are left out, and arguments without tensors are taken
            as they were, since they choose the control flow.
    """
    path_of = {id(module): path for path, module in model.named_modules()}
    parts: list[Part] = []
    untraced: list[Untraced] = []
    waiting, met = [model], set[int]()
    while waiting:
        module = waiting.pop(0)
        if id(module) in met or is_batchnorm(module) or not any(is_batchnorm(child) for child in module.modules()):
            continue
        met.add(id(module))
        path = path_of[id(module)]
        if isinstance(module, nn.ModuleList | nn.ModuleDict) or not seen.calls[path]:
            waiting += module.children()
            continue
        graph, failures = _trace_part(module, seen.arguments.get(path, {}))
        if graph is not None:
            targets = {str(node.target) for node in graph.nodes if node.op == "call_module"}
            paths = {target: path_of[id(module.get_submodule(target))] for target in targets}
            parts.append(Part(path=path, graph=graph, paths=paths))
        for name, why in failures.items():
            closed = module.get_submodule(name)
            untraced.append(Untraced(path=path_of[id(closed)], why=why))
            waiting += closed.children()
    return Trace(parts=tuple(parts), untraced=tuple(untraced))


def copy_module(module: nn.Module, *, share_tensors: bool = False) -> nn.Module:
    """A deep copy; of tensors that carry a gradient history (old-style weight norm) the values alone.

    Args:
        module: What to copy.
        share_tensors: Keep the parameters and buffers themselves and copy the modules around them only.
    """
    memo: dict[int, Any] = {}
    for child in module.modules():
        for value in vars(child).values():
            if isinstance(value, torch.Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    if share_tensors:
        memo |= {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    return copy.deepcopy(module, memo)


def _trace_part(module: nn.Module, fixed: Mapping[str, Any]) -> tuple[fx.Graph | None, dict[str, str]]:
    """The module's graph, and the descendants that had to stay closed: name -> why.

    (None, {"": why}) where its own forward cannot be traced.
    """
    closed: dict[str, str] = {}
    while True:
        tracer = _Tracer(closed)
        subject = copy_module(module, share_tensors=True)  # a failed attempt may leave proxies in attributes
        try:
            with undisturbed_rng(module), warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")
                return tracer.trace(subject, concrete_args=dict(fixed) or None), closed
        except Exception as error:  # noqa: BLE001 - forward is the user's code and may raise anything
            why = str(error).strip().split("\n", maxsplit=1)[0] or type(error).__name__
            if tracer.failed is None:
                return None, {"": why}
            closed[tracer.failed] = why


class _Tracer(fx.Tracer):
    """Enters every module but convolutions, linear layers, batch norms, torch's own small ones and the closed ones."""

    def __init__(self, closed: Mapping[str, str]) -> None:
        super().__init__()
        self._closed = closed
        self.failed: str | None = None

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        own = isinstance(m, LINEARITIES) or is_batchnorm(m) or module_qualified_name in self._closed
        return own or (super().is_leaf_module(m, module_qualified_name) and not any(True for _ in m.children()))

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            name = self.submodule_paths.get(m) if self.submodule_paths else None
            if self.failed is None and name and not self.is_leaf_module(m, name):
                self.failed = name
            raise
