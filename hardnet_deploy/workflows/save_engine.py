"""An engine file with a manifest that says what it is made of and what of it runs in which precision."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hardnet_deploy.artifacts import Manifest, save_artifact, versions
from hardnet_deploy.engines.ort_build import OptimisedGraph
from hardnet_deploy.errors import ArtifactMismatchError, ExportError
from hardnet_deploy.files import sha256_bytes
from hardnet_deploy.nms.efficient import PLUGIN_OP
from hardnet_deploy.runners.ort import OrtRunner
from hardnet_deploy.workflows.build_options import BuildPlan, BuildRequest
from hardnet_deploy.workflows.environment import Probes, read_cpu
from hardnet_deploy.workflows.open_engine import OpenEngine
from hardnet_deploy.workflows.seeded_inputs import seeded_pixels

if TYPE_CHECKING:
    import onnx

PACKAGES: Final = ("onnx", "onnxruntime-gpu", "onnxruntime", "numpy")


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """A built engine, or with ``--dry-run`` what would be built.

    Args:
        plan: What was asked, defaults decided.
        manifest: Of the engine; None for a dry run.
        size_bytes: Of the engine file.
        source_bytes: Of the float graph.
        optimised: What ONNX Runtime makes of it here.
        macs_int8: Share of the convolutions' multiply-accumulates that run in INT8.
        table: Where the ranges stand; None for a float engine.
        notes: What the user should know.
    """

    plan: BuildPlan
    manifest: Manifest | None
    size_bytes: int
    source_bytes: int
    optimised: OptimisedGraph | None
    macs_int8: float
    table: Path | None
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "engine": None if self.manifest is None else str(self.plan.output),
            "sha256": None if self.manifest is None else self.manifest.sha256,
            "bytes": self.size_bytes,
            "source": self.plan.source,
            "chosen": self.plan.chosen,
            "target": self.plan.target.name,
            "precision": self.manifest.precision if self.manifest else {"requested": self.plan.precision},
            "macs_in_int8": self.macs_int8,
            "calibration": None if self.table is None else str(self.table),
            "checks": self.manifest.checks.get("build") if self.manifest else None,
            "notes": list(self.notes),
        }


def manifest_of(engine: OpenEngine) -> Manifest:
    """What is known of an engine that another is to be made from.

    Raises:
        ArtifactMismatchError: It has no manifest, so nothing could be said of what is made from it.
    """
    if engine.manifest is None:
        raise ArtifactMismatchError(
            f"{engine.label} has no manifest, so an engine made from it could not say what it is",
            next_step="export the model again with this version",
        )
    return engine.manifest


def source_record(engine: OpenEngine) -> dict[str, Any]:
    """What a manifest says of the graph that its engine was made from: hash, what ``--trust`` let pass, checks."""
    return {"sha256": engine.sha256, "warning": engine.warning, "checks": manifest_of(engine).checks}


def save_engine(
    plan: BuildPlan,
    request: BuildRequest,
    engine: OpenEngine,
    model: onnx.ModelProto,
    optimised: OptimisedGraph,
    precision: dict[str, Any],
    *,
    macs_int8: float,
    table: Path | None,
    notes: tuple[str, ...],
) -> BuildResult:
    """Write a finished graph and its manifest, after it has run once.

    Raises:
        ArtifactMismatchError: The source has no manifest, so nothing could be said of the engine.
        ExportError: It does not run, or answers with values that are no finite numbers; nothing is written.
        OutputFileError: It cannot be written.
    """
    old = manifest_of(engine)
    _run_once(model, engine)
    content = model.SerializeToString(deterministic=True)
    cpu = read_cpu(Probes())
    manifest = Manifest(
        kind="onnx",
        model=old.model,
        weights=old.weights,
        preprocess=old.preprocess,
        class_names=old.class_names,
        head=old.head,
        target=plan.target.name,
        precision=precision,
        graph={**old.graph, "nms": "onnx" if _has(model, "NonMaxSuppression") else None, "outputs": _outputs(model)},
        checks={
            "source": source_record(engine),
            "build": {
                "integer_convolutions": optimised.integer_convolutions,
                "float_convolutions": list(optimised.float_convolutions),
                "operators": dict(sorted(optimised.operators.items())),
                "cpu": {
                    "model": cpu.model,
                    "int8_dot_product": cpu.int8_dot_product,
                    "instruction_sets": None if cpu.instruction_sets is None else list(cpu.instruction_sets),
                },
            },
        },
        sha256=sha256_bytes(content),
        versions=versions(PACKAGES),
        command=request.command,
    )
    save_artifact(plan.output, content, manifest)
    source_bytes = engine.model.ByteSize() if engine.model is not None else 0
    said = (plan.chosen,) if plan.chosen else ()
    plugin = engine.model is not None and _has(engine.model, PLUGIN_OP)
    replaced = ("EfficientNMS_TRT was replaced by ONNX NonMaxSuppression, which the CPU runs",) if plugin else ()
    warning = (engine.warning,) if engine.warning else ()
    return BuildResult(
        plan=plan,
        manifest=manifest,
        size_bytes=len(content),
        source_bytes=source_bytes,
        optimised=optimised,
        macs_int8=macs_int8,
        table=table,
        notes=(*said, *warning, *replaced, *notes),
    )


def _outputs(model: onnx.ModelProto) -> list[str]:
    return [value.name for value in model.graph.output]


def _has(model: onnx.ModelProto, operator: str) -> bool:
    return any(node.op_type == operator for node in model.graph.node)


def _run_once(model: onnx.ModelProto, engine: OpenEngine) -> None:
    """Refuse an engine that does not run, or answers with values that are no numbers."""
    with OrtRunner(model) as runner:
        values = runner.infer({runner.inputs[0].name: seeded_pixels(engine.preprocess, engine.batch or 1)})
    broken = [name for name, value in values.items() if not np.isfinite(value).all()]
    if broken:
        raise ExportError(f"the engine's '{broken[0]}' holds values that are no finite numbers; nothing was written")
