"""What every command shares: its options, how results and errors leave it, progress."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, ParamSpec, Protocol, TextIO

import typer

from hardnet_deploy.errors import EXIT_CODES, HardnetDeployError, OutputFileError, TargetError

P = ParamSpec("P")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Take an artifact without a manifest, or one that changed; every result is marked."),
]

EXIT_CODE_HELP = "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES) + "."
INTERRUPTED = 130
CLOSED_PIPE = 141


_EMITTED: list[bool] = []


def json_was_emitted() -> bool:
    """True once :func:`emit_json` was called in this process."""
    return bool(_EMITTED)


def emit_json(document: Any) -> None:
    """Print ``document`` as the one JSON document of this run, in UTF-8 whatever the locale."""
    _EMITTED.append(True)
    # A file name that is not UTF-8 holds lone surrogates: as \udcXX they are JSON.
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    _print(text.encode("utf-8", "backslashreplace"))


def emit(line: str = "") -> None:
    """Print one line of the result on stdout; what the terminal cannot show comes as an escape."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    _print(line.encode(encoding, "backslashreplace").decode(encoding))


def note(line: str) -> None:
    """Print one line of progress or warning on stderr."""
    typer.echo(line, err=True)


def _print(text: str | bytes) -> None:
    try:
        typer.echo(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        _close(sys.stdout)
        raise OutputFileError("the result cannot be printed on stdout", got=error.strerror) from error


def _close(stream: TextIO) -> None:
    """Send what is still buffered nowhere, so that the interpreter does not fail on it at its end."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _report(error: HardnetDeployError, *, as_json: bool, debug: bool) -> None:
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    note("error: " + "\n".join(error.lines()))
    if as_json:
        with contextlib.suppress(OutputFileError):  # where the fault is stdout itself, stderr has said so
            emit_json(error.as_dict())


def guarded(function: Callable[P, None]) -> Callable[P, None]:
    """Turn errors into one message and their exit code; the traceback only comes with ``--debug``.

    The command's own parameters ``json`` and ``debug`` decide how.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        as_json, debug = bool(kwargs.get("json")), bool(kwargs.get("debug"))
        try:
            _end_in_words(functools.partial(function, *args, **kwargs), as_json=as_json, debug=debug)
        except BrokenPipeError:
            # Whoever read the output has left (`| head`): nothing more to say, and nothing to say it to.
            _close(sys.stdout)
            _close(sys.stderr)
            raise typer.Exit(CLOSED_PIPE) from None

    return wrapper


def _end_in_words(run: Callable[[], None], *, as_json: bool, debug: bool) -> None:
    try:
        run()
    except HardnetDeployError as error:
        _report(error, as_json=as_json, debug=debug)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        note("interrupted: nothing was left half-written")
        raise typer.Exit(INTERRUPTED) from None
    except (typer.Exit, typer.Abort, BrokenPipeError):
        raise
    except MemoryError as error:
        fault = TargetError(
            "this machine's memory does not suffice",
            got=str(error) or None,
            next_step="use a smaller --batch or --size",
        )
        _report(fault, as_json=as_json, debug=debug)
        raise typer.Exit(fault.exit_code) from None
    except Exception as error:  # noqa: BLE001  the last resort: a fault of ours still ends in one sentence
        if debug:
            traceback.print_exc(file=sys.stderr)
        bug = HardnetDeployError(
            f"hardnet-deploy failed unexpectedly: {type(error).__name__}: {error}",
            next_step="run the command again with --debug and report what it prints",
        )
        _report(bug, as_json=as_json, debug=False)
        raise typer.Exit(bug.exit_code) from None


Stage = Callable[[str, int, int], None]


@contextlib.contextmanager
def stages(*, prefix: str = "") -> Iterator[Stage]:
    """Shows which stage of a workflow runs: a bar on a terminal, plain lines elsewhere; always on stderr.

    What it gives is called with the stage that begins, its number from 1, and how many there are.
    """
    if not sys.stderr.isatty():
        yield lambda stage, index, total: note(f"{prefix}[{index}/{total}] {stage}")
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def update(stage: str, index: int, total: int) -> None:
            bar.update(task, description=f"{prefix}{stage}", completed=index - 1, total=total)

        yield update


class Counter(Protocol):
    """Told how far a task is; see :func:`counting`."""

    def __call__(self, what: str, done: int, total: int, detail: str = "") -> None:
        """``what`` names the task, ``detail`` says what may change from call to call."""
        ...


@contextlib.contextmanager
def counting(
    *, unit: str = "images", prefix: str = "", every_s: float = 5.0, units: Mapping[str, str] | None = None
) -> Iterator[Counter]:
    """Shows how far a long task is, with its rate and the time left; always on stderr.

    What it gives is called with what is being done, how much is done and how much there is. What is done at the first
    call was done before and does not count towards the rate. A terminal shows a bar, else a line comes every
    ``every_s`` seconds. What is counted is ``unit``, or what ``units`` has for a task.
    """
    other = units or {}
    if not sys.stderr.isatty():
        yield _Lines(unit, prefix, every_s, other)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} {task.fields[detail]}"),
        TimeRemainingColumn(),
    )
    tasks: dict[str, tuple[TaskID, int, float]] = {}
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:

        def update(what: str, done: int, total: int, detail: str = "") -> None:
            now = time.monotonic()
            if what not in tasks:
                tasks[what] = (
                    bar.add_task(f"{prefix}{what}", total=total, completed=done, rate="", detail=""),
                    done,
                    now,
                )
            task, before, since = tasks[what]
            rate = _rate(done - before, now - since, other.get(what, unit))
            bar.update(task, completed=done, total=total, rate=rate, detail=detail)

        yield update


def _rate(done: int, seconds: float, unit: str) -> str:
    return f"{done / seconds:.1f} {unit}/s" if done > 0 and seconds > 0 else ""


class _Lines:
    """Progress for logs: a line every few seconds, and one at the end of what took longer than that."""

    def __init__(self, unit: str, prefix: str, every_s: float, units: Mapping[str, str]) -> None:
        self._unit, self._prefix, self._every_s, self._units = unit, prefix, every_s, units
        self._what = ""
        self._before = 0
        self._since = self._told = 0.0

    def __call__(self, what: str, done: int, total: int, detail: str = "") -> None:
        now = time.monotonic()
        if what != self._what:
            self._what, self._before, self._since, self._told = what, done, now, now
            return
        if now - self._told < self._every_s and not (done == total and self._told > self._since):
            return
        self._told = now
        new, seconds = done - self._before, now - self._since
        left = f"{seconds * (total - done) / new:.0f} s left" if new > 0 and done < total else ""
        unit = self._units.get(what, self._unit)
        facts = filter(None, (f"{done} of {total} {unit}", _rate(new, seconds, unit), left, detail))
        note(f"{self._prefix}{what}: {', '.join(facts)}")
