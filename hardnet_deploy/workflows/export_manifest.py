"""What the manifest of an exported file says."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from hardnet_deploy.artifacts import Manifest, describe_model, versions
from hardnet_deploy.export.options import output_names
from hardnet_deploy.tensor_names import INPUT
from hardnet_deploy.workflows.export_options import ExportPlan
from hardnet_deploy.workflows.verify_export import ExportVerification

if TYPE_CHECKING:
    import onnx

    from hardnet_deploy.export.graph_checks import GraphCheckReport
    from hardnet_deploy.workflows.export import Fusion, Typing, Weights

PACKAGES: Final = ("torch", "onnx", "onnxruntime-gpu", "onnxruntime", "numpy")


def export_manifest(
    plan: ExportPlan,
    *,
    weights: Weights,
    fusion: Fusion | None,
    verification: ExportVerification,
    typing: Typing | None,
    targets: tuple[GraphCheckReport, ...],
    exported: onnx.ModelProto,
    digest: str,
) -> Manifest:
    """The manifest of ``exported``, whose file has the SHA-256 ``digest``."""
    spec, graph = plan.spec, plan.graph
    return Manifest(
        kind="onnx",
        model=describe_model(spec, code_line=plan.code_line),
        weights=asdict(weights),
        preprocess=asdict(spec.preprocess),
        class_names=spec.class_names,
        head=asdict(spec.head) if spec.head else None,
        target=plan.target.name if plan.target else None,
        precision={
            "requested": plan.precision,
            "achieved": _layer_precisions(exported),
            **(_typing_record(typing) if typing else {}),
        },
        graph={
            "opset": graph.opset,
            "input": INPUT,
            "outputs": list(output_names(spec, graph)),
            "batch": "dynamic" if graph.batch is None else graph.batch,
            "nms": graph.nms if graph.thresholds else None,
            "thresholds": asdict(graph.thresholds) if graph.thresholds else None,
        },
        checks={
            "fusion": {**fusion.report.as_dict(), "verification": fusion.verification.as_dict()} if fusion else None,
            "parity": verification.as_dict(),
            **({"fp16": typing.verification.as_dict()} if typing else {}),
            "targets": {
                report.target: {
                    "accepted": report.accepted,
                    "findings": [asdict(finding) for finding in report.findings],
                }
                for report in targets
            },
        },
        sha256=digest,
        versions=versions(PACKAGES),
        command=plan.command,
    )


def _layer_precisions(exported: onnx.ModelProto) -> dict[str, str]:
    """Element type of the weight of every convolution and linear layer, by node name."""
    from onnx import helper

    short = {"float32": "fp32", "float16": "fp16"}
    types = {one.name: helper.tensor_dtype_to_np_dtype(one.data_type).name for one in exported.graph.initializer}
    return {
        node.name: short.get(types[node.input[1]], types[node.input[1]])
        for node in exported.graph.node
        if node.op_type in {"Conv", "Gemm"}
    }


def _typing_record(typing: Typing) -> dict[str, Any]:
    """Beside the layers: what stayed float32, and what float16 could not hold to full precision."""
    half = typing.graph
    return {
        "float32_nodes": list(half.fp32_nodes),
        "casts": half.casts,
        "underflowed": dict(half.underflowed),
    }
