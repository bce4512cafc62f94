"""One run of a model on an example: which module ran how often, and who read each layer's output and weights.

A symbolic trace says what a forward does for every input of the kind it was traced with; it can be led astray by code
that asks whether it is being traced. The run sees what really happened, on one input. A fold needs both to agree.
"""
# ruff: noqa: TID253 - this file is torch code and is imported only by those who need torch

from __future__ import annotations

import inspect
import random
import weakref
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from fusion.errors import FusionModelError
from fusion.torch_modules import LINEARITIES, is_batchnorm, parameters_of

MODEL_OUTPUT = "the model's output"
KEPT = "something that outlives the forward"


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What one run showed. Modules are named by their first path in ``named_modules()``.

    Args:
        calls: How often each module was called.
        arguments: Arguments by name that held no tensor in the first call of a module; they choose its control flow.
        ranks: Dimensions of the output of each convolution, linear layer and batch norm.
        readers: Who read the output of each convolution or linear layer: paths, or one of the two texts above.
        weight_readers: Who read the parameters of each convolution or linear layer, or the parameters and buffers of
            each batch norm, without being such a module that holds them.
        functional: Where ``F.batch_norm`` was called other than by a batch norm module: path of the caller.
    """

    calls: Counter[str] = field(default_factory=Counter)
    arguments: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)
    readers: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    weight_readers: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    functional: list[str] = field(default_factory=list)


def observe(model: nn.Module, example: tuple[Tensor, ...]) -> Observation:
    """Run ``model`` once on ``example``, as it is (training flags, buffers and hooks included), and watch.

    The run may change buffers and attributes: pass a copy. Hooks placed for watching are removed.

    Raises:
        FusionModelError: The model does not run on the example.
    """
    run = _Run(model)
    with ExitStack() as stack, undisturbed_rng(model), torch.no_grad():
        for path, module in model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue  # takes no hooks; what it reads is read by its caller
            stack.enter_context(_removing(module.register_forward_pre_hook(run.entering(path), with_kwargs=True)))
            stack.enter_context(_removing(module.register_forward_hook(run.leaving(path), prepend=True)))
        stack.enter_context(_Functions(run))
        stack.enter_context(_Operations(run))
        try:
            output = model(*example)
        except Exception as error:
            raise FusionModelError(
                f"the model does not run on the example of shape {shapes(example)}: {error}"
            ) from error
    for tensor in tensors_in(output):
        run.read(tensor, MODEL_OUTPUT)
    del output
    run.look_for_kept_outputs()
    return run.seen


def shapes(example: tuple[Tensor, ...]) -> str:
    """The shapes of the arguments, for a message."""
    return ", ".join(str(tuple(tensor.shape)) for tensor in example)


def tensors_in(value: object) -> Iterator[Tensor]:
    """The tensors in nested lists, tuples and mappings, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)


@contextmanager
def undisturbed_rng(model: nn.Module) -> Iterator[None]:
    """Give torch's generators (CPU and the model's GPUs) and Python's back as they were."""
    devices = {parameter.device.index for parameter in model.parameters() if parameter.device.type == "cuda"}
    state = random.getstate()
    try:
        with torch.random.fork_rng(devices=sorted(devices)):
            yield
    finally:
        random.setstate(state)


@contextmanager
def _removing(handle: torch.utils.hooks.RemovableHandle) -> Iterator[None]:
    try:
        yield
    finally:
        handle.remove()


class _Run:
    """The state of one run. Tensors are held weakly, so that watching keeps no activation alive."""

    def __init__(self, model: nn.Module) -> None:
        self.seen = Observation()
        self._active: list[str] = []
        self._batchnorms = {path for path, module in model.named_modules() if is_batchnorm(module)}
        self._outputs: dict[int, tuple[weakref.ref[Tensor], str]] = {}
        self._weights: dict[int, list[str]] = defaultdict(list)
        for path, module in model.named_modules():
            for tensor in _own_tensors(module):
                self._weights[id(tensor)].append(path)

    @property
    def caller(self) -> str:
        """The innermost module that is running."""
        return self._active[-1] if self._active else ""

    @property
    def in_batchnorm(self) -> bool:
        """True inside a batch norm module."""
        return any(path in self._batchnorms for path in self._active)

    def entering(self, path: str) -> Callable[..., None]:
        """Pre-forward hook."""

        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self.seen.calls[path] += 1
            if path not in self.seen.arguments:
                self.seen.arguments[path] = _fixed_arguments(module, args, kwargs)
            self._active.append(path)

        return hook

    def leaving(self, path: str) -> Callable[..., None]:
        """Forward hook."""

        def hook(module: nn.Module, _args: tuple[Any, ...], output: object) -> None:
            self._active.pop()
            if isinstance(output, Tensor) and (isinstance(module, LINEARITIES) or path in self._batchnorms):
                self.seen.ranks[path] = output.dim()
            if isinstance(output, Tensor) and isinstance(module, LINEARITIES):
                self._outputs[id(output)] = (weakref.ref(output), path)

        return hook

    def read(self, tensor: Tensor, reader: str) -> None:
        """Note that ``reader`` has read ``tensor``."""
        reference, path = self._outputs.get(id(tensor), (None, ""))
        if reference is not None and reference() is tensor:
            self.seen.readers[path].add(reader)
        owners = self._weights.get(id(tensor), [])
        if reader not in owners:
            for owner in owners:
                self.seen.weight_readers[owner].add(reader)

    def look_for_kept_outputs(self) -> None:
        """An output that is still alive after the run is held by an attribute, a cache or a hook."""
        for reference, path in self._outputs.values():
            if reference() is not None:
                self.seen.readers[path].add(KEPT)


def _own_tensors(module: nn.Module) -> Iterable[Tensor]:
    if isinstance(module, LINEARITIES):
        return parameters_of(module)
    if is_batchnorm(module) and not isinstance(module, torch.jit.ScriptModule):
        return (*module.parameters(recurse=False), *module.buffers(recurse=False))
    return ()


def _fixed_arguments(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    try:
        signature = inspect.signature(module.forward)
        bound = signature.bind(*args, **kwargs)
    except (TypeError, ValueError):
        return {}
    bound.apply_defaults()
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {
        name: value
        for name, value in bound.arguments.items()
        if signature.parameters[name].kind not in variadic and not any(True for _ in tensors_in(value))
    }


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Every operation on tensors; reading a shape or a dtype is none."""

    def __init__(self, run: _Run) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._run = run

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here; torch would otherwise import its compiler, which takes a second."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for tensor in tensors_in((args, kwargs)):
            self._run.read(tensor, self._run.caller)
        return func(*args, **kwargs)


class _Functions(TorchFunctionMode):
    """Every call of a torch function; looks for batch norms that are not modules."""

    def __init__(self, run: _Run) -> None:
        super().__init__()
        self._run = run

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (functional.batch_norm, torch.batch_norm, torch.native_batch_norm) and not self._run.in_batchnorm:
            self._run.seen.functional.append(self._run.caller)
        return func(*args, **(kwargs or {}))
