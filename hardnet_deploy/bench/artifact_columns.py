"""ONNX files in ONNX Runtime and plans in TensorRT, ready to be timed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardnet_deploy.bench.inputs import Inputs, inputs_for
from hardnet_deploy.bench.loaded import Loaded, WallClock
from hardnet_deploy.bench.parts import Parts
from hardnet_deploy.bench.sides import CUDA_GRAPH, END_TO_END, Side, SideError, SideFacts, boundary_of, network_text
from hardnet_deploy.data.preprocess import preprocess_batch
from hardnet_deploy.files import sha256_file
from hardnet_deploy.runners.base import Runner
from hardnet_deploy.specs import Preprocess, classifier_preprocess

if TYPE_CHECKING:
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
    runner, preprocess, is_detector = opened.runner, opened.preprocess, opened.head is not None
    notes = [opened.warning] if opened.warning else []
    facts = {"source": side.artifact, "trained": opened.trained, "artifact_sha256": opened.sha256}
    model = opened.model
    del opened
    if side.kind == "onnxruntime":
        if model is None:
            raise SideError(f"{side.artifact} is no ONNX file")
        from hardnet_deploy.runners.ort import OrtRunner

        del runner  # as it was opened it takes all cores, and half of the memory
        runner = OrtRunner(model, threads=side.threads)
    elif model is not None:
        raise SideError(f"{side.artifact} is no TensorRT plan")
    del model
    _refuse_boundary(side, runner.outputs, is_detector=is_detector)
    return _ready(side, runner, preprocess, facts, notes)


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
    facts = {"source": side.artifact, "artifact_sha256": sha256_file(Path(side.artifact))}
    return _ready(side, runner, classifier_preprocess(side.size), facts, [])


def _ready(side: Side, runner: Runner, preprocess: Preprocess, facts: dict[str, Any], notes: Sequence[str]) -> Loaded:
    wanted = (side.batch, 3, side.size, side.size)
    declared = runner.inputs[0].shape
    if len(runner.inputs) != 1 or any(have not in {-1, want} for have, want in zip(declared, wanted, strict=True)):
        raise SideError(f"{side.artifact} takes images {list(declared)}, this run has {list(wanted)}")
    inputs = inputs_for(side, preprocess)
    text = network_text(runner.outputs)
    if side.kind == "tensorrt":
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
