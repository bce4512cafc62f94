"""The process in which one side is loaded and timed, seen from outside."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from hardnet_deploy.bench.sides import Side, SideError, SideFacts

ANSWER_LIMIT_S: Final = 900
"""A process that says nothing for longer is ended: loading compiles, a turn is a second or a few runs."""
SLOWEST: Final = 3
"""A turn may take so many times what its runs took when the side was loaded, beyond that."""

END_LIMIT_S: Final = 1.0
"""A process has so long to end by itself."""


@contextlib.contextmanager
def opened(side: Side, worker: Sequence[str], folder: Path) -> Iterator[SideProcess]:
    """Start a process, wait until the side is loaded, and end it with all that it started.

    Args:
        side: What it loads.
        worker: Arguments of Python that start it, as ``("-m", MODULE)``.
        folder: For its standard error.

    Raises:
        SideError: The side cannot be loaded.
    """
    errors = folder / f"{abs(hash(side.key))}.stderr"
    with (
        errors.open("wb") as standard_error,
        subprocess.Popen(
            [sys.executable, *worker, json.dumps(side.as_dict())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=standard_error,
            text=True,
            env={**os.environ, **_threads(side)},
            start_new_session=True,  # Ctrl-C is for the process that keeps the results; this one it ends
        ) as process,
    ):
        try:
            yield SideProcess(process, errors)
        finally:
            _end(process)


class SideProcess:
    """A loaded side: :class:`hardnet_deploy.bench.rounds.Timeable`."""

    def __init__(self, process: subprocess.Popen[str], errors: Path) -> None:
        self._process, self._errors = process, errors
        self._facts, self._run_ms = self._loaded()

    @property
    def facts(self) -> SideFacts:
        """What it says of itself."""
        return self._facts

    @property
    def run_ms(self) -> float:
        """One run after it was loaded."""
        return self._run_ms

    def turn(self, runs: int, *, warm_up_ms: float) -> tuple[float, ...]:
        """Milliseconds of each run; see :class:`hardnet_deploy.bench.rounds.Timeable`."""
        self._ask({"runs": runs, "warm_up_ms": warm_up_ms})
        answer = self._answer(expected_s=(warm_up_ms + runs * self._run_ms) / 1000)
        self._facts = dataclasses.replace(self._facts, peak_rss_bytes=answer["peak_rss_bytes"])
        return tuple(float(value) for value in answer["ms"])

    def unload(self) -> None:
        """See :class:`hardnet_deploy.bench.rounds.Timeable`."""
        self._ask({"unload": True})
        self._answer()

    def load_again(self) -> None:
        """See :class:`hardnet_deploy.bench.rounds.Timeable`; ``run_ms`` stays that of the first loading."""
        self._ask({"load": True})
        facts, _ = self._loaded()
        for name in ("artifact_sha256", "weights_sha256"):
            if getattr(facts, name) != getattr(self._facts, name):
                raise SideError("its file was replaced while it was timed")
        known = [one.peak_rss_bytes for one in (self._facts, facts) if one.peak_rss_bytes is not None]
        self._facts = dataclasses.replace(facts, peak_rss_bytes=max(known, default=None))

    def _loaded(self) -> tuple[SideFacts, float]:
        ready = self._answer()
        return SideFacts.from_dict(ready["facts"]), float(ready["run_ms"])

    def _ask(self, request: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # that it has ended shows in its answer
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()

    def _answer(self, *, expected_s: float = 0.0) -> dict[str, Any]:
        assert self._process.stdout is not None
        late, limit_s = threading.Event(), ANSWER_LIMIT_S + SLOWEST * expected_s

        def end_it() -> None:
            late.set()
            _kill(self._process)

        limit = threading.Timer(limit_s, end_it)
        limit.daemon = True
        limit.start()
        try:
            line = self._process.stdout.readline()
        finally:
            limit.cancel()
        if late.is_set():
            raise SideError(f"its process gave no answer for {limit_s:g} s and was ended")
        if not line:
            raise SideError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "problem" in answer:
            raise SideError(str(answer["problem"]))
        return answer

    def _last_words(self) -> str:
        code = self._process.wait()
        told = self._errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if code < 0:
            name = signal.Signals(-code).name
            return f"its process was ended by {name}" + (": no memory, perhaps" if name == "SIGKILL" else "")
        return f"its process ended with code {code}" + (f": {told[-1]}" if told else "")


def _threads(side: Side) -> dict[str, str]:
    """The libraries below NumPy and PyTorch read these when they are loaded."""
    count = str(side.threads)
    return {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count}


def _kill(process: subprocess.Popen[str]) -> None:
    """The process and what it started: compilers keep processes of their own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def _end(process: subprocess.Popen[str]) -> None:
    """It ends by itself, and with what it started, when its input does; in the middle of a turn it is ended."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # whatever it had not read
        process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(END_LIMIT_S)
    _kill(process)
