"""What can go wrong while ranges are measured, kept and written; each error says what, got, wanted and what is next."""

from __future__ import annotations


class CalibrationError(Exception):
    """Base of this package's errors: something that was given cannot be used.

    Args:
        what: One sentence that names the file, tensor or option it is about.
        got: What was found, where that helps.
        wanted: What would have been accepted.
        next_step: The action that leads on.
    """

    def __init__(
        self, what: str, *, got: str | None = None, wanted: str | None = None, next_step: str | None = None
    ) -> None:
        super().__init__(what)
        self.what = what
        self.got = got
        self.wanted = wanted
        self.next_step = next_step

    def __str__(self) -> str:
        parts = (("got", self.got), ("wanted", self.wanted), ("next", self.next_step))
        return "\n".join((self.what, *(f"  {label}: {text}" for label, text in parts if text)))


class StaleTableError(CalibrationError):
    """A table that was measured on another graph, other weights or with another pre-processing.

    Args:
        what: As in :class:`CalibrationError`.
        differences: One sentence for each thing that differs, with both values.
        next_step: As in :class:`CalibrationError`.
    """

    def __init__(self, what: str, *, differences: tuple[str, ...], next_step: str | None = None) -> None:
        super().__init__(what, got="; ".join(differences), next_step=next_step)
        self.differences = differences


class CacheFormatError(CalibrationError):
    """Text that is not a whole TensorRT calibration cache.

    Args:
        what: As in :class:`CalibrationError`; it names the line too.
        line: The line at fault, counted from 1.
        got: As in :class:`CalibrationError`.
        wanted: As in :class:`CalibrationError`.
        next_step: As in :class:`CalibrationError`.
    """

    def __init__(
        self, what: str, *, line: int, got: str | None = None, wanted: str | None = None, next_step: str | None = None
    ) -> None:
        super().__init__(what, got=got, wanted=wanted, next_step=next_step)
        self.line = line
