"""Progress of a bench on stderr: which row has its turn, how many rounds are done, how much time is left."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

from hardnet_deploy.cli.common import Counter, note

EVERY_S = 5.0


@contextlib.contextmanager
def bench_progress() -> Iterator[Counter]:
    """A bar on a terminal, else a line when a new task begins and one every few seconds; always on stderr."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None, detail="")

        def update(what: str, done: int, total: int, detail: str = "") -> None:
            bar.update(task, description=what, completed=done, total=total, detail=detail)

        yield update


class _Lines:
    """For logs."""

    def __init__(self) -> None:
        self._what, self._told = "", 0.0

    def __call__(self, what: str, done: int, total: int, detail: str = "") -> None:
        now = time.monotonic()
        if what == self._what and now - self._told < EVERY_S:
            return
        self._what, self._told = what, now
        note(f"{what} ({done} of {total})" + (f": {detail}" if detail else ""))
