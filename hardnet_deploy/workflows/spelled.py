"""A command line from the options of a workflow, so that a document says how to make it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path


def spelled(command: str, words: Sequence[str], options: Mapping[str, str | int | float | Path | None]) -> list[str]:
    """``hardnet-deploy COMMAND WORDS OPTIONS`` as a list of words, not quoted for any shell.

    Args:
        command: Name of the command.
        words: Its arguments.
        options: By their names on the command line; None and False are left out, True is a bare flag.
    """
    line = ["hardnet-deploy", command, *words]
    for name, value in options.items():
        if value is None or value is False:
            continue
        line += [name] if value is True else [name, str(value)]
    return line
