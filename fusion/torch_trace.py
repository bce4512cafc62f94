"""The graph of a model's modules by symbolic tracing, in as few parts as the model allows.

Where a forward cannot be traced (its control flow depends on data), the module becomes one opaque node of the graph
around it, and its children are traced one by one.
"""
# ruff: noqa: TID253 - this file is torch code and is imported only by those who need torch

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
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
    parts: list[Part] = []
    untraced: list[Untraced] = []
    # A generation of modules at a time: the model, then the children of what could not be traced, and so on.
    waiting = [("", model)]
    while waiting:
        path, module = waiting.pop(0)
        if is_batchnorm(module) or not any(is_batchnorm(child) for child in module.modules()):
            continue
        if isinstance(module, nn.ModuleList | nn.ModuleDict) or not seen.calls[path]:
            waiting += _children(path, module)
            continue
        part, failures = _trace_part(path, module, seen.arguments.get(path, {}))
        if part is not None:
            parts.append(part)
        for failure in failures:
            untraced.append(Untraced(path=_join(path, failure.path), why=failure.why))
            waiting += _children(_join(path, failure.path), module.get_submodule(failure.path))
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


def _trace_part(path: str, module: nn.Module, fixed: Mapping[str, Any]) -> tuple[Part | None, list[Untraced]]:
    """The module's graph and the descendants that had to stay closed; (None, [itself]) where it cannot be traced."""
    closed: dict[str, str] = {}
    while True:
        tracer = _Tracer(closed)
        subject = copy_module(module, share_tensors=True)  # a failed attempt may leave proxies in attributes
        try:
            with undisturbed_rng(module), warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")
                graph = tracer.trace(subject, concrete_args=dict(fixed) or None)
        except Exception as error:  # noqa: BLE001 - forward is the user's code and may raise anything
            why = str(error).strip().split("\n", maxsplit=1)[0] or type(error).__name__
            if tracer.failed is None:
                return None, [Untraced(path="", why=why)]
            closed[tracer.failed] = why
        else:
            names = {id(child): name for name, child in subject.named_modules()}
            targets = {str(node.target) for node in graph.nodes if node.op == "call_module"}
            paths = {target: _join(path, names[id(subject.get_submodule(target))]) for target in targets}
            return Part(path=path, graph=graph, paths=paths), [
                Untraced(path=name, why=why) for name, why in closed.items()
            ]


class _Tracer(fx.Tracer):
    """Enters every module but convolutions, linear layers, batch norms, torch's own small ones and the closed ones."""

    def __init__(self, closed: Mapping[str, str]) -> None:
        super().__init__()
        self._closed = closed
        self.failed: str | None = None

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        own = isinstance(m, LINEARITIES) or is_batchnorm(m) or module_qualified_name in self._closed
        return own or (super().is_leaf_module(m, module_qualified_name) and not any(True for _ in m.children()))

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            name = self.submodule_paths.get(m) if self.submodule_paths else None
            if self.failed is None and name and not self.is_leaf_module(m, name):
                self.failed = name
            raise


def _children(path: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    return ((_join(path, name), child) for name, child in module.named_children())


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name
