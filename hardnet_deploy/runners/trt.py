"""TensorRT, through the same file that goes to devices: every call and every version difference stands there."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from hardnet_deploy.device import run_engine
from hardnet_deploy.runners.base import Arrays, check_feeds
from hardnet_deploy.runners.device_faults import device_faults
from hardnet_deploy.specs import TensorInfo


@dataclass(frozen=True, kw_only=True)
class TensorRTHere:
    """What runs plans on this machine.

    Args:
        tensorrt: Version, as the module says it.
        gpu: Name of the GPU.
        compute_capability: Of it, as ``8.9``.
    """

    tensorrt: str
    gpu: str
    compute_capability: str

    @property
    def text(self) -> str:
        """In words."""
        return f"TensorRT {self.tensorrt} on {self.gpu} ({sm_text(self.compute_capability)})"


def sm_text(capability: str) -> str:
    """``sm_89`` of ``8.9``."""
    return f"sm_{capability.replace('.', '')}"


def tensorrt_here() -> TensorRTHere:
    """The installed TensorRT and the GPU it would use.

    Raises:
        TargetError: There is no TensorRT, no CUDA or no GPU.
    """
    with device_faults(), run_engine.opened() as (trt, cuda):
        device = cuda.device()
        return TensorRTHere(
            tensorrt=str(trt.__version__),
            gpu=str(device["name"]),
            compute_capability="{}.{}".format(*device["compute_capability"]),
        )


class TrtRunner:
    """Runs a TensorRT plan on the first visible GPU.

    A plan is native code: hand over only what was built on this machine or what the user trusts. The plan is loaded at
    once and its device memory given back on exit of a ``with`` statement, or when the runner is collected.

    Args:
        plan: The plan's bytes.
        manifest: Of the plan, as JSON has it; tells which TensorRT and which GPU built it.

    Raises:
        TargetError: No TensorRT or GPU here, another one built the plan, or there is no memory.
        ArtifactMismatchError: The plan is damaged.
    """

    def __init__(self, plan: bytes, *, manifest: Mapping[str, Any] | None = None) -> None:
        with device_faults(), contextlib.ExitStack() as taken:
            trt = run_engine.open_tensorrt()
            cuda = run_engine.open_cuda()
            taken.callback(cuda.close)
            engine = run_engine.Engine(trt, cuda, plan, dict(manifest) if manifest else None)
            taken.callback(engine.close)
            name = f"TensorRT {trt.__version__} ({cuda.device()['name']})"
            taken.pop_all()
        self._engine = engine
        self._release = weakref.finalize(self, _release, engine, cuda)
        self._name = name
        self._inputs = tuple(
            TensorInfo(name=one["name"], dtype=one["dtype"], shape=tuple(one["shape"])) for one in engine.inputs
        )
        self._outputs = tuple(one["name"] for one in engine.outputs)

    @property
    def engine(self) -> run_engine.Engine:
        """What runs, for those who time it."""
        return self._engine

    @property
    def name(self) -> str:
        """What ran: version and GPU in the words of the module and the driver."""
        return self._name

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """What :meth:`infer` wants."""
        return self._inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names that :meth:`infer` returns."""
        return self._outputs

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the device memory back; a second call does nothing."""
        self._release()

    def infer(self, feeds: Mapping[str, NDArray[np.float32]]) -> Arrays:
        """Run one batch; see :class:`~hardnet_deploy.runners.base.Runner`.

        Raises:
            UsageError: Also a batch outside of the engine's profile, and a runner that was closed.
            InputFileError: TensorRT could not run it.
        """
        check_feeds(self._inputs, feeds)
        with device_faults():
            return dict(self._engine.infer(dict(feeds)))


def _release(engine: run_engine.Engine, cuda: run_engine.Cuda) -> None:
    try:
        engine.close()
    finally:
        cuda.close()
