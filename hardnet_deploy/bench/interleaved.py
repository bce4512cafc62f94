"""Engines timed beside each other: a process for each, rounds in turn, so that a drift of the machine hits all."""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from hardnet_deploy.errors import TargetError
from hardnet_deploy.specs import F32

WARM_UP_MS: Final = 200
"""Untimed, at the beginning of every round: trtexec's default."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One engine.

    Args:
        rounds: Milliseconds of every run, by round.
    """

    rounds: tuple[tuple[float, ...], ...]

    @property
    def median_ms(self) -> float:
        """Of all runs."""
        return statistics.median(value for one in self.rounds for value in one)


def time_side_by_side(
    engines: Mapping[str, Path],
    images: F32,
    *,
    threads: int,
    rounds: int,
    per_round: int,
    progress: Progress | None = None,
) -> dict[str, Timing]:
    """Time ONNX engines in ONNX Runtime on the CPU, everything from the input array to the output arrays.

    Args:
        engines: Files by name.
        images: What all of them get.
        threads: Of each.
        rounds: Every engine has one turn in each.
        per_round: Runs a turn.
        progress: Told (rounds done, rounds).

    Raises:
        TargetError: A process ended before its time.
    """
    times: dict[str, list[tuple[float, ...]]] = {name: [] for name in engines}
    with tempfile.TemporaryDirectory(prefix="hardnet-deploy-") as folder, contextlib.ExitStack() as stack:
        file = Path(folder) / "input.npy"
        np.save(file, images)
        sides = {
            name: stack.enter_context(_side([str(path), str(file), str(threads), str(WARM_UP_MS)]))
            for name, path in engines.items()
        }
        for number in range(rounds):
            for name, side in sides.items():
                times[name].append(tuple(side.turn(per_round)))
            if progress:
                progress(number + 1, rounds)
    return {name: Timing(rounds=tuple(found)) for name, found in times.items()}


@contextlib.contextmanager
def _side(arguments: Sequence[str]) -> Iterator[_Side]:
    command = [sys.executable, "-m", "hardnet_deploy.bench.worker", *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        side = _Side(process, arguments[0])
        try:
            side.wait()
            yield side
        finally:
            process.kill()
            side.let_go()


class _Side:
    def __init__(self, process: subprocess.Popen[str], engine: str) -> None:
        self._process, self._engine = process, engine

    def wait(self) -> None:
        self._answer()

    def turn(self, runs: int) -> list[float]:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # that it has ended shows in its answer
            self._process.stdin.write(f"{runs}\n")
            self._process.stdin.flush()
        return [float(value) for value in json.loads(self._answer())]

    def let_go(self) -> None:
        """Close its input, whatever it had not read of it."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return line
        assert self._process.stderr is not None
        told = self._process.stderr.read().strip().splitlines()
        raise TargetError(f"the process that times {self._engine} ended", got=told[-1] if told else None)
