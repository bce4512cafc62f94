"""An ONNX artifact: is the graph what its manifest says, does its target take it, and does it run here?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hardnet_deploy.artifacts import Manifest
from hardnet_deploy.errors import ArtifactMismatchError, ExportError, TargetError
from hardnet_deploy.export.options import GraphOptions, Outputs
from hardnet_deploy.nms.efficient import PLUGIN_OP
from hardnet_deploy.specs import ModelSpec
from hardnet_deploy.target_spec import NmsKind
from hardnet_deploy.targets import TARGETS, get_target
from hardnet_deploy.tensor_names import BOXES, DETECTION_OUTPUTS
from hardnet_deploy.workflows.artifact_checks import Check, attempted, unchecked
from hardnet_deploy.workflows.next_commands import build_command
from hardnet_deploy.workflows.open_engine import OpenEngine
from hardnet_deploy.workflows.seeded_inputs import seeded_pixels

if TYPE_CHECKING:
    import onnx

DESCRIPTION: Final = "graph"
PARSER: Final = "parser"
RUNS: Final = "runs"
INTEGER: Final = "int8 layers"
FINDINGS: Final = 3


@dataclass(frozen=True, kw_only=True)
class Graph:
    """An ONNX artifact, open.

    Args:
        engine: It, with its model.
        model: The same graph.
        options: What it looks like, read from itself.
        precision: ``fp32``, ``fp16`` or ``int8``, read from itself.
    """

    engine: OpenEngine
    model: onnx.ModelProto
    options: GraphOptions
    precision: str


def read_graph(engine: OpenEngine) -> Graph:
    """What an open ONNX artifact is, by its graph alone."""
    from hardnet_deploy.export.graph_view import GraphView
    from hardnet_deploy.export.half_rules import is_half_typed
    from hardnet_deploy.runners.graph import nms_thresholds

    assert engine.model is not None
    model = engine.model
    view = GraphView(model)
    operators = {node.op_type for node in view.nodes()}
    names = {value.name for value in model.graph.output}
    outputs: Outputs = "detections" if names >= set(DETECTION_OUTPUTS) else "boxes" if BOXES in names else "raw"
    nms: NmsKind = "efficient" if PLUGIN_OP in operators else "onnx"
    return Graph(
        engine=engine,
        model=model,
        options=GraphOptions(
            outputs=outputs,
            nms=nms,
            thresholds=nms_thresholds(model) if outputs == "detections" else None,
            opset=view.opset,
            batch=engine.batch,
        ),
        precision="int8" if "QuantizeLinear" in operators else "fp16" if is_half_typed(view) else "fp32",
    )


def check_graph_of(graph: Graph, manifest: Manifest | None, spec: ModelSpec | None) -> Iterator[Check]:
    """All that can be said without a reference to compare with."""
    if manifest is None:
        yield unchecked(DESCRIPTION, "there is no manifest to hold it against")
    else:
        yield attempted(DESCRIPTION, lambda: _as_described(graph, manifest, spec))
    yield from _parsers(graph, manifest)
    yield attempted(RUNS, lambda: _runs(graph.engine))
    recorded = None if manifest is None else _recorded_integers(manifest)
    if recorded:
        yield attempted(INTEGER, lambda: _integers(graph.model, recorded, manifest))


def _as_described(graph: Graph, manifest: Manifest, spec: ModelSpec | None) -> str:
    """What the graph is, where the manifest says the same.

    Raises:
        ArtifactMismatchError: The manifest says otherwise.
    """
    options = graph.options
    detects = options.outputs == "detections"
    found: dict[str, Any] = {
        "opset": options.opset,
        "outputs": [value.name for value in graph.model.graph.output],
        "nms": options.nms if detects else None,
        "batch": "dynamic" if options.batch is None else options.batch,
        "thresholds": None if options.thresholds is None else vars(options.thresholds),
        "precision": graph.precision,
    }
    said = {**manifest.graph, "precision": manifest.precision.get("requested", graph.precision)}
    wrong = [name for name, value in found.items() if name in said and said[name] != value]
    if wrong:
        raise ArtifactMismatchError(
            f"the manifest is wrong of the graph's {', '.join(wrong)}",
            got="; ".join(f"{name} {found[name]}" for name in wrong),
            wanted="; ".join(f"{name} {said[name]}" for name in wrong),
            next_step="export again",
        )
    told = f"opset {options.opset}, batch {found['batch']}, {graph.precision}, as the manifest says"
    if spec is None:
        return told
    for name, recorded, own in (
        ("preprocess", manifest.preprocess_spec(), spec.preprocess),
        ("head", manifest.head_spec(), spec.head),
    ):
        if recorded != own:
            raise ArtifactMismatchError(
                f"the manifest's '{name}' is not that of {spec.name}",
                got=str(recorded),
                wanted=str(own),
                next_step="export again",
            )
    return f"{told}; pre-processing and boxes are those of {spec.name}"


def _parsers(graph: Graph, manifest: Manifest | None) -> Iterator[Check]:
    """The parser tables of the target that was named, or else of those that accepted the graph when it was written."""
    recorded = manifest.checks.get("targets") if manifest is not None else None
    accepted = [
        name
        for name, report in (recorded if isinstance(recorded, dict) else {}).items()
        if isinstance(report, dict) and report.get("accepted") is True
    ]
    names = [manifest.target] if manifest is not None and manifest.target is not None else accepted
    known = [name for name in names if name in TARGETS]
    if not known:
        yield unchecked(PARSER, "the manifest names no target that is known here")
    for name in known:
        yield attempted(f"{PARSER} {name}", partial(_accepted, graph.model, name))


def _accepted(model: onnx.ModelProto, name: str) -> str:
    """What a target's parser tables say.

    Raises:
        TargetError: The target's parsers would refuse it.
    """
    from hardnet_deploy.export.graph_checks import check_graph

    target = get_target(name)
    report = check_graph(model, target)
    if not report.accepted:
        raise TargetError(
            f"{target.runtime} would not take it",
            got="; ".join(f"{one.node or 'the graph'}: {one.message}" for one in report.errors[:FINDINGS]),
            next_step="hardnet-deploy targets shows what each target takes",
        )
    return f"{target.runtime}: accepted by our table of its parser" + (
        f", with {len(report.warnings)} warnings" if report.warnings else ""
    )


def _runs(engine: OpenEngine) -> str:
    """What ran, and that its answers are numbers.

    Raises:
        ExportError: It answers with values that are no finite numbers.
    """
    name = engine.runner.inputs[0].name
    values = engine.runner.infer({name: seeded_pixels(engine.preprocess, engine.batch or 1)})
    broken = [name for name, value in values.items() if not np.isfinite(value).all()]
    if broken:
        raise ExportError(f"'{broken[0]}' holds values that are no finite numbers", next_step="make it again")
    return f"{engine.runner.name}, on seeded pixels: {len(values)} outputs, all finite"


def _recorded_integers(manifest: Manifest) -> int:
    build = manifest.checks.get("build")
    count = build.get("integer_convolutions") if isinstance(build, dict) else None
    return count if isinstance(count, int) else 0


def _integers(model: onnx.ModelProto, recorded: int, manifest: Manifest | None) -> str:
    """How many convolutions compute on integers here.

    Raises:
        TargetError: ONNX Runtime makes fewer layers INT8 here than where it was built.
    """
    from hardnet_deploy.engines.ort_build import inspect, optimise

    here = inspect(optimise(model), {}).integer_convolutions
    if here < recorded:
        raise TargetError(
            "ONNX Runtime leaves layers in float here that were INT8 where the engine was built",
            got=f"{here} integer convolutions",
            wanted=str(recorded),
            next_step=f"build it here: {build_command(manifest)}",
        )
    return f"{here} convolutions compute on integers here, {recorded} where it was built"
