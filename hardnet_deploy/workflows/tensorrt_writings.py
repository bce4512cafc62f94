"""The two forms in which TensorRT takes a calibration: a Q/DQ graph, or a cache of scales beside the float graph."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hardnet_deploy.artifacts import Manifest, save_artifact, versions
from hardnet_deploy.errors import ExportError, UsageError
from hardnet_deploy.export.graph_checks import check_graph
from hardnet_deploy.export.nms_exchange import with_nms
from hardnet_deploy.files import atomic_output, sha256_bytes, write_durably
from hardnet_deploy.targets import get_target
from hardnet_deploy.workflows.build_options import float_units
from hardnet_deploy.workflows.calibration_faults import calibration_faults
from hardnet_deploy.workflows.float_parts import float_parts
from hardnet_deploy.workflows.judged_apart import with_marks
from hardnet_deploy.workflows.precision_search import layer_precisions
from hardnet_deploy.workflows.quantise import Quantiser, table_record
from hardnet_deploy.workflows.save_engine import manifest_of, source_record

if TYPE_CHECKING:
    from calibration.trt_cache import CacheHeader
    from hardnet_deploy.workflows.open_engine import OpenEngine

PACKAGES: Final = ("onnx", "onnxruntime-gpu", "onnxruntime", "numpy")
QDQ_TARGET: Final = "gpu"
DEFAULT_CACHE_VERSION: Final = "8.6.1"


@dataclass(frozen=True, kw_only=True)
class Written:
    """A file for TensorRT.

    Args:
        path: The file.
        what: It, in words.
        float_layers: Layers that it leaves in float.
        warnings: What the target's lint says.
    """

    path: Path
    what: str
    float_layers: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "path": str(self.path)}


def first_layers(quantiser: Quantiser) -> frozenset[str]:
    """The convolutions that read the image itself: INT8 gains nothing there, and loses most."""
    inputs = {value.name for value in quantiser.graph.model.graph.input}
    return frozenset(unit.name for unit in quantiser.graph.units if unit.source in inputs)


def float_layers(quantiser: Quantiser, text: str | None) -> frozenset[str]:
    """The first layers, and what ``--layer-precisions`` adds or takes back.

    Raises:
        UsageError: It cannot be read, names no layer, or leaves all of them in float.
    """
    usual = [f"{name}:fp32" for name in sorted(first_layers(quantiser))]
    return float_units(",".join([*usual, *([text] if text else [])]), quantiser.layers)


def write_qdq(
    engine: OpenEngine,
    quantiser: Quantiser,
    table_path: Path,
    output: Path,
    *,
    left: frozenset[str],
    command: tuple[str, ...],
) -> Written:
    """Symmetric int8 Q/DQ for TensorRT 10 and 11, and 8.x on hardware with INT8; the NMS plugin is attached last.

    Args:
        engine: The float graph.
        quantiser: Of it.
        table_path: Where its ranges stand.
        output: The file.
        left: Layers that stay float.
        command: The command line, for the manifest.

    Raises:
        ArtifactMismatchError: The graph has no manifest.
        ExportError: The target's lint refuses the graph; nothing is written.
        OutputFileError: It cannot be written.
    """
    from calibration.qdq import Choice

    old = manifest_of(engine)
    model = quantiser.write(Choice(float_units=left), writing="int8")
    source = quantiser.source
    if source.nms is not None and source.head is not None:
        model = with_nms(model, "efficient", source.head, source.nms)
    report = check_graph(model, get_target(QDQ_TARGET))
    if not report.accepted:
        raise ExportError(
            f"TensorRT would not take the Q/DQ graph of {engine.label}; nothing was written",
            got="; ".join(f"{finding.node}: {finding.message}" for finding in report.errors[:5]),
        )
    content = model.SerializeToString(deterministic=True)
    manifest = Manifest(
        kind="onnx",
        model=old.model,
        weights=old.weights,
        preprocess=old.preprocess,
        class_names=old.class_names,
        head=old.head,
        target=QDQ_TARGET,
        precision={
            "requested": "int8",
            "achieved": {},  # TensorRT decides when it builds
            "writing": "int8",
            "asked_to_stay_float": sorted(left),
            "concat_scales": quantiser.concat_scales,
            "calibration": with_marks(table_record(quantiser.table, table_path), quantiser.table.image_marks),
        },
        graph={
            **old.graph,
            "nms": "efficient" if source.nms is not None else None,
            "outputs": [value.name for value in model.graph.output],
        },
        checks={
            "source": source_record(engine),
            "targets": {QDQ_TARGET: {"accepted": True, "findings": _told(report)}},
        },
        sha256=sha256_bytes(content),
        versions=versions(PACKAGES),
        command=command,
    )
    save_artifact(output, content, manifest)
    return Written(
        path=output,
        what="symmetric int8 Q/DQ graph for TensorRT",
        float_layers=tuple(sorted(left)),
        warnings=tuple(finding.message for finding in report.warnings),
    )


def write_ranges(quantiser: Quantiser, output: Path, *, left: frozenset[str]) -> Written:
    """Dynamic ranges and what stays FP32 as JSON, for TensorRT 8.x and 10.x without a calibrator.

    ``dynamic_ranges`` holds (low, high) of every tensor for ``ITensor.set_dynamic_range``. ``layer_precisions`` and
    ``layer_output_types`` are for trtexec's ``--layerPrecisions`` and ``--layerOutputTypes``, with
    ``--precisionConstraints=obey`` (8.6 or later): what a plan that is built here or from a kit holds in FP32, from the
    heads' outputs on. ``float_layers`` are the convolutions among them.

    Raises:
        OutputFileError: It cannot be written.
    """
    from calibration.trt_cache import dynamic_ranges

    kept = float_parts(quantiser.source.whole, "int8", graph=quantiser.graph, left=left)
    with calibration_faults():
        bounds = dynamic_ranges(quantiser.ranges.scales())
    document = {
        "kind": "dynamic-ranges",
        "schema": 1,
        "calibration": asdict(quantiser.table.fingerprint),
        "method": quantiser.table.method,
        "concat_scales": quantiser.concat_scales,
        "float_layers": sorted(left),
        "layer_precisions": layer_precisions(kept.fp32_layers),
        "layer_output_types": layer_precisions(kept.fp32_outputs),
        "dynamic_ranges": bounds,
    }
    with atomic_output(output) as temporary:
        write_durably(temporary, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())
    return Written(path=output, what="dynamic ranges and layer precisions", float_layers=tuple(sorted(left)))


def _told(report: Any) -> list[dict[str, Any]]:
    return [asdict(finding) for finding in report.findings]


def write_cache_file(quantiser: Quantiser, output: Path, *, tensorrt: str) -> Written:
    """A calibration cache for TensorRT 8.x or 10.x, to be used with the float graph that was calibrated.

    Raises:
        UsageError: No such version, or one that takes no cache.
        OutputFileError: It cannot be written.
    """
    from calibration.trt_cache import write_cache

    header = cache_header(tensorrt)
    with calibration_faults():
        text = write_cache(quantiser.ranges.scales(), header)
    with atomic_output(output) as temporary:
        write_durably(temporary, text.encode())
    return Written(path=output, what=f"calibration cache for TensorRT {tensorrt}", float_layers=())


def cache_header(tensorrt: str) -> CacheHeader:
    """First line of the cache that this version of TensorRT reads.

    Raises:
        UsageError: No such version, or one that takes no cache.
    """
    from calibration.errors import CalibrationError
    from calibration.trt_cache import header_for

    if not re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", tensorrt):
        raise UsageError(f"--tensorrt {tensorrt} is no version", wanted="three numbers, such as 8.6.1")
    major, minor, patch = (int(part) for part in tensorrt.split("."))
    try:
        return header_for(major, minor, patch)
    except CalibrationError as error:
        raise UsageError(error.what, got=error.got, wanted=error.wanted, next_step=error.next_step) from error
