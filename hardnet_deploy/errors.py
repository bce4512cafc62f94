"""Every error a user can meet, each with its exit code.

A message says what is wrong, what was got, what was wanted and which command or action comes next. The command line
prints it without a traceback and ends with ``exit_code``; the table is part of ``hardnet-deploy --help``.
"""

from __future__ import annotations

from typing import ClassVar


class HardnetDeployError(Exception):
    """Base of every error that is the user's to act on.

    Args:
        what: One sentence, naming the file or option it is about.
        got: What was found, where that helps.
        wanted: What would have been accepted.
        next_step: The command or action that leads on.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self, what: str, *, got: str | None = None, wanted: str | None = None, next_step: str | None = None
    ) -> None:
        super().__init__(what)
        self.what = what
        self.got = got
        self.wanted = wanted
        self.next_step = next_step

    def lines(self) -> tuple[str, ...]:
        """The message, one line for each part that is known."""
        parts = (("got", self.got), ("wanted", self.wanted), ("next", self.next_step))
        return (self.what, *(f"  {label}: {text}" for label, text in parts if text))

    def as_dict(self) -> dict[str, str | int | None]:
        """The message for ``--json``."""
        return {
            "error": type(self).__name__,
            "what": self.what,
            "got": self.got,
            "wanted": self.wanted,
            "next": self.next_step,
            "exit_code": self.exit_code,
        }

    def __str__(self) -> str:
        return "\n".join(self.lines())


class UsageError(HardnetDeployError):
    """Options that cannot be meant: unknown names, values out of range, options that exclude each other."""

    exit_code: ClassVar[int] = 2


class TargetError(HardnetDeployError):
    """The target or this environment cannot do what was asked."""

    exit_code: ClassVar[int] = 3


class InputFileError(HardnetDeployError):
    """An input cannot be read or is not what it claims to be: checkpoint, ONNX file, image."""

    exit_code: ClassVar[int] = 4


class CheckpointError(InputFileError):
    """A checkpoint that cannot be loaded, or that belongs to another model."""


class ExportError(HardnetDeployError):
    """Export or build failed."""

    exit_code: ClassVar[int] = 4


class OutputFileError(HardnetDeployError):
    """An output could not be written: no space, no permission, a folder in its place."""

    exit_code: ClassVar[int] = 4


class ParityError(HardnetDeployError):
    """Two computations that must agree do not, or nothing was compared."""

    exit_code: ClassVar[int] = 5


class AccuracyBudgetError(HardnetDeployError):
    """The accuracy budget was missed."""

    exit_code: ClassVar[int] = 6


class UnstableTimingError(HardnetDeployError):
    """The timing did not settle."""

    exit_code: ClassVar[int] = 7


class ArtifactMismatchError(HardnetDeployError):
    """An artifact has no manifest, or the manifest disagrees with the file."""

    exit_code: ClassVar[int] = 8


EXIT_CODES: tuple[tuple[int, str], ...] = (
    (0, "ok"),
    (1, "a fault in hardnet-deploy itself (run again with --debug)"),
    (UsageError.exit_code, "usage"),
    (TargetError.exit_code, "the target or this environment cannot do it"),
    (ExportError.exit_code, "export or build failed, or an input could not be read"),
    (ParityError.exit_code, "parity failed"),
    (AccuracyBudgetError.exit_code, "accuracy budget missed"),
    (UnstableTimingError.exit_code, "timing unstable"),
    (ArtifactMismatchError.exit_code, "artifact and manifest disagree"),
)
