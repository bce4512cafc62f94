"""What an engine is to be built from, as far as the preflight asks: of a file read from it, of a model decided."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hardnet_deploy.artifacts import Artifact, hold_against_manifest, read_content
from hardnet_deploy.models import registry
from hardnet_deploy.target_spec import DEFAULT_OPSET, NmsKind, Target
from hardnet_deploy.workflows.build_options import BuildPlan, parse_batch_range
from hardnet_deploy.workflows.build_request import BuildRequest

if TYPE_CHECKING:
    import onnx

    from hardnet_deploy.export.graph_checks import GraphCheckReport
    from hardnet_deploy.export.islands import Island

FLOAT32_BYTES = 4
OF_DETECTORS: Final[dict[Island, str]] = {"l2norm": "L2Norm", "softmax": "softmax", "decode": "decoding", "nms": "NMS"}
"""What stays fp32 in a lower precision, by ``export.islands``; every registered detector ends in these."""
ISLANDS: Final = OF_DETECTORS | {"other": "operators of which nothing is known in fp16"}
_QUANTISERS = frozenset({"QuantizeLinear", "DequantizeLinear"})


@dataclass(frozen=True, kw_only=True)
class Source:
    """What an engine is to be built from.

    Args:
        label: How the user named it.
        opset: Of its graph.
        batch: Images in a batch; None for a dynamic one.
        nms: Which NMS closes it; None where it has none.
        has_qdq: True for a graph with QuantizeLinear and DequantizeLinear.
        is_half: True for an fp16-typed graph.
        weight_bytes: Of its constants, as float32.
        input_pixels: S * S of its input.
        dataset: Which dataset's classes it has; None where nothing is known.
        detects: False for a backbone.
        islands: In words what it has of :data:`ISLANDS`.
        warning: What ``--trust`` let pass.
        model: The graph; None for a model that is exported first.
    """

    label: str
    opset: int
    batch: int | None
    nms: NmsKind | None
    has_qdq: bool
    is_half: bool
    weight_bytes: int
    input_pixels: int
    dataset: object
    detects: bool
    islands: tuple[str, ...]
    warning: str | None
    model: onnx.ModelProto | None

    def check(self, target: Target) -> GraphCheckReport | None:
        """What the parsers of ``target`` say of the graph; None for a model, whose export is checked."""
        if self.model is None:
            return None
        from hardnet_deploy.export.graph_checks import check_graph

        return check_graph(self.model, target)


def read_source(plan: BuildPlan, request: BuildRequest, *, has_plugin: bool) -> Source:
    """Look at what is to be built from, without running it.

    Args:
        plan: What was asked.
        request: Its options.
        has_plugin: False where the TensorRT that builds is known to lack EfficientNMS_TRT; a model is then exported
            with ONNX NMS, where the target takes that.

    Raises:
        InputFileError: The file cannot be read, or is no ONNX model.
        ArtifactMismatchError: Its manifest is missing or disagrees, and ``--trust`` was not given.
    """
    return _of_model(plan, request, has_plugin=has_plugin) if plan.is_model else _of_file(plan, request)


def _of_model(plan: BuildPlan, request: BuildRequest, *, has_plugin: bool) -> Source:
    from hardnet_deploy.models.count import count

    spec = registry.get(plan.source)
    nms: NmsKind = "onnx" if not has_plugin and "onnx" in plan.target.nms_kinds else plan.target.default_nms
    return Source(
        label=plan.source,
        opset=DEFAULT_OPSET,
        batch=1 if parse_batch_range(request.batch) is None else None,
        nms=nms if spec.is_detector else None,
        has_qdq=False,
        is_half=False,
        weight_bytes=count(spec, ()).parameters * FLOAT32_BYTES,
        input_pixels=spec.preprocess.size**2,
        dataset=spec.dataset,
        detects=spec.is_detector,
        islands=tuple(OF_DETECTORS.values()) if spec.is_detector else (),
        warning=None,
        model=None,
    )


def _of_file(plan: BuildPlan, request: BuildRequest) -> Source:
    from hardnet_deploy.export.graph_view import GraphView
    from hardnet_deploy.export.half_rules import is_half_typed
    from hardnet_deploy.nms.efficient import PLUGIN_OP
    from hardnet_deploy.runners.graph import parse_model

    path = Path(plan.source)
    content = read_content(path)
    model = parse_model(content, source=plan.source)
    artifact = hold_against_manifest(path, content, trust=request.trust)
    view = GraphView(model)
    operators = {node.op_type for node in view.nodes()}
    constants = {tensor.name for tensor in model.graph.initializer}
    dims = [list(one.type.tensor_type.shape.dim) for one in model.graph.input if one.name not in constants]
    first = dims[0] if dims else []
    head = artifact.manifest is None or artifact.manifest.head is not None
    return Source(
        label=plan.source,
        opset=view.opset,
        batch=first[0].dim_value if first and first[0].HasField("dim_value") else None,
        nms="efficient" if PLUGIN_OP in operators else "onnx" if "NonMaxSuppression" in operators else None,
        has_qdq=not operators.isdisjoint(_QUANTISERS),
        is_half=is_half_typed(view),
        weight_bytes=sum(prod(tensor.dims) for tensor in model.graph.initializer) * FLOAT32_BYTES,
        input_pixels=prod(dim.dim_value or 1 for dim in first[2:]),
        dataset=_dataset(artifact),
        detects=head,
        islands=_islands(model),
        warning=artifact.warning,
        model=model,
    )


def _islands(model: onnx.ModelProto) -> tuple[str, ...]:
    from hardnet_deploy.export.graph_view import GraphView
    from hardnet_deploy.export.islands import islands, with_types

    found = set(islands(GraphView(with_types(model))))
    return tuple(name for kind, name in ISLANDS.items() if kind in found)


def _dataset(artifact: Artifact) -> Any:
    return None if artifact.manifest is None else artifact.manifest.model.get("dataset")
