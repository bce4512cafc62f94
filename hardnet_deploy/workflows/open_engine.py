"""Opening what stands where a command says ENGINE: an artifact file, ``MODEL`` or ``MODEL=F.pth``."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hardnet_deploy.artifacts import (
    PLAN_KIND,
    UNTRAINED,
    Manifest,
    hold_against_manifest,
    manifest_path,
    read_content,
    read_manifest,
)
from hardnet_deploy.errors import ArtifactMismatchError, InputFileError, UsageError
from hardnet_deploy.models import registry
from hardnet_deploy.nms.efficient import CANDIDATE_CAP
from hardnet_deploy.runners.base import Runner
from hardnet_deploy.specs import DetectorHead, ModelSpec, Preprocess, Thresholds
from hardnet_deploy.targets import TARGETS
from hardnet_deploy.tensor_names import CONF, SCORES
from hardnet_deploy.workflows.export_options import EVAL_SCORE, MAX_DETECTIONS, UPSTREAM_IOU, read_classes

if TYPE_CHECKING:
    import onnx
    from torch import nn

PLAN_SUFFIXES: Final = frozenset({".engine", ".plan", ".trt"})
CLASSES_OF_FILES: Final = "--classes is for MODEL=CHECKPOINT of a detector; a file has its class names in its manifest"


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
        sha256: Of the artifact or the checkpoint; None for a model that was given without a file.
        warning: What ``--trust`` let pass.
        state_sha256: Of the weights that PyTorch runs, names and values; None for an artifact.
        code_line: Which repository's network PyTorch runs; None for an artifact, which has it in its graph.
        model: An ONNX artifact's graph, for those who look inside; None for PyTorch and for a TensorRT plan.
        network: PyTorch's module, likewise; None for an artifact.
        manifest: An artifact's; None for PyTorch, and where ``--trust`` let it be missing.
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
    state_sha256: str | None = None
    code_line: str | None = None
    model: onnx.ModelProto | None = None
    network: nn.Module | None = None
    manifest: Manifest | None = None

    def class_name(self, class_id: int) -> str:
        """Name of a class; its number where the list is too short."""
        return self.class_names[class_id] if 0 <= class_id < len(self.class_names) else f"class {class_id}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON: what every result made with it carries."""
        return {
            "engine": self.label,
            "sha256": self.sha256,
            "state_sha256": self.state_sha256,
            "code_line": self.code_line,
            "runner": self.runner.name,
            "thresholds": asdict(self.thresholds),
            "trained": self.trained,
            "warning": self.warning,
        }


def open_engine(
    text: str, *, trust: bool = False, code_line: str = registry.CODE_LINES[0], classes: Path | None = None
) -> OpenEngine:
    """Open an artifact file, a model, or a model with a checkpoint.

    Args:
        text: A path, ``MODEL``, or ``MODEL=CHECKPOINT``.
        trust: Take an artifact whose manifest is missing or disagrees.
        code_line: Which repository trained a checkpoint given as ``MODEL=CHECKPOINT``.
        classes: File with a model's own class names; None for those that its checkpoint names, or the usual ones.

    Raises:
        UsageError: No such file and no such model, ``MODEL=`` without a checkpoint, a code line or classes for a file,
            a class list that cannot be.
        InputFileError: A file that cannot be read, or is no ONNX model that runs here, whatever its manifest says.
        ArtifactMismatchError: A file whose manifest is missing, unreadable or of another file; a TensorRT plan that was
            not built on this machine, unless ``trust`` takes it.
        TargetError: A TensorRT plan for another TensorRT or GPU than this machine has.
        CheckpointError: See the reader of checkpoints.
    """
    name, equals, weights = text.partition("=")
    if name in registry.MODELS:
        if equals and not weights:
            raise UsageError(
                f"'{text}' names no checkpoint",
                wanted=f"{name}=CHECKPOINT.pth, or {name} alone for the weights it comes with",
            )
        checkpoint = Path(weights) if weights else None
        return _open_model(text, _with_own_names(registry.get(name), checkpoint, classes), checkpoint, code_line)
    if not os.path.lexists(text) and (equals or not Path(text).suffix):
        close = difflib.get_close_matches(name, registry.MODELS, n=1)
        raise UsageError(
            f"'{text}' is neither a file nor a model",
            wanted=f"perhaps '{close[0]}'" if close else None,
            next_step="hardnet-deploy models lists the models; hardnet-deploy export writes a file",
        )
    if code_line != registry.CODE_LINES[0]:
        raise UsageError("--code-line is for MODEL=CHECKPOINT; a file has it in its graph", next_step="drop it")
    if classes is not None:
        raise UsageError(CLASSES_OF_FILES, got=text, next_step="drop it")
    if is_plan(Path(text)):
        from hardnet_deploy.workflows.open_plan import open_plan

        return open_plan(Path(text), trust=trust)
    return _open_onnx(Path(text), trust=trust)


def names_model(text: str) -> bool:
    """True for ``MODEL`` and ``MODEL=CHECKPOINT``, as :func:`open_engine` reads them."""
    return text.partition("=")[0] in registry.MODELS


def names_detector(text: str) -> bool:
    """The same, where the model is a detector."""
    return names_model(text) and registry.get(text.partition("=")[0]).is_detector


def is_plan(path: Path) -> bool:
    """True for a TensorRT plan: its manifest says so or, where that cannot be read, its name does and it is no ONNX."""
    from hardnet_deploy.device.run_engine import onnx_nodes

    if not path.name:
        return False
    try:
        return read_manifest(manifest_path(path)).kind == PLAN_KIND
    except ArtifactMismatchError:
        return path.suffix in PLAN_SUFFIXES and path.is_file() and not onnx_nodes(read_content(path))


def usual_thresholds(dataset: str) -> Thresholds:
    """Of what is known to have none of its own: upstream's evaluation thresholds for the data set."""
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
        thresholds=usual_thresholds(spec.dataset),
        batch=None,
        trained=loaded.trained,
        sha256=loaded.sha256,
        warning=None,
        state_sha256=loaded.state_sha256,
        code_line=code_line,
        network=network,
    )


def _with_own_names(spec: ModelSpec, checkpoint: Path | None, classes: Path | None) -> ModelSpec:
    """The model with the user's classes, else with those that the checkpoint says it was trained on, if it does."""
    if classes is not None:
        return registry.with_classes(spec, read_classes(classes))
    if checkpoint is None or not spec.is_detector:
        return spec
    from hardnet_deploy.models.checkpoint_files import read_checkpoint

    names = read_checkpoint(checkpoint).about.get("class_names")
    if not isinstance(names, list) or tuple(names) == spec.class_names:
        return spec
    return registry.with_classes(spec, tuple(str(name) for name in names))


def _open_onnx(path: Path, *, trust: bool) -> OpenEngine:
    from hardnet_deploy.runners.graph import nms_thresholds, parse_model
    from hardnet_deploy.runners.ort import OrtRunner

    label = str(path)
    content = read_content(path)
    model = parse_model(content, source=label)
    artifact = hold_against_manifest(path, content, trust=trust)
    manifest, warning = artifact.manifest, artifact.warning
    runner = OrtRunner(model, candidate_cap=candidate_cap(manifest.target if manifest else None))
    if len(runner.inputs) != 1:
        raise InputFileError(f"{label} has {len(runner.inputs)} inputs", wanted="one, 'images'")
    if manifest is not None:
        preprocess, head, names = manifest.preprocess_spec(), manifest.head_spec(), manifest.class_names
        declared = manifest.thresholds()  # refused where it cannot be read, even if the graph's own hold
        thresholds = nms_thresholds(model) or declared or usual_thresholds(str(manifest.model.get("dataset")))
    else:
        spec = _recognise(model.graph.name, label)
        head = _with_own_classes(spec.head, model)
        preprocess, thresholds = spec.preprocess, nms_thresholds(model) or usual_thresholds(spec.dataset)
        names = spec.class_names if head == spec.head else ()
        warning = f"{warning}: taken for {spec.name} with its usual pre-processing"
        warning += "" if head == spec.head else "; its classes are its own and have no names here"
    wanted = (3, preprocess.size, preprocess.size)
    if runner.inputs[0].shape[1:] != wanted:
        raise ArtifactMismatchError(
            f"{label} takes images [N, 3, H, W] of another size than its pre-processing makes",
            got=str(runner.inputs[0].shape),
            wanted=f"{wanted} for each image",
            next_step="export it again",
        )
    for name, priors, classes in _candidates(model):
        if head is not None and (priors, classes) != (head.num_priors, head.num_classes):
            raise ArtifactMismatchError(
                f"'{name}' in {label} is not of the head that its manifest describes",
                got=f"{priors} boxes of {classes} classes",
                wanted=f"{head.num_priors} boxes of {head.num_classes} classes",
                next_step="export it again",
            )
    batch = runner.inputs[0].shape[0]
    return OpenEngine(
        label=label,
        runner=runner,
        preprocess=preprocess,
        head=head,
        class_names=names,
        thresholds=thresholds,
        batch=None if batch < 1 else batch,
        trained=manifest.trained if manifest else _known_untrained(model.graph.doc_string),
        sha256=artifact.sha256,
        warning=warning,
        model=model,
        manifest=manifest,
    )


def candidate_cap(target: str | None) -> int:
    """Boxes that the plugin considers in an image on the target the graph was exported for."""
    return (TARGETS[target].nms_candidate_cap if target is not None and target in TARGETS else None) or CANDIDATE_CAP


def _known_untrained(doc: str) -> bool | None:
    """False where the graph itself says so; None, for not known, everywhere else."""
    return False if UNTRAINED in doc else None


def _candidates(model: onnx.ModelProto) -> Iterator[tuple[str, int, int]]:
    """Name, boxes and classes of the graph's logits and scores."""
    from hardnet_deploy.runners.graph import tensor_infos

    known = {value.name: value for value in (*model.graph.output, *model.graph.value_info)}
    for info in tensor_infos([known[name] for name in (CONF, SCORES) if name in known]):
        if len(info.shape) == 3:
            yield info.name, *info.shape[1:]


def _with_own_classes(head: DetectorHead | None, model: onnx.ModelProto) -> DetectorHead | None:
    """The head with as many classes as the graph has."""
    for _, _, classes in _candidates(model):
        return None if head is None else dataclasses.replace(head, num_classes=classes)
    return head


def _recognise(name: str, label: str) -> ModelSpec:
    if name in registry.MODELS:
        return registry.get(name)
    raise ArtifactMismatchError(
        f"{label} has no manifest, and its graph '{name}' is no model known here",
        wanted="a file that hardnet-deploy export wrote, with its manifest",
        next_step="export the model again",
    )
