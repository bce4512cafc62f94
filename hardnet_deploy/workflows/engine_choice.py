"""Which layers stay float, asked of an engine that was built already: a search is written for other runtimes too."""

from __future__ import annotations

from pathlib import Path

from hardnet_deploy.artifacts import Manifest, load_artifact
from hardnet_deploy.errors import ArtifactMismatchError, UsageError
from hardnet_deploy.workflows.open_engine import OpenEngine


def choice_of(path: Path, engine: OpenEngine, *, trust: bool) -> str:
    """The float layers of an INT8 engine, as ``--layer-precisions`` spells them.

    Args:
        path: The engine, for the CPU or of TensorRT.
        engine: The float graph that they are wanted for.
        trust: Take an engine that changed since its manifest was written.

    Raises:
        UsageError: It is no INT8 engine.
        InputFileError: It cannot be read.
        ArtifactMismatchError: Its manifest is missing or of another file; or it was built from another graph.
    """
    manifest = load_artifact(path, trust=trust).manifest
    text = manifest.precision.get("layer_precisions") if manifest else None
    if manifest is None or manifest.precision.get("requested") != "int8" or not isinstance(text, str):
        raise UsageError(
            f"--choice {path} tells no float layers",
            wanted="an INT8 engine with its manifest",
            next_step="hardnet-deploy build-engine --int8 --max-drop writes one",
        )
    if not _is_of(manifest, engine):
        raise ArtifactMismatchError(
            f"--choice {path} was built from another graph than {engine.label}",
            got=f"model {manifest.model.get('name')}, other weights or another export",
            next_step="name the graph that it was built from",
        )
    return text


def _is_of(manifest: Manifest, engine: OpenEngine) -> bool:
    """The same file, or another export of the same model with the same weights."""
    source = manifest.checks.get("source")
    if isinstance(source, dict) and source.get("sha256") == engine.sha256:
        return True
    weights = manifest.weights.get("state_sha256")
    own = engine.manifest
    return (
        weights is not None
        and own is not None
        and (own.model, own.weights.get("state_sha256"))
        == (
            manifest.model,
            weights,
        )
    )
