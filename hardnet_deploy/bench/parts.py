"""What a process needs from layers above: opening models and artifacts, and folding. Handed in by who starts it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hardnet_deploy.bench.sides import SideError
from hardnet_deploy.runners.base import Runner
from hardnet_deploy.specs import DetectorHead, Preprocess, Thresholds

if TYPE_CHECKING:
    import onnx
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A model or an artifact, as workflows open it.

    Args:
        runner: Runs it.
        preprocess: How images become its input.
        head: Its default boxes; None for a backbone.
        thresholds: Of its NMS.
        trained: False for weights drawn from a seed; None where nothing is known.
        sha256: Of the artifact's bytes, or of the weights' names and values.
        weights_sha256: Of the weights' names and values; of an artifact what its manifest says, or None.
        warning: What trust let pass.
        model: An ONNX file's graph; else None.
        network: PyTorch's module; else None.
    """

    runner: Runner
    preprocess: Preprocess
    head: DetectorHead | None
    thresholds: Thresholds
    trained: bool | None
    sha256: str | None
    weights_sha256: str | None
    warning: str | None
    model: onnx.ModelProto | None
    network: nn.Module | None


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Functions of the layers above.

    Args:
        open_model: Of a registered name, a checkpoint or None, a code line, and a file of class names or None.
        open_artifact: Of a path, and whether it is trusted.
        fold: A module in eval mode and an example [1, 3, S, S] to a copy with its batch norms folded, and a sentence
            on those that stayed, if any did.
    """

    open_model: Callable[[str, Path | None, str, Path | None], Opened]
    open_artifact: Callable[[Path, bool], Opened]
    fold: Callable[[nn.Module, Tensor], tuple[nn.Module, str | None]]


def _none(*_: object) -> Opened:
    raise SideError("this process can load nothing but ONNX files of the caller's own making")


def _no_fold(*_: object) -> tuple[nn.Module, str | None]:
    raise SideError("this process cannot fold batch norms")


NO_PARTS = Parts(open_model=_none, open_artifact=_none, fold=_no_fold)
