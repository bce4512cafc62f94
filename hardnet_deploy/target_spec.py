"""What a deployment target can run, and the refusals that follow from it.

A target is a device together with its software, as far as they bound what may be exported and built. The rows are in
``targets``; this module says what a row is, and says no, with the way out, before anything is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from hardnet_deploy.errors import TargetError

Precision = Literal["fp32", "fp16", "int8"]
NmsKind = Literal["efficient", "onnx"]
TensorRTFamily = Literal["8.2", "8.6", "10", "11"]
Fitness = Literal["fast", "works", "refused"]

DEFAULT_OPSET = 13
"""The opset of every export that does not ask for another: the highest that all targets take."""

MIB = 1024**2


@dataclass(frozen=True, kw_only=True)
class Pitfall:
    """One thing that goes wrong on a target, and the public source that says so."""

    text: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Target:
    """A device and its software.

    Args:
        name: Its name on the command line.
        device: The device in words.
        compute_capability: (major, minor) of a named board; None for ``cpu`` and for ``gpu``, which is whatever the
            machine has.
        minimum_compute_capability: Lowest (major, minor) that the TensorRT versions of this target still serve; None
            where no NVIDIA GPU is involved.
        runtime: What executes the engine, with its version.
        tensorrt: The TensorRT version or versions known to serve it; None for ``cpu``.
        tensorrt_families: TensorRT generations that this target may have; every one must accept a graph. Empty for
            ``cpu``.
        minimum_tensorrt: Lowest (major, minor, patch) for which the facts of this row hold; None for ``cpu``.
        cuda: CUDA versions; None where none is involved.
        python: Python on the device.
        min_opset: Lowest ONNX opset that the parser takes.
        max_opset: Highest ONNX opset that every parser of this target takes.
        precisions: For each precision: ``fast`` (hardware behind it), ``works`` (runs, but no faster than fp32) or
            ``refused``.
        default_nms: The NMS an export for this target gets when none is named.
        nms_kinds: The NMS kinds that this target takes.
        nms_plugin: What is known of the plugin EfficientNMS_TRT there.
        nms_candidate_cap: Candidates an image that the plugin looks at, over all classes; None without the plugin.
        max_batch: Largest batch; None where the memory decides. A limit also rules out a dynamic batch.
        max_workspace: Largest builder workspace in bytes; None where the memory decides.
        memory: Bytes of the GPU's memory on a named board; None where the machine decides.
        memory_is_shared: True where CPU and GPU share that memory; None where no board is named.
        pitfalls: What goes wrong there.
        sources: For each fact above its public source, keyed by field name.
    """

    name: str
    device: str
    compute_capability: tuple[int, int] | None
    minimum_compute_capability: tuple[int, int] | None
    runtime: str
    tensorrt: str | None
    tensorrt_families: tuple[TensorRTFamily, ...]
    minimum_tensorrt: tuple[int, int, int] | None
    cuda: str | None
    python: str
    min_opset: int
    max_opset: int
    precisions: Mapping[Precision, Fitness] = field(hash=False)
    default_nms: NmsKind
    nms_kinds: tuple[NmsKind, ...]
    nms_plugin: str
    nms_candidate_cap: int | None
    max_batch: int | None
    max_workspace: int | None
    memory: int | None
    memory_is_shared: bool | None
    pitfalls: tuple[Pitfall, ...]
    sources: Mapping[str, str] = field(hash=False, repr=False)

    @property
    def uses_tensorrt(self) -> bool:
        """True where TensorRT builds and runs the engine."""
        return bool(self.tensorrt_families)

    def serves(self, capability: tuple[int, int] | None) -> bool:
        """True for a GPU of this (major, minor) compute capability; never for one that is not known."""
        if capability is None:
            return False
        if self.compute_capability is not None:
            return capability == self.compute_capability
        return self.minimum_compute_capability is not None and capability >= self.minimum_compute_capability

    def require_precision(self, precision: Precision, *, option: str = "--precision ") -> None:
        """Refuse a precision that the device has no hardware for.

        Args:
            precision: As asked for.
            option: How the command spells one, up to its name: ``--`` for ``--fp16``.

        Raises:
            TargetError: The precision is refused here; the message names the precisions that work.
        """
        if self.precisions[precision] != "refused":
            return
        usable = [name for name, fitness in self.precisions.items() if fitness != "refused"]
        fastest = next((name for name in ("int8", "fp16") if self.precisions[name] == "fast"), "fp32")
        raise TargetError(
            f"target '{self.name}' ({self._capability_text()}) has no hardware for {precision}",
            got=precision,
            wanted=", ".join(usable),
            next_step=f"use {option}{fastest}" if fastest != "fp32" else "leave the precision out: fp32 is the default",
        )

    def precision_warning(self, precision: Precision) -> str | None:
        """One sentence where a precision runs here without being faster than fp32, else None."""
        if self.precisions[precision] != "works" or precision == "fp32":
            return None
        fast = [name for name, fitness in self.precisions.items() if fitness == "fast" and name != "fp32"]
        instead = f"; use {fast[0]} for speed" if fast else ""
        return f"{precision} runs on target '{self.name}' but is not faster than fp32 there{instead}"

    def require_opset(self, opset: int, *, way_out: str | None = None) -> None:
        """Refuse an ONNX opset outside what every parser of this target takes.

        Args:
            opset: Of the graph.
            way_out: What to do instead; None for the option of ``export``.

        Raises:
            TargetError: The opset is too low or too high.
        """
        if self.min_opset <= opset <= self.max_opset:
            return
        raise TargetError(
            f"target '{self.name}' ({self.runtime}) does not take ONNX opset {opset}",
            got=str(opset),
            wanted=f"{self.min_opset} to {self.max_opset}",
            next_step=way_out or f"use --opset {DEFAULT_OPSET}, which every target takes",
        )

    def require_batch(self, batch: int | None, *, way_out: str | None = None) -> None:
        """Refuse a batch that the device cannot hold.

        Args:
            batch: Images in one run; None for a dynamic batch.
            way_out: What to do instead; None for the option of ``export``.

        Raises:
            TargetError: The batch is over the limit, or dynamic where there is a limit.
        """
        if self.max_batch is None or (batch is not None and batch <= self.max_batch):
            return
        raise TargetError(
            f"target '{self.name}' takes a fixed batch of at most {self.max_batch}",
            got="a dynamic batch" if batch is None else f"batch {batch}",
            wanted=f"batch {self.max_batch}",
            next_step=way_out or f"use --batch {self.max_batch}",
        )

    def require_nms(self, kind: NmsKind, *, way_out: str | None = None) -> None:
        """Refuse a kind of NMS that the target's parser cannot take faithfully.

        Args:
            kind: Of the graph.
            way_out: What to do instead; None for the options of ``export``.

        Raises:
            TargetError: The kind is refused here.
        """
        if kind in self.nms_kinds:
            return
        raise TargetError(
            f"target '{self.name}' ({self.runtime}) cannot take --nms {kind}: its parser treats ONNX NonMaxSuppression"
            " as experimental and returns a fixed number of rows, which drops boxes",
            got=kind,
            wanted=", ".join(self.nms_kinds),
            next_step=way_out or f"use --nms {self.nms_kinds[0]}, or --outputs boxes and suppress on the host",
        )

    def require_workspace(self, size: int | None) -> None:
        """Refuse a builder workspace that the device has no room for.

        Args:
            size: In bytes; None for the target's own limit.

        Raises:
            TargetError: It is over the limit.
        """
        limit = self.max_workspace or self.memory
        if size is None or limit is None or size <= limit:
            return
        raise TargetError(
            f"target '{self.name}' has no room for such a builder workspace",
            got=f"{size / MIB:g} MiB",
            wanted=f"at most {limit // MIB} MiB",
            next_step=f"use --workspace {limit // MIB}M",
        )

    def _capability_text(self) -> str:
        if self.compute_capability is None:
            return self.device
        major, minor = self.compute_capability
        return f"{self.device}, sm_{major}{minor}"
