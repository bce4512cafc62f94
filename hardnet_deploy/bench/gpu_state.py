"""A GPU's clocks, temperature, power and what holds it back, as nvidia-smi or a Jetson's tegrastats say it.

What is absent is None, never made up.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

Command = Callable[[Sequence[str]], "str | None"]
"""Standard output of a program; None where it is not there or fails."""

FIELDS: Final = {
    "name": "name",
    "driver_version": "driver",
    "clocks.sm": "clock_mhz",
    "clocks.max.sm": "largest_clock_mhz",
    "clocks.mem": "memory_clock_mhz",
    "temperature.gpu": "temperature_c",
    "power.draw": "power_w",
    "power.limit": "power_limit_w",
    "utilization.gpu": "utilisation_percent",
    "clocks_throttle_reasons.active": "reasons",
}
NUMBERS: Final = frozenset(FIELDS.values()) - {"name", "driver", "reasons"}
# nvml.h, nvmlClocksEventReason*: https://docs.nvidia.com/deploy/nvml-api/group__nvmlClocksEventReasons.html
REASONS: Final = {
    0x01: "idle",
    0x02: "application clocks",
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
    0x100: "display clocks",
}
HELD_BACK: Final = frozenset(
    {
        "power cap",
        "hardware slowdown",
        "software thermal slowdown",
        "hardware thermal slowdown",
        "power brake",
    }
)
# microseconds since the driver was loaded: nvidia-smi --help-query-gpu; older drivers do not know them
COUNTERS: Final = {
    "clocks_event_reasons_counters.sw_power_cap": "power cap",
    "clocks_event_reasons_counters.sw_thermal_slowdown": "software thermal slowdown",
    "clocks_event_reasons_counters.hw_thermal_slowdown": "hardware thermal slowdown",
    "clocks_event_reasons_counters.hw_power_brake_slowdown": "power brake",
}
WHICH: Final = "import torch; print(torch.cuda.get_device_properties(0).uuid)"
"""In a process of its own, as it may leave a CUDA context of some hundred MiB behind."""
SECONDS: Final = 30
"""PyTorch and CUDA may need ten where nothing was read from the disk yet."""


def run_command(command: Sequence[str]) -> str | None:
    """What a program prints in thirty seconds; None where it is not there, or fails without printing."""
    program = shutil.which(command[0])
    if program is None:
        return None
    try:
        done = subprocess.run([program, *command[1:]], capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


class GpuReader:
    """Looks at one GPU, the one that PyTorch times: the first of ``CUDA_VISIBLE_DEVICES``, in CUDA's own order.

    nvidia-smi lists all, in another order. Of several the one is taken whose UUID PyTorch tells; where it tells none
    nothing is known, rather than what another card says.

    Args:
        command: Runs nvidia-smi, tegrastats and PyTorch.
    """

    def __init__(self, command: Command = run_command) -> None:
        self._command = command
        self._uuid: str | None = None
        self._asked_which, self._has_counters = False, True
        self.seen = False
        """There is one, whether or not anything is known of it."""

    def read(self) -> dict[str, Any] | None:
        """As it is now; None where nvidia-smi tells nothing and there is no tegrastats.

        Returns:
            ``name``, ``driver``, ``clock_mhz``, ``largest_clock_mhz``, ``memory_clock_mhz``, ``temperature_c``,
            ``power_w``, ``power_limit_w``, ``utilisation_percent`` (each None where not told), ``reasons`` (why the
            clocks are what they are, or None), ``held_back`` (True where power or heat is among them; None where
            unknown, as of an idle GPU) and ``held_back_us`` (microseconds so far by reason, each None where not told;
            None where the driver does not count them).
        """
        values = self._values(tuple(FIELDS))
        if values is not None:
            return {**_of_nvidia_smi(values), "held_back_us": self._counters()}
        if self.seen:
            return None
        text = self._command(["sh", "-c", "tegrastats --interval 100 | head -n 1"])  # it never ends by itself
        self.seen = bool(text and text.strip())
        return _of_tegrastats(text.strip().splitlines()[0]) if text and text.strip() else None

    def free_bytes(self) -> int | None:
        """Of its memory; None where nvidia-smi does not tell."""
        found = self._values(("memory.free",))
        mebibytes = _number(found[0]) if found else None
        return None if mebibytes is None else int(mebibytes) * 2**20

    def _counters(self) -> dict[str, int | None] | None:
        found = self._values(tuple(COUNTERS)) if self._has_counters else None
        self._has_counters = found is not None  # an older driver refuses the whole question
        if found is None:
            return None
        return {
            name: int(value) if value.isdigit() else None for name, value in zip(COUNTERS.values(), found, strict=False)
        }

    def _values(self, fields: Sequence[str]) -> list[str] | None:
        query = f"--query-gpu={','.join((*fields, 'uuid'))}"
        text = self._command(["nvidia-smi", query, "--format=csv,noheader,nounits"]) or ""
        listed = [[part.strip() for part in line.split(",")] for line in text.splitlines() if line.strip()]
        self.seen = self.seen or bool(listed)
        if len(listed) > 1:
            uuid = self._which()
            listed = [values for values in listed if uuid is not None and values[-1] == uuid]
        return listed[0] if listed else None

    def _which(self) -> str | None:
        if not self._asked_which:
            self._asked_which = True
            uuid = (self._command([sys.executable, "-c", WHICH]) or "").strip().lower()
            self._uuid = f"GPU-{uuid.removeprefix('gpu-')}" if uuid else None
        return self._uuid


def held_back_between(looks: Sequence[Mapping[str, Any] | None]) -> bool | None:
    """Whether power or heat held a GPU back at any time from the first look to the last; None where unknown.

    A look between rounds finds the GPU idle, or about to be, so looks alone never say that nothing held it back: only
    the driver's counters do, where the first and the last look have all of them.

    Args:
        looks: As :meth:`GpuReader.read` returns them.
    """
    if any(one is not None and one["held_back"] for one in looks):
        return True
    counts = [(one or {}).get("held_back_us") or {} for one in looks]
    if len(counts) < 2:
        return None
    pairs = [(counts[0].get(reason), counts[-1].get(reason)) for reason in COUNTERS.values()]
    if any(first is not None and last is not None and last > first for first, last in pairs):
        return True
    return False if all(first is not None and first == last for first, last in pairs) else None


def _of_nvidia_smi(values: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys(FIELDS.values())
    for name, value in zip(FIELDS.values(), values, strict=False):
        if name in NUMBERS:
            found[name] = _number(value)
        elif not value.startswith("["):  # [N/A], [Not Supported]
            found[name] = value
    reasons = _reasons(found["reasons"])
    known = reasons is not None and "idle" not in reasons
    return {**found, "reasons": reasons, "held_back": not HELD_BACK.isdisjoint(reasons or ()) if known else None}


def _reasons(text: str | None) -> list[str] | None:
    try:
        bits = int(text or "", 16)
    except ValueError:
        return None
    return [name for bit, name in REASONS.items() if bits & bit]


def _of_tegrastats(line: str) -> dict[str, Any]:
    """A line of https://docs.nvidia.com/jetson/archives/r34.1/DeveloperGuide/text/AT/JetsonLinuxDevelopmentTools/TegrastatsUtility.html."""
    found: dict[str, Any] = dict.fromkeys(FIELDS.values())
    load = re.search(r"GR3D_FREQ (\d+)%(?:@\[?(\d+))?", line)
    if load:
        found["utilisation_percent"] = float(load.group(1))
        found["clock_mhz"] = _number(load.group(2) or "")
    heat = re.search(r"GPU@([\d.]+)C", line)
    found["temperature_c"] = _number(heat.group(1)) if heat else None
    power = re.search(r"(?:POM_5V_GPU|VDD_GPU_SOC|VDD_CPU_GPU_CV) (\d+)", line)
    found["power_w"] = int(power.group(1)) / 1000 if power else None
    found["name"] = "Jetson"
    return {**found, "held_back": None, "held_back_us": None}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
