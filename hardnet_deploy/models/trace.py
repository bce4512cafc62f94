# ruff: noqa: TID253  (this module is torch code; whoever imports it wants torch)
"""One network as a flat graph in which every tensor has a lasting name.

The rule: a tensor is named after the module of the original network whose output it equals. A folded convolution
therefore carries the name of the batch norm it absorbed, and fused and unfused graphs, PyTorch's and ONNX's, can be
compared tensor by tensor by name alone.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from hardnet_deploy.models.layers import concat
from hardnet_deploy.models.ssd import L2Norm, concat_rows, head_rows
from hardnet_deploy.tensor_names import INPUT, LOGITS


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, L2Norm) or super().is_leaf_module(m, module_qualified_name)


@dataclass(frozen=True, kw_only=True)
class TracedNetwork:
    """A network's graph and the names of its tensors.

    Args:
        module: Runs the same arithmetic as the network, sharing its parameters.
        names: Name of the tensor that each node makes. Nodes that pass their input through share its name.
    """

    module: fx.GraphModule
    names: Mapping[fx.Node, str]

    @property
    def output_nodes(self) -> tuple[fx.Node, ...]:
        """Nodes of the network's outputs, in order."""
        result = next(node for node in self.module.graph.nodes if node.op == "output").args[0]
        return (result,) if isinstance(result, fx.Node) else tuple(result)

    def shapes(self, images: tuple[int, ...]) -> dict[fx.Node, tuple[int, ...]]:
        """Shape of every node's tensor for inputs of shape ``images`` [N, 3, H, W], without computing any."""
        import copy

        found: dict[fx.Node, tuple[int, ...]] = {}
        meta = copy.deepcopy(self.module).to("meta")
        by_name = {node.name: node for node in self.module.graph.nodes}
        for node, value in _run(_ShapesOnly(meta), torch.empty(images, device="meta")):
            found[by_name[node.name]] = tuple(value.shape)
        return found

    def tensors(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Every named tensor of one forward pass in topological order; each is valid until the next is taken."""
        seen: set[str] = set()
        for node, value in _run(fx.Interpreter(self.module), images):
            name = self.names[node]
            if name not in seen:
                seen.add(name)
                yield name, value


class _ShapesOnly(fx.Interpreter):
    """For meta tensors. What is plain here would make torch import its compiler, which takes a second."""

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        module = self.fetch_attr(target)
        if isinstance(module, L2Norm):
            return args[0], args[0]
        if isinstance(module, nn.BatchNorm2d | nn.ReLU | nn.ReLU6):
            return args[0]
        return super().call_module(target, args, kwargs)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if target is torch.relu:
            return args[0]
        if target not in {concat, concat_rows}:
            return super().call_function(target, args, kwargs)
        parts = args[0]
        first = parts[0]
        return first.new_empty((first.shape[0], sum(part.shape[1] for part in parts), *first.shape[2:]))


def _run(interpreter: fx.Interpreter, images: Tensor) -> Iterator[tuple[fx.Node, Tensor]]:
    """Interpret the graph node by node, freeing tensors after their last use."""
    last_use = interpreter.user_to_last_uses
    assert isinstance(interpreter.module, fx.GraphModule)
    environment: dict[fx.Node, Any] = {}
    with torch.inference_mode():
        for node in interpreter.module.graph.nodes:
            if node.op == "output":
                continue
            if node.op == "placeholder":
                environment[node] = images
            else:
                interpreter.env = environment
                environment[node] = interpreter.run_node(node)
            value = environment[node]
            if isinstance(value, Tensor):
                yield node, value
            for dead in last_use.get(node, []):
                environment.pop(dead, None)


def _owner(node: fx.Node) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    entries = [entry for entry in stack.values() if entry]
    path = entries[-1][0] if entries else ""
    return str(path)


def _function_name(node: fx.Node, names: Mapping[fx.Node, str]) -> str:
    function: Callable[..., Any] | str = node.target
    if function is concat:
        owner = _owner(node)
        return f"{owner}.{node.args[1]}" if owner else str(node.args[1])
    if function is concat_rows:
        return str(node.args[1])
    source = node.args[0]
    assert isinstance(source, fx.Node)
    if function is head_rows:
        return f"{names[source]}.rows"
    if function is torch.relu:
        return f"{names[source]}.relu"
    if function is operator.getitem:
        return names[source] if node.args[1] == 0 else f"{names[source]}.unit"
    raise NotImplementedError(f"no name for tensors of {function}")


def passes_through(module: nn.Module) -> bool:
    """True for modules that hand their input on unchanged in eval mode."""
    return isinstance(module, nn.Identity | nn.Dropout | nn.Dropout2d)


def trace(model: nn.Module, *, renames: Mapping[str, str] | None = None) -> TracedNetwork:
    """Trace a registered network.

    Args:
        model: In eval mode.
        renames: Path of a folded convolution to the path of the batch norm it absorbed.
    """
    renames = renames or {}
    graph = _Tracer().trace(model)
    module = fx.GraphModule(model, graph)
    names: dict[fx.Node, str] = {}
    for node in module.graph.nodes:
        if node.op == "placeholder":
            names[node] = INPUT
        elif node.op == "call_module":
            path = str(node.target)
            source = node.args[0]
            assert isinstance(source, fx.Node)
            if passes_through(model.get_submodule(path)):
                names[node] = names[source]
            else:
                names[node] = renames.get(path, path)
        elif node.op == "call_function":
            names[node] = _function_name(node, names)
    traced = TracedNetwork(module=module, names=names)
    if len(traced.output_nodes) == 1:
        names[traced.output_nodes[0]] = LOGITS
    return traced
