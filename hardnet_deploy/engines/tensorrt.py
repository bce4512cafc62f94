"""Building a TensorRT plan on this machine, through the file that goes to devices: no TensorRT call stands here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hardnet_deploy.device import run_engine
from hardnet_deploy.errors import ExportError, TargetError
from hardnet_deploy.runners.device_faults import device_faults

Progress = Callable[[str, int, int], None]
Listener = Callable[[str], None]
OTHER_CACHE: Final = "timing cache is of another"
"""What a build notes where it could not use the timing cache it was given."""


@dataclass(frozen=True, kw_only=True)
class BuiltPlan:
    """A plan and what is known of it.

    Args:
        content: The plan: native code, with everything that it runs.
        layers: The engine inspector's JSON; None where it could not be asked.
        timing_cache: To be kept for the next build; None where there is none or the one given was another GPU's.
        log: What TensorRT said, a line each, with the severity in front.
        notes: What the user should know.
        missing_ranges: Tensors that an INT8 layer would read and that have no range.
        unmatched_layers: Nodes that were to stay FP32 and that no layer carries the name of.
        tensorrt: Version that built it.
        gpu: Name of the GPU it was built on.
        compute_capability: Of that GPU, as ``8.9``.
        cuda_layer: What talked to CUDA.
        seconds: How long it took.
    """

    content: bytes
    layers: str | None
    timing_cache: bytes | None
    log: tuple[str, ...]
    notes: tuple[str, ...]
    missing_ranges: tuple[str, ...]
    unmatched_layers: tuple[str, ...]
    tensorrt: str
    gpu: str
    compute_capability: str
    cuda_layer: str
    seconds: float


def build_plan(
    onnx_bytes: bytes, settings: Mapping[str, Any], *, progress: Progress, listener: Listener | None = None
) -> BuiltPlan:
    """Build with the installed TensorRT for the first visible GPU.

    Args:
        onnx_bytes: The ONNX file.
        settings: As :data:`~hardnet_deploy.device.run_engine.SETTINGS` says.
        progress: Told (phase, steps done, steps), where the API has IProgressMonitor; may raise, which stops the build.
        listener: Told each line of the log as it comes.

    Raises:
        UsageError: Settings that cannot be meant.
        TargetError: There is no TensorRT or GPU, the GPU cannot, or a locked timing cache lacks a layer: what is
            locked cannot be kept in this environment, though no file disagrees with its manifest.
        ExportError: The parser refuses the graph, or the build fails.
        ArtifactMismatchError: A calibration cache of another TensorRT.
    """

    def log(severity: str, text: str) -> None:
        if listener is not None:
            listener(f"[{severity}] {text}")

    began = time.perf_counter()
    with device_faults(unreadable=ExportError), run_engine.opened() as (trt, cuda):
        device = cuda.device()
        try:
            built = run_engine.build(trt, onnx_bytes, dict(settings), log=log, progress=progress)
        except run_engine.EngineError as error:
            if settings.get("timing_cache_locked") and "timing cache" in error.what:
                raise TargetError(
                    "the timing cache lacks a layer of this engine, and --locked forbids to measure it",
                    got=error.what,
                    next_step="build once without --locked, and keep the timing cache it writes",
                ) from error
            raise
        layer = cuda.name
    foreign = any(OTHER_CACHE in note for note in built["notes"])
    return BuiltPlan(
        content=built["plan"],
        layers=built["layers"],
        timing_cache=None if foreign else built["timing_cache"],
        log=tuple(built["log"]),
        notes=tuple(built["notes"]),
        missing_ranges=tuple(built["missing_ranges"]),
        unmatched_layers=tuple(built["unmatched_layers"]),
        tensorrt=str(built["tensorrt"]),
        gpu=str(device["name"]),
        compute_capability="{}.{}".format(*device["compute_capability"]),
        cuda_layer=layer,
        seconds=time.perf_counter() - began,
    )
