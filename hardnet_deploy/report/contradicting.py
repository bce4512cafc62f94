"""Refusing a document whose figures contradict themselves."""

from __future__ import annotations

from typing import NoReturn

from hardnet_deploy.errors import InputFileError
from hardnet_deploy.report.documents import Part


def contradiction(part: Part, name: str, got: object, wanted: str) -> NoReturn:
    """Say that a figure cannot be true.

    Args:
        part: What it is in.
        name: Of it.
        got: As it stands there.
        wanted: What it would have to be, and why.

    Raises:
        InputFileError: Always.
    """
    raise InputFileError(
        f"{part.source}: '{name}' cannot be true",
        got=f"{got}"[:60],
        wanted=wanted,
        next_step="make the document again, or leave it out of the report",
    )


def refuse_below(part: Part, name: str, least: float) -> None:
    """Refuse a figure that is there and below ``least``.

    Raises:
        InputFileError: It is.
    """
    value = part.number(name)
    if value is not None and value < least:
        contradiction(part, name, value, f"{least:g} or more")


def refuse_outside(part: Part, name: str, least: float, most: float) -> None:
    """Refuse a figure that is there and is not from ``least`` to ``most``.

    Raises:
        InputFileError: It is such a one.
    """
    value = part.number(name)
    if value is not None and not least <= value <= most:
        contradiction(part, name, value, f"{least:g} to {most:g}")
