"""Opening a TensorRT plan: its hash, who built it, for which TensorRT and GPU, and only then the plan itself."""

from __future__ import annotations

import dataclasses
import os
import shlex
from pathlib import Path
from typing import Final

from hardnet_deploy.artifacts import (
    Artifact,
    Manifest,
    hold_against_manifest,
    manifest_path,
    read_content,
    read_manifest,
)
from hardnet_deploy.device.run_engine import onnx_nodes
from hardnet_deploy.errors import ArtifactMismatchError, InputFileError, TargetError
from hardnet_deploy.runners.trt import TensorRTHere, TrtRunner, sm_text, tensorrt_here
from hardnet_deploy.workflows.next_commands import build_command
from hardnet_deploy.workflows.open_engine import OpenEngine, usual_thresholds
from hardnet_deploy.workflows.plan_registry import built_here

PLAN_TAG: Final = b"ftrt"
"""How a plan begins: ``kPLAN_FILE_TAG`` in NVIDIA/TensorRT:samples/common/sampleEngines.cpp (``printPlanVersion``).

Nothing public says how older releases begin theirs, so a plan that has its manifest is not held against it."""
LEAST_BYTES: Final = 28  # what that reads of a plan; a shorter file is none


def build_here(manifest: Manifest | None) -> str:
    """The way out of a plan that does not fit this machine; without a manifest nobody knows the model."""
    return f"build it here: {build_command(manifest)}"


def open_plan(path: Path, *, trust: bool) -> OpenEngine:
    """Open a plan file.

    Args:
        path: The plan, with its manifest beside it.
        trust: Run a plan that changed since its manifest was written, that was not built by this user on this machine,
            or that another model of GPU with the same compute capability built.

    Raises:
        InputFileError: The file cannot be read, is no plan, or does not take one batch of images.
        ArtifactMismatchError: The manifest is missing or does not describe the plan; the plan was not built here.
        TargetError: There is no TensorRT or GPU here, or the plan is for others.
    """
    label = str(path)
    artifact, manifest = read_plan(path, trust=trust)
    preprocess, head = manifest.preprocess_spec(), manifest.head_spec()
    warnings = [artifact.warning] if artifact.warning else []
    warnings += refuse_foreign(label, manifest, tensorrt_for(label), trust=trust)
    warnings += refuse_unknown(artifact, trust=trust)
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


def read_plan(path: Path, *, trust: bool) -> tuple[Artifact, Manifest]:
    """A plan's bytes, held against its manifest; nothing of them is loaded.

    Args:
        path: The plan.
        trust: Take a plan that changed since its manifest was written. Without any manifest it is of no use: nothing
            else tells how images become its input, and what its classes are.

    Raises:
        InputFileError: The file cannot be read, or is no plan.
        ArtifactMismatchError: The manifest is missing or does not describe the plan.
    """
    content = read_content(path)
    beside = manifest_path(path)
    try:
        manifest = read_manifest(beside)
    except ArtifactMismatchError as error:
        _refuse_no_plan(path, content, tagged=True)
        missing = not os.path.lexists(beside)
        raise ArtifactMismatchError(
            f"{path} is a TensorRT plan without a {'' if missing else 'readable '}manifest, so nothing tells its "
            "pre-processing and classes",
            got=None if missing else error.got,
            wanted=f"{beside}, which the build writes",
            next_step=f"copy it from where the plan was built, or {build_here(None)}",
        ) from error
    _refuse_no_plan(path, content, tagged=False)
    return hold_against_manifest(path, content, trust=trust, again="build it again"), manifest


def _refuse_no_plan(path: Path, content: bytes, *, tagged: bool) -> None:
    """Refuse what is surely no plan; with ``tagged`` also what does not begin as plans do."""
    if not content:
        found = "an empty file"
    elif onnx_nodes(content):
        found = "an ONNX graph"
    elif _is_text(content):
        found = f"text: {content[:40].decode(errors='replace').splitlines()[0]!r}"
    elif len(content) < LEAST_BYTES:
        found = f"{len(content)} bytes"
    elif tagged and not content.startswith(PLAN_TAG):
        found = f"bytes that do not begin with '{PLAN_TAG.decode()}', and no readable manifest that says what they are"
    else:
        return
    raise InputFileError(
        f"{path} is not a TensorRT plan",
        got=found,
        next_step=f"build from it: {shlex.join(['hardnet-deploy', 'build-engine', str(path)])}"
        if found == "an ONNX graph"
        else f"check where it comes from, or {build_here(None)}",
    )


def _is_text(content: bytes) -> bool:
    try:
        return b"\0" not in content and bool(content.decode())
    except UnicodeDecodeError:
        return False


def tensorrt_for(label: str) -> TensorRTHere:
    """What runs plans on this machine.

    Raises:
        TargetError: Nothing does.
    """
    try:
        return tensorrt_here()
    except TargetError as error:
        raise TargetError(
            f"{label} is a TensorRT plan, and this machine cannot run it", got=error.what, next_step=error.next_step
        ) from error


def refuse_foreign(label: str, manifest: Manifest, here: TensorRTHere, *, trust: bool) -> list[str]:
    """Refuse a plan that another TensorRT or GPU built; what ``trust`` lets pass.

    Raises:
        TargetError: One did.

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
            next_step=build_here(manifest),
        )
    if built["gpu"] in {None, here.gpu}:
        return []
    what = f"{label} was built on {built['gpu']}, this machine has {here.gpu}"
    if not trust:
        raise TargetError(
            f"{what}: a plan is fitted to one model of GPU",
            next_step=f"{build_here(manifest)}, or pass --trust to run it",
        )
    return [f"{what}: it may be slow, or fail"]


def refuse_unknown(artifact: Artifact, *, trust: bool) -> list[str]:
    """Refuse a plan that this user did not build on this machine; what ``trust`` lets pass.

    Raises:
        ArtifactMismatchError: It is not in the registry.
    """
    if built_here(artifact.sha256):
        return []
    if not trust:
        raise ArtifactMismatchError(
            f"{artifact.path} was not built by you on this machine, and a plan is native code that runs as you",
            got=f"SHA-256 {artifact.sha256[:16]}..., which is not among the plans built here",
            next_step=f"{build_here(artifact.manifest)}, or pass --trust if you know who built it",
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
            next_step=build_here(manifest),
        )
    if shape[0] > 0:
        return shape[0]
    profile = manifest.graph.get("profile")
    if not isinstance(profile, list | tuple) or len(profile) != 3 or not all(isinstance(one, int) for one in profile):
        return None
    return int(profile[1]) if profile[0] > 1 else None
