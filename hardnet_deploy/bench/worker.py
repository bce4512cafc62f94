"""One side in a process of its own: ``python -m hardnet_deploy.bench.worker SIDE``, SIDE being JSON.

It loads the side, runs it a few times and answers one line of JSON: ``facts`` and ``run_ms``, or ``problem``. Then each
line ``{"runs", "warm_up_ms"}`` on standard input is answered with ``ms`` of every run and
``peak_rss_bytes``; ``{"unload"}`` with ``unloaded``, and the line after that with ``facts`` and ``run_ms`` of another
loading. Between turns it waits for input, so its threads sleep while another engine is timed; caches and clocks are
another's then, so each turn begins with untimed runs.

Each loading is a process forked from one that has imported the libraries and done nothing with them, and takes its
memory from addresses of its own: where that lies may make a tenth of the time and is drawn anew, and nothing is left of
the loading before.

This module alone loads rivals' networks and ONNX files that the caller made. Who wants models, manifests and folding
starts a module that calls :func:`serve` with its :class:`~hardnet_deploy.bench.parts.Parts`.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import importlib
import json
import mmap
import os
import secrets
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TextIO

from hardnet_deploy.bench.loaded import Loaded
from hardnet_deploy.bench.memory import peak_rss_bytes
from hardnet_deploy.bench.parts import NO_PARTS, Parts
from hardnet_deploy.bench.sides import Side, SideError
from hardnet_deploy.errors import HardnetDeployError

LOADING_RUNS: Final = 3
UNLOADED: Final = 64  # exit status of a loading that another one may follow
LIBRARIES: Final = {"torch": "torch", "onnxruntime": "onnxruntime"}
HUGE_PAGE: Final = 2**21
"""Of x86-64 and AArch64 Linux: within it lies what caches, and the kernel's choice of page sizes, depend on."""
ALIGNED: Final = 16
GAPS: Final = 3
LIKELY_VICTIM: Final = "500"
"""oom_score_adj: where memory runs out, Linux ends this process and not the one that keeps the results."""


def load(side: Side, parts: Parts) -> Loaded:
    """Ready to be timed, in this process.

    Raises:
        SideError, HardnetDeployError: It cannot be loaded.
    """
    if side.kind == "torch":
        from hardnet_deploy.bench.torch_columns import load_torch

        return load_torch(side, parts)
    from hardnet_deploy.bench.artifact_columns import load_artifact_side

    return load_artifact_side(side, parts)


def serve(parts: Parts) -> None:
    """Load the side of the command line, again whenever asked to, and answer until standard input ends."""
    side = Side.from_dict(json.loads(sys.argv[1]))
    _volunteer()
    if side.kind in LIBRARIES:
        with contextlib.suppress(ImportError):  # the loading says what is missing
            importlib.import_module(LIBRARIES[side.kind])
    runs = LOADING_RUNS
    with _own_standard_output() as answers:
        while True:
            child = os.fork()
            if child == 0:
                _die_with_parent()
                with _moved():
                    os._exit(_loading(side, parts, answers, runs))
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if status < 0:  # killed: so are we, for whoever looks at the reason
                signal.signal(-status, signal.SIG_DFL)
                os.kill(os.getpid(), -status)
            if status != UNLOADED:
                sys.exit(status)
            _answer(answers, {"unloaded": True})
            if not sys.stdin.readline():
                return
            runs = 1  # how long one takes is known


def _loading(side: Side, parts: Parts, answers: TextIO, runs: int) -> int:
    """Load, and answer until another loading is wanted or nothing more is; the exit status."""
    try:
        loaded = load(side, parts)
        (run_ms,) = loaded.turn(1, warm_up_ms=0, least_warm_up=runs - 1)
        facts = dataclasses.replace(loaded.facts, peak_rss_bytes=peak_rss_bytes())
        _answer(answers, {"facts": dataclasses.asdict(facts), "run_ms": run_ms})
        for line in sys.stdin:
            wanted = json.loads(line)
            if "unload" in wanted:
                return UNLOADED
            times = loaded.turn(wanted["runs"], warm_up_ms=wanted["warm_up_ms"], least_warm_up=1)
            _answer(answers, {"ms": times, "peak_rss_bytes": peak_rss_bytes()})
    except Exception as error:  # noqa: BLE001 - whatever an engine raises is this side's problem and no other's
        _answer(answers, {"problem": in_one_sentence(error)})
    return 0


@contextlib.contextmanager
def _moved() -> Iterator[None]:
    """Move what is allocated within, heap and mappings, by random distances.

    A forked process has the layout of its parent, which the kernel drew once: without this the loadings of one worker
    would differ less than those of two runs do.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library than Linux's
        library = ctypes.CDLL(None)
        library.sbrk.restype, library.sbrk.argtypes = ctypes.c_void_p, [ctypes.c_long]
        library.sbrk(ALIGNED * secrets.randbelow(HUGE_PAGE // ALIGNED))
    with contextlib.ExitStack() as gaps:
        for _ in range(GAPS):
            pages = 1 + secrets.randbelow(HUGE_PAGE // mmap.PAGESIZE)
            gaps.enter_context(contextlib.closing(mmap.mmap(-1, pages * mmap.PAGESIZE)))
        yield


def _die_with_parent() -> None:
    """PR_SET_PDEATHSIG, see prctl(2); where there is none, the end of standard input ends it."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))


def in_one_sentence(error: Exception) -> str:
    """What happened, for a row of a table."""
    if isinstance(error, SideError):
        return str(error)
    if isinstance(error, HardnetDeployError):
        return f"{error.what} (got {error.got})" if error.got else error.what
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _answer(answers: TextIO, what: dict[str, Any]) -> None:
    answers.write(json.dumps(what) + "\n")
    answers.flush()


@contextlib.contextmanager
def _own_standard_output() -> Any:
    """The answers' channel; whatever libraries print goes to standard error instead."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        yield answers


def _volunteer() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(LIKELY_VICTIM, encoding="ascii")


if __name__ == "__main__":
    serve(NO_PARTS)
