"""The calibration package's errors as ours, each with its exit code."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from calibration.errors import CalibrationError, StaleTableError
from hardnet_deploy.errors import ArtifactMismatchError, InputFileError


@contextlib.contextmanager
def calibration_faults() -> Iterator[None]:
    """Turn errors of ``calibration`` into errors of ours.

    Raises:
        ArtifactMismatchError: A table of another graph, other weights or another pre-processing.
        InputFileError: Any other: a table, cache or graph that cannot be used, values that are no numbers.
    """
    try:
        yield
    except StaleTableError as error:
        raise ArtifactMismatchError(error.what, got="; ".join(error.differences), next_step=error.next_step) from error
    except CalibrationError as error:
        raise InputFileError(error.what, got=error.got, wanted=error.wanted, next_step=error.next_step) from error
