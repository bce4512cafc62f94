"""What a bench came to: its document, whether it is a result, and the files it is written to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardnet_deploy.bench.document import ended_early, save_bench
from hardnet_deploy.bench.stats import LEAST_LOADINGS
from hardnet_deploy.bench.tables import csv_table, markdown_table, text_table
from hardnet_deploy.bench.timing import StoppedBy
from hardnet_deploy.errors import HardnetDeployError, OutputFileError, TargetError, UnstableTimingError
from hardnet_deploy.files import atomic_output, write_durably
from hardnet_deploy.workflows.bench_options import BenchRequest


@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """A finished, or interrupted, bench.

    Args:
        document: As ``docs/bench-json.md`` describes it.
        stopped_by: What ended the timing; None where nothing could be timed here.
        allow_unstable: Whether rows that did not settle are taken.
        notes: What the user should know.
    """

    document: dict[str, Any]
    stopped_by: StoppedBy | None
    allow_unstable: bool
    notes: tuple[str, ...]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Of the document."""
        rows: list[dict[str, Any]] = self.document["rows"]
        return rows

    @property
    def interrupted(self) -> bool:
        """True where Ctrl-C ended it: what was measured by then is there."""
        return self.stopped_by == "interrupted"

    @property
    def empty(self) -> bool:
        """True where nothing was timed, or Ctrl-C came before a round was finished: no file is to have it."""
        return (self.interrupted and not self.rounds) or not any(row["measured"] for row in self.rows)

    @property
    def rounds(self) -> int:
        """Rounds that were finished."""
        return int(self.document["protocol"]["rounds"])

    @property
    def unstable(self) -> tuple[dict[str, Any], ...]:
        """Rows measured here whose times did not settle, or whose engine did not live to the end."""
        return tuple(
            row for row in self.rows if row["rounds_ms"] and (row["measured"]["stable"] is False or ended_early(row))
        )

    @property
    def error(self) -> HardnetDeployError | None:
        """Why these times are not a result: they did not settle and nobody allowed it, or there are none."""
        if self.interrupted:
            return None
        if not any(row["measured"] for row in self.rows):
            reasons = dict.fromkeys(row["provenance"] for row in self.rows)
            return TargetError("nothing was timed", got="; ".join(reasons))
        if self.allow_unstable or not self.unstable:
            return None
        names = [f"{row['key']} ({ended_early(row)})" if ended_early(row) else row["key"] for row in self.unstable]
        return UnstableTimingError(
            f"the times of {len(names)} of {sum(bool(row['rounds_ms']) for row in self.rows)} rows did not settle",
            got=", ".join(names),
            wanted=str(self.document["protocol"]["stability"]),
            next_step=f"{self._how_to_settle()}; --allow-unstable takes them, marked",
        )

    def _how_to_settle(self) -> str:
        """What ended an engine, more rounds where there were too few to tell, or a machine that does nothing else."""
        if all(ended_early(row) for row in self.unstable):
            return "remedy what ended it, or leave it out"
        asked, rounds = self.document["protocol"]["rounds_asked"], self.rounds
        too_few = rounds < LEAST_LOADINGS and any(row["device"] == "cpu" for row in self.unstable)
        if too_few and asked is not None:
            return f"give --rounds {LEAST_LOADINGS} or more"
        if too_few and self.stopped_by == "budget":
            return f"the budget held {rounds} round{'' if rounds == 1 else 's'}; give one that holds {LEAST_LOADINGS}"
        return f"leave the machine to the bench{self._fewer_threads()}, or give a longer --budget"

    def _fewer_threads(self) -> str:
        """Where threads share cores by turns, as virtual ones may, times jump by a third from second to second."""
        threads = self.document["protocol"]["threads"]
        on_cpu = any(row["device"] == "cpu" for row in self.unstable)
        return ", give --threads 1 on a virtual machine" if on_cpu and threads > 1 else ""

    def lines(self) -> Iterator[str]:
        """The table for a terminal."""
        return text_table(self.document)

    def save(self, path: Path) -> None:
        """Write the document.

        Raises:
            OutputFileError: It cannot be written.
        """
        save_bench(path, self.document)

    def write(self, request: BenchRequest) -> tuple[tuple[Path, ...], tuple[OutputFileError, ...]]:
        """Write the files that the request names, each by itself; which were, and why others could not be.

        Where nothing was measured older ones stay as they are.
        """
        writers: tuple[tuple[Path | None, Callable[[Path], None]], ...] = (
            (request.save, self.save),
            (request.markdown, lambda path: _save_text(path, "".join(f"{x}\n" for x in markdown_table(self.document)))),
            (request.csv, lambda path: _save_text(path, csv_table(self.document))),
        )
        written: list[Path] = []
        faults: list[OutputFileError] = []
        for path, write in writers:
            if path is None or self.empty:
                continue
            try:
                write(path)
                written.append(path)
            except OutputFileError as fault:
                faults.append(fault)
        return tuple(written), tuple(faults)


def _save_text(path: Path, text: str) -> None:
    with atomic_output(path) as temporary:
        write_durably(temporary, text.encode("utf-8", "backslashreplace"))
