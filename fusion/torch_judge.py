"""May this batch norm be folded? The decision, from what the modules are, what the trace shows and what the run showed.

Each check yields a reason and what was found; the first one decides.
"""
# ruff: noqa: TID253 - this file is torch code and is imported only by those who need torch

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fusion.report import FoldedPair, NotFolded, Reason, shown
from fusion.torch_modules import (
    DTYPES,
    LINEARITIES,
    Linearity,
    is_transparent,
    obstacle,
    output_rank,
    parameters_of,
    shared_parameters,
)
from fusion.torch_observe import Observation
from fusion.torch_trace import Part, Trace

Obstacle = tuple[Reason, str]


class Judge:
    """Decides about one batch norm at a time.

    Args:
        model: The model that was run and traced.
        seen: The run.
        trace: The trace.
    """

    def __init__(self, model: nn.Module, seen: Observation, trace: Trace) -> None:
        self._model = model
        self._seen = seen
        self._untraced = trace.untraced
        self._calls = trace.calls()
        self._shared = shared_parameters(model)

    def verdict(self, path: str, batchnorm: nn.Module) -> FoldedPair | NotFolded:
        """The pair to fold, or why the batch norm at ``path`` stays."""
        found: str | Obstacle | None = next(self._own_obstacles(path, batchnorm), None)
        if found is None:
            found = self._source(*self._calls[path][0])
        if isinstance(found, str):
            conv, layer = found, self._model.get_submodule(found)
            assert isinstance(layer, LINEARITIES)
            found = next(self._layer_obstacles(conv, layer, path), None)
            if found is None:
                assert isinstance(batchnorm, _BatchNorm)
                kind = type(layer).__name__
                return FoldedPair(conv=conv, batchnorm=path, kind=kind, channels=batchnorm.num_features)
        reason, detail = found
        return NotFolded(path=path, reason=reason, detail=detail)

    def _own_obstacles(self, path: str, batchnorm: nn.Module) -> Iterator[Obstacle]:
        """What keeps a batch norm whatever it follows."""
        found = obstacle(batchnorm)
        if found is not None:
            yield found, type(batchnorm).__name__
        assert isinstance(batchnorm, _BatchNorm)
        if batchnorm.training:
            yield Reason.TRAIN_MODE, ""
        if batchnorm.running_mean is None or batchnorm.running_var is None:
            yield Reason.NO_RUNNING_STATISTICS, ""
        if not self._seen.calls[path]:
            yield Reason.NEVER_CALLED, ""
        if self._seen.calls[path] > 1 or len(self._calls.get(path, ())) > 1:
            yield Reason.CALLED_TWICE, f"{self._seen.calls[path]} times in one run"
        if path == "":
            yield Reason.BATCHNORM_FIRST, ""
        if self._seen.weight_readers[path]:
            yield Reason.READ_ELSEWHERE, f"they are read by {_listed(self._seen.weight_readers[path])}"
        if path not in self._calls:
            yield Reason.NOT_SEEN, self._what_hides(path)

    def _source(self, part: Part, node: fx.Node) -> str | Obstacle:
        """Path of the layer whose output the batch norm called by ``node`` reads, through transparent modules."""
        while True:
            inputs = node.all_input_nodes
            if len(inputs) != 1 or inputs[0].op == "placeholder":
                break
            node = inputs[0]
            path = part.path_of(node) if node.op == "call_module" else None
            module = None if path is None else self._model.get_submodule(path)
            if path is None or module is None or not (isinstance(module, LINEARITIES) or is_transparent(module)):
                what = _operation(node) if module is None else f"{type(module).__name__} {path}"
                return Reason.AFTER_OTHER, f"it follows {what}"
            readers = [user for user in node.users if not _asks_for_the_shape(user)]
            if len(readers) > 1:
                return Reason.CONV_OUTPUT_USED, f"{path} is read by {_listed(map(_operation, readers))}"
            if isinstance(module, LINEARITIES):
                return path
        if part.path:
            return Reason.NOT_SEEN, f"its input comes from outside {part.path}; {self._what_hides(part.path)}"
        return Reason.BATCHNORM_FIRST, ""

    def _layer_obstacles(self, conv: str, layer: Linearity, path: str) -> Iterator[Obstacle]:
        """What keeps the batch norm at ``path`` out of the layer that it follows in the trace."""
        found = obstacle(layer)
        if found is not None:
            yield found, f"{type(layer).__name__} {conv}"
        if self._seen.calls[conv] > 1 or len(self._calls[conv]) > 1:
            yield Reason.CONV_CALLED_TWICE, f"{conv}, {self._seen.calls[conv]} times in one run"
        for parameter in parameters_of(layer):
            if id(parameter) in self._shared:
                yield Reason.WEIGHT_SHARED, f"one parameter is {_listed(self._shared[id(parameter)])}"
            if parameter.dtype not in DTYPES or parameter.layout != torch.strided or parameter.is_meta:
                yield Reason.DTYPE, f"{conv} holds {parameter.dtype}, {parameter.layout}, on {parameter.device}"
        if self._seen.weight_readers[conv]:
            strangers = _listed(self._seen.weight_readers[conv])
            yield Reason.WEIGHT_SHARED, f"the parameters of {conv} are read by {strangers}"
        readers = self._seen.readers[conv]
        if path not in readers:
            yield Reason.DISAGREES, f"in the run, {path} did not read the output of {conv}"
        if readers - {path}:
            yield Reason.CONV_OUTPUT_USED, f"{conv} is read by {_listed(readers)}"
        ranks = {self._seen.ranks.get(conv), self._seen.ranks.get(path)}
        if ranks != {output_rank(layer)}:
            yield Reason.NOT_CHANNELS, f"{conv} returned {self._seen.ranks.get(conv)} dimensions"

    def _what_hides(self, path: str) -> str:
        """The innermost module around ``path`` that could not be traced, and why."""
        around = [part for part in self._untraced if part.path == "" or f"{path}.".startswith(f"{part.path}.")]
        inner = max(around, key=lambda part: len(part.path), default=None)
        return f"{shown(inner.path)}: {inner.why}" if inner else ""


def _asks_for_the_shape(node: fx.Node) -> bool:
    """True for what a fold leaves as it is: dimensions, dtype and device, not values."""
    if node.op == "call_function" and node.target is getattr:
        return node.args[1] in ("shape", "ndim", "dtype", "device")
    return node.op == "call_method" and node.target in ("size", "dim")


def _operation(node: fx.Node) -> str:
    if node.op == "output":
        return "the output"
    return str(getattr(node.target, "__name__", node.target))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(shown(name) for name in names))
