"""When a timing has settled.

On a CPU: the medians of the last three rounds lie within 10 % of each other, largest over smallest. That is the default
of NVIDIA's perf_analyzer (``--stability-percentage 10``, "the ratio of max / min from the recent 3 measurements",
https://github.com/triton-inference-server/perf_analyzer/blob/main/docs/cli.md).

On a GPU: the latest runs, whole rounds and at least ten runs, vary by at most 2.5 % (standard deviation over mean):
from there on trtexec warns that a measurement is unstable.
"""

from __future__ import annotations

import statistics
from typing import Final

import numpy as np

from hardnet_deploy.bench.sides import Device
from hardnet_deploy.bench.stats import FLAGGED_COV, Rounds

CPU_ROUNDS: Final = 3
CPU_SPREAD: Final = 1.10
GPU_RUNS: Final = 10


def is_stable(rounds_ms: Rounds, device: Device) -> bool:
    """Whether the latest rounds have settled; False where there are too few to tell."""
    return _gpu(rounds_ms) if device == "cuda" else _cpu(rounds_ms)


def rule(device: Device) -> str:
    """The rule in words, for documents."""
    if device == "cuda":
        return f"coefficient of variation of the latest {GPU_RUNS} or more runs at most {FLAGGED_COV} %"
    return f"medians of the last {CPU_ROUNDS} rounds within {round(100 * (CPU_SPREAD - 1))} % of each other"


def _cpu(rounds_ms: Rounds) -> bool:
    if len(rounds_ms) < CPU_ROUNDS:
        return False
    medians = [statistics.median(one) for one in rounds_ms[-CPU_ROUNDS:]]
    return bool(max(medians) <= CPU_SPREAD * min(medians))


def _gpu(rounds_ms: Rounds) -> bool:
    latest: list[float] = []
    for one in reversed(rounds_ms):
        latest += one
        if len(latest) >= GPU_RUNS:
            return 100 * float(np.std(latest)) <= FLAGGED_COV * float(np.mean(latest))
    return False
