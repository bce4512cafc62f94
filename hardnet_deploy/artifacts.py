"""Artifacts and their manifests: what a file is, what made it, and whether it is still that file.

Beside every artifact ``F`` stands ``F.json``. Its hash detects accidents (a file changed, swapped or cut short), not
attackers.
"""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from hardnet_deploy import __version__
from hardnet_deploy.errors import ArtifactMismatchError, InputFileError
from hardnet_deploy.files import sha256_bytes, sha256_file, write_atomically
from hardnet_deploy.specs import DetectorHead, ModelSpec, Preprocess, PriorLayer

SCHEMA: Final = 1
UNTRAINED: Final = "untrained"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What is known of an artifact. Every field is written as JSON under its own name.

    Args:
        kind: ``onnx`` for an exported graph.
        model: Name, architecture, code line and dataset of the model.
        weights: Where they came from, their SHA-256, and whether they were trained.
        preprocess: How images become inputs.
        class_names: Background first; empty for a backbone.
        head: Default boxes' configuration; None for a backbone.
        target: Target named by the user, None where none was.
        precision: ``requested``, and ``achieved`` per layer.
        graph: Opset, inputs, outputs, NMS, thresholds, batch.
        checks: What was verified, with figures: fusion, parity with PyTorch, target's parser.
        sha256: Of the artifact itself.
        versions: Of everything that took part.
        command: The command line that made it.
        schema: Of this record.
    """

    kind: str
    model: Mapping[str, Any]
    weights: Mapping[str, Any]
    preprocess: Mapping[str, Any]
    class_names: tuple[str, ...]
    head: Mapping[str, Any] | None
    target: str | None
    precision: Mapping[str, Any]
    graph: Mapping[str, Any]
    checks: Mapping[str, Any]
    sha256: str
    versions: Mapping[str, str]
    command: tuple[str, ...]
    schema: int = SCHEMA

    @property
    def trained(self) -> bool:
        """False for weights drawn from a seed."""
        return bool(self.weights.get("trained"))

    def preprocess_spec(self) -> Preprocess:
        """The pre-processing as an object.

        Raises:
            ArtifactMismatchError: The record lacks a field or has one too many.
        """
        fields = dict(self.preprocess)
        try:
            return Preprocess(**{**fields, "mean": tuple(fields["mean"]), "std": tuple(fields["std"])})
        except (KeyError, TypeError) as error:
            raise ArtifactMismatchError(f"the manifest's pre-processing cannot be read: {error}") from error

    def head_spec(self) -> DetectorHead | None:
        """The default boxes' configuration as an object; None for a backbone.

        Raises:
            ArtifactMismatchError: The record lacks a field or has one too many.
        """
        if self.head is None:
            return None
        fields = dict(self.head)
        try:
            layers = tuple(
                PriorLayer(**{**layer, "aspect_ratios": tuple(layer["aspect_ratios"])}) for layer in fields["layers"]
            )
            return DetectorHead(**{**fields, "layers": layers, "variances": tuple(fields["variances"])})
        except (KeyError, TypeError) as error:
            raise ArtifactMismatchError(f"the manifest's default boxes cannot be read: {error}") from error

    def as_json(self) -> str:
        """JSON text, the same for the same content."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n"


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """An artifact that was checked against its manifest.

    Args:
        path: Where it was read from.
        content: Its bytes: what was hashed is what is used.
        manifest: None only where ``--trust`` let it pass without one.
        sha256: Of ``content``.
        warning: What ``--trust`` let pass; None where everything agrees. Belongs beside every result made from it.
    """

    path: Path
    content: bytes
    manifest: Manifest | None
    sha256: str
    warning: str | None = None


def manifest_path(artifact: Path) -> Path:
    """``F.json`` beside ``F``."""
    return artifact.with_name(artifact.name + ".json")


def describe_model(spec: ModelSpec, *, code_line: str) -> dict[str, Any]:
    """The manifest's ``model`` entry."""
    line = code_line if spec.is_detector else None
    return {"name": spec.name, "architecture": spec.architecture, "dataset": spec.dataset, "code_line": line}


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of this project, Python and the installed ones among ``packages``."""
    found = {"hardnet-deploy": __version__, "python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def save_artifact(path: Path, content: bytes, manifest: Manifest) -> None:
    """Write ``content`` to ``path`` and its manifest beside it.

    Killed between the two, the old manifest disagrees with the new file: reading it stops, and nothing false is used.

    Raises:
        OutputFileError: No space or no permission; an older pair stays as it was.
    """
    write_atomically(path, content)
    write_atomically(manifest_path(path), manifest.as_json().encode())


def read_manifest(path: Path) -> Manifest:
    """Read a manifest file.

    Raises:
        ArtifactMismatchError: Not JSON, of another schema, or with other fields than this version writes.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactMismatchError(
            f"the manifest {path} cannot be read", got=str(error), next_step="export the artifact again"
        ) from error
    schema = record.get("schema") if isinstance(record, dict) else None
    if schema != SCHEMA:
        raise ArtifactMismatchError(
            f"the manifest {path} has another schema",
            got=f"schema {schema}",
            wanted=f"schema {SCHEMA}",
            next_step="export the artifact again with this version",
        )
    names = {field.name for field in dataclasses.fields(Manifest)}
    if set(record) != names:
        raise ArtifactMismatchError(
            f"the manifest {path} is incomplete or foreign",
            got=", ".join(sorted(set(record) ^ names)),
            next_step="export the artifact again",
        )
    record["class_names"] = tuple(record["class_names"])
    record["command"] = tuple(record["command"])
    return Manifest(**record)


def load_artifact(path: Path, *, trust: bool = False) -> Artifact:
    """Read an artifact and hold it against its manifest.

    Args:
        path: The artifact.
        trust: Take it without a manifest, or with one that disagrees; ``warning`` then says which.

    Raises:
        InputFileError: There is no such file, or it cannot be read.
        ArtifactMismatchError: No manifest, or its hash is another one, and ``trust`` is not set.
    """
    if not path.exists():
        raise InputFileError(f"there is no file {path}", next_step="check the path; hardnet-deploy export writes one")
    if path.is_dir():
        raise InputFileError(f"{path} is a folder, not an artifact", next_step="name the file inside it")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputFileError(f"{path} cannot be read", got=error.strerror) from error
    digest = sha256_bytes(content)
    beside = manifest_path(path)
    if not beside.exists():
        if not trust:
            raise ArtifactMismatchError(
                f"{path} has no manifest",
                wanted=f"{beside}, which the export writes",
                next_step="copy it beside the file, export again, or pass --trust to take the file as it is",
            )
        return Artifact(path=path, content=content, manifest=None, sha256=digest, warning="taken without a manifest")
    manifest = read_manifest(beside)
    if manifest.sha256 != digest:
        if not trust:
            raise ArtifactMismatchError(
                f"{path} is not the file that its manifest describes",
                got=f"SHA-256 {digest[:16]}...",
                wanted=f"SHA-256 {manifest.sha256[:16]}...",
                next_step="export again, or pass --trust to take the file as it is",
            )
        warning = "taken although it changed since its manifest was written"
        return Artifact(path=path, content=content, manifest=manifest, sha256=digest, warning=warning)
    return Artifact(path=path, content=content, manifest=manifest, sha256=digest)


__all__ = [
    "SCHEMA",
    "UNTRAINED",
    "Artifact",
    "Manifest",
    "describe_model",
    "load_artifact",
    "manifest_path",
    "read_manifest",
    "save_artifact",
    "sha256_file",
    "versions",
]
