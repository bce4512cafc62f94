"""``hardnet-deploy verify``: is this file still what its manifest says, and does it still compute what it should?"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hardnet_deploy.artifacts import Artifact, Manifest, hold_against_manifest, manifest_path, read_content
from hardnet_deploy.errors import ArtifactMismatchError, HardnetDeployError, UsageError
from hardnet_deploy.models import registry
from hardnet_deploy.specs import ModelSpec
from hardnet_deploy.workflows.artifact_checks import Check, failed, held, unchecked, worst
from hardnet_deploy.workflows.artifact_graph import check_graph_of, read_graph
from hardnet_deploy.workflows.artifact_numbers import check_numbers
from hardnet_deploy.workflows.artifact_plan import check_plan
from hardnet_deploy.workflows.artifact_sources import GIVE_WEIGHTS, check_sources
from hardnet_deploy.workflows.open_engine import is_plan, open_engine
from hardnet_deploy.workflows.open_plan import read_plan

Progress = Callable[[str, int, int], None]
SCHEMA: Final = 1
HASH: Final = "hash"
CHECKER: Final = "ONNX checker"
STAGES: Final = ("reading the file", "looking for what it was made from", "comparing what it computes")


@dataclass(frozen=True, kw_only=True)
class VerifyRequest:
    """The options of ``hardnet-deploy verify`` as typed.

    Args:
        artifact: An ONNX file or a TensorRT plan.
        weights: The checkpoint that it was exported from, where its manifest cannot tell; None looks for it.
        trust: Go on without a manifest, and load a plan that changed or was not built here.
    """

    artifact: Path
    weights: Path | None = None
    trust: bool = False


@dataclass(frozen=True, kw_only=True)
class VerifyResult:
    """What was checked.

    Args:
        path: The artifact.
        kind: ``onnx`` or ``tensorrt``.
        sha256: Of the file as it is.
        manifest: None where there is none that can be read.
        checks: In the order in which they were made.
    """

    path: Path
    kind: str
    sha256: str
    manifest: Manifest | None
    checks: tuple[Check, ...]

    def count(self, outcome: str) -> int:
        """How many checks ended so."""
        return sum(check.outcome == outcome for check in self.checks)

    def error(self) -> HardnetDeployError | None:
        """What the command ends with; None where something was checked and nothing failed."""
        found = worst(self.checks, str(self.path))
        if found is None and not self.count("held"):
            return ArtifactMismatchError(f"nothing of {self.path} could be checked", next_step="export it again")
        return found

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        error = self.error()
        return {
            "schema": SCHEMA,
            "artifact": str(self.path),
            "kind": self.kind,
            "sha256": self.sha256,
            "model": dict(self.manifest.model) if self.manifest is not None else None,
            "passed": error is None,
            "exit_code": 0 if error is None else error.exit_code,
            "checks": [check.as_dict() for check in self.checks],
        }


def run_verify(request: VerifyRequest, progress: Progress) -> VerifyResult:
    """Check an artifact, the later checks also where earlier ones failed.

    Args:
        request: The options.
        progress: Told of each stage as (name, number from 1, number of stages).

    Raises:
        UsageError: What is named is a model, or there is nothing of that name.
        InputFileError: The file cannot be read, or is no ONNX model and no TensorRT plan.
        ArtifactMismatchError: There is no manifest, or none that can be read, and ``trust`` is not given; of a plan
            also with it.
    """
    path = request.artifact
    if str(path) in registry.MODELS and not os.path.lexists(path):
        raise UsageError(
            f"{path} is a model, and verify checks a file",
            next_step=f"hardnet-deploy export {path} writes one and checks it",
        )
    progress(STAGES[0], 1, len(STAGES))
    return _plan(request, progress) if is_plan(path) else _onnx(request, progress)


def _plan(request: VerifyRequest, progress: Progress) -> VerifyResult:
    artifact, manifest = read_plan(request.artifact, trust=True)
    first = _hash(artifact, trust=request.trust)
    plan = check_plan(artifact, manifest, same_file=first.held, trust=request.trust)
    spec, model = _model(manifest)
    progress(STAGES[1], 2, len(STAGES))
    sources = check_sources(request.artifact, manifest, spec, request.weights)
    progress(STAGES[2], 3, len(STAGES))
    return VerifyResult(
        path=request.artifact,
        kind=manifest.kind,
        sha256=artifact.sha256,
        manifest=manifest,
        checks=(first, *model, *sources.checks, *plan),
    )


def _onnx(request: VerifyRequest, progress: Progress) -> VerifyResult:
    from hardnet_deploy.runners.graph import parse_model

    path = request.artifact
    content = read_content(path)
    parse_model(content, source=str(path))
    if not request.trust:
        _refuse_without_manifest(path, content)
    artifact = hold_against_manifest(path, content, trust=True)
    manifest = artifact.manifest
    checks = [_hash(artifact, trust=request.trust), held(CHECKER, "a whole ONNX model in one file")]
    graph = read_graph(open_engine(str(path), trust=True))
    spec, model = _model(manifest) if manifest is not None else (None, [])
    progress(STAGES[1], 2, len(STAGES))
    network = source = None
    if manifest is not None:
        sources = check_sources(path, manifest, spec, request.weights)
        checks += [*model, *sources.checks]
        network, source = sources.network, sources.graph
    elif request.weights is not None:
        raise UsageError(f"without a manifest nothing tells what {GIVE_WEIGHTS} is for", next_step="drop --weights")
    progress(STAGES[2], 3, len(STAGES))
    checks += check_graph_of(graph, manifest, spec)
    checks.append(check_numbers(graph, manifest, spec, network, source))
    return VerifyResult(path=path, kind="onnx", sha256=artifact.sha256, manifest=manifest, checks=tuple(checks))


def _refuse_without_manifest(path: Path, content: bytes) -> None:
    """A manifest that disagrees is a check that failed; without one there is nothing to check against."""
    if hold_against_manifest(path, content, trust=True).manifest is None:
        hold_against_manifest(path, content)


def _hash(artifact: Artifact, *, trust: bool) -> Check:
    beside = manifest_path(artifact.path).name
    if artifact.warning is None:
        return held(HASH, f"SHA-256 {artifact.sha256}, as {beside} says")
    if trust:
        return unchecked(HASH, f"--trust: {artifact.warning}")
    assert artifact.manifest is not None
    error = ArtifactMismatchError(
        f"the file changed since {beside} was written",
        got=f"SHA-256 {artifact.sha256[:16]}...",
        wanted=f"SHA-256 {artifact.manifest.sha256[:16]}...",
        next_step="make it again, or put the file back that belongs to its manifest",
    )
    return failed(HASH, error)


def _model(manifest: Manifest) -> tuple[ModelSpec | None, list[Check]]:
    """The model as it is known here, with the manifest's classes and size; None, and why, where it is not."""
    name = manifest.model.get("name")
    if not isinstance(name, str) or name not in registry.MODELS:
        return None, [unchecked("model", f"no model is called '{name}' here")]
    spec = registry.get(name)
    try:
        if spec.is_detector and manifest.class_names != spec.class_names:
            spec = registry.with_classes(spec, manifest.class_names)
        size = manifest.preprocess_spec().size
        if not spec.is_detector and size != spec.preprocess.size:
            spec = registry.with_size(spec, size)
    except (ArtifactMismatchError, UsageError) as error:
        mismatch = ArtifactMismatchError(
            f"the manifest's classes or size are none of {name}", got=error.what, next_step="export again"
        )
        return None, [failed("model", mismatch)]
    return spec, []
