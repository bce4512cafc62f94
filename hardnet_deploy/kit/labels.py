"""How an imported result is labelled."""

from __future__ import annotations

from typing import Final

SIMULATED_VERSION: Final = "+simulated"
SIMULATED_DEVICE: Final = "Simulated "


def label_of(device: str, tensorrt: str, date: str) -> tuple[str, bool]:
    """``imported (device, date)``, and whether a stand-in ran, which the label then says."""
    simulated = SIMULATED_VERSION in tensorrt or device.startswith(SIMULATED_DEVICE)
    return f"imported ({device}, {date})" + (", simulated" if simulated else ""), simulated
