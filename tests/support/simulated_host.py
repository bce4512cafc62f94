"""This machine with a simulated TensorRT and GPU in it: builds of the small detector, and what is made of them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from simulated_device import ADA, NANO, NEWEST, PASCAL, Device, simulated
from small_int8 import DETECTOR, build

from hardnet_deploy.runners.base import Arrays, Runner
from hardnet_deploy.workflows.open_engine import open_engine
from hardnet_deploy.workflows.save_engine import BuildResult

TARGETS = {NANO: "jetson-nano", PASCAL: "gtx-1080ti", ADA: "gpu", NEWEST: "gpu"}
LABELS = {
    NANO: "TensorRT 8.2.1+simulated (Simulated Jetson Nano)",
    PASCAL: "TensorRT 8.6.1+simulated (Simulated GTX 1080 Ti)",
    ADA: "TensorRT 10.9.0.34+simulated (Simulated Ada GPU)",
    NEWEST: "TensorRT 11.4.0.106+simulated (Simulated Ada GPU)",
}
PRECISIONS = ("fp32", "fp16", "int8")


@contextmanager
def simulated_host(patch: pytest.MonkeyPatch, device: tuple[str, str], **switches: Any) -> Iterator[Device]:
    """Everything that asks for TensorRT or libcudart finds the stand-ins; fails where device memory is left."""
    with simulated(patch, *device, **switches) as found:
        yield found
        gc.collect()


def build_plan_file(device: tuple[str, str], precision: str = "fp32", **options: Any) -> BuildResult:
    """``run_build`` for that device's target into ``PRECISION.engine``."""
    settings = {
        "target": TARGETS[device],
        "int8": precision == "int8",
        "fp16": precision == "fp16",
        "output": Path(f"{precision}.engine"),
    }
    return build(**settings | options)


def pictures(count: int = 1, *, seed: int = 0) -> NDArray[np.float32]:
    """Inputs of the small detector, as pre-processing makes them."""
    size = DETECTOR.preprocess.size
    draw = np.random.default_rng(seed)
    return draw.integers(-120, 130, (count, 3, size, size)).astype(np.float32)


def answers(engine: str | Runner, images: NDArray[np.float32] | None = None) -> Arrays:
    """What an engine file, or a runner, makes of pictures."""
    with open_engine(engine).runner if isinstance(engine, str) else engine as runner:
        return runner.infer({"images": pictures() if images is None else images})
