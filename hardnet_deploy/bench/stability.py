"""When a timing has settled.

On a CPU: the medians of the last three windows lie within 10 % of each other, largest over smallest. That is the
default of NVIDIA's perf_analyzer (``--stability-percentage 10``, "the ratio of max / min from the recent 3
measurements", https://github.com/triton-inference-server/perf_analyzer/blob/main/docs/cli.md). A window is as many
whole rounds as make half a second of timed runs, or a sixth of all runs where that is less: single rounds are short,
so that there can be many of them.

On a GPU: the latest runs, whole rounds and at least ten runs, vary by at most 2.5 % (standard deviation over mean):
from there on trtexec warns that a measurement is unstable.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from itertools import islice
from typing import Final

import numpy as np

from hardnet_deploy.bench.sides import Device
from hardnet_deploy.bench.stats import FLAGGED_COV, Rounds

CPU_WINDOWS: Final = 3
CPU_WINDOW_MS: Final = 500
CPU_WINDOW_SHARE: Final = 1 / 6
CPU_SPREAD: Final = 1.10
GPU_RUNS: Final = 10


def is_stable(rounds_ms: Rounds, device: Device) -> bool:
    """Whether the latest rounds have settled; False where there are too few to tell."""
    return _gpu(rounds_ms) if device == "cuda" else _cpu(rounds_ms)


def rule(device: Device) -> str:
    """The rule in words, for documents."""
    if device == "cuda":
        return f"coefficient of variation of the latest {GPU_RUNS} or more runs at most {FLAGGED_COV} %"
    spread = round(100 * (CPU_SPREAD - 1))
    return (
        f"medians of the last {CPU_WINDOWS} windows within {spread} % of each other; a window is whole rounds with "
        f"{CPU_WINDOW_MS} ms of timed runs or with 1/{round(1 / CPU_WINDOW_SHARE)} of all runs, whichever is less"
    )


def _cpu(rounds_ms: Rounds) -> bool:
    medians = [statistics.median(one) for one in islice(_windows(rounds_ms), CPU_WINDOWS)]
    return len(medians) == CPU_WINDOWS and max(medians) <= CPU_SPREAD * min(medians)


def _windows(rounds_ms: Rounds) -> Iterator[list[float]]:
    """Runs of each window, the latest first; rounds that do not fill one are none."""
    window: list[float] = []
    enough = CPU_WINDOW_SHARE * sum(map(len, rounds_ms))
    for one in reversed(rounds_ms):
        window += one
        if sum(window) >= CPU_WINDOW_MS or len(window) >= enough:
            yield window
            window = []


def _gpu(rounds_ms: Rounds) -> bool:
    latest: list[float] = []
    for one in reversed(rounds_ms):
        latest += one
        if len(latest) >= GPU_RUNS:
            return 100 * float(np.std(latest)) <= FLAGGED_COV * float(np.mean(latest))
    return False
