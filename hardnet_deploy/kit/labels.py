"""How an imported result is labelled."""

from __future__ import annotations

from typing import Final

SIMULATED_VERSION: Final = "+simulated"
SIMULATED_DEVICE: Final = "Simulated "
SIMULATED_PLAN: Final = b"SIMULATED "
"""How a plan of a stand-in begins."""


def label_of(device: str, tensorrt: str, date: str) -> tuple[str, bool]:
    """``imported (device, date)``, and whether a stand-in ran, which the label then says."""
    simulated = is_simulated(device, tensorrt)
    return f"imported ({device}, {date})" + (", simulated" if simulated else ""), simulated


def is_simulated(device: str, tensorrt: str) -> bool:
    """True where a device's name or a version of TensorRT says that it is a stand-in's."""
    return SIMULATED_VERSION in tensorrt or device.startswith(SIMULATED_DEVICE)
