"""Under which conditions a timing was made: what the machine is, and how it was before, between and after.

What cannot be read is None, never made up.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from hardnet_deploy.bench.gpu_state import Command, GpuReader, held_back_between, run_command

PACKAGES: Final = ("torch", "torchvision", "onnx", "onnxruntime", "onnxruntime-gpu", "numpy", "tensorrt")
Read = Callable[[str], "str | None"]
CPU: Final = "/sys/devices/system/cpu"
BUSY_LOAD: Final = 0.5
"""Load average for each core, before anything was timed, from which other work is said to be in the way."""


def read_text(path: str) -> str | None:
    """A file of /proc or /sys; None where there is none or it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def basic_machine(read: Read = read_text) -> dict[str, Any]:
    """Processor, cores, memory, system and versions, for those who know nothing better."""
    info = read("/proc/cpuinfo") or ""
    models = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    return {
        "cpu": {
            "model": models[0] if models else platform.processor() or platform.machine(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        },
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
    }


class ConditionWatch:
    """Looks at the machine whenever it is told to.

    Args:
        machine: What does not change: :func:`basic_machine`, or what workflows know.
        threads: That every side was given.
        read: Of /proc and /sys.
        command: Runs nvidia-smi or tegrastats.
        load_before: Load averages from before the caller put any on the machine itself; None: those of the first look.
        on_gpu: A GPU is timed, whether or not anything here can see it.
    """

    def __init__(
        self,
        *,
        machine: Mapping[str, Any],
        threads: int,
        read: Read = read_text,
        command: Command = run_command,
        load_before: Sequence[float] | None = None,
        on_gpu: bool = False,
    ) -> None:
        self._machine, self._threads, self._read = dict(machine), threads, read
        self._gpu, self._on_gpu = GpuReader(command), on_gpu
        self._load_before = load_before
        self._samples: list[dict[str, Any]] = []
        self._ticks: list[tuple[int, int] | None] = []
        self._has_gpu: bool | None = None

    def sample(self) -> None:
        """Look once: before anything is prepared, after each round (it costs milliseconds) and at the end."""
        gpu = None if self._has_gpu is False else self._gpu.read()
        self._has_gpu = gpu is not None
        self._samples.append(
            {
                "load_average": load_average(),
                "governor": _line(self._read(f"{CPU}/cpu0/cpufreq/scaling_governor")),
                "clock_mhz": self._clock_mhz(),
                "temperature_c": self._temperature_c(),
                "throttle_count": _integer(self._read(f"{CPU}/cpu0/thermal_throttle/core_throttle_count")),
                "gpu": gpu,
            }
        )
        self._ticks.append(self._stolen_and_all())

    def as_dict(self) -> dict[str, Any]:
        """For documents.

        Returns:
            ``machine``, ``threads``, ``before`` and ``after`` (the first and the last look, or None), ``samples`` (how
            many), ``hottest_c``, ``slowest_clock_mhz`` and ``gpu_slowest_clock_mhz`` over all of them, ``throttled``
            (None where nothing tells, and where a GPU is there that does not tell), ``steal_percent`` (time that a
            hypervisor gave to others), and ``load`` (a sentence where the machine was at work before anything was
            prepared, else None).
        """
        samples = self._samples
        clocks = [one["clock_mhz"] for one in samples if one["clock_mhz"] is not None]
        heat = [one["temperature_c"] for one in samples if one["temperature_c"] is not None]
        gpu_clocks = [one["gpu"]["clock_mhz"] for one in samples if one["gpu"] and one["gpu"]["clock_mhz"] is not None]
        return {
            "machine": self._machine,
            "threads": self._threads,
            "before": samples[0] if samples else None,
            "after": samples[-1] if samples else None,
            "samples": len(samples),
            "hottest_c": max(heat, default=None),
            "slowest_clock_mhz": min(clocks, default=None),
            "gpu_slowest_clock_mhz": min(gpu_clocks, default=None),
            "throttled": self._throttled(),
            "steal_percent": self._steal_percent(),
            "load": self._load(),
        }

    def _throttled(self) -> bool | None:
        counts = [one["throttle_count"] for one in self._samples if one["throttle_count"] is not None]
        told: list[bool | None] = [counts[-1] > counts[0]] if len(counts) > 1 else []
        if self._on_gpu or self._gpu.seen:
            told.append(held_back_between([one["gpu"] for one in self._samples]))
        if True in told:
            return True
        return None if None in told or not told else False

    def _steal_percent(self) -> float | None:
        known = [ticks for ticks in self._ticks if ticks is not None]
        if len(known) < 2 or known[-1][1] == known[0][1]:
            return None
        return 100 * (known[-1][0] - known[0][0]) / (known[-1][1] - known[0][1])

    def _load(self) -> str | None:
        cores = self._machine.get("cpu", {}).get("cores")
        before = self._load_before or (self._samples[0]["load_average"] if self._samples else None)
        if not cores or before is None or before[0] < BUSY_LOAD * cores:
            return None
        began = "the command" if self._load_before else "the bench"
        return f"the machine was at work already: load average {before[0]:.2f} on {cores} cores when {began} began"

    def _clock_mhz(self) -> float | None:
        """Slowest core's, by cpufreq, else by /proc/cpuinfo."""
        count = os.cpu_count() or 1
        by_core = [_integer(self._read(f"{CPU}/cpu{core}/cpufreq/scaling_cur_freq")) for core in range(count)]
        found = [value / 1000 for value in by_core if value is not None]
        if not found:
            lines = (self._read("/proc/cpuinfo") or "").splitlines()
            found = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
        return min(found, default=None)

    def _temperature_c(self) -> float | None:
        """Hottest thermal zone."""
        zones = [_integer(self._read(f"/sys/class/thermal/thermal_zone{zone}/temp")) for zone in range(16)]
        return max((value / 1000 for value in zones if value is not None), default=None)

    def _stolen_and_all(self) -> tuple[int, int] | None:
        """Ticks since the start of the machine; man 5 proc, /proc/stat."""
        first = (self._read("/proc/stat") or "").partition("\n")[0].split()
        if len(first) < 9 or first[0] != "cpu":
            return None
        ticks = [int(value) for value in first[1:9]]  # guest time stands in user time already
        return ticks[7], sum(ticks)


def load_average() -> list[float] | None:
    """Of the last one, five and fifteen minutes; None where the system does not tell."""
    try:
        return list(os.getloadavg())
    except OSError:
        return None


def _line(text: str | None) -> str | None:
    return (text.strip() or None) if text is not None else None


def _integer(text: str | None) -> int | None:
    try:
        return int(text or "")
    except ValueError:
        return None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
