# ruff: noqa: TID253  (this module is onnx code; whoever imports it wants onnx)
"""How much memory a build may take on the device, and how much disk: estimates, each with its formula."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import onnx
from onnx import TensorProto, helper

from hardnet_deploy.target_spec import MIB

LIBRARIES: Final = 1024 * MIB
"""An allowance, not a measurement: CUDA's context and the kernels of TensorRT, cuDNN and cuBLAS."""
COPIES: Final = 3
PLAN: Final = 1.25
TIMING_AND_LOGS: Final = 16 * MIB
UNCOUNTED: Final = frozenset({TensorProto.UNDEFINED, TensorProto.STRING})


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Bytes that a build takes at most, as far as can be told without the device.

    Args:
        build_memory_bytes: Memory of the process that builds; on a Jetson CPU and GPU share it.
        disk_bytes: The kit with everything that is written into it.
        memory_formula: In words, with its figures.
        disk_formula: Likewise.
    """

    build_memory_bytes: int
    disk_bytes: int
    memory_formula: str
    disk_formula: str


def estimate(model: onnx.ModelProto, *, model_bytes: int, kit_bytes: int, workspace: int | None) -> Estimate:
    """The estimate for one graph.

    Args:
        model: With shapes, as export writes it; its batch is fixed.
        model_bytes: Of its file.
        kit_bytes: Of all files of the kit.
        workspace: The builder's limit; None where there is none, and then none is counted.
    """
    tensors = live_bytes(model)
    memory = LIBRARIES + (workspace or 0) + COPIES * model_bytes + tensors
    plan = int(PLAN * model_bytes)
    return Estimate(
        build_memory_bytes=memory,
        disk_bytes=kit_bytes + plan + TIMING_AND_LOGS,
        memory_formula=(
            f"{LIBRARIES // MIB} MiB for CUDA, cuDNN, cuBLAS and TensorRT (an allowance, not measured)"
            f" + workspace {_text(workspace) if workspace else 'without a limit, not counted'}"
            f" + {COPIES} x the ONNX file of {_text(model_bytes)} (file, network, engine)"
            f" + {_text(tensors)} for the most tensors that live at once, in float32"
        ),
        disk_formula=(
            f"kit {_text(kit_bytes)} + engine of at most {PLAN:g} x the ONNX file + {TIMING_AND_LOGS // MIB} MiB for"
            " manifest, report and logs"
        ),
    )


def live_bytes(model: onnx.ModelProto) -> int:
    """Bytes of the tensors that live at once where most do: from the node that makes one to the last that reads it."""
    graph = model.graph
    sizes = {info.name: _size(info) for info in (*graph.value_info, *graph.input, *graph.output)}
    last = {name: number for number, node in enumerate(graph.node) for name in node.input}
    last |= {info.name: len(graph.node) for info in graph.output}
    alive = {info.name: sizes.get(info.name, 0) for info in graph.input}
    most = sum(alive.values())
    for number, node in enumerate(graph.node):
        alive |= {name: sizes.get(name, 0) for name in node.output if name}
        most = max(most, sum(alive.values()))
        alive = {name: size for name, size in alive.items() if last.get(name, -1) > number}
    return most


def _size(info: onnx.ValueInfoProto) -> int:
    kind = info.type.tensor_type
    if kind.elem_type in UNCOUNTED:
        return 0
    count = math.prod(max(1, dimension.dim_value) for dimension in kind.shape.dim)
    width = int(helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize)
    return int(count) * width


def _text(size: int) -> str:
    return f"{size / MIB:.1f} MiB"
