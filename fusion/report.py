"""What was folded, what was not, and why: values for a manifest and sentences for a reader. No torch, no onnx."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass


class Reason(enum.Enum):
    """Why a batch norm stays. The value is the sentence a user reads; the name goes into manifests."""

    TRAIN_MODE = "it is in training mode: it normalises with the statistics of each batch"
    NO_RUNNING_STATISTICS = "it keeps no running statistics: it normalises with those of each batch"
    EXTRA_OUTPUTS = "its statistics are outputs of the graph's node, as in training"
    CALLED_TWICE = "it is called more than once"
    NEVER_CALLED = "it is never called on the example"
    BATCHNORM_FIRST = "it comes first: its input is an input of the model"
    AFTER_OTHER = "it does not follow a convolution or linear layer directly"
    NOT_SEEN = "what feeds it cannot be seen: the forward around it cannot be traced"
    DISAGREES = "the traced graph and the observed run disagree about what feeds it or who else reads that"
    FUNCTIONAL = "it is a call of a function, not a module"
    IN_SUBGRAPH = "it is in the body of a control-flow node or of a local function"
    OWN_FORWARD = "a class or instance overrides what the layer computes"
    HAS_HOOKS = "a hook is registered, which would see or change other values"
    PARAMETRIZED = "a weight is computed by a parametrization (weight norm, spectral norm)"
    READ_ELSEWHERE = "its parameters or statistics are read elsewhere too"
    CONV_CALLED_TWICE = "the layer before it is called more than once"
    CONV_OUTPUT_USED = "the output of the layer before it is used elsewhere too, or is an output of the model"
    WEIGHT_SHARED = "the weight or bias of the layer before it is used elsewhere too"
    WEIGHT_NOT_CONSTANT = "a weight or statistic is not a constant of the graph"
    CHANNEL_MISMATCH = "its channels are not the output channels of the layer before it"
    NOT_CHANNELS = "it does not normalise the output channels of the layer before it"
    DTYPE = "its layer's weight has a type that cannot be folded"
    NUMBERS = "its numbers cannot be folded"
    OPSET = "the operator set is outside the versions this reads"


@dataclass(frozen=True, kw_only=True)
class FoldedPair:
    """A batch norm that now lives in the layer before it.

    Args:
        conv: Path of the convolution or linear layer, ``""`` for the model itself; in ONNX the name of the node.
        batchnorm: Path of the batch norm, or the name of its node.
        kind: Class or operator of the layer, such as ``Conv2d`` or ``Gemm``.
        channels: Output channels.
    """

    conv: str
    batchnorm: str
    kind: str
    channels: int


@dataclass(frozen=True, kw_only=True)
class NotFolded:
    """A batch norm that stays as it was.

    Args:
        path: Path of the module or name of the node.
        reason: Why.
        detail: What exactly was found, where that helps.
    """

    path: str
    reason: Reason
    detail: str = ""

    @property
    def sentence(self) -> str:
        """Path, reason and detail as one line."""
        detail = f" ({self.detail})" if self.detail else ""
        return f"{shown(self.path)}: {self.reason.value}{detail}"


@dataclass(frozen=True, kw_only=True)
class Untraced:
    """A module whose forward could not be traced; its children were looked at one by one."""

    path: str
    why: str


@dataclass(frozen=True, kw_only=True)
class FoldReport:
    """Every batch norm of a model, in the model's order: each is in exactly one of the two lists."""

    folded: tuple[FoldedPair, ...]
    not_folded: tuple[NotFolded, ...]
    untraced: tuple[Untraced, ...] = ()

    @property
    def total(self) -> int:
        """Batch norms found."""
        return len(self.folded) + len(self.not_folded)

    @property
    def conv_to_batchnorm(self) -> Mapping[str, str]:
        """Path of each folded layer -> path of the batch norm whose output the layer computes now."""
        return {pair.conv: pair.batchnorm for pair in self.folded}

    def as_dict(self) -> dict[str, object]:
        """For a manifest: strings, integers, lists and dictionaries only."""
        return {
            "batchnorms": self.total,
            "folded_count": len(self.folded),
            "not_folded_count": len(self.not_folded),
            "folded": [
                {"conv": pair.conv, "batchnorm": pair.batchnorm, "kind": pair.kind, "channels": pair.channels}
                for pair in self.folded
            ],
            "not_folded": [
                {"path": left.path, "reason": left.reason.name.lower(), "detail": left.detail, "text": left.sentence}
                for left in self.not_folded
            ],
            "untraced": [{"path": part.path, "why": part.why} for part in self.untraced],
        }

    def explain(self) -> tuple[str, ...]:
        """Lines for a reader: the count, what stays and why, what could not be traced, then what was folded."""
        if not self.total:
            return ("There is no batch norm to fold.",)
        left = [f"  not folded  {one.sentence}" for one in self.not_folded]
        parts = [f"  not traced  {shown(part.path)}: {part.why}" for part in self.untraced]
        done = [
            f"  folded      {shown(pair.batchnorm)} into {shown(pair.conv)} ({pair.kind}, {pair.channels} channels)"
            for pair in self.folded
        ]
        return (f"{len(self.folded)} of {self.total} batch norms folded.", *left, *parts, *done)


def shown(path: str) -> str:
    """A path for a reader: the root module has the empty path."""
    return path or "(the model itself)"
