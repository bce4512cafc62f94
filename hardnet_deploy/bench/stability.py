"""When a timing has settled.

On a CPU: once the median of a run is known to 10 %. Where sides were loaded several times that is its 95 % interval
over loadings (Student's t on the logarithms of their medians): two loadings of one engine may well differ by a tenth,
and what counts is what another run would find. Where all is of one loading, the medians of the last three windows lie
within 10 % of each other, largest over smallest: the default of NVIDIA's perf_analyzer (``--stability-percentage 10``,
"the ratio of max / min from the recent 3 measurements",
https://github.com/triton-inference-server/perf_analyzer/blob/main/docs/cli.md). A window is as many whole rounds as
make half a second of timed runs, or a sixth of all runs where that is less: single rounds are short, so that there can
be many of them.

On a GPU: the latest runs, whole rounds and at least ten runs, vary by at most 2.5 % (standard deviation over mean):
from there on trtexec warns that a measurement is unstable.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

import numpy as np

from hardnet_deploy.bench.sides import Device
from hardnet_deploy.bench.stats import FLAGGED_COV, LEAST_LOADINGS, Rounds, by_loading, student_t

CPU_WINDOWS: Final = 3
CPU_WINDOW_MS: Final = 500
CPU_WINDOW_SHARE: Final = 1 / 6
CPU_SPREAD: Final = 1.10
GPU_RUNS: Final = 10


def is_stable(rounds_ms: Rounds, device: Device, loadings: Sequence[int] = ()) -> bool:
    """Whether a side has settled; False where there are too few rounds to tell.

    Args:
        rounds_ms: Milliseconds of each run, by round.
        device: That it runs on.
        loadings: Number of the loading of each round; none: all are of one.
    """
    if device == "cuda":
        return _gpu(rounds_ms)
    if len(set(loadings)) > 1:
        return _over_loadings(by_loading(rounds_ms, loadings))
    return _over_windows(rounds_ms)


def rule(device: Device, *, loadings: int = 1) -> str:
    """The rule in words, for documents."""
    if device == "cuda":
        return f"coefficient of variation of the latest {GPU_RUNS} or more runs at most {FLAGGED_COV} %"
    spread = round(100 * (CPU_SPREAD - 1))
    if loadings > 1:
        return f"median known to {spread} % (95 % interval over {LEAST_LOADINGS} or more loadings)"
    return (
        f"medians of the last {CPU_WINDOWS} windows within {spread} % of each other; a window is whole rounds with "
        f"{CPU_WINDOW_MS} ms of timed runs or with 1/{round(1 / CPU_WINDOW_SHARE)} of all runs, whichever is less"
    )


def _over_loadings(blocks: Rounds) -> bool:
    count = len(blocks)
    if count < LEAST_LOADINGS:
        return False
    medians = [math.log(statistics.median(one)) for one in blocks]
    return student_t(count - 1) * statistics.stdev(medians) / math.sqrt(count) <= math.log(CPU_SPREAD)


def _over_windows(rounds_ms: Rounds) -> bool:
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
