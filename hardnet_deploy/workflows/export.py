"""``hardnet-deploy export``: checkpoint to a verified ONNX file. Nothing is written unless every check passes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardnet_deploy.artifacts import UNTRAINED, Manifest, save_artifact
from hardnet_deploy.errors import ExportError, ParityError, TargetError
from hardnet_deploy.evaluate.tolerances import FP16_AGAINST_FP32
from hardnet_deploy.files import sha256_bytes, sha256_file
from hardnet_deploy.models import registry
from hardnet_deploy.nms.efficient import CANDIDATE_CAP
from hardnet_deploy.specs import ModelSpec
from hardnet_deploy.targets import TARGETS, Target, get_target
from hardnet_deploy.workflows.export_manifest import export_manifest
from hardnet_deploy.workflows.export_options import ExportPlan, ExportRequest, plan_export
from hardnet_deploy.workflows.seeded_inputs import seeded_noise
from hardnet_deploy.workflows.verify_export import ExportVerification, verify_export
from hardnet_deploy.workflows.verify_half import HalfVerification, verify_half

if TYPE_CHECKING:
    import onnx
    from torch import nn

    from fusion import FoldReport, FoldVerification
    from hardnet_deploy.export.graph_checks import GraphCheckReport
    from hardnet_deploy.export.half import HalfGraph

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Where a model's weights came from.

    Args:
        trained: False where they were drawn from the fixed seed.
        source: The checkpoint's path, or the seed.
        sha256: Of the checkpoint; None without one.
        state_sha256: Of the loaded state_dict, names and values, whatever file it came from.
        notes: What loading converted or missed without harm.
    """

    trained: bool
    source: str
    sha256: str | None
    state_sha256: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """What folding did and how it was proved."""

    report: FoldReport
    verification: FoldVerification


@dataclass(frozen=True, kw_only=True)
class Typing:
    """How the graph was typed as fp16, and how it was held against its float32 graph."""

    graph: HalfGraph
    verification: HalfVerification


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """A written and verified export.

    Args:
        path: The ONNX file; its manifest stands beside it.
        manifest: What the manifest says.
        plan: What was asked, defaults decided.
        weights: Where the weights came from.
        fusion: None where batch norms were kept.
        verification: The comparison with PyTorch, of the float32 graph.
        typing: None for a float32 graph.
        targets: What each target's parser would say.
        size_bytes: Of the file.
    """

    path: Path
    manifest: Manifest
    plan: ExportPlan
    weights: Weights
    fusion: Fusion | None
    verification: ExportVerification
    typing: Typing | None
    targets: tuple[GraphCheckReport, ...]
    size_bytes: int


def load_model(spec: ModelSpec, weights: Path | None, *, code_line: str) -> tuple[nn.Module, Weights]:
    """The network in eval mode with its weights.

    Without ``weights`` those that the package ships for the model, and where it ships none, weights from a fixed seed,
    marked as untrained.

    Raises:
        CheckpointError: The checkpoint cannot be loaded or is another model's.
    """
    from hardnet_deploy.models.checkpoints import load_checkpoint
    from hardnet_deploy.models.initialise import DEFAULT_SEED, initialise

    model = registry.build(spec, code_line=code_line)
    shipped = registry.shipped_weights(spec) if weights is None and code_line == registry.CODE_LINES[0] else None
    weights = weights or shipped
    if weights is None:
        initialise(model, preprocess=spec.preprocess)
        source = f"{UNTRAINED}: drawn from seed {DEFAULT_SEED}"
        return model, Weights(trained=False, source=source, sha256=None, state_sha256=_state_digest(model))
    expected = {"model": spec.name, "class_names": list(spec.class_names), "code_line": code_line}
    loaded = load_checkpoint(model, weights, name=spec.name, expected=expected)
    return model, Weights(
        trained=True,
        source=f"shipped with hardnet-deploy ({weights.name})" if shipped else str(weights),
        sha256=sha256_file(weights),
        state_sha256=_state_digest(model),
        notes=loaded.notes,
    )


def _state_digest(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for key, value in model.state_dict().items():
        digest.update(key.encode() + b"\0" + value.numpy().tobytes())
    return digest.hexdigest()


def run_export(request: ExportRequest, progress: Progress) -> ExportResult:
    """Build, fold, write, check, verify, save.

    Args:
        request: The options as typed.
        progress: Told of each stage as (name, number from 1, number of stages).

    Raises:
        UsageError, TargetError, InputFileError, OutputFileError: Before anything long runs.
        CheckpointError: See :func:`load_model`.
        ParityError: Folding or the exported file changes what the network computes; nothing is written.
        ExportError: The graph fails a check; nothing is written.
    """
    plan = plan_export(request)
    names = ["loading PyTorch and the model", "writing the graph", "comparing with PyTorch", "saving"]
    if plan.fuse_bn:
        names.insert(1, "folding batch norms and proving it")
    if plan.precision == "fp16":
        names.insert(-1, "comparing fp16 with fp32")
    remaining = iter(enumerate(names, start=1))

    def begin() -> None:
        number, name = next(remaining)
        progress(name, number, len(names))

    begin()
    original, weights = load_model(plan.spec, plan.weights, code_line=plan.code_line)
    network, fusion = original, None
    if plan.fuse_bn:
        begin()
        network, fusion = _fold(original, plan.spec)

    begin()
    renames = fusion.report.conv_to_batchnorm if fusion else {}
    exported = _write_graph(network, plan, weights, renames, everything_folded=_everything_folded(fusion))
    half = _type_as_half(exported) if plan.precision == "fp16" else None
    written = half.model if half else exported
    targets = _check_targets(written, plan.target)

    begin()
    cap = plan.target.nms_candidate_cap if plan.target else None
    verification = verify_export(original, exported, plan.spec, plan.graph, candidate_cap=cap or CANDIDATE_CAP)
    if not verification.ok:
        raise ParityError(
            f"the exported graph of {plan.spec.name} does not compute what PyTorch computes; nothing was written",
            got="; ".join(verification.failures()),
            wanted=verification.allowed,
            next_step="report this with the versions that hardnet-deploy doctor prints",
        )

    typing = None
    if half:
        begin()
        typing = Typing(graph=half, verification=_verify_half(exported, half, plan))

    begin()
    content = written.SerializeToString(deterministic=True)
    manifest = export_manifest(
        plan,
        weights=weights,
        fusion=fusion,
        verification=verification,
        typing=typing,
        targets=targets,
        exported=written,
        digest=sha256_bytes(content),
    )
    save_artifact(plan.output, content, manifest)
    return ExportResult(
        path=plan.output,
        manifest=manifest,
        plan=plan,
        weights=weights,
        fusion=fusion,
        verification=verification,
        typing=typing,
        targets=targets,
        size_bytes=len(content),
    )


def _fold(original: nn.Module, spec: ModelSpec) -> tuple[nn.Module, Fusion]:
    import torch

    from fusion.errors import FusionError
    from fusion.torch_fold import fold_module
    from fusion.verify import verify_fold

    example = torch.from_numpy(seeded_noise(spec.preprocess, 1))
    try:
        result = fold_module(original, example)
        verification = verify_fold(original, result, example, always_in_float64=False)
    except FusionError as error:
        raise ExportError(f"the batch norms of {spec.name} cannot be folded", got=str(error)) from error
    if not verification.ok:
        raise ParityError(
            f"folding the batch norms of {spec.name} changes what it computes; nothing was written",
            got="; ".join(verification.failures()),
            next_step="use --no-fuse-bn, and report this with the versions that hardnet-deploy doctor prints",
        )
    return result.model, Fusion(report=result.report, verification=verification)


def _everything_folded(fusion: Fusion | None) -> bool:
    return fusion is not None and not fusion.report.not_folded


def _write_graph(
    network: nn.Module, plan: ExportPlan, weights: Weights, renames: Any, *, everything_folded: bool
) -> onnx.ModelProto:
    from hardnet_deploy.export.graph_checks import check_clean
    from hardnet_deploy.export.onnx_export import build_graph

    state = f"weights with SHA-256 {weights.sha256}" if weights.trained else weights.source
    exported = build_graph(network, plan.spec, plan.graph, renames=renames, doc=f"{plan.spec.name}, {state}")
    faults = check_clean(exported, fused=everything_folded)
    if faults:
        raise ExportError("the exported graph is not clean", got="; ".join(faults[:5]))
    return exported


def _type_as_half(exported: onnx.ModelProto) -> HalfGraph:
    from hardnet_deploy.export.graph_checks import check_clean
    from hardnet_deploy.export.half import to_half

    half = to_half(exported)
    faults = check_clean(half.model, fused=False)
    if faults:
        raise ExportError("the fp16-typed graph is not clean", got="; ".join(faults[:5]))
    return half


def _verify_half(exported: onnx.ModelProto, half: HalfGraph, plan: ExportPlan) -> HalfVerification:
    verification = verify_half(exported, half.model, plan.spec.preprocess, batch=plan.graph.batch)
    if not verification.ok:
        raise ParityError(
            f"the fp16-typed graph of {plan.spec.name} does not compute what its float32 graph computes; "
            "nothing was written",
            got="; ".join(verification.failures()),
            wanted=f"errors of at most {FP16_AGAINST_FP32}",
            next_step="leave the model in --precision fp32",
        )
    return verification


def _check_targets(exported: onnx.ModelProto, target: Target | None) -> tuple[GraphCheckReport, ...]:
    """What every target's parser would say; the one that the user named has to accept the graph."""
    from hardnet_deploy.export.graph_checks import check_graph

    reports = tuple(check_graph(exported, get_target(name)) for name in TARGETS)
    if target is not None:
        own = next(report for report in reports if report.target == target.name)
        if not own.accepted:
            raise TargetError(
                f"target '{target.name}' would not accept the graph",
                got="; ".join(f"{finding.node}: {finding.message}" for finding in own.errors[:5]),
                next_step="hardnet-deploy targets shows what each target takes",
            )
    return reports
