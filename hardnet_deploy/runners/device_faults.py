"""Faults of the file that goes to devices, as this project's own errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from hardnet_deploy.device.run_engine import EngineError
from hardnet_deploy.errors import (
    ArtifactMismatchError,
    HardnetDeployError,
    InputFileError,
    ParityError,
    TargetError,
    UnstableTimingError,
    UsageError,
)

KINDS: Final[dict[int, type[HardnetDeployError]]] = {
    kind.exit_code: kind
    for kind in (UsageError, TargetError, InputFileError, ParityError, UnstableTimingError, ArtifactMismatchError)
}
HOST_STEPS: Final = (
    ("run_engine.py build", "build it here: hardnet-deploy build-engine MODEL"),
    ("run_engine.py info", "hardnet-deploy doctor shows what this machine has"),
)
"""What the device file advises, by what it mentions, in the words of this command line."""


@contextlib.contextmanager
def device_faults(*, unreadable: type[HardnetDeployError] = InputFileError) -> Iterator[None]:
    """Raise an :class:`EngineError` as the error of this project that has its exit code.

    Args:
        unreadable: What exit code 4 is here: an input that cannot be read, or a build that failed.

    Raises:
        HardnetDeployError: In place of the EngineError, which is its cause.
    """
    try:
        yield
    except EngineError as error:
        kind = unreadable if error.code == unreadable.exit_code else KINDS.get(error.code, HardnetDeployError)
        raise kind(error.what, next_step=_next_step(error.next_step)) from error


def _next_step(text: str | None) -> str | None:
    return next((ours for sign, ours in HOST_STEPS if text and sign in text), text)
