"""What TensorRT made of each ONNX node, from its engine inspector: never guessed, and ``unknown`` where it is not told.

The reading stands in the file that goes to devices, so that a build there and a build here judge alike.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from hardnet_deploy.device import run_engine

UNKNOWN: Final = run_engine.UNKNOWN
RANK: Final[Mapping[str, int]] = {"fp32": 0, "fp16": 1, "int8": 2}


def achieved_precisions(text: str | None, nodes: Collection[str]) -> dict[str, str]:
    """What each of these ONNX nodes computes in; see :func:`hardnet_deploy.device.run_engine.achieved_precisions`."""
    return run_engine.achieved_precisions(text, nodes)


def fallbacks(requested: Mapping[str, str], achieved: Mapping[str, str]) -> tuple[str, ...]:
    """Nodes that were asked for INT8 or FP16 and run in FP32; an unknown one is none of them."""
    return run_engine.fallbacks(requested, achieved)


def lower_than_asked(requested: Mapping[str, str], achieved: Mapping[str, str]) -> tuple[str, ...]:
    """Nodes that were asked for INT8 and run in FP16: the builder found that faster."""
    return run_engine.lower_than_asked(requested, achieved)
