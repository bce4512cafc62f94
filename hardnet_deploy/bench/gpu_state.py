"""A GPU's clocks, temperature, power and what holds it back, as nvidia-smi or a Jetson's tegrastats say it.

What is absent is None, never made up.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
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
SECONDS: Final = 10


def run_command(command: Sequence[str]) -> str | None:
    """What a program prints in ten seconds; None where it is not there, or fails without printing."""
    program = shutil.which(command[0])
    if program is None:
        return None
    try:
        done = subprocess.run([program, *command[1:]], capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


def read_gpu(command: Command = run_command) -> dict[str, Any] | None:
    """The first GPU as it is now; None where nvidia-smi tells nothing and there is no tegrastats.

    Returns:
        ``name``, ``driver``, ``clock_mhz``, ``largest_clock_mhz``, ``memory_clock_mhz``, ``temperature_c``,
        ``power_w``, ``power_limit_w``, ``utilisation_percent`` (each None where not told), ``reasons`` (why the clocks
        are what they are, or None) and ``held_back`` (True where power or heat is among them, None where unknown).
    """
    text = command(["nvidia-smi", f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits"])
    if text and text.strip():
        return _of_nvidia_smi(text.strip().splitlines()[0])
    text = command(["sh", "-c", "tegrastats --interval 100 | head -n 1"])  # it never ends by itself
    return _of_tegrastats(text.strip().splitlines()[0]) if text and text.strip() else None


def _of_nvidia_smi(line: str) -> dict[str, Any]:
    values = [part.strip() for part in line.split(",")]
    found: dict[str, Any] = dict.fromkeys(FIELDS.values())
    for name, value in zip(FIELDS.values(), values, strict=False):
        if name in NUMBERS:
            found[name] = _number(value)
        elif not value.startswith("["):  # [N/A], [Not Supported]
            found[name] = value
    found["reasons"] = _reasons(found["reasons"])
    found["held_back"] = None if found["reasons"] is None else not HELD_BACK.isdisjoint(found["reasons"])
    return found


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
    found["held_back"] = None
    return found


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
