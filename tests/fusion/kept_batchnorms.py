"""Models whose batch norm must stay, by name, with the reason."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable

import torch
from fusion_nets import randomised
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune

from fusion import Reason


class Net(nn.Module):
    """``conv`` and ``norm`` of six channels; subclasses say how they are called."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.norm(self.conv(x))


class ConvIsAnOutput(Net):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.conv(x)
        return self.norm(y), y


class ConvReadTwice(Net):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y) + y.mean()


class ConvReadTwiceThroughIdentity(Net):
    def __init__(self) -> None:
        super().__init__()
        self.identity = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.identity(self.conv(x))
        return self.norm(y) + y


class ConvReadByAView(Net):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y) + y[:, :1]


class ConvChangedInPlace(Net):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        functional.relu_(y)
        return self.norm(y)


class ConvKept(Net):
    def forward(self, x: Tensor) -> Tensor:
        self.kept = self.conv(x)
        return self.norm(self.kept)


class ConvTwice(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(self.conv(x)))


class NormTwice(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(self.norm(x)))


class PairTwice(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(self.norm(self.conv(x))))


class NormNeverCalled(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class NormFirst(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.norm(x))


class AfterConcat(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(torch.cat([self.conv(x)[:, :3], x[:, :3]], 1))


class AfterSum(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x) + x)


class AfterFunctionalConv(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(functional.conv2d(x, self.conv.weight))


class WeightReadDirectly(Net):
    """A trace does not see this read: it computes no proxy. The run does."""

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) + self.conv.weight.mean()


class ChecksForTensors(Net):
    """A trace goes the other way here, since what it hands round is no tensor."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y.relu() if isinstance(y, Tensor) else y)


class ReadsUnderCheck(Net):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y) + (y.mean() if isinstance(y, Tensor) else 0)


class NormRead(Net):
    """Reads a tensor of the batch norm beside calling it."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) + getattr(self.norm, self.name).abs().sum()


class NormReturned(Net):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.norm(self.conv(x)), self.norm.weight


class SharedWeight(Net):
    def __init__(self) -> None:
        super().__init__()
        self.twin = nn.Conv2d(6, 6, 1)
        self.twin.weight = self.conv.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) + self.twin(x)


class SharedBias(Net):
    def __init__(self) -> None:
        super().__init__()
        self.shift = self.conv.bias


class OwnConv(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


class OwnConvStep(nn.Conv2d):
    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(x, weight - weight.mean(), bias)


class OwnNorm(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1


def sequence(*modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(*modules)


def changed(change: Callable[[Net], object]) -> nn.Module:
    net = Net()
    change(net)
    return net


def own_method(net: Net) -> None:
    inner = type(net.norm).forward
    net.norm.forward = lambda x: inner(net.norm, x) + 1  # type: ignore[method-assign]


def old_weight_norm(net: Net) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the old form is what this is about
        nn.utils.weight_norm(net.conv)


def hooked(module: nn.Module) -> nn.Module:
    module.register_forward_hook(lambda *_: None)
    return module


def scripted(module: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript is deprecated, and still found in models
        return torch.jit.script(randomised(module))


STAYS: dict[str, tuple[Callable[[], nn.Module], Reason]] = {
    "output of the conv is an output of the model": (ConvIsAnOutput, Reason.CONV_OUTPUT_USED),
    "output of the conv is read twice": (ConvReadTwice, Reason.CONV_OUTPUT_USED),
    "output of the conv is read twice, behind identity": (ConvReadTwiceThroughIdentity, Reason.CONV_OUTPUT_USED),
    "output of the conv is read through a view": (ConvReadByAView, Reason.CONV_OUTPUT_USED),
    "output of the conv is changed in place": (ConvChangedInPlace, Reason.CONV_OUTPUT_USED),
    "output of the conv is kept as an attribute": (ConvKept, Reason.CONV_OUTPUT_USED),
    "output of the conv is read where a trace does not look": (ReadsUnderCheck, Reason.CONV_OUTPUT_USED),
    "trace and run disagree": (ChecksForTensors, Reason.DISAGREES),
    "conv called twice": (ConvTwice, Reason.CONV_CALLED_TWICE),
    "batch norm called twice": (NormTwice, Reason.CALLED_TWICE),
    "both called twice": (PairTwice, Reason.CALLED_TWICE),
    "batch norm never called": (NormNeverCalled, Reason.NEVER_CALLED),
    "batch norm first": (NormFirst, Reason.BATCHNORM_FIRST),
    "batch norm first in a Sequential": (
        lambda: sequence(nn.BatchNorm2d(6), nn.Conv2d(6, 6, 1)),
        Reason.BATCHNORM_FIRST,
    ),
    "the model is a batch norm": (lambda: nn.BatchNorm2d(6), Reason.BATCHNORM_FIRST),
    "after ReLU": (lambda: sequence(nn.Conv2d(6, 6, 1), nn.ReLU(), nn.BatchNorm2d(6)), Reason.AFTER_OTHER),
    "after a pool": (lambda: sequence(nn.Conv2d(6, 6, 1), nn.AvgPool2d(2), nn.BatchNorm2d(6)), Reason.AFTER_OTHER),
    "after concat": (AfterConcat, Reason.AFTER_OTHER),
    "after a sum": (AfterSum, Reason.AFTER_OTHER),
    "after F.conv2d": (AfterFunctionalConv, Reason.AFTER_OTHER),
    "in training mode": (Net, Reason.TRAIN_MODE),
    "no running statistics": (
        lambda: sequence(nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6, track_running_stats=False)),
        Reason.NO_RUNNING_STATISTICS,
    ),
    "shared weight": (SharedWeight, Reason.WEIGHT_SHARED),
    "shared bias": (SharedBias, Reason.WEIGHT_SHARED),
    "weight read directly": (WeightReadDirectly, Reason.WEIGHT_SHARED),
    **{
        f"{name} of the batch norm read": (functools.partial(NormRead, name), Reason.READ_ELSEWHERE)
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    },
    "weight of the batch norm returned": (NormReturned, Reason.READ_ELSEWHERE),
    "weight of the batch norm read by a hook on the model": (
        lambda: changed(lambda net: net.register_forward_hook(lambda self, _, y: y + self.norm.weight.sum())),
        Reason.READ_ELSEWHERE,
    ),
    "hook on the conv": (
        lambda: changed(lambda net: net.conv.register_forward_hook(lambda *_: None)),
        Reason.HAS_HOOKS,
    ),
    "pre-hook on the batch norm": (
        lambda: changed(lambda net: net.norm.register_forward_pre_hook(lambda *_: None)),
        Reason.HAS_HOOKS,
    ),
    "backward hook on the conv": (
        lambda: changed(lambda net: net.conv.register_full_backward_hook(lambda *_: None)),
        Reason.HAS_HOOKS,
    ),
    "old weight norm": (lambda: changed(old_weight_norm), Reason.HAS_HOOKS),
    "pruning": (
        lambda: changed(lambda net: prune.l1_unstructured(net.conv, "weight", amount=0.5)),
        Reason.HAS_HOOKS,
    ),
    "weight norm": (lambda: changed(lambda net: parametrizations.weight_norm(net.conv)), Reason.PARAMETRIZED),
    "spectral norm": (lambda: changed(lambda net: parametrizations.spectral_norm(net.conv)), Reason.PARAMETRIZED),
    "subclass of the conv": (lambda: sequence(OwnConv(6, 6, 1), nn.BatchNorm2d(6)), Reason.OWN_FORWARD),
    "subclass of the conv, inner step": (lambda: sequence(OwnConvStep(6, 6, 1), nn.BatchNorm2d(6)), Reason.OWN_FORWARD),
    "subclass of the batch norm": (lambda: sequence(nn.Conv2d(6, 6, 1), OwnNorm(6)), Reason.OWN_FORWARD),
    "forward replaced on the instance": (lambda: changed(own_method), Reason.OWN_FORWARD),
    "scripted": (lambda: sequence(nn.Conv2d(6, 6, 1), scripted(nn.BatchNorm2d(6))), Reason.OWN_FORWARD),
    "hook between the two": (
        lambda: sequence(nn.Conv2d(6, 6, 1), hooked(nn.Identity()), nn.BatchNorm2d(6)),
        Reason.AFTER_OTHER,
    ),
}
