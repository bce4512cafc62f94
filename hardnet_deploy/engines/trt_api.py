"""What the host asks of an imported ``tensorrt`` module; the answers stand in the file that goes to devices.

``device.run_engine`` holds every difference between versions of TensorRT's Python API, so that none stands twice.
"""

from __future__ import annotations

from types import ModuleType
from typing import cast

from hardnet_deploy.device import run_engine
from hardnet_deploy.target_spec import TensorRTFamily


def tensorrt_family(module: ModuleType) -> TensorRTFamily:
    """The generation of an imported ``tensorrt`` module, told by what it has and never by its version string.

    Args:
        module: The imported module.

    Raises:
        AttributeError: It is no TensorRT module that has builders (a runtime-only one, or something else).
    """
    return cast(TensorRTFamily, run_engine.family(module))


def plugin_names(module: ModuleType) -> tuple[str, ...]:
    """Names of the plugins that TensorRT's own library registers, sorted."""
    return run_engine.plugin_names(module)
