"""Artifacts and their manifests: what a file is, what made it, and whether it is still that file.

Beside every artifact ``F`` stands ``F.json``. Its hash detects accidents (a file changed, swapped or cut short), not
attackers.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from hardnet_deploy import __version__
from hardnet_deploy.errors import ArtifactMismatchError, InputFileError
from hardnet_deploy.files import atomic_output, sha256_bytes, write_durably
from hardnet_deploy.specs import DetectorHead, ModelSpec, Preprocess, Thresholds

T = TypeVar("T")
SCHEMA: Final = 1
UNTRAINED: Final = "untrained"
PLAN_KIND: Final = "tensorrt"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What is known of an artifact. Every field is written as JSON under its own name.

    Args:
        kind: ``onnx`` for a graph, exported or an engine for the CPU; ``tensorrt`` for a TensorRT plan.
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
        versions: Of everything that took part; of a plan also ``gpu`` and ``compute_capability``.
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
        return self.weights.get("trained") is True

    def preprocess_spec(self) -> Preprocess:
        """The pre-processing as an object.

        Raises:
            ArtifactMismatchError: The record cannot be read as one.
        """
        spec = _part(Preprocess, self.preprocess, "preprocess")
        if 0 in {spec.divisor, *spec.std}:
            raise ArtifactMismatchError("the manifest's 'preprocess' divides by zero")
        return spec

    def head_spec(self) -> DetectorHead | None:
        """The default boxes' configuration as an object; None for a backbone.

        Raises:
            ArtifactMismatchError: The record cannot be read as one.
        """
        return None if self.head is None else _part(DetectorHead, self.head, "head")

    def thresholds(self) -> Thresholds | None:
        """Of the NMS inside the graph; None where there is none.

        Raises:
            ArtifactMismatchError: The record cannot be read as thresholds.
        """
        record = self.graph.get("thresholds")
        return None if record is None else _part(Thresholds, record, "graph.thresholds")

    def as_json(self) -> str:
        """JSON text, the same for the same content."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


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
    """Write ``content`` to ``path`` and its manifest beside it: both or neither.

    Killed between the two renames, the manifest and the file disagree: reading them stops, and nothing false is used.

    Raises:
        OutputFileError: No space or no permission; an older pair stays as it was.
    """
    # A file name that is not UTF-8 reaches the manifest as lone surrogates: as \\udcXX they are JSON and read back.
    record = manifest.as_json().encode("utf-8", "backslashreplace")
    with atomic_output(path) as new_file, atomic_output(manifest_path(path)) as new_manifest:
        write_durably(new_file, content)
        write_durably(new_manifest, record)


def read_manifest(path: Path) -> Manifest:
    """Read a manifest file.

    Raises:
        ArtifactMismatchError: Not JSON, of another schema, or with other fields than this version writes.
    """
    again = "export the artifact again"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactMismatchError(f"the manifest {path} cannot be read", got=str(error), next_step=again) from error
    schema = record.get("schema") if isinstance(record, dict) else None
    if schema != SCHEMA:
        raise ArtifactMismatchError(
            f"the manifest {path} has another schema",
            got=f"schema {schema}",
            wanted=f"schema {SCHEMA}",
            next_step=f"{again} with this version",
        )
    try:
        return cast(Manifest, _typed(Manifest, record, "manifest"))
    except TypeError as error:
        raise ArtifactMismatchError(
            f"the manifest {path} is incomplete or foreign", got=str(error), next_step=again
        ) from error


def read_content(path: Path) -> bytes:
    """The bytes of an artifact, not yet held against its manifest.

    Raises:
        InputFileError: There is no such file, or it cannot be read.
    """
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise InputFileError(
            f"there is no file {path}", next_step="check the path; hardnet-deploy export writes one"
        ) from None
    except IsADirectoryError:
        raise InputFileError(f"{path} is a folder, not an artifact", next_step="name the file inside it") from None
    except OSError as error:
        raise InputFileError(f"{path} cannot be read", got=error.strerror) from error


def hold_against_manifest(path: Path, content: bytes, *, trust: bool = False, again: str = "export again") -> Artifact:
    """Check ``content``, read from ``path``, against the manifest beside it.

    Args:
        path: The artifact.
        content: Its bytes.
        trust: Take it without a readable manifest, or with one that disagrees; ``warning`` then says which.
        again: What makes such an artifact anew, for the messages.

    Raises:
        ArtifactMismatchError: No manifest, an unreadable one, or its hash is another one, and ``trust`` is not set.
    """
    digest = sha256_bytes(content)
    beside = manifest_path(path)
    if not os.path.lexists(beside):  # unlike Path.exists, False for a name too long
        if not trust:
            raise ArtifactMismatchError(
                f"{path} has no manifest",
                wanted=f"{beside}, which the export writes",
                next_step=f"copy it beside the file, {again}, or pass --trust to take the file as it is",
            )
        return Artifact(path=path, content=content, manifest=None, sha256=digest, warning="taken without a manifest")
    try:
        manifest = read_manifest(beside)
    except ArtifactMismatchError as error:
        if not trust:
            raise
        return Artifact(
            path=path, content=content, manifest=None, sha256=digest, warning=f"taken although {error.what}"
        )
    if manifest.sha256 != digest:
        if not trust:
            raise ArtifactMismatchError(
                f"{path} is not the file that its manifest describes",
                got=f"SHA-256 {digest[:16]}...",
                wanted=f"SHA-256 {manifest.sha256[:16]}...",
                next_step=f"{again}, or pass --trust to take the file as it is",
            )
        warning = "taken although it changed since its manifest was written"
        return Artifact(path=path, content=content, manifest=manifest, sha256=digest, warning=warning)
    return Artifact(path=path, content=content, manifest=manifest, sha256=digest)


def load_artifact(path: Path, *, trust: bool = False) -> Artifact:
    """:func:`read_content`, then :func:`hold_against_manifest`; raises what they raise."""
    return hold_against_manifest(path, read_content(path), trust=trust)


def _part(kind: type[T], record: Any, name: str) -> T:
    try:
        return cast(T, _typed(kind, record, name))
    except TypeError as error:
        raise ArtifactMismatchError(f"the manifest's '{name}' cannot be read", got=str(error)) from error


def _typed(kind: Any, value: Any, name: str) -> Any:
    """``value``, as JSON gives it, as what the annotation ``kind`` says.

    Raises:
        TypeError: It is something else; the message names the field.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        hints = get_type_hints(kind)
        if set(hints) != set(value):
            raise TypeError(f"{name}: missing or unknown: {', '.join(sorted(set(hints) ^ set(value)))}")
        build = cast(type, kind)
        return build(**{key: _typed(hint, value[key], f"{name}.{key}") for key, hint in hints.items()})
    if origin is types.UnionType:
        return None if value is None else _typed(arguments[0], value, name)
    if origin is tuple and isinstance(value, list):
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(kinds) == len(value):
            return tuple(_typed(one, entry, name) for one, entry in zip(kinds, value, strict=True))
    fits = type(value) is kind or (kind is float and type(value) is int)
    if isinstance(value, float) and not math.isfinite(value):
        fits = False
    if fits or (origin is Literal and value in arguments) or (origin is Mapping and isinstance(value, dict)):
        return value
    raise TypeError(f"{name}: {json.dumps(value)[:60]}")
