"""``hardnet-deploy export``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hardnet_deploy.artifacts import UNTRAINED, manifest_path
from hardnet_deploy.cli.common import Debug, Json, emit, emit_json, guarded, note, stages
from hardnet_deploy.models import registry

if TYPE_CHECKING:
    from hardnet_deploy.workflows.export import ExportResult, Typing

DETECTION_OPTIONS = "Detections"
MIB = 1024**2


@guarded
def export(
    model: Annotated[str | None, typer.Argument(help="Model; default ssd512-hardnet68-coco.")] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            help="Checkpoint (.pth). Without it the weights are untrained; those of the demo model are shipped.",
        ),
    ] = None,
    fuse_bn: Annotated[bool, typer.Option("--fuse-bn/--no-fuse-bn", help="Fold batch norms into convolutions.")] = True,
    outputs: Annotated[
        Literal["detections", "boxes", "raw"] | None,
        typer.Option("--outputs", help="Where a detector's graph ends; default detections."),
    ] = None,
    nms: Annotated[
        Literal["efficient", "onnx"] | None,
        typer.Option(
            "--nms",
            help="EfficientNMS_TRT plugin or standard ONNX; default efficient, or the target's.",
            rich_help_panel=DETECTION_OPTIONS,
        ),
    ] = None,
    thresholds: Annotated[
        Literal["eval", "deploy"] | None,
        typer.Option(
            "--thresholds",
            help="eval (default): scores from 0.02 (COCO) or 0.03 (VOC); deploy: 0.3. IoU 0.45, 200 or 300 boxes.",
            rich_help_panel=DETECTION_OPTIONS,
        ),
    ] = None,
    score_threshold: Annotated[
        float | None, typer.Option("--score-threshold", help="Overrides the preset.", rich_help_panel=DETECTION_OPTIONS)
    ] = None,
    iou_threshold: Annotated[
        float | None, typer.Option("--iou-threshold", help="Overrides the preset.", rich_help_panel=DETECTION_OPTIONS)
    ] = None,
    max_detections: Annotated[
        int | None, typer.Option("--max-detections", help="Overrides the preset.", rich_help_panel=DETECTION_OPTIONS)
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16"],
        typer.Option(
            "--precision",
            help="fp16: an fp16-typed graph for TensorRT 11 and 10 (target gpu); L2Norm, softmax, decoding and NMS "
            "stay fp32. Elsewhere fp16 is a flag of build-engine.",
        ),
    ] = "fp32",
    target: Annotated[
        str | None, typer.Option("--target", help="cpu, gtx-1080ti, jetson-nano or gpu: sets NMS kind and limits.")
    ] = None,
    opset: Annotated[int | None, typer.Option("--opset", help="13 to 21; default 13.")] = None,
    batch: Annotated[str, typer.Option("--batch", help="Images in a batch: a number, or dynamic.")] = "1",
    size: Annotated[int | None, typer.Option("--size", help="Backbones only: side of the input; default 224.")] = None,
    classes: Annotated[
        Path | None, typer.Option("--classes", help="Your own class list: a name a line, without background.")
    ] = None,
    code_line: Annotated[
        str,
        typer.Option(
            "--code-line",
            help="Which repository trained the checkpoint: pingolh (the HarDNet fork) or lzx1413 (L2Norm in place).",
        ),
    ] = "pingolh",
    explain: Annotated[bool, typer.Option("--explain", help="List every folded and unfolded batch norm.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="ONNX file; default MODEL.onnx.")] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Export a checkpoint to ONNX, with its batch norms folded and its NMS inside, verified against PyTorch."""
    from hardnet_deploy.workflows.export import run_export
    from hardnet_deploy.workflows.export_options import ExportRequest

    del debug
    request = ExportRequest(
        model=model,
        weights=weights,
        code_line=code_line,
        classes=classes,
        fuse_bn=fuse_bn,
        outputs=outputs,
        nms=nms,
        preset=thresholds,
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        max_detections=max_detections,
        precision=precision,
        target=target,
        opset=opset,
        batch=batch,
        size=size,
        output=output,
        command=("hardnet-deploy", *sys.argv[1:]),
    )
    with stages(prefix="" if weights or model == registry.DEMO_MODEL else f"{UNTRAINED}: ") as progress:
        result = run_export(request, progress)
    prefix = "" if result.weights.trained or weights else f"{UNTRAINED}: "
    for text in result.weights.notes:
        note(f"note: {text}")
    if result.plan.warning:
        note(f"warning: {result.plan.warning}")
    if json:
        emit_json(document(result))
        return
    for line in (*summary(result), *(_explanation(result) if explain else ())):
        emit(prefix + line)


def document(result: ExportResult) -> dict[str, Any]:
    """The result for ``--json``."""
    manifest = result.manifest
    return {
        "onnx": str(result.path),
        "manifest": str(manifest_path(result.path)),
        "sha256": manifest.sha256,
        "bytes": result.size_bytes,
        "model": manifest.model,
        "trained": result.weights.trained,
        "weights": manifest.weights,
        "target": manifest.target,
        "graph": manifest.graph,
        "precision": manifest.precision,
        "checks": manifest.checks,
    }


def summary(result: ExportResult) -> list[str]:
    """The result for a person."""
    from hardnet_deploy.workflows.verify_export import REFERENCE

    graph, plan = result.manifest.graph, result.plan
    weights = result.weights.source if result.weights.trained else f"{UNTRAINED} (fixed seed); give --weights FILE"
    lines = [
        f"wrote    {result.path} ({result.size_bytes / MIB:.1f} MiB) and {manifest_path(result.path).name}",
        f"model    {plan.spec.name}, weights: {weights}",
        f"graph    opset {graph['opset']}, batch {graph['batch']}, outputs {', '.join(graph['outputs'])}",
    ]
    if plan.graph.thresholds:
        kept = plan.graph.thresholds
        kind = "EfficientNMS_TRT plugin" if plan.graph.nms == "efficient" else "ONNX NonMaxSuppression"
        lines.append(
            f"nms      {kind}, score {kept.score:g}, IoU {kept.iou:g}, at most {kept.max_detections} detections"
        )
    if result.fusion:
        report, proof = result.fusion.report, result.fusion.verification
        line = f"fusion   {len(report.folded)} of {report.total} batch norms folded"
        if proof.worst_layer and proof.worst_output:
            line += (
                f"; largest error of a layer {proof.worst_layer.error:.1e} in float64, of an output "
                f"{proof.worst_output.error:.1e} in float32, relative to its scale"
            )
        lines.append(line)
        lines += [f"  left   {left.sentence}" for left in report.not_folded]
    else:
        lines.append("fusion   none (--no-fuse-bn)")
    worst = result.verification.worst
    lines.append(
        f"parity   {len(result.verification.tensors)} comparisons passed; largest error "
        f"{worst.max_abs:.1e} in '{worst.name}' on {worst.case} (allowed: {worst.tolerance})"
    )
    lines.append(f"         run by {result.verification.runner}, against {REFERENCE}")
    lines += [
        f"         {part.what}: {part.matched} of {max(part.reference, part.candidate)} match"
        for part in result.verification.detections
    ]
    lines += [f"         skipped: {text}" for text in result.verification.skipped]
    lines += _half_lines(result.typing) if result.typing else []
    accepting = [one.target for one in result.targets if one.accepted]
    lines.append(f"targets  accepted by the parser tables of: {', '.join(accepting) or 'none'}")
    lines += [
        f"         {'' if one.accepted else 'not by '}{one.target}: {finding.message}"
        for one in result.targets
        for finding in (one.warnings if one.accepted else one.errors)
    ]
    return lines


def _half_lines(typing: Typing) -> list[str]:
    graph, proof = typing.graph, typing.verification
    counts = f"{len(graph.fp16_nodes)} nodes in fp16, {len(graph.fp32_nodes)} in fp32, {graph.casts} casts"
    lines = [f"fp16     {counts}; fp32 are L2Norm, softmax, decoding and NMS"]
    lost = sum(graph.underflowed.values())
    if lost:
        lines.append(
            f"         {lost} weights are too small for all 11 bits of fp16, in {len(graph.underflowed)} tensors"
        )
    worst = proof.noisiest
    lines.append(
        f"         against fp32: '{worst.name}' {worst.sqnr_text} on {worst.case}, largest error {worst.max_abs:.1e} "
        f"(allowed: {worst.tolerance}); by {proof.runner}"
    )
    return [*lines, *(f"         skipped: {text}" for text in proof.skipped)]


def _explanation(result: ExportResult) -> tuple[str, ...]:
    return result.fusion.report.explain() if result.fusion else ("no batch norm was looked at: --no-fuse-bn",)
