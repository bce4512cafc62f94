"""The deployment targets by name.

The rows and their sources are in ``targets_table``, what a row is and what it refuses in ``target_spec``.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from hardnet_deploy import targets_table
from hardnet_deploy.errors import UsageError
from hardnet_deploy.target_spec import (
    DEFAULT_OPSET,
    MIB,
    Fitness,
    NmsKind,
    Pitfall,
    Precision,
    Target,
    TensorRTFamily,
)

__all__ = [
    "DEFAULT_OPSET",
    "MIB",
    "TARGETS",
    "Fitness",
    "NmsKind",
    "Pitfall",
    "Precision",
    "Target",
    "TensorRTFamily",
    "get_target",
    "installed_onnxruntime",
    "onnxruntime_max_opset",
]

TARGETS: Final[Mapping[str, Target]] = MappingProxyType(
    {
        target.name: target
        for target in (targets_table.CPU, targets_table.GTX_1080TI, targets_table.JETSON_NANO, targets_table.GPU)
    }
)


def get_target(name: str) -> Target:
    """The target of that name; for ``cpu`` with the opset ceiling of the installed ONNX Runtime.

    Raises:
        UsageError: There is no such target; the message names the nearest one.
    """
    if name not in TARGETS:
        near = difflib.get_close_matches(name.lower(), TARGETS, n=1, cutoff=0.5)
        raise UsageError(
            f"unknown target '{name}'" + (f"; did you mean '{near[0]}'?" if near else ""),
            got=name,
            wanted=", ".join(TARGETS),
            next_step="run hardnet-deploy targets",
        )
    target = TARGETS[name]
    if target.uses_tensorrt:
        return target
    return dataclasses.replace(target, max_opset=onnxruntime_max_opset(installed_onnxruntime()))


def installed_onnxruntime() -> str | None:
    """Version of the installed ONNX Runtime, read from its metadata without importing it; None without one."""
    from importlib import metadata

    for distribution in ("onnxruntime-gpu", "onnxruntime"):
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return None


def onnxruntime_max_opset(version: str | None) -> int:
    """Highest ONNX opset that a release of ONNX Runtime takes; for an unknown one what every supported one takes."""
    numbers = (version or "").split(".")[:2]
    release = tuple(int(number) for number in numbers if number.isdecimal())
    taken = [opset for since, opset in targets_table.ONNXRUNTIME_OPSETS if release >= since]
    return max(taken, default=targets_table.ONNXRUNTIME_OPSETS[0][1])
