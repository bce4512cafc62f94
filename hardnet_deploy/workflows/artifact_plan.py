"""A TensorRT plan: was it built here, for this TensorRT and GPU, and in the precision that was asked for?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from hardnet_deploy.artifacts import Artifact, Manifest
from hardnet_deploy.engines.inspector import UNKNOWN, fallbacks
from hardnet_deploy.errors import ArtifactMismatchError, ExportError, HardnetDeployError, TargetError
from hardnet_deploy.targets import TARGETS
from hardnet_deploy.workflows.artifact_checks import Check, attempted, failed, held, unchecked
from hardnet_deploy.workflows.open_engine import OpenEngine
from hardnet_deploy.workflows.open_plan import open_plan, refuse_foreign, refuse_unknown, tensorrt_for
from hardnet_deploy.workflows.seeded_inputs import seeded_pixels

REGISTRY: Final = "built here"
FITS: Final = "TensorRT, GPU"
PRECISION: Final = "precision"
RUNS: Final = "runs"
COMPUTES: Final = "computes"
NAMED: Final = 5


def check_plan(artifact: Artifact, manifest: Manifest, *, same_file: bool, trust: bool) -> Iterator[Check]:
    """Check it; the plan is loaded only where everything before spoke for it, or ``trust`` lets it pass.

    Args:
        artifact: The plan's bytes.
        manifest: Of it.
        same_file: Whether it has the hash that its manifest says.
        trust: Load a plan that changed or that was not built here.
    """
    label = str(artifact.path)
    built = _trusting(REGISTRY, lambda: refuse_unknown(artifact, trust=trust), "in the registry of plans built here")
    yield built
    fits = _fits(label, manifest, trust=trust)
    yield fits
    if same_file:
        yield _precision(manifest)
    else:
        yield unchecked(PRECISION, "the manifest describes another file")
    if fits.outcome == "not checked" and not fits.told.startswith("--trust"):
        yield unchecked(RUNS, "this machine cannot run it")
    elif not trust and not (same_file and built.held and fits.held):
        yield unchecked(RUNS, "it is not loaded: see above")
    elif fits.outcome == "FAILED":
        yield unchecked(RUNS, "another TensorRT or GPU built it")
    else:
        yield attempted(RUNS, lambda: _runs(artifact, trust=trust))
    yield unchecked(
        COMPUTES,
        "a plan's own outputs are compared on images",
        next_step=f"hardnet-deploy parity {manifest.model.get('name')} {label} --data D",
    )


def _trusting(name: str, check: Any, told: str) -> Check:
    """A check that returns what ``--trust`` let pass."""
    try:
        passed = check()
    except HardnetDeployError as error:
        return failed(name, error)
    return unchecked(name, f"--trust: {passed[0]}") if passed else held(name, told)


def _fits(label: str, manifest: Manifest, *, trust: bool) -> Check:
    built = manifest.versions
    told = f"built by TensorRT {built.get('tensorrt')} on {built.get('gpu')}"
    try:
        here = tensorrt_for(label)
    except TargetError as error:
        return unchecked(FITS, f"{told}; this machine has none that runs plans: {error.got or error.what}")
    return _trusting(
        FITS, lambda: refuse_foreign(label, manifest, here, trust=trust), f"{told}; this machine has {here.text}"
    )


def _precision(manifest: Manifest) -> Check:
    """Requested and achieved, as the build read them from the engine inspector."""
    asked, achieved = (_layers(manifest.precision.get(key)) for key in ("requested_by_layer", "achieved"))
    if not asked:
        return unchecked(PRECISION, "the manifest does not say what was requested by layer")
    unknown = [name for name in asked if achieved.get(name, UNKNOWN) == UNKNOWN]
    if len(unknown) == len(asked):
        return unchecked(PRECISION, f"the engine inspector told nothing of its {len(asked)} layers")
    fell = fallbacks(asked, achieved)
    listed = ", ".join(fell[:NAMED]) + (", ..." if len(fell) > NAMED else "")
    if fell and not _may_fall_back(manifest):
        return failed(
            PRECISION,
            ExportError(
                f"{len(fell)} of {len(asked)} layers run in FP32 that were asked for less",
                got=listed,
                next_step="build it again; --allow-fallback takes such an engine",
            ),
        )
    same = sum(achieved.get(name) == precision for name, precision in asked.items())
    rest = f"; {len(fell)} fell back to FP32, as was allowed: {listed}" if fell else ""
    rest += f"; of {len(unknown)} nothing is known" if unknown else ""
    return held(PRECISION, f"{same} of {len(asked)} layers run in what was requested, as the build recorded{rest}")


def _may_fall_back(manifest: Manifest) -> bool:
    """By the command line, or because FP16 is no faster on the target than FP32."""
    target = TARGETS.get(manifest.target or "")
    slow = manifest.precision.get("requested") == "fp16" and target is not None
    return "--allow-fallback" in manifest.command or (
        slow and target is not None and target.precisions["fp16"] == "works"
    )


def _layers(record: Any) -> Mapping[str, str]:
    if not isinstance(record, dict):
        return {}
    return {name: value for name, value in record.items() if isinstance(value, str)}


def _runs(artifact: Artifact, *, trust: bool) -> str:
    """What ran, and that its answers are numbers.

    Raises:
        ExportError: They are no finite numbers.
        HardnetDeployError: It does not load or run.
    """
    engine = open_plan(artifact.path, trust=trust)
    if engine.sha256 != artifact.sha256:
        raise ArtifactMismatchError(f"{artifact.path} was changed meanwhile", next_step="run the command again")
    return _answers(engine)


def _answers(engine: OpenEngine) -> str:
    with engine.runner as runner:
        values = runner.infer({runner.inputs[0].name: seeded_pixels(engine.preprocess, engine.batch or 1)})
        broken = [name for name, value in values.items() if not np.isfinite(value).all()]
        if broken:
            raise ExportError(f"'{broken[0]}' holds values that are no finite numbers", next_step="build it again")
        return f"{runner.name}, on seeded pixels: {len(values)} outputs, all finite"
