"""The one protocol that every engine is run through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from hardnet_deploy.errors import UsageError
from hardnet_deploy.specs import TensorInfo

Arrays = dict[str, NDArray[Any]]


class Runner(Protocol):
    """Maps a batch of named inputs to named outputs.

    Owns its memory between ``__enter__`` and ``__exit__``. Returned arrays are the caller's: the next call does not
    change them.
    """

    @property
    def name(self) -> str:
        """What ran, for reports: ``PyTorch``, ``ONNX Runtime (CPU)``."""
        ...

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """What :meth:`infer` wants."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names that :meth:`infer` returns, in order."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def infer(self, feeds: Mapping[str, NDArray[np.float32]]) -> Arrays:
        """Run one batch.

        Raises:
            UsageError: A name, element type or shape is wrong; nothing was copied or run.
        """
        ...


def check_feeds(inputs: Sequence[TensorInfo], feeds: Mapping[str, NDArray[Any]]) -> None:
    """Refuse feeds that are not exactly what ``inputs`` declares.

    Raises:
        UsageError: Names, element types or shapes differ.
    """
    wanted = {info.name: info for info in inputs}
    if set(wanted) != set(feeds):
        raise UsageError(
            "the inputs have other names", got=", ".join(sorted(feeds)) or "none", wanted=", ".join(sorted(wanted))
        )
    for name, array in feeds.items():
        info = wanted[name]
        if array.dtype != np.dtype(info.dtype):  # not by name, which another byte order shares
            raise UsageError(f"input '{name}' has another element type", got=str(array.dtype), wanted=info.dtype)
        fits = len(array.shape) == len(info.shape) and all(
            expected in (-1, actual) for expected, actual in zip(info.shape, array.shape, strict=True)
        )
        if not fits or 0 in array.shape:
            raise UsageError(f"input '{name}' has another shape", got=str(array.shape), wanted=str(info.shape))
