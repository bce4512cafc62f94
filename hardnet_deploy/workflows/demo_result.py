"""What ``hardnet-deploy demo`` makes, and whether all of it holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hardnet_deploy.errors import HardnetDeployError
from hardnet_deploy.targets import NmsKind
from hardnet_deploy.workflows.bench_result import BenchResult
from hardnet_deploy.workflows.export import ExportResult
from hardnet_deploy.workflows.parity_result import ParityResult
from hardnet_deploy.workflows.save_engine import BuildResult

INT8_NAME: Final = "INT8 CPU engine"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to export."""

    name: str
    file: str
    fuse_bn: bool
    nms: NmsKind


@dataclass(frozen=True, kw_only=True)
class DemoRun:
    """One export, and its comparison with PyTorch."""

    variant: Variant
    export: ExportResult
    parity: ParityResult
    report: Path

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        metric = self.parity.metric
        return {
            "name": self.variant.name,
            "onnx": str(self.export.path),
            "sha256": self.export.manifest.sha256,
            "fused": self.variant.fuse_bn,
            "nms": self.variant.nms,
            "mAP": metric.separation.own.candidate if metric else None,
            "passed": self.parity.passed,
            "failures": [failure.what for failure in self.parity.failures],
            "report": str(self.report),
        }


@dataclass(frozen=True, kw_only=True)
class Int8Run:
    """The INT8 engine, and its comparison with PyTorch.

    Args:
        build: The engine.
        parity: Its comparison.
        report: Of the comparison.
    """

    build: BuildResult
    parity: ParityResult
    report: Path

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        metric = self.parity.metric
        return {
            "name": INT8_NAME,
            "engine": str(self.build.plan.output),
            "sha256": self.build.manifest.sha256 if self.build.manifest else None,
            "macs_in_int8": self.build.macs_int8,
            "mAP": metric.separation.own.candidate if metric else None,
            "passed": self.parity.passed,
            "failures": [failure.what for failure in self.parity.failures],
            "report": str(self.report),
        }


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What the demo made.

    Args:
        model: Name of the model.
        runs: One for each way to export.
        int8: The INT8 engine.
        bench: PyTorch, the float graph and the INT8 engine, timed in turn on drawn scenes, NMS included.
        bench_file: Its document.
        picture: One scene, with what PyTorch and the fused export find in it.
        page: All of it on one page.
    """

    model: str
    runs: tuple[DemoRun, ...]
    int8: Int8Run
    bench: BenchResult
    bench_file: Path
    picture: Path
    page: Path

    @property
    def trained(self) -> bool:
        """Whether the weights are."""
        return self.runs[0].export.weights.trained

    @property
    def reference_map(self) -> float | None:
        """PyTorch's own mAP."""
        metric = self.runs[0].parity.metric
        return metric.separation.own.reference if metric else None

    @property
    def error(self) -> HardnetDeployError | None:
        """What is wrong with the first file that does not pass; None where all do."""
        runs = (*(run.parity for run in self.runs), self.int8.parity)
        return next((error for parity in runs if (error := parity.error()) is not None), None)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        data = self.runs[0].parity.dataset
        return {
            "model": self.model,
            "trained": self.trained,
            "data": {"name": data.name, "digest": data.digest, "images": len(data)},
            "mAP": self.reference_map,
            "runs": [run.as_dict() for run in self.runs],
            "int8": self.int8.as_dict(),
            "bench": str(self.bench_file),
            "picture": str(self.picture),
            "passed": self.error is None,
            "report": str(self.page),
        }
