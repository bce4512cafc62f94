"""ONNX files in ONNX Runtime and plans in TensorRT, ready to be timed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardnet_deploy.bench.inputs import Inputs, inputs_for
from hardnet_deploy.bench.loaded import Loaded, WallClock
from hardnet_deploy.bench.nms_candidates import candidates_in_graph
from hardnet_deploy.bench.parts import Parts
from hardnet_deploy.bench.sides import (
    CUDA_GRAPH,
    END_TO_END,
    NETWORK_NMS,
    Nms,
    Side,
    SideError,
    SideFacts,
    boundary_of,
    network_text,
)
from hardnet_deploy.data.preprocess import preprocess_batch
from hardnet_deploy.files import sha256_file
from hardnet_deploy.nms.efficient import PLUGIN_OP
from hardnet_deploy.runners.base import Runner
from hardnet_deploy.specs import Preprocess, classifier_preprocess

if TYPE_CHECKING:
    import onnx

    from hardnet_deploy.runners.trt import TrtRunner


def load_artifact_side(side: Side, parts: Parts) -> Loaded:
    """The side's file, in this process.

    Raises:
        SideError: Another size or batch than the side's, or another boundary than the file's outputs allow.
        HardnetDeployError: The file cannot be opened.
    """
    assert side.artifact is not None
    if side.made_here:
        return _made_here(side)
    opened = parts.open_artifact(Path(side.artifact), side.trust)
    if side.kind == "onnxruntime" and opened.model is None:
        raise SideError(f"{side.artifact} is no ONNX file")
    if side.kind != "onnxruntime" and opened.model is not None:
        raise SideError(f"{side.artifact} is no TensorRT plan")
    runner, preprocess, model = opened.runner, opened.preprocess, opened.model
    _refuse_boundary(side, runner.outputs, is_detector=opened.head is not None)
    inputs = _inputs(side, runner, preprocess)
    notes = [opened.warning] if opened.warning else []
    facts: dict[str, Any] = {
        "source": side.artifact,
        "trained": opened.trained,
        "artifact_sha256": opened.sha256,
        "weights_sha256": opened.weights_sha256,
    }
    if boundary_of(runner.outputs) == NETWORK_NMS:
        facts |= {"nms": _nms(model), "thresholds": opened.thresholds}
    del opened
    if model is not None:
        from hardnet_deploy.runners.ort import OrtRunner

        del runner  # as it was opened it takes all cores, and half of the memory
        if "nms" in facts:
            facts["nms_candidates"] = candidates_in_graph(
                model, inputs.tensors, facts["thresholds"], threads=side.threads
            )
        runner = OrtRunner(model, threads=side.threads)
    del model
    return _ready(side, runner, preprocess, inputs, facts, notes)


def _nms(model: onnx.ModelProto | None) -> Nms:
    """What does the NMS of a graph, or of a plan."""
    plugin = model is not None and any(node.op_type == PLUGIN_OP for node in model.graph.node)
    return "plugin-by-numpy" if plugin else "in-graph"


def _made_here(side: Side) -> Loaded:
    import onnx

    from hardnet_deploy.runners.ort import OrtRunner

    assert side.artifact is not None
    try:
        model = onnx.load(side.artifact)
    except Exception as error:
        raise SideError(f"{side.artifact} cannot be read: {type(error).__name__}") from error
    runner = OrtRunner(model, threads=side.threads)
    del model
    preprocess = classifier_preprocess(side.size)
    facts = {"source": side.artifact, "artifact_sha256": sha256_file(Path(side.artifact))}
    return _ready(side, runner, preprocess, _inputs(side, runner, preprocess), facts, [])


def _inputs(side: Side, runner: Runner, preprocess: Preprocess) -> Inputs:
    wanted = (side.batch, 3, side.size, side.size)
    declared = runner.inputs[0].shape
    if len(runner.inputs) != 1 or any(have not in {-1, want} for have, want in zip(declared, wanted, strict=True)):
        raise SideError(f"{side.artifact} takes images {list(declared)}, this run has {list(wanted)}")
    return inputs_for(side, preprocess)


def _ready(
    side: Side, runner: Runner, preprocess: Preprocess, inputs: Inputs, facts: dict[str, Any], notes: Sequence[str]
) -> Loaded:
    text = network_text(runner.outputs, facts.get("thresholds"))
    if facts.get("nms") == "plugin-by-numpy":
        text += ", the NMS by the NumPy reference of its plugin"
    if side.kind == "tensorrt":
        if side.boundary == END_TO_END and CUDA_GRAPH in side.options:
            raise SideError("a plan is timed as a CUDA graph between its tensors on the device only, not end-to-end")
        engine = f"{runner.name}" + (", CUDA graph" if CUDA_GRAPH in side.options else "")
        precision = "as the plan was built"
    else:
        engine = runner.name.replace("ONNX Runtime", f"ONNX Runtime {_onnxruntime_version()}")
        precision = "as the graph says"
    if side.boundary == END_TO_END:
        text = f"8-bit image to results in the computer's memory: pre-processing in NumPy, copies, then {text}"
    filled = SideFacts(
        **facts,
        engine=engine,
        precision_note=precision,
        boundary_text=text,
        notes=(*notes, f"fed with {inputs.text}"),
    )
    name = runner.inputs[0].name
    if side.boundary == END_TO_END:
        images = inputs.images

        def from_images(number: int) -> Any:
            return runner.infer({name: preprocess_batch(images[number % len(images)], preprocess)})

        return WallClock(filled, from_images)
    if side.kind == "tensorrt":
        return _Plan(filled, runner, inputs, cuda_graph=CUDA_GRAPH in side.options)  # type: ignore[arg-type]  # plans
        # open as TrtRunner alone
    feeds = [{name: tensor} for tensor in inputs.tensors]
    return WallClock(filled, lambda number: runner.infer(feeds[number % len(feeds)]))


class _Plan:
    """A plan, timed by the device file's own events; each turn has the next input."""

    def __init__(self, facts: SideFacts, runner: TrtRunner, inputs: Inputs, *, cuda_graph: bool) -> None:
        self.facts = facts
        self._runner, self._inputs, self._cuda_graph = runner, inputs, cuda_graph
        self._turns = 0

    def turn(self, runs: int, *, warm_up_ms: float, least_warm_up: int) -> list[float]:
        """See :class:`hardnet_deploy.bench.loaded.Loaded`; CUDA events around the network, inputs resident."""
        feeds = {self._runner.inputs[0].name: self._inputs.tensors[self._turns % len(self._inputs.tensors)]}
        self._turns += 1
        for _ in range(least_warm_up):
            self._runner.infer(feeds)
        times = self._runner.engine.bench(feeds, warm_up_ms=warm_up_ms, iterations=runs, cuda_graph=self._cuda_graph)
        return times["gpu_compute_ms"][:runs]


def _refuse_boundary(side: Side, outputs: Sequence[str], *, is_detector: bool) -> None:
    found = boundary_of(outputs)
    if side.boundary == END_TO_END:
        if is_detector and found != "network+NMS":
            raise SideError(f"{side.artifact} ends before the NMS; end-to-end needs --outputs detections")
    elif side.boundary != found:
        raise SideError(f"{side.artifact} computes '{found}', not '{side.boundary}'")


def _onnxruntime_version() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)
