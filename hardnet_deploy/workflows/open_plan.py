"""Opening a TensorRT plan: its hash, who built it, for which TensorRT and GPU, and only then the plan itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Final

from hardnet_deploy.artifacts import Artifact, Manifest, hold_against_manifest, manifest_path, read_content
from hardnet_deploy.errors import ArtifactMismatchError, InputFileError, TargetError
from hardnet_deploy.runners.trt import TensorRTHere, TrtRunner, sm_text, tensorrt_here
from hardnet_deploy.workflows.open_engine import OpenEngine, usual_thresholds
from hardnet_deploy.workflows.plan_registry import built_here

BUILD_HERE: Final = "build it here: hardnet-deploy build-engine"


def open_plan(path: Path, *, trust: bool) -> OpenEngine:
    """Open a plan file.

    Args:
        path: The plan, with its manifest beside it.
        trust: Run a plan that changed since its manifest was written, that was not built by this user on this machine,
            or that another model of GPU with the same compute capability built.

    Raises:
        InputFileError: The file cannot be read, or does not take one batch of images.
        ArtifactMismatchError: The manifest is missing or does not describe the plan; the plan was not built here.
        TargetError: There is no TensorRT or GPU here, or the plan is for others.
    """
    label = str(path)
    artifact = hold_against_manifest(path, read_content(path), trust=trust)
    manifest = artifact.manifest
    if manifest is None:
        raise ArtifactMismatchError(
            f"{label} is a TensorRT plan without a manifest, so nothing tells its pre-processing and classes",
            wanted=f"{manifest_path(path)}, which the build writes",
            next_step=f"copy it beside the file, or {BUILD_HERE}",
        )
    preprocess, head = manifest.preprocess_spec(), manifest.head_spec()
    warnings = [artifact.warning] if artifact.warning else []
    warnings += _refuse_foreign(label, manifest, _here(label), trust=trust)
    warnings += _refuse_unknown(artifact, trust=trust)
    runner = TrtRunner(artifact.content, manifest=dataclasses.asdict(manifest))
    try:
        batch = _batch(label, runner, preprocess.size, manifest)
    except BaseException:
        runner.close()
        raise
    return OpenEngine(
        label=label,
        runner=runner,
        preprocess=preprocess,
        head=head,
        class_names=manifest.class_names,
        thresholds=manifest.thresholds() or usual_thresholds(str(manifest.model.get("dataset"))),
        batch=batch,
        trained=manifest.trained,
        sha256=artifact.sha256,
        warning="; ".join(warnings) or None,
        manifest=manifest,
    )


def _here(label: str) -> TensorRTHere:
    try:
        return tensorrt_here()
    except TargetError as error:
        raise TargetError(
            f"{label} is a TensorRT plan, and this machine cannot run it", got=error.what, next_step=error.next_step
        ) from error


def _refuse_foreign(label: str, manifest: Manifest, here: TensorRTHere, *, trust: bool) -> list[str]:
    """Refuse a plan that another TensorRT or GPU built; what ``trust`` lets pass.

    Plans are bound to the TensorRT version and compute capability; on another model of GPU with the same capability
    they load, and "may" fail or be slow, as TensorRT itself warns
    (https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/engine-compatibility.html).
    """
    built = {name: manifest.versions.get(name) for name in ("tensorrt", "gpu", "compute_capability")}
    version, capability = built["tensorrt"], built["compute_capability"]
    if version != here.tensorrt or capability not in {None, here.compute_capability}:
        where = f" for {sm_text(capability)}" if capability else ""
        raise TargetError(
            f"{label} was built by TensorRT {version or 'of unknown version'}{where}; this machine has TensorRT "
            f"{here.tensorrt} on {sm_text(here.compute_capability)}",
            got=f"a plan from {built['gpu']}" if built["gpu"] else None,
            wanted=f"a plan built by {here.text}",
            next_step=BUILD_HERE,
        )
    if built["gpu"] in {None, here.gpu}:
        return []
    what = f"{label} was built on {built['gpu']}, this machine has {here.gpu}"
    if not trust:
        raise TargetError(
            f"{what}: a plan is fitted to one model of GPU", next_step=f"{BUILD_HERE}, or pass --trust to run it"
        )
    return [f"{what}: it may be slow, or fail"]


def _refuse_unknown(artifact: Artifact, *, trust: bool) -> list[str]:
    if built_here(artifact.sha256):
        return []
    if not trust:
        raise ArtifactMismatchError(
            f"{artifact.path} was not built by you on this machine, and a plan is native code that runs as you",
            got=f"SHA-256 {artifact.sha256[:16]}..., which is not among the plans built here",
            next_step=f"{BUILD_HERE}, or pass --trust if you know who built it",
        )
    return ["a plan that was not built by you on this machine"]


def _batch(label: str, runner: TrtRunner, size: int, manifest: Manifest) -> int | None:
    """Images at once; of a dynamic batch that begins above 1, the one that the plan is fitted to."""
    if len(runner.inputs) != 1:
        raise InputFileError(f"{label} has {len(runner.inputs)} inputs", wanted="one, 'images'")
    shape = runner.inputs[0].shape
    if shape[1:] != (3, size, size):
        raise ArtifactMismatchError(
            f"{label} takes images [N, 3, H, W] of another size than its pre-processing makes",
            got=str(shape),
            wanted=str((3, size, size)),
            next_step=BUILD_HERE,
        )
    if shape[0] > 0:
        return shape[0]
    profile = manifest.graph.get("profile")
    if not isinstance(profile, list | tuple) or len(profile) != 3 or not all(isinstance(one, int) for one in profile):
        return None
    return int(profile[1]) if profile[0] > 1 else None
