"""What a device can have run and when: versions, GPUs, precisions and days that contradict each other are told."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone
from typing import Final

from hardnet_deploy.target_spec import Target, TensorRTFamily
from hardnet_deploy.targets import TARGETS

VERSION: Final = re.compile(
    r"([1-9][0-9]?)\.([0-9]{1,2})(?:\.([0-9]{1,2})(?:\.[0-9]{1,5})?)?"
    r"(?:(?:a|b|rc|\.post)[0-9]{1,3})?(?:\+[A-Za-z0-9.]{1,40})?"
)
"""8.2.1.8, 8.6.1, 10.0.0b6, 11.4.0.12, 8.6.1+simulated; NvInferVersion.h packs minor and patch into two digits each."""
BOARDS: Final = {"jetson-nano": ("jetsonnano", "tegrax1"), "gtx-1080ti": ("1080ti",)}
"""How the boards call themselves, without spaces; a Jetson Nano's GPU is "NVIDIA Tegra X1" to CUDA."""
LEAST_CAPABILITY: Final[dict[TensorRTFamily, tuple[int, int]]] = {"10": (7, 0), "11": (7, 5)}
"""See ``targets_table``: 10.0 to 10.4 serve 7.0, all later ones begin at 7.5."""
FIRST_DAY: Final = date(2021, 10, 1)
"""No version known here is older: the first 8.2 is of that month (https://github.com/NVIDIA/TensorRT/releases)."""
EASTERNMOST: Final = timedelta(hours=14)


def version_numbers(version: str) -> tuple[int, int, int] | None:
    """(major, minor, patch) of a version as TensorRT writes it; None for another text."""
    found = VERSION.fullmatch(version)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def family_of_numbers(numbers: tuple[int, int, int]) -> TensorRTFamily | None:
    """The generation by its API (``MemoryPoolType`` came with 8.4); None for one that is not known here."""
    if numbers[0] >= 10:
        return "10" if numbers[0] == 10 else "11" if numbers[0] == 11 else None
    if numbers[0] != 8 or numbers[1] < 2:
        return None
    return "8.2" if numbers[1] < 4 else "8.6"


def impossibility(
    *,
    tensorrt: str,
    target: str | None = None,
    capability: tuple[int, int] | None = None,
    device: str | None = None,
    precision: str | None = None,
) -> str | None:
    """The first contradiction among what is said of a run, as a sentence; None where all of it can be.

    Args:
        tensorrt: Version.
        target: Of the kit or engine; None where it is not known, and then the device's name decides where it is one of
            :data:`BOARDS`.
        capability: (major, minor) of the GPU; None where it is not known.
        device: The GPU's or board's name; None likewise.
        precision: Requested; None likewise.
    """
    numbers = version_numbers(tensorrt)
    family = family_of_numbers(numbers) if numbers else None
    if numbers is None or family is None:
        return f"'{tensorrt}' is no version of TensorRT 8.2 to 8.6, 10 or 11"
    board = None if device is None else board_named(device)
    if target is not None and (target not in TARGETS or not TARGETS[target].uses_tensorrt):
        return f"'{target}' is no target with TensorRT"
    if target is not None and board is not None and target != board:
        return f"'{device}' is target '{board}', not '{target}'"
    row = TARGETS.get(target or board or "")
    if row is not None:
        return _against(row, tensorrt, numbers, family, capability, precision)
    if capability is not None and capability < LEAST_CAPABILITY.get(family, (0, 0)):
        return f"TensorRT {tensorrt} does not run on compute capability {capability[0]}.{capability[1]}"
    return None


def _against(
    row: Target,
    tensorrt: str,
    numbers: tuple[int, int, int],
    family: TensorRTFamily,
    capability: tuple[int, int] | None,
    precision: str | None,
) -> str | None:
    if family not in row.tensorrt_families or (row.minimum_tensorrt and numbers < row.minimum_tensorrt):
        return f"target '{row.name}' cannot run TensorRT {tensorrt}: it has {row.tensorrt}"
    if capability is not None and not row.serves(capability):
        least = row.compute_capability or row.minimum_compute_capability or (0, 0)
        got = f"compute capability {capability[0]}.{capability[1]}"
        more = "" if row.compute_capability else " or more"
        return f"a GPU of {got} is not target '{row.name}', which has {least[0]}.{least[1]}{more}"
    refused = [name for name, fitness in row.precisions.items() if fitness == "refused"]
    return f"target '{row.name}' has no hardware for {precision}" if precision in refused else None


def capability_of(text: str) -> tuple[int, int] | None:
    """(major, minor) of a compute capability such as 5.3; None for another text."""
    found = re.fullmatch(r"([0-9]{1,2})\.([0-9]{1,2})", text)
    return (int(found[1]), int(found[2])) if found else None


def board_named(device: str) -> str | None:
    """The target whose board that name is; None for every other device."""
    plain = re.sub(r"[^a-z0-9]", "", device.lower())
    return next((name for name, signs in BOARDS.items() if any(sign in plain for sign in signs)), None)


def latest_day() -> date:
    """Today where the day begins first: a later one is in the future everywhere."""
    return (datetime.now(timezone.utc) + EASTERNMOST).date()
