"""A small convolutional detector and backbone for the tests of INT8: real convolutions, concatenations and heads.

Their weights come from a seed. What the detector finds in the pictures is their truth: the float graph has a high mAP,
and whatever INT8 loses shows.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from small_datasets import SmallImage, SmallObject, coco_document, write_coco
from tiny_detector import THRESHOLDS, TOY, toy_manifest

from hardnet_deploy.artifacts import save_artifact
from hardnet_deploy.export.detection_tail import write_detection_tail
from hardnet_deploy.export.graph_builder import BATCH_AXIS, GraphBuilder
from hardnet_deploy.export.nms import write_efficient_nms, write_onnx_nms
from hardnet_deploy.export.options import GraphOptions, Outputs, output_names
from hardnet_deploy.specs import ModelSpec, PriorLayer, Thresholds
from hardnet_deploy.target_spec import NmsKind
from hardnet_deploy.tensor_names import CONF, INPUT, LOC
from hardnet_deploy.workflows.build_engine import run_build
from hardnet_deploy.workflows.build_options import BuildRequest
from hardnet_deploy.workflows.calibrate import CalibrateResult, run_calibrate
from hardnet_deploy.workflows.calibrate_options import CalibrateRequest
from hardnet_deploy.workflows.save_engine import BuildResult

Progress = Callable[[str, int, int], None]
LAYERS = ("base.0", "base.1.a", "base.1.b", "base.2", "loc.0", "conf.0")
FIRST, HEADS = LAYERS[0], LAYERS[-2:]
PICTURE = (48, 40)
OBJECTS = 3

assert TOY.head is not None
DETECTOR: ModelSpec = dataclasses.replace(
    TOY,
    head=dataclasses.replace(
        TOY.head, layers=(PriorLayer(grid=4, stride=8, min_size=6, max_size=14, aspect_ratios=(2.0,)),)
    ),
)


def silent(_what: str, _done: int, _total: int) -> None:
    """No progress."""


class _Net:
    """Convolutions with weights from a seed, He-initialised."""

    def __init__(self, batch: int | None, seed: int) -> None:
        self.builder = GraphBuilder(opset=13, name=DETECTOR.name)
        self.batch: int | str = BATCH_AXIS if batch is None else batch
        self.draw = np.random.default_rng(seed)
        size = DETECTOR.preprocess.size
        self.builder.input(INPUT, (self.batch, 3, size, size))

    def conv(self, name: str, source: str, width: int, *, stride: int = 1, gain: float = 1.0, relu: bool = True) -> str:
        _, before, rows, _ = (int(one or 0) if not isinstance(one, str) else 0 for one in self.builder.shapes[source])
        weight = self.draw.standard_normal((width, before, 3, 3)) * gain * np.sqrt(2 / (9 * before))
        constants = [
            self.builder.constant(f"{name}.weight", weight.astype(np.float32)),
            self.builder.constant(f"{name}.bias", (0.1 * self.draw.standard_normal(width)).astype(np.float32)),
        ]
        shape = (self.batch, width, rows // stride, rows // stride)
        attributes: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1] * 4, "strides": [stride] * 2}
        made = self.builder.node("Conv", [source, *constants], f"{name}.conv", shape, name=name, **attributes)
        return self.builder.node("Relu", [made], f"{name}.relu", shape) if relu else made

    def concat(self, sources: list[str], output: str) -> str:
        shapes = [self.builder.shapes[source] for source in sources]
        width = sum(int(shape[1] or 0) for shape in shapes)
        return self.builder.node("Concat", sources, output, (self.batch, width, *shapes[0][2:]), axis=1)

    def trunk(self) -> str:
        """Two convolutions that meet in a concatenation, as in a HarDBlock, and one behind it."""
        stem = self.conv("base.0", INPUT, 8, stride=4, gain=1 / 64)  # pixels are up to 128 from their mean
        first = self.conv("base.1.a", stem, 8)
        second = self.conv("base.1.b", self.concat([first, stem], "base.1.in"), 8)
        return self.conv("base.2", self.concat([second, first], "base.1.out"), 16, stride=2)


def detector_graph(
    *,
    outputs: Outputs = "detections",
    nms: NmsKind = "efficient",
    batch: int | None = 1,
    seed: int = 3,
    thresholds: Thresholds = THRESHOLDS,
) -> onnx.ModelProto:
    """The detector; it ends as every exported one does."""
    assert DETECTOR.head is not None
    net = _Net(batch, seed)
    builder, head = net.builder, DETECTOR.head
    source = net.trunk()
    for name, width, gain in ((LOC, 4, 1.0), (CONF, head.num_classes, 4.0)):
        per_cell = head.boxes_per_cell[0] * width
        made = net.conv(f"{name}.0", source, per_cell, gain=gain, relu=False)
        grid = head.layers[0].grid
        last = builder.node("Transpose", [made], f"{name}.0.last", (net.batch, grid, grid, per_cell), perm=[0, 2, 3, 1])
        shape = builder.constant(f"{name}.shape", np.array([0, head.num_priors, width], np.int64))
        builder.node("Reshape", [last, shape], name, (net.batch, head.num_priors, width))
    if outputs != "raw":
        write_detection_tail(builder, head)
    options = _options(outputs, nms, batch, thresholds)
    if outputs == "detections" and nms == "efficient":
        write_efficient_nms(builder, thresholds)
    elif outputs == "detections":
        write_onnx_nms(builder, head, thresholds)
    return builder.model(output_names(DETECTOR, options), doc="")


def backbone_graph(*, seed: int = 5) -> onnx.ModelProto:
    """The same trunk with a classifier behind it."""
    net = _Net(1, seed)
    builder = net.builder
    pooled = builder.node("GlobalAveragePool", [net.trunk()], "pooled", (1, 16, 1, 1))
    flat = builder.node("Flatten", [pooled], "flat", (1, 16))
    weight = builder.constant("fc.weight", net.draw.standard_normal((16, 10)).astype(np.float32))
    builder.node("MatMul", [flat, weight], "logits", (1, 10), name="fc")
    return builder.model(["logits"], doc="")


def _options(outputs: Outputs, nms: NmsKind, batch: int | None, thresholds: Thresholds) -> GraphOptions:
    kept = thresholds if outputs == "detections" else None
    return GraphOptions(outputs=outputs, nms=nms, thresholds=kept, opset=13, batch=batch)


def write_graph(path: Path, graph: onnx.ModelProto, *, outputs: Outputs = "detections", **changes: Any) -> Path:
    """A graph of the detector with its manifest, at ``path``; ``changes`` to the manifest."""
    content = graph.SerializeToString()
    manifest = toy_manifest(_options(outputs, "efficient", 1, THRESHOLDS), content, DETECTOR)
    save_artifact(path, content, dataclasses.replace(manifest, **changes))
    return path


def write_detector(path: Path, **options: Any) -> Path:
    """The detector and its manifest."""
    return write_graph(path, detector_graph(**options), outputs=options.get("outputs", "detections"))


def write_backbone(path: Path) -> Path:
    """The backbone and its manifest."""
    return write_graph(path, backbone_graph(), outputs="raw", head=None, class_names=())


def save_pictures(folder: Path, count: int = 4, *, seed: int = 11) -> list[Path]:
    """Pictures of coloured blocks."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    paths = []
    for number in range(count):
        blocks: NDArray[np.uint8] = draw.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        paths.append(folder / f"{number:02d}.png")
        Image.fromarray(blocks).resize(PICTURE, Image.Resampling.NEAREST).save(paths[-1])
    return paths


def save_labelled(root: Path, engine: Path, count: int = 4) -> str:
    """``coco:ROOT`` of pictures whose objects are what ``engine`` finds best in them."""
    from hardnet_deploy.workflows.detect import ImageDetections, detect
    from hardnet_deploy.workflows.open_engine import open_engine

    paths = save_pictures(root / "val2017", count, seed=12)
    images = []
    for path, found in zip(paths, detect(open_engine(str(engine)), paths), strict=True):
        assert isinstance(found, ImageDetections)
        objects = tuple(SmallObject(name=one.class_name, box=one.box) for one in found.detections[:OBJECTS])
        images.append(SmallImage(name=path.stem, size=PICTURE, objects=objects))
    categories = tuple(enumerate(DETECTOR.class_names[1:], start=1))
    write_coco(root, [], document=coco_document(images, categories))
    return f"coco:{root}"


@cache
def _template() -> tempfile.TemporaryDirectory[str]:
    """What :func:`fill_folder` copies, made once."""
    folder = tempfile.TemporaryDirectory(prefix="hardnet-deploy-tests-")
    root = Path(folder.name)
    write_detector(root / "float.onnx")
    save_pictures(root / "pictures")
    save_labelled(root / "coco", root / "float.onnx")
    calibrate(root / "float.onnx", data=str(root / "pictures"))
    return folder


def fill_folder(folder: Path) -> None:
    """``float.onnx``, its ranges ``float.calib.json`` on ``pictures``, and labelled images as ``coco:coco``."""
    shutil.copytree(_template().name, folder, dirs_exist_ok=True)


def calibrate(onnx_file: Path | str = "float.onnx", *, progress: Progress = silent, **options: Any) -> CalibrateResult:
    """``run_calibrate`` on the folder ``pictures`` and by minmax, unless told otherwise."""
    settings: dict[str, Any] = {"data": "pictures", "method": "minmax", "threads": 1, "workers": 1} | options
    return run_calibrate(CalibrateRequest(onnx=Path(onnx_file), **settings), progress)


def build(**options: Any) -> BuildResult:
    """``run_build`` of an INT8 engine ``int8.onnx`` from ``float.onnx`` and its ranges, unless told otherwise."""
    settings: dict[str, Any] = {"source": "float.onnx", "int8": True, "target": "cpu", "output": Path("int8.onnx")}
    if "data" not in options and options.get("int8", True):
        settings["calib"] = Path("float.calib.json")
    progress = options.pop("progress", silent)
    return run_build(BuildRequest(**settings | options), progress)


def changed(model: onnx.ModelProto, name: str, how: Callable[[Any], Any]) -> onnx.ModelProto:
    """``model`` with another initialiser ``name``."""
    (tensor,) = [one for one in model.graph.initializer if one.name == name]
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(how(numpy_helper.to_array(tensor)), np.float32), name))
    return model
