"""The files that an artifact was made from, where they still are: each held against the hash that its manifest has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hardnet_deploy.artifacts import Manifest, versions
from hardnet_deploy.errors import ArtifactMismatchError, HardnetDeployError
from hardnet_deploy.files import sha256_file
from hardnet_deploy.models import registry
from hardnet_deploy.specs import ModelSpec
from hardnet_deploy.workflows.artifact_checks import Check, failed, held, unchecked

if TYPE_CHECKING:
    from torch import nn

    from hardnet_deploy.workflows.export import Weights

SOURCE: Final = "source graph"
CALIBRATION: Final = "calibration"
WEIGHTS: Final = "weights"
GIVE_WEIGHTS: Final = "--weights FILE"
WRITTEN: Final = frozenset({"-o", "--output", "--saveEngine", "--qdq", "--cache", "--ranges"})
SHOWN: Final = 16


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What is at hand of what an artifact was made from.

    Args:
        checks: One for each that the manifest names.
        graph: The float graph that it was made from, of the recorded hash; None where that is not at hand.
        network: PyTorch's, with the recorded weights; None where they are not at hand.
    """

    checks: tuple[Check, ...]
    graph: Path | None
    network: nn.Module | None


def check_sources(path: Path, manifest: Manifest, spec: ModelSpec | None, weights: Path | None) -> Sources:
    """Look for them where the manifest and its command line say, from here and from the artifact's folder.

    Args:
        path: The artifact.
        manifest: Of it.
        spec: The model; None where the manifest's is not known here.
        weights: Given by the user instead of the recorded place.
    """
    checks, graph, network = [], None, None
    recorded = _text(_part(manifest.checks, "source").get("sha256"))
    if recorded is not None:
        places = [one for one in _named_by(manifest, written=False) if one.suffix == ".onnx"]
        check, graph = _file(SOURCE, path, places, recorded)
        checks.append(check)
    calibration = _part(manifest.precision, "calibration")
    digest = _text(calibration.get("sha256") or _part(manifest.checks, "build").get("calibration_cache_sha256"))
    file = _text(calibration.get("file"))
    if digest is not None and file is not None:
        places = [Path(file), *(one for one in _named_by(manifest, written=True) if one.name == file)]
        checks.append(_file(CALIBRATION, path, places, digest)[0])
    if spec is None:
        checks.append(unchecked(WEIGHTS, f"no model is called '{manifest.model.get('name')}' here"))
    else:
        check, network = _weights(path, manifest, spec, weights)
        checks.append(check)
    return Sources(checks=tuple(checks), graph=graph, network=network)


def _file(name: str, artifact: Path, places: Iterable[Path], digest: str) -> tuple[Check, Path | None]:
    """A file of that hash among the places that exist."""
    others = []
    for place in _existing(artifact, places):
        if sha256_file(place) == digest:
            return held(name, f"{place} has the recorded SHA-256 {digest[:SHOWN]}..."), place
        others.append(place)
    if not others:
        return unchecked(name, f"not at hand; SHA-256 {digest[:SHOWN]}..."), None
    error = ArtifactMismatchError(
        f"{others[0]} is not the file that the artifact was made from",
        got=f"SHA-256 {sha256_file(others[0])[:SHOWN]}...",
        wanted=f"SHA-256 {digest[:SHOWN]}...",
        next_step="make the artifact again from it, or put the old one back",
    )
    return failed(name, error), None


def _existing(artifact: Path, places: Iterable[Path]) -> Iterator[Path]:
    """The places that are files, each once, and not the artifact itself."""
    seen = {artifact.resolve()}
    for place in places:
        for one in (place, artifact.parent / place):
            try:
                if one.is_file() and one.resolve() not in seen:
                    seen.add(one.resolve())
                    yield one
            except (OSError, ValueError):  # a name too long or with a zero byte, a folder that may not be read
                continue


def _named_by(manifest: Manifest, *, written: bool) -> Iterator[Path]:
    """Words and options' values of the command line; what it wrote itself only where asked for."""
    for before, word in zip(manifest.command, manifest.command[1:], strict=False):
        option, _, value = word.rpartition("=")
        if written or WRITTEN.isdisjoint((before, option)):
            yield Path(value)


def _weights(path: Path, manifest: Manifest, spec: ModelSpec, given: Path | None) -> tuple[Check, nn.Module | None]:
    """The recorded weights, loaded: given, shipped, drawn from the seed, or where they were read from."""
    from hardnet_deploy.workflows.export import load_model

    recorded = manifest.weights
    drawn = given is None and not manifest.trained
    if given is None and manifest.trained and not _is_shipped(recorded, spec):
        place = Path(str(recorded.get("source")))
        given = next(_existing(path, [place]), None)
        if given is None:
            return unchecked(WEIGHTS, f"not at hand: {place}", next_step=GIVE_WEIGHTS), None
    code_line = _text(manifest.model.get("code_line")) or registry.CODE_LINES[0]
    try:
        network, loaded = load_model(spec, given, code_line=code_line)
        told = _same_weights(recorded, loaded)
    except ArtifactMismatchError as error:
        if drawn and manifest.versions.get("torch") != versions(["torch"]).get("torch"):
            return unchecked(WEIGHTS, "the seed gives other weights with this version of PyTorch"), None
        return failed(WEIGHTS, error), None
    except HardnetDeployError as error:
        return failed(WEIGHTS, error), None
    if told is None:
        return unchecked(WEIGHTS, "the manifest has no hash of them"), network
    return held(WEIGHTS, told), network


def _is_shipped(recorded: Mapping[str, Any], spec: ModelSpec) -> bool:
    shipped = registry.shipped_weights(spec)
    return shipped is not None and (
        recorded.get("sha256") == sha256_file(shipped) or str(recorded.get("source")).startswith("shipped ")
    )


def _same_weights(recorded: Mapping[str, Any], loaded: Weights) -> str | None:
    """What tells that they are the recorded ones; None where nothing is recorded.

    Names and values are what counts: the file may have been saved anew.

    Raises:
        ArtifactMismatchError: They are others.
    """
    for what, wanted, got in (
        ("names and values", recorded.get("state_sha256"), loaded.state_sha256),
        ("the file", recorded.get("sha256"), loaded.sha256),
    ):
        if not isinstance(wanted, str):
            continue
        if wanted == got:
            return f"{loaded.source}: {what} have the recorded SHA-256 {wanted[:SHOWN]}..."
        raise ArtifactMismatchError(
            f"the weights at hand, {loaded.source}, are not those of the artifact",
            got=f"SHA-256 {str(got)[:SHOWN]}...",
            wanted=f"SHA-256 {wanted[:SHOWN]}...",
            next_step=f"name those it was exported with, {GIVE_WEIGHTS}, or export again",
        )
    return None


def _part(record: Any, name: str) -> dict[str, Any]:
    found = record.get(name)
    return found if isinstance(found, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
