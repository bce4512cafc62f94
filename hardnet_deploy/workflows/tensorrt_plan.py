"""What a TensorRT build will do, decided: the values that the preflight hands to the build and shows to the user."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from hardnet_deploy.target_spec import NmsKind, Precision, TensorRTFamily

CalibrationForm = Literal["cache+ranges", "qdq"]
ScalesFrom = Literal["table", "cache", "graph", "data"]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a build is expected to need; an estimate by the stated formula, no measurement.

    Args:
        host_bytes: Main memory; where CPU and GPU share it, the GPU's part is in it.
        device_bytes: Memory of the GPU where it has its own; None where it is the main memory.
        disk_bytes: Where the engine is written.
        formula: How the three were computed, in words.
    """

    host_bytes: int
    device_bytes: int | None
    disk_bytes: int
    formula: str


@dataclass(frozen=True, kw_only=True)
class TensorRTPlan:
    """A build that nothing is known to stand against.

    Args:
        family: The TensorRT generation that will build.
        tensorrt: Version of the installed TensorRT; None where the engine is built on another machine.
        gpu: Name of the GPU that builds; None where it is not in this machine.
        compute_capability: Its (major, minor); None where it is not known.
        precisions: What the engine may compute in besides fp32, as asked: (), ("fp16",), ("int8",), ("int8", "fp16").
        typed: True for a strongly typed network, whose precision stands in the graph; False for flags of the builder.
        half_graph: True where the graph must be typed as fp16 first (``export.half.to_half``).
        fp32_islands: True where L2Norm, softmax, decoding and NMS must be named as fp32 layers
            (``export.islands.float32_islands``); a typed graph has them in itself.
        islands: In words what stays fp32 in the lower precision: of L2Norm, softmax, decoding and NMS what the graph
            has.
        calibration: In which form INT8 scales reach the builder; None without INT8.
        scales_from: Where they come from; None without INT8.
        cache_header: First line of the calibration cache that this TensorRT takes; None where none is written.
        opset: Of the graph.
        nms: Which NMS closes the graph; None where it has none.
        batch: (min, opt, max) of a graph with a dynamic batch; None for a fixed one.
        workspace_bytes: Limit of the builder's workspace; None leaves TensorRT its own.
        timing_cache: File that is read and written; None where the GPU that builds is not in this machine.
        locked: Fail on a layer that the timing cache does not know.
        allow_fallback: Take layers that ran in fp32 unasked.
        outputs: Files that will be written.
        steps: What will be done, a sentence each.
        warnings: What the user should know, a sentence each.
        estimate: What the build needs.
    """

    family: TensorRTFamily
    tensorrt: str | None
    gpu: str | None
    compute_capability: tuple[int, int] | None
    precisions: tuple[Precision, ...]
    typed: bool
    half_graph: bool
    fp32_islands: bool
    islands: tuple[str, ...]
    calibration: CalibrationForm | None
    scales_from: ScalesFrom | None
    cache_header: str | None
    opset: int
    nms: NmsKind | None
    batch: tuple[int, int, int] | None
    workspace_bytes: int | None
    timing_cache: Path | None
    locked: bool
    allow_fallback: bool
    outputs: tuple[Path, ...]
    steps: tuple[str, ...]
    warnings: tuple[str, ...]
    estimate: Estimate

    @property
    def islands_text(self) -> str:
        """``islands`` as ``a, b and c``."""
        return " and ".join(filter(None, (", ".join(self.islands[:-1]), *self.islands[-1:])))

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            **asdict(self),
            "timing_cache": None if self.timing_cache is None else str(self.timing_cache),
            "outputs": [str(path) for path in self.outputs],
        }
