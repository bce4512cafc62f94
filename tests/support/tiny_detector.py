"""Small detectors whose detections are known beforehand, written as artifacts; and one real export, made once.

The toy looks at the mean colour of the image alone. Red fires class 1 at prior 0, blue fires class 2 at prior 10; every
other prior is background whatever the image is. Its graph ends as every exported detector's does: same decoding, same
NMS nodes, same tensor names.
"""

from __future__ import annotations

import dataclasses
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from hardnet_deploy.artifacts import Manifest, describe_model, save_artifact
from hardnet_deploy.export.detection_tail import write_detection_tail
from hardnet_deploy.export.graph_builder import BATCH_AXIS, GraphBuilder
from hardnet_deploy.export.nms import write_efficient_nms, write_onnx_nms
from hardnet_deploy.export.options import GraphOptions, NmsKind, Outputs, output_names
from hardnet_deploy.files import sha256_bytes
from hardnet_deploy.models import registry
from hardnet_deploy.specs import DetectorHead, ModelSpec, PriorLayer, Published, Thresholds, detector_preprocess
from hardnet_deploy.tensor_names import CONF, INPUT, LOC

RED_CLASS, BLUE_CLASS = 1, 2
RED_PRIOR, BLUE_PRIOR = 0, 10
BACKGROUND_LOGIT = 20.0
COLOUR_GAIN = 0.05  # a pure colour is some 130 above its mean: a logit of about 6.5, a score of 0.998
SMALL_MODEL = "ssd300-hardnet68-voc"

TOY = ModelSpec(
    name="toy",
    architecture="68",
    preprocess=detector_preprocess(32),
    head=DetectorHead(
        input_size=32,
        num_classes=3,
        layers=(PriorLayer(grid=2, stride=16, min_size=8, max_size=16, aspect_ratios=(2.0,)),),
    ),
    class_names=("background", "red thing", "blue thing"),
    dataset="voc",
    published=Published(),
)
THRESHOLDS = Thresholds(score=0.03, iou=0.45, max_detections=10)


def expected_box(prior: int, width: int, height: int, spec: ModelSpec = TOY) -> tuple[float, float, float, float]:
    """The box of a prior in pixels of an image of that size: the toy's boxes are its priors."""
    assert spec.head is not None
    x, y, w, h = spec.head.priors64()[prior]
    return (x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height


def toy_graph(options: GraphOptions, spec: ModelSpec = TOY, *, busy: bool = False) -> onnx.ModelProto:
    """The toy as ONNX.

    Args:
        options: As of an export.
        spec: A detector of any size; boxes and classes are its.
        busy: Every prior fires for any image, with boxes and scores drawn from a seed.
    """
    assert spec.head is not None
    priors, classes = spec.head.num_priors, spec.head.num_classes
    draw = np.random.default_rng(7)
    weights = np.zeros((3, priors, classes), np.float32)
    bias = np.zeros((priors, classes), np.float32)
    offsets = np.zeros(priors * 4, np.float32)
    if busy:
        weights += draw.normal(0, 0.01, weights.shape).astype(np.float32)
        bias += draw.normal(0, 1, bias.shape).astype(np.float32)
        offsets += draw.normal(0, 1, offsets.shape).astype(np.float32)
    else:
        weights[2, RED_PRIOR, RED_CLASS] = weights[0, BLUE_PRIOR, BLUE_CLASS] = COLOUR_GAIN  # channels are B, G, R
        bias[:, 0] = BACKGROUND_LOGIT
        bias[[RED_PRIOR, BLUE_PRIOR]] = -BACKGROUND_LOGIT
        bias[[RED_PRIOR, BLUE_PRIOR], [0, 0]] = bias[RED_PRIOR, RED_CLASS] = bias[BLUE_PRIOR, BLUE_CLASS] = 0
    batch = BATCH_AXIS if options.batch is None else options.batch
    builder = GraphBuilder(opset=options.opset, name=spec.name)
    size = spec.preprocess.size
    builder.input(INPUT, (batch, 3, size, size))
    builder.node("ReduceMean", [INPUT], "mean", (batch, 3), axes=[2, 3], keepdims=0)
    for output, matrix, constant, width in (
        (CONF, weights.reshape(3, -1), bias.reshape(-1), classes),
        (LOC, np.zeros((3, priors * 4), np.float32), offsets, 4),
    ):
        product = builder.node(
            "MatMul", ["mean", builder.constant(f"{output}.w", matrix)], f"{output}.product", (batch, matrix.shape[1])
        )
        flat = builder.node(
            "Add", [product, builder.constant(f"{output}.b", constant)], f"{output}.flat", (batch, matrix.shape[1])
        )
        shape = builder.constant(f"{output}.shape", np.array([0, priors, width], np.int64))
        builder.node("Reshape", [flat, shape], output, (batch, priors, width))
    if options.outputs != "raw":
        write_detection_tail(builder, spec.head)
    if options.outputs == "detections":
        assert options.thresholds is not None
        if options.nms == "efficient":
            write_efficient_nms(builder, options.thresholds)
        else:
            write_onnx_nms(builder, spec.head, options.thresholds)
    return builder.model(output_names(spec, options), doc="")


def toy_manifest(options: GraphOptions, content: bytes, spec: ModelSpec = TOY, *, trained: bool = True) -> Manifest:
    assert spec.head is not None
    return Manifest(
        kind="onnx",
        model=describe_model(spec, code_line="pingolh"),
        weights={"trained": trained, "source": "made up", "sha256": None, "notes": []},
        preprocess=dataclasses.asdict(spec.preprocess),
        class_names=spec.class_names,
        head=dataclasses.asdict(spec.head),
        target=None,
        precision={"requested": "fp32", "achieved": {}},
        graph={"thresholds": dataclasses.asdict(options.thresholds) if options.thresholds else None},
        checks={},
        sha256=sha256_bytes(content),
        versions={},
        command=("hardnet-deploy", "export"),
    )


def write_toy(
    path: Path,
    *,
    outputs: Outputs = "detections",
    nms: NmsKind = "efficient",
    batch: int | None = 1,
    thresholds: Thresholds = THRESHOLDS,
    trained: bool = True,
    busy: bool = False,
    spec: ModelSpec = TOY,
) -> Path:
    """The toy and its manifest, at ``path``; returns ``path``."""
    kept = thresholds if outputs == "detections" else None
    options = GraphOptions(outputs=outputs, nms=nms, thresholds=kept, opset=13, batch=batch)
    content = toy_graph(options, spec, busy=busy).SerializeToString()
    save_artifact(path, content, toy_manifest(options, content, spec, trained=trained))
    return path


def save_image(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (8, 6)) -> Path:
    """An image of one colour (R, G, B) of (width, height)."""
    from PIL import Image

    Image.new("RGB", size, colour).save(path)
    return path


RED, BLUE, BOTH, NONE = (255, 0, 0), (0, 0, 255), (255, 0, 255), (0, 255, 0)


class _Real:
    """Files of the real export, removed when the process ends."""

    def __init__(self) -> None:
        import torch

        from hardnet_deploy.models.initialise import initialise
        from hardnet_deploy.workflows.export import run_export
        from hardnet_deploy.workflows.export_options import ExportRequest

        self._folder = tempfile.TemporaryDirectory(prefix="hardnet-deploy-tests-")
        folder = Path(self._folder.name)
        self.name = SMALL_MODEL
        self.onnx, self.checkpoint = folder / "real.onnx", folder / "real.pth"
        self.result = run_export(ExportRequest(model=SMALL_MODEL, output=self.onnx), lambda *_: None)
        model = registry.build(SMALL_MODEL)
        initialise(model, preprocess=registry.get(SMALL_MODEL).preprocess)
        torch.save(model.state_dict(), self.checkpoint)


@cache
def real_export() -> Any:
    """:data:`SMALL_MODEL` from the fixed seed: ``onnx`` and ``result`` of its export, ``checkpoint`` of its weights."""
    return _Real()
