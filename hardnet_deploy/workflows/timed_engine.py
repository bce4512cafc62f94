"""The plan that ``trtexec`` timed: its hash, and what its manifest says where one stands beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hardnet_deploy.artifacts import PLAN_KIND, Manifest, hold_against_manifest, manifest_path, read_content
from hardnet_deploy.errors import ArtifactMismatchError, InputFileError, UsageError
from hardnet_deploy.files import sha256_bytes
from hardnet_deploy.kit.json_record import Record
from hardnet_deploy.kit.labels import SIMULATED_PLAN, is_simulated
from hardnet_deploy.kit.possible import capability_of

NAME_IT: Final = "name the plan that trtexec timed: --engine"


@dataclass(frozen=True, kw_only=True)
class TimedEngine:
    """A plan.

    Args:
        path: The file.
        sha256: Of it.
        manifest: None where none stands beside it, as of what trtexec built.
        marked: True where the plan itself says that it is a stand-in's.
    """

    path: Path
    sha256: str
    manifest: Manifest | None
    marked: bool = False

    @property
    def source(self) -> str | None:
        """Hash of the ONNX file that it was built from, as its manifest says."""
        record = self.manifest.checks.get("source") if self.manifest else None
        found = record.get("sha256") if isinstance(record, Mapping) else None
        return found if isinstance(found, str) else None

    @property
    def capability(self) -> tuple[int, int] | None:
        """(major, minor) of the GPU that it was built on, as its manifest says."""
        return capability_of(str(self.manifest.versions.get("compute_capability"))) if self.manifest else None

    @property
    def tensorrt(self) -> str | None:
        """The version that built it, as its manifest says."""
        return self._version("tensorrt")

    @property
    def gpu(self) -> str | None:
        """The GPU that it was built on, as its manifest says."""
        return self._version("gpu")

    @property
    def simulated(self) -> bool:
        """True where a stand-in built it, as its manifest or the plan itself says."""
        return self.marked or is_simulated(self.gpu or "", self.tensorrt or "")

    @property
    def achieved(self) -> Mapping[str, str]:
        """Precision of each layer by its name, as its manifest says; see :meth:`facts` for what is refused."""
        found = self.manifest.precision.get("achieved") if self.manifest else None
        return found if isinstance(found, Mapping) else {}

    def _version(self, name: str) -> str | None:
        value = self.manifest.versions.get(name) if self.manifest else None
        return value if isinstance(value, str) and value else None

    def facts(self) -> dict[str, Any]:
        """Parts of a row that its manifest says, with the graph's ``onnx`` and ``outputs``; empty without one.

        Raises:
            InputFileError: One of them is not what it must be.
        """
        manifest = self.manifest
        if manifest is None:
            return {}
        said = {
            "model": manifest.model.get("name"),
            "target": manifest.target,
            "precision": manifest.precision.get("requested"),
            "onnx": self.source,
            "outputs": manifest.graph.get("outputs"),
            "achieved": manifest.precision.get("achieved") or {},
        }
        record = Record.of(said, str(manifest_path(self.path)), hint=NAME_IT)
        found: dict[str, Any] = {
            name: record.line(name) if record.has(name) else None for name in ("model", "target", "precision")
        }
        found["onnx"] = record.digest("onnx") if record.has("onnx") else None
        found["outputs"] = record.texts("outputs") if record.has("outputs") else None
        found["trained"] = manifest.trained if "trained" in manifest.weights else None
        found["compute_capability"] = "{}.{}".format(*self.capability) if self.capability else None
        achieved = record.record("achieved")
        if achieved.values:
            found["layers"] = dict(Counter(achieved.line(name) for name in achieved.values))
        return found


def read_timed_engine(path: Path) -> TimedEngine:
    """A plan, held against its manifest where there is one.

    Raises:
        InputFileError: It cannot be read, or is empty.
        UsageError: Its manifest says that it is no plan.
        ArtifactMismatchError: Its manifest describes another file.
    """
    try:
        content = read_content(path)
    except InputFileError as error:
        raise InputFileError(error.what, got=error.got, next_step=NAME_IT) from error
    if not content:
        raise InputFileError(f"{path} is empty", next_step=NAME_IT)
    marked = content.startswith(SIMULATED_PLAN)
    if not manifest_path(path).exists():
        return TimedEngine(path=path, sha256=sha256_bytes(content), manifest=None, marked=marked)
    try:
        artifact = hold_against_manifest(path, content)
    except ArtifactMismatchError as error:
        raise ArtifactMismatchError(
            error.what,
            got=error.got,
            wanted=error.wanted,
            next_step=f"{NAME_IT}, with its own manifest beside it or none",
        ) from error
    if artifact.manifest is None or artifact.manifest.kind != PLAN_KIND:
        raise UsageError(f"{path} is no plan of TensorRT, as its manifest says", next_step=NAME_IT)
    return TimedEngine(path=path, sha256=artifact.sha256, manifest=artifact.manifest, marked=marked)
