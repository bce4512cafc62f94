"""``hardnet-deploy kit``: a model to a folder that builds, checks and times itself on a bare device."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hardnet_deploy.device import run_engine
from hardnet_deploy.errors import HardnetDeployError, InputFileError
from hardnet_deploy.files import sha256_bytes
from hardnet_deploy.kit import layout
from hardnet_deploy.kit.document import KitParts, kit_bytes, kit_document
from hardnet_deploy.kit.folder import older_kit, refuse_large, staged
from hardnet_deploy.kit.readme import readme
from hardnet_deploy.kit.samples import read_pixels, references
from hardnet_deploy.kit.tolerances import tolerances_for
from hardnet_deploy.nms.efficient import CANDIDATE_CAP
from hardnet_deploy.runners.base import Runner
from hardnet_deploy.workflows.calibrate import calibrate_engine, choose_images
from hardnet_deploy.workflows.calibrate_options import CalibrateRequest
from hardnet_deploy.workflows.export import ExportResult, load_model, run_export
from hardnet_deploy.workflows.export_options import ExportRequest
from hardnet_deploy.workflows.float_parts import float_parts
from hardnet_deploy.workflows.given_table import given_table
from hardnet_deploy.workflows.kit_options import KitPlan, KitRequest, plan_kit
from hardnet_deploy.workflows.kit_samples import Samples, choose_samples
from hardnet_deploy.workflows.open_engine import open_engine
from hardnet_deploy.workflows.quantise import quantiser_for, table_record
from hardnet_deploy.workflows.tensorrt_writings import (
    DEFAULT_CACHE_VERSION,
    float_layers,
    write_cache_file,
    write_ranges,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from calibration.graph import GraphMap
    from calibration.table import CalibrationTable

Progress = Callable[[str, int, int], None]
SHOWN: Final = ("target", "precision", "model", "trained", "estimate", "tolerances")
CACHE_LACKS: Final = "fingerprint that tells whether it is of this graph, these weights and this pre-processing"


@dataclass(frozen=True, kw_only=True)
class KitResult:
    """A written kit.

    Args:
        folder: It.
        document: Its ``kit.json``.
        sha256: Of ``kit.json``; comes back in the device's report.
        bytes_by_file: Sizes of all files.
        kept: Where an older kit of the same name is now; None where there was none.
        table: The calibration table; None without INT8.
        notes: What the user should know.
    """

    folder: Path
    document: Mapping[str, Any]
    sha256: str
    bytes_by_file: Mapping[str, int]
    kept: Path | None
    table: Path | None
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "kit": str(self.folder),
            "sha256": self.sha256,
            "files": dict(self.bytes_by_file),
            "bytes": sum(self.bytes_by_file.values()),
            "kept": None if self.kept is None else str(self.kept),
            "calibration_table": None if self.table is None else str(self.table),
            "notes": list(self.notes),
            **{key: self.document[key] for key in SHOWN},
        }


@dataclass(frozen=True, kw_only=True)
class _Int8:
    """What INT8 adds: the layers, which of them stay float, tensors with a scale, where that comes from, images."""

    graph: GraphMap
    left: frozenset[str]
    scaled: frozenset[str]
    record: dict[str, Any]
    path: Path
    marks: tuple[str, ...]
    notes: tuple[str, ...]


def run_kit(request: KitRequest, progress: Progress) -> KitResult:
    """Export, calibrate, run PyTorch on the samples, write.

    Args:
        request: The options.
        progress: Told of (what runs, how much of it is done, how much there is).

    Raises:
        UsageError, TargetError, OutputFileError: Before anything long runs; UsageError also where the kit would be too
            large.
        InputFileError, CheckpointError: The checkpoint, calibration or an image cannot be read.
        ParityError, ExportError: See :func:`~hardnet_deploy.workflows.export.run_export`.
    """
    plan = plan_kit(request)
    kept = older_kit(plan.folder, force=request.force)
    table = None if request.calib is None else given_table(request.calib, lacks=CACHE_LACKS)
    with staged(plan.folder, kept) as folder:
        progress("exporting and verifying", 0, 1)
        exported = run_export(_export_request(plan, request, folder), lambda *_: None)
        progress("exporting and verifying", 1, 1)
        int8 = _write_int8(plan, request, folder, table, progress) if plan.precision == "int8" else None
        marks = int8.marks if int8 else None
        chosen = choose_samples(plan.data, request.samples, marks, partial(progress, "drawing the demo data"))
        rows = _write_samples(plan, exported, folder, chosen.paths, progress)
        tolerances, lowered = tolerances_for(plan.precision, rows)
        notes = (*chosen.notes, *(int8.notes if int8 else ()), *((lowered,) if lowered else ()))
        shutil.copyfile(run_engine.__file__, folder / layout.RUNNER)
        document, sizes = _describe(plan, request, exported, folder, int8, tolerances, chosen, notes)
        refuse_large(sizes, samples=len(chosen.paths))
        content = (folder / layout.KIT).read_bytes()
    return KitResult(
        folder=plan.folder,
        document=document,
        sha256=sha256_bytes(content),
        bytes_by_file=sizes,
        kept=kept,
        table=int8.path if int8 else None,
        notes=(*filter(None, (plan.warning,)), *notes),
    )


def _export_request(plan: KitPlan, request: KitRequest, folder: Path) -> ExportRequest:
    return ExportRequest(
        model=plan.spec.name,
        weights=request.weights,
        code_line=request.code_line,
        classes=request.classes,
        preset=request.preset,
        size=request.size,
        target=plan.target.name,
        output=folder / layout.MODEL,
        command=request.command,
    )


def _write_int8(
    plan: KitPlan, request: KitRequest, folder: Path, table: CalibrationTable | None, progress: Progress
) -> _Int8:
    """The calibration cache and the dynamic ranges."""
    engine = open_engine(str(folder / layout.MODEL))
    path, notes = request.calib, tuple[str, ...]()
    if table is None or path is None:
        path = plan.folder.absolute().with_name(f"{plan.folder.name}.calib.json")
        calibrate = CalibrateRequest(
            onnx=folder / layout.MODEL,
            data=plan.data,
            count=request.count,
            output=path,
            command=request.command,
        )
        result = calibrate_engine(engine, calibrate, path, progress, choose_images(calibrate, progress))
        table, notes = result.table, result.notes
    quantiser = quantiser_for(engine, table, concat_scales="unified")
    left = float_layers(quantiser, request.layer_precisions)
    write_ranges(quantiser, folder / layout.RANGES, left=left)
    write_cache_file(quantiser, folder / layout.CACHE, tensorrt=DEFAULT_CACHE_VERSION)
    return _Int8(
        graph=quantiser.graph,
        left=left,
        scaled=frozenset(quantiser.ranges.scales()),
        record=table_record(table, path),
        path=path,
        marks=tuple(table.image_marks),
        notes=notes,
    )


def _write_samples(
    plan: KitPlan, exported: ExportResult, folder: Path, paths: tuple[Path, ...], progress: Progress
) -> list[NDArray[np.float32]] | None:
    """Pixels and PyTorch's results; the detections, None for a backbone."""
    from hardnet_deploy.runners.torch import TorchRunner

    pixels = read_pixels(paths, plan.spec.preprocess)
    network, weights = load_model(plan.spec, exported.plan.weights, code_line=exported.plan.code_line)
    if weights.state_sha256 != exported.weights.state_sha256:
        raise HardnetDeployError("the weights changed while the kit was written", next_step="write it again")
    runner: Runner = TorchRunner(network, plan.spec)
    progress("running PyTorch on the samples", 0, len(paths))
    thresholds = exported.plan.graph.thresholds
    stored = references(
        runner,
        plan.spec,
        pixels,
        thresholds=thresholds,
        candidate_cap=plan.target.nms_candidate_cap or CANDIDATE_CAP,
    )
    progress("running PyTorch on the samples", len(paths), len(paths))
    rows = None if thresholds is None else [stored[f"detections_{number}"] for number in range(len(paths))]
    if rows is not None and not any(len(one) for one in rows):
        raise InputFileError(
            "PyTorch detects nothing in any of the samples, so the device would have nothing to compare",
            got=f"no score of {thresholds.score if thresholds else 0:g} or more",
            next_step="name images of things that the model knows: --data",
        )
    _save(folder / layout.INPUTS, {"pixels": pixels})
    _save(folder / layout.REFERENCE, stored)
    return rows


def _save(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for its own options
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content.getvalue())


def _describe(
    plan: KitPlan,
    request: KitRequest,
    exported: ExportResult,
    folder: Path,
    int8: _Int8 | None,
    tolerances: dict[str, Any],
    chosen: Samples,
    notes: tuple[str, ...],
) -> tuple[dict[str, Any], dict[str, int]]:
    """Write ``kit.json`` and the README; the document, and the sizes of all files."""
    import onnx

    from hardnet_deploy.engines.requested import requested_precisions
    from hardnet_deploy.kit.estimate import estimate

    model = onnx.load(folder / layout.MODEL)
    if int8 is None:
        held = float_parts(model, plan.precision)
    else:
        held = float_parts(model, plan.precision, graph=int8.graph, left=int8.left)
    sizes = _sizes(folder)
    parts = KitParts(
        target=plan.target,
        precision=plan.precision,
        manifest=exported.manifest,
        workspace=plan.workspace,
        held_in_fp32=held.settings(),
        requested=requested_precisions(
            model,
            flags=() if plan.precision == "fp32" else (plan.precision,),
            fp32_layers=held.fp32_layers,
            scaled=int8.scaled if int8 else (),
        ),
        data=chosen.data,
        count=len(chosen.paths),
        tolerances=tolerances,
        estimate=estimate(model, plan.target, kit_bytes=sum(sizes.values()), workspace=plan.workspace),
        calibration=int8.record if int8 else None,
        notes=(*filter(None, (plan.warning,)), *notes),
        command=request.command,
    )
    document = kit_document(parts, folder)
    (folder / layout.README).write_text(readme(document, plan.target), encoding="utf-8")
    (folder / layout.KIT).write_bytes(kit_bytes(document))
    return document, _sizes(folder)


def _sizes(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()
    }
