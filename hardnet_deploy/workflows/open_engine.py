"""Opening what stands where a command says ENGINE: an artifact file, ``MODEL`` or ``MODEL=F.pth``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardnet_deploy.artifacts import Artifact, Manifest, load_artifact
from hardnet_deploy.errors import ArtifactMismatchError, InputFileError, UsageError
from hardnet_deploy.models import registry
from hardnet_deploy.runners.base import Runner
from hardnet_deploy.specs import DetectorHead, ModelSpec, Preprocess, Thresholds
from hardnet_deploy.workflows.export_options import EVAL_SCORE, MAX_DETECTIONS, UPSTREAM_IOU


@dataclass(frozen=True, kw_only=True)
class OpenEngine:
    """Something that runs, and what is needed to feed and read it.

    Args:
        label: How the user named it.
        runner: Runs it.
        preprocess: How images become its input.
        head: Its default boxes; None for a backbone.
        class_names: Background first.
        thresholds: Of its NMS; upstream's evaluation thresholds where its outputs went through none.
        batch: Images that it takes at once; None for any number.
        trained: False for weights drawn from a seed; None where nothing is known.
        sha256: Of the artifact; None for PyTorch itself.
        warning: What ``--trust`` let pass.
    """

    label: str
    runner: Runner
    preprocess: Preprocess
    head: DetectorHead | None
    class_names: tuple[str, ...]
    thresholds: Thresholds
    batch: int | None
    trained: bool | None
    sha256: str | None
    warning: str | None

    def class_name(self, class_id: int) -> str:
        """Name of a class; its number where the list is too short."""
        return self.class_names[class_id] if 0 <= class_id < len(self.class_names) else f"class {class_id}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON: what every result made with it carries."""
        return {
            "engine": self.label,
            "sha256": self.sha256,
            "runner": self.runner.name,
            "trained": self.trained,
            "warning": self.warning,
        }


def open_engine(text: str, *, trust: bool = False, code_line: str = registry.CODE_LINES[0]) -> OpenEngine:
    """Open an artifact file, a model, or a model with a checkpoint.

    Args:
        text: A path, ``MODEL``, or ``MODEL=CHECKPOINT``.
        trust: Take an artifact whose manifest is missing or disagrees.
        code_line: Which repository trained a checkpoint given as ``MODEL=CHECKPOINT``.

    Raises:
        UsageError: No such file and no such model.
        InputFileError, ArtifactMismatchError, CheckpointError: See the readers.
    """
    name, _, weights = text.partition("=")
    if name in registry.MODELS:
        return _open_model(text, registry.get(name), Path(weights) if weights else None, code_line)
    path = Path(text)
    if not path.exists() and not path.suffix:
        raise UsageError(
            f"'{text}' is neither a file nor a model",
            next_step="hardnet-deploy models lists the models; hardnet-deploy export writes a file",
        )
    return _open_onnx(text, load_artifact(path, trust=trust))


def _thresholds(dataset: str) -> Thresholds:
    known = dataset if dataset in EVAL_SCORE else "coco"
    return Thresholds(score=EVAL_SCORE[known], iou=UPSTREAM_IOU, max_detections=MAX_DETECTIONS[known])


def _open_model(label: str, spec: ModelSpec, weights: Path | None, code_line: str) -> OpenEngine:
    from hardnet_deploy.runners.torch import TorchRunner
    from hardnet_deploy.workflows.export import load_model

    network, loaded = load_model(spec, weights, code_line=code_line)
    return OpenEngine(
        label=label,
        runner=TorchRunner(network, spec),
        preprocess=spec.preprocess,
        head=spec.head,
        class_names=spec.class_names,
        thresholds=_thresholds(spec.dataset),
        batch=None,
        trained=loaded.trained,
        sha256=loaded.sha256,
        warning=None,
    )


def _open_onnx(label: str, artifact: Artifact) -> OpenEngine:
    from hardnet_deploy.runners.graph import parse_model
    from hardnet_deploy.runners.ort import OrtRunner

    model = parse_model(artifact.content, source=label)
    runner = OrtRunner(model)
    if len(runner.inputs) != 1:
        raise InputFileError(f"{label} has {len(runner.inputs)} inputs", wanted="one, 'images'")
    manifest, warning = artifact.manifest, artifact.warning
    if manifest is not None:
        preprocess, head, names = manifest.preprocess_spec(), manifest.head_spec(), manifest.class_names
        dataset = str(manifest.model.get("dataset"))
    else:
        spec = _recognise(model.graph.name, label)
        preprocess, head, names, dataset = spec.preprocess, spec.head, spec.class_names, spec.dataset
        warning = f"{warning}: taken for {spec.name} with its usual pre-processing and classes"
    batch = runner.inputs[0].shape[0]
    size = runner.inputs[0].shape[-1]
    if size != preprocess.size:
        raise ArtifactMismatchError(
            f"{label} takes {size} x {size} images, its pre-processing makes {preprocess.size} x {preprocess.size}",
            next_step="export it again",
        )
    return OpenEngine(
        label=label,
        runner=runner,
        preprocess=preprocess,
        head=head,
        class_names=names,
        thresholds=_own_thresholds(manifest, dataset),
        batch=None if batch < 1 else batch,
        trained=manifest.trained if manifest else None,
        sha256=artifact.sha256,
        warning=warning,
    )


def _own_thresholds(manifest: Manifest | None, dataset: str) -> Thresholds:
    known = manifest.graph.get("thresholds") if manifest else None
    return Thresholds(**known) if known else _thresholds(dataset)


def _recognise(name: str, label: str) -> ModelSpec:
    if name in registry.MODELS:
        return registry.get(name)
    raise ArtifactMismatchError(
        f"{label} has no manifest, and its graph '{name}' is no model known here",
        wanted="a file that hardnet-deploy export wrote, with its manifest",
        next_step="export the model again",
    )
