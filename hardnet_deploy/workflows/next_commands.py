"""Commands that a message names as the way out, made of what the user gave: each can be typed as it stands.

What nobody told stands in capitals: ``DIR``, ``IMAGES``, ``CHECKPOINT``.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hardnet_deploy.artifacts import Manifest, manifest_path, read_manifest
from hardnet_deploy.errors import ArtifactMismatchError
from hardnet_deploy.models import registry
from hardnet_deploy.target_spec import MIB
from hardnet_deploy.workflows.export_options import DEPLOY_SCORE

if TYPE_CHECKING:
    from hardnet_deploy.workflows.build_options import BuildPlan
    from hardnet_deploy.workflows.build_request import BuildRequest

PROGRAM: Final = "hardnet-deploy"
UNKNOWN_MODEL: Final = "MODEL"
DEMO: Final = "demo"


def kit_command(plan: BuildPlan, request: BuildRequest) -> str:
    """The kit of the model that was to be built, or that the file was exported from, in the same precision."""
    from hardnet_deploy.workflows.build_options import parse_size

    manifest = None if plan.is_model else _manifest(Path(plan.source))
    words = [PROGRAM, "kit", *_model(plan, request, manifest), *_size(manifest), *_thresholds(manifest)]
    words += ["--target", plan.target.name, "--precision", plan.precision]
    workspace = parse_size(request.workspace)
    words += [] if workspace is None else ["--workspace", f"{workspace // MIB}M"]
    if plan.precision == "int8":
        words += _ranges(request, _dataset(plan, manifest))
        words += ["--layer-precisions", request.layer_precisions] if request.layer_precisions else []
    return shlex.join([*words, "-o", "DIR"])


def export_command(plan: BuildPlan, request: BuildRequest, *options: str) -> str:
    """The export anew of the model that a file was exported from, with other options, beside that file."""
    manifest = None if plan.is_model else _manifest(Path(plan.source))
    words = [PROGRAM, "export", *_model(plan, request, manifest), *_size(manifest), *_thresholds(manifest)]
    stem = plan.source if plan.is_model else str(Path(plan.source).with_suffix(""))
    return shlex.join([*words, "--target", plan.target.name, *options, "-o", f"{stem}.{plan.target.name}.onnx"])


def build_command(manifest: Manifest | None) -> str:
    """The build of a plan's model for the machine at hand."""
    if manifest is None:
        return f"{PROGRAM} build-engine {UNKNOWN_MODEL}"
    words = [PROGRAM, "build-engine", *_of_manifest(manifest)]
    flags = manifest.precision.get("flags")
    precisions = flags if isinstance(flags, list | tuple) and flags else [manifest.precision.get("requested")]
    words += [f"--{one}" for one in precisions if one in {"fp16", "int8"}]
    if "int8" in precisions and manifest.model.get("dataset") != DEMO:
        words += ["--data", "IMAGES"]
    words += ["--target", "cpu"] if manifest.target == "cpu" else []  # else whatever this machine has
    return shlex.join(words)


def _manifest(path: Path) -> Manifest | None:
    try:
        return read_manifest(manifest_path(path))
    except ArtifactMismatchError:
        return None


def _model(plan: BuildPlan, request: BuildRequest, manifest: Manifest | None) -> list[str]:
    """The model's name with its checkpoint, class list and code line."""
    if not plan.is_model:
        return [UNKNOWN_MODEL] if manifest is None else _of_manifest(manifest)
    words = [plan.source, *(["--weights", str(request.weights)] if request.weights else [])]
    return words + _code_line(request.code_line)


def _of_manifest(manifest: Manifest) -> list[str]:
    name, source = str(manifest.model.get("name")), manifest.weights.get("source")
    if name not in registry.MODELS:
        return [UNKNOWN_MODEL]
    spec = registry.get(name)
    words = [name]
    if manifest.trained and not str(source).startswith("shipped with"):
        words += ["--weights", str(source) if isinstance(source, str) else "CHECKPOINT"]
    if spec.is_detector and manifest.class_names != spec.class_names:
        words += ["--classes", "CLASSES"]
    return words + _code_line(manifest.model.get("code_line"))


def _code_line(line: object) -> list[str]:
    return ["--code-line", str(line)] if line in registry.CODE_LINES[1:] else []


def _size(manifest: Manifest | None) -> list[str]:
    """Of a backbone that was exported in another size than its own."""
    spec = registry.MODELS.get(str(manifest.model.get("name"))) if manifest else None
    size = manifest.preprocess.get("size") if manifest else None
    return ["--size", str(size)] if spec and not spec.is_detector and size != spec.preprocess.size else []


def _thresholds(manifest: Manifest | None) -> list[str]:
    found: Any = manifest.graph.get("thresholds") if manifest else None
    return ["--thresholds", "deploy"] if isinstance(found, Mapping) and found.get("score") == DEPLOY_SCORE else []


def _dataset(plan: BuildPlan, manifest: Manifest | None) -> object:
    if plan.is_model:
        return registry.get(plan.source).dataset
    return manifest.model.get("dataset") if manifest else None


def _ranges(request: BuildRequest, dataset: object) -> list[str]:
    """A table, or images to measure on; a kit writes TensorRT's cache itself and takes none."""
    from hardnet_deploy.workflows.given_table import is_cache_file

    if request.calib is not None and not is_cache_file(request.calib):
        return ["--calib", str(request.calib), *([] if dataset == DEMO else ["--data", "IMAGES"])]
    data = request.data or (None if dataset == DEMO else "IMAGES")
    count = [] if request.count is None else ["--count", str(request.count)]
    return [*(["--data", data] if data else []), *count]
