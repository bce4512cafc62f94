"""What a TensorRT build will do, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hardnet_deploy.workflows.build_options import BuildPlan
from hardnet_deploy.workflows.build_request import BuildRequest
from hardnet_deploy.workflows.preflight_builder import Builder
from hardnet_deploy.workflows.preflight_machine import mib
from hardnet_deploy.workflows.preflight_source import Source
from hardnet_deploy.workflows.tensorrt_plan import TensorRTPlan

NMS_NAMES: Final = {"efficient": "EfficientNMS_TRT", "onnx": "ONNX NonMaxSuppression", None: "no NMS"}


def describe(
    plan: BuildPlan, request: BuildRequest, source: Source, builder: Builder, decided: TensorRTPlan
) -> Iterator[str]:
    """The steps of ``decided``, whose own ``steps`` are not looked at."""
    ceiling = builder.target.max_opset
    batch = "a dynamic batch" if source.batch is None else f"batch {source.batch}"
    graph = f"opset {decided.opset} (the target takes up to {ceiling}), {batch}, {NMS_NAMES[decided.nms]}"
    if plan.is_model:
        yield f"export {plan.source} as float32 ONNX: {graph}; check it against PyTorch"
    else:
        yield f"read {source.label}: {graph}; hold it against its manifest"
    if decided.calibration is not None:
        yield from _int8(plan, request, source, decided)
    if decided.half_graph:
        held = f", with {decided.islands_text} as fp32 islands" if decided.islands else ""
        yield f"type the graph as fp16{held}; check it in ONNX Runtime against fp32"
    yield _build(builder, decided)
    if decided.fp32_islands and decided.islands:
        broken = builder.family == "8.2" and decided.nms == "efficient"
        trap = "; the NMS plugin's own fp16 path is broken in 8.2" if broken else ""
        yield f"keep {decided.islands_text} in fp32 (layer precisions, OBEY_PRECISION_CONSTRAINTS){trap}"
    yield _timing(decided)
    fallback = "take and record" if decided.allow_fallback else "fail on"
    if decided.precisions:
        yield f"compare requested and achieved precision by layer, and {fallback} layers that ran in fp32 unasked"
    yield "write " + ", ".join(str(path) for path in decided.outputs)


def _int8(plan: BuildPlan, request: BuildRequest, source: Source, decided: TensorRTPlan) -> Iterator[str]:
    if decided.scales_from == "graph":
        yield f"take the INT8 scales from the Q/DQ nodes of {source.label}"
        return
    if decided.scales_from == "cache":
        later = "; whether it is of this graph is seen after the export" if plan.is_model else ""
        yield f"take the INT8 scales from the calibration cache {request.calib} ({decided.cache_header}){later}"
        return
    if decided.scales_from == "table":
        later = "; whether they are of these very weights is checked after the export" if plan.is_model else ""
        yield f"take the ranges from {request.calib}{later}"
    else:
        yield f"measure the ranges on images of {request.data or 'demo'}, in ONNX Runtime"
    if request.max_drop is not None:
        unit = "of the float mAP" if request.drop_type == "relative" else "mAP"
        yield f"return layers to float until at most {request.max_drop:g} {unit} is lost, measured on this CPU"
    if decided.calibration == "qdq":
        yield "write them into the graph as symmetric int8 Q/DQ, the first convolution float; check it in ONNX Runtime"
    else:
        header = decided.cache_header or "with the header of the TensorRT that builds"
        yield (
            f"write them as a calibration cache ({header}), and as dynamic ranges for tensors that the parser renames;"
            " the first convolution stays float"
        )


def _build(builder: Builder, decided: TensorRTPlan) -> str:
    version = f"TensorRT {builder.version}" if builder.version else builder.target.runtime
    if builder.version is None and len(decided.precisions) > 1:
        version = f"TensorRT {decided.family}"
    board = builder.target.device if builder.target.compute_capability else "NVIDIA GPU"
    where = f" on {decided.gpu}" if decided.gpu else f" on another machine's {board}"
    if decided.typed:
        how = "strongly typed, the precision stands in the graph"
    elif decided.precisions:
        names = [precision.upper() for precision in decided.precisions]
        how = f"weakly typed, with the flag{'s' if len(names) > 1 else ''} {' and '.join(names)}"
    else:
        how = "fp32, no precision flag"
    limit = "TensorRT's own limit" if decided.workspace_bytes is None else f"at most {mib(decided.workspace_bytes)}"
    call = "max_workspace_size" if builder.family == "8.2" else "memory pool WORKSPACE"
    batch = f"; a profile for batches {', '.join(map(str, decided.batch))}" if decided.batch else ""
    return f"build with {version}{where}: {how}; workspace {limit} ({call}){batch}"


def _timing(decided: TensorRTPlan) -> str:
    if decided.timing_cache is None:
        return "keep a timing cache by TensorRT version, GPU and sm where the engine is built"
    if decided.locked:
        return f"read the timing cache {decided.timing_cache}; fail on a layer that it does not know"
    return f"read and write the timing cache {decided.timing_cache}"
