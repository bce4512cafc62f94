"""One side of a parity run: an engine that also hands out what is inside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.artifacts import Manifest, manifest_path, read_manifest
from hardnet_deploy.errors import ArtifactMismatchError
from hardnet_deploy.evaluate.layers import InnerTensor, InnerTensors
from hardnet_deploy.evaluate.tolerances import Precision, least_precision
from hardnet_deploy.nms.boxes import decode_boxes, softmax
from hardnet_deploy.nms.efficient import CANDIDATE_CAP
from hardnet_deploy.runners.base import Arrays
from hardnet_deploy.specs import F32, DetectorHead
from hardnet_deploy.targets import TARGETS
from hardnet_deploy.tensor_names import BOXES, CONF, LOC, LOGITS, SCORES
from hardnet_deploy.workflows.open_engine import OpenEngine, names_detector, names_model, open_engine

NETWORK_OUTPUTS: Final = (LOC, CONF, LOGITS)
DECODED: Final = (BOXES, SCORES)


@dataclass(frozen=True, kw_only=True)
class Side:
    """An engine whose runner also returns ``loc``, ``conf``, ``boxes`` and ``scores``, as far as it has them.

    Args:
        engine: Opened; its runner returns what is fetched besides its own outputs.
        precision: The lowest that one of its layers has.
        inner: The tensors inside it.
        decodes: True where ``boxes`` and ``scores`` are computed by its graph, not by the NumPy reference.
        closed: Why what it does not hand out itself cannot be looked at; None where it can.
    """

    engine: OpenEngine
    precision: Precision
    inner: InnerTensors
    decodes: bool
    closed: str | None = None

    @property
    def has_candidates(self) -> bool:
        """True where ``boxes`` and ``scores`` are known before the NMS."""
        outputs = self.engine.runner.outputs
        return all(name in outputs for name in DECODED) or all(name in outputs for name in (LOC, CONF))

    def infer(self, images: F32) -> Arrays:
        """Outputs for any number of images [n, 3, S, S] up to the engine's batch, by name.

        Raw outputs of a detector come with ``boxes`` and ``scores`` even where its graph ends before them: those are
        then the NumPy reference's, as ``detect`` computes them.
        """
        count = len(images)
        full = self.engine.batch or count
        if full > count:
            images = np.concatenate((images, np.repeat(images[-1:], full - count, axis=0)))
        values = self.engine.runner.infer({self.engine.runner.inputs[0].name: images})
        found = {name: value[:count] for name, value in values.items()}
        return {**decoded(found, self.engine.head), **found}


def decoded(values: Arrays, head: DetectorHead | None) -> Arrays:
    """``boxes`` and ``scores`` that the NumPy reference makes of ``loc`` and ``conf``; none where one is missing.

    NaN and infinity among them stay what they are, and are the caller's to find.
    """
    if head is None or LOC not in values or CONF not in values:
        return {}
    with np.errstate(invalid="ignore", over="ignore"):
        return {BOXES: decode_boxes(values[LOC], head.priors(), head.variances), SCORES: softmax(values[CONF])}


def open_side(text: str, *, trust: bool, code_line: str, classes: Path | None = None) -> Side:
    """Open one side.

    Args:
        text: An artifact file, ``MODEL`` or ``MODEL=CHECKPOINT.pth``.
        trust: Take an artifact without a manifest, or one that changed.
        code_line: Only for a model.
        classes: File with class names; only a detector's ``MODEL`` or ``MODEL=CHECKPOINT`` takes them.

    Raises:
        HardnetDeployError: As :func:`~hardnet_deploy.workflows.open_engine.open_engine` does.
    """
    if names_model(text):
        return _open_model(text, code_line, classes if names_detector(text) else None)
    engine = open_engine(text, trust=trust)
    return _open_plan(engine) if engine.model is None else _open_onnx(engine)


def _open_model(text: str, code_line: str, classes: Path | None) -> Side:
    from hardnet_deploy.workflows.parity_inner import TorchInner

    engine = open_engine(text, code_line=code_line, classes=classes)
    assert engine.network is not None
    inner = TorchInner(engine.network, size=engine.preprocess.size)
    return Side(engine=engine, precision="fp32", inner=inner, decodes=False)


class _NothingInside:
    """Of a TensorRT plan, which hands out its outputs alone."""

    tensors: Mapping[str, InnerTensor] = MappingProxyType({})

    def values(self, images: F32, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """None of them."""
        del images
        return dict.fromkeys(names, np.zeros(0))


def _open_plan(engine: OpenEngine) -> Side:
    outputs = engine.runner.outputs
    return Side(
        engine=engine,
        precision=_precision(engine.manifest, engine),
        inner=_NothingInside(),
        decodes=all(name in outputs for name in DECODED),
        closed=f"not available: a TensorRT plan hands out its outputs alone ({', '.join(outputs)})",
    )


def _open_onnx(engine: OpenEngine) -> Side:
    from hardnet_deploy.runners.ort import OrtRunner
    from hardnet_deploy.workflows.parity_inner import OnnxInner

    assert engine.model is not None
    inner = OnnxInner(engine.model, batch=engine.batch)
    inside = [name for name in (*NETWORK_OUTPUTS, *DECODED) if name in inner.tensors]
    manifest = _manifest(engine)
    target = TARGETS.get(manifest.target or "") if manifest else None
    cap = target.nms_candidate_cap if target else None
    runner = OrtRunner(engine.model, extra_outputs=inside, candidate_cap=cap or CANDIDATE_CAP)
    return Side(
        engine=dataclasses.replace(engine, runner=runner),
        precision=_precision(manifest, engine),
        inner=inner,
        decodes=all(name in inside for name in DECODED),
    )


def _manifest(engine: OpenEngine) -> Manifest | None:
    """The manifest beside an opened artifact; None where ``--trust`` took it without a readable one."""
    try:
        return read_manifest(manifest_path(Path(engine.label)))
    except ArtifactMismatchError:
        return None


def _precision(manifest: Manifest | None, engine: OpenEngine) -> Precision:
    """As the manifest says; without one, as the graph's stored tensors and quantisers say."""
    if manifest is not None:
        achieved = manifest.precision.get("achieved")
        layers = achieved.values() if isinstance(achieved, dict) else ()
        return least_precision(str(name) for name in (manifest.precision.get("requested"), *layers))
    from onnx import helper

    assert engine.model is not None
    graph = engine.model.graph
    stored = [helper.tensor_dtype_to_np_dtype(one.data_type).name for one in graph.initializer]
    quantised = ["int8"] if any(node.op_type == "QuantizeLinear" for node in graph.node) else []
    return least_precision([*stored, *quantised])
