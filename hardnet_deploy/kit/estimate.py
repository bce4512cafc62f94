"""How much memory and disk a kit's build may take on the device, by the formula of ``engines.build_room``."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Final

from hardnet_deploy.engines.build_room import (
    DISK_EXTRA,
    LIBRARIES,
    MAPS,
    PLAN_SIZES,
    WEIGHT_BYTES,
    WEIGHT_COPIES,
    BuildRoom,
)
from hardnet_deploy.target_spec import MIB, Target

if TYPE_CHECKING:
    import onnx

ALLOWANCE: Final = "an allowance, not measured"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Bytes that a build is expected to take, as far as can be told without the device.

    Args:
        build_memory_bytes: Main memory; on a Jetson, where CPU and GPU share it, the GPU's part is in it.
        gpu_memory_bytes: Memory of the GPU where it has its own; None on a Jetson.
        disk_bytes: The kit with everything that is written into it.
        memory_formula: In words, with its figures.
        disk_formula: Likewise.
    """

    build_memory_bytes: int
    gpu_memory_bytes: int | None
    disk_bytes: int
    memory_formula: str
    disk_formula: str


def estimate(model: onnx.ModelProto, target: Target, *, kit_bytes: int, workspace: int | None) -> Estimate:
    """The estimate for one graph.

    Args:
        model: With one input [N, 3, S, S] of a fixed size.
        target: The device.
        kit_bytes: Of all files of the kit.
        workspace: The builder's limit; None where there is none, and then none is counted.
    """
    room = build_room(model, target, workspace=workspace)
    shared = target.memory_is_shared
    return Estimate(
        build_memory_bytes=room.host_bytes + (room.device_bytes if shared else 0),
        gpu_memory_bytes=None if shared else room.device_bytes,
        disk_bytes=kit_bytes + room.disk_bytes,
        memory_formula=_memory_formula(room),
        disk_formula=(
            f"kit {_text(kit_bytes)} + {PLAN_SIZES} x {_text(room.weights)} of weights for engine and timing cache"
            f" + {_text(DISK_EXTRA)} for manifest, report and logs; both are {ALLOWANCE}"
        ),
    )


def build_room(model: onnx.ModelProto, target: Target, *, workspace: int | None) -> BuildRoom:
    """What the device's own TensorRT is expected to need for a graph."""
    stored = {tensor.name for tensor in model.graph.initializer}
    (images,) = (value for value in model.graph.input if value.name not in stored)
    batch, _channels, *sides = (dimension.dim_value for dimension in images.type.tensor_type.shape.dim)
    return BuildRoom(
        family=target.tensorrt_families[0],
        weights=WEIGHT_BYTES * sum(prod(tensor.dims) for tensor in model.graph.initializer),
        pixels=max(1, batch) * prod(sides),
        workspace=workspace,
    )


def _memory_formula(room: BuildRoom) -> str:
    host, device = LIBRARIES[room.family]
    own = f"; on the GPU {device} MiB for them" if device else ""
    return (
        f"{host} MiB for CUDA's and TensorRT's libraries, as published logs have it, + {WEIGHT_COPIES} x"
        f" {_text(room.weights)} of weights for network, engine and merged layers, of which the third is {ALLOWANCE}"
        f"{own} + one more for the engine + {_text(room.maps)} for feature maps ({MAPS} values a pixel, counted in the"
        f" exported graphs) + workspace {_text(room.workspace) if room.workspace else 'without a limit, not counted'}"
    )


def _text(size: int) -> str:
    return f"{size / MIB:.1f} MiB"
