"""A small real detector as PyTorch checkpoint and as exported files, and pictures whose truth is what it detects.

The detector is ``ssd300-hardnet-demo`` with weights from a seed, its class scores made loud, so that it detects things
in any picture. The truth is what PyTorch finds best in each picture: the reference has a high mAP, and whatever a
candidate loses shows.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from tiny_detector import toy_manifest

from hardnet_deploy.artifacts import describe_model, save_artifact
from hardnet_deploy.export.onnx_export import build_graph
from hardnet_deploy.export.options import GraphOptions
from hardnet_deploy.models import registry
from hardnet_deploy.specs import ModelSpec, Thresholds

NAME = registry.DEMO_MODEL
SPEC = registry.get(NAME)
THRESHOLDS = Thresholds(score=0.02, iou=0.45, max_detections=200)
PICTURES = 4
SIZE = (160, 120)
OBJECTS = 6
LOUDNESS = 5.0
BACKGROUND_BIAS = 10.0


class Pair:
    """Checkpoint, graphs and data, removed when the process ends."""

    def __init__(self) -> None:
        import torch

        from hardnet_deploy.models.initialise import initialise

        self._folder = tempfile.TemporaryDirectory(prefix="hardnet-deploy-tests-")
        self.folder = Path(self._folder.name)
        self.network = registry.build(SPEC)
        initialise(self.network, preprocess=SPEC.preprocess)
        with torch.no_grad():
            for name, value in self.network.named_parameters():
                if name.startswith("conf.") and name.endswith("weight"):
                    value.mul_(LOUDNESS)
                if name.startswith("conf.") and name.endswith("bias"):
                    value.view(-1, len(SPEC.class_names))[:, 0] += BACKGROUND_BIAS
        self.checkpoint = self.folder / "demo.pth"
        torch.save(self.network.state_dict(), self.checkpoint)
        self.torch = f"{NAME}={self.checkpoint}"
        self._graphs: dict[tuple[bool, GraphOptions], bytes] = {}

    def graph(self, *, fused: bool = True, **options: Any) -> onnx.ModelProto:
        """A graph of the network, the caller's to change."""
        chosen = dataclasses.replace(
            GraphOptions(outputs="detections", nms="efficient", thresholds=THRESHOLDS, opset=13, batch=1), **options
        )
        key = (fused, chosen)
        if key not in self._graphs:
            network, renames = self._fused if fused else (self.network, {})
            self._graphs[key] = build_graph(network, SPEC, chosen, renames=renames, doc="test").SerializeToString()
        return onnx.load_model_from_string(self._graphs[key])

    @cached_property
    def _fused(self) -> tuple[Any, dict[str, str]]:
        import torch

        from fusion.torch_fold import fold_module

        example = torch.zeros((1, 3, SPEC.preprocess.size, SPEC.preprocess.size))
        result = fold_module(self.network, example)
        return result.model, dict(result.report.conv_to_batchnorm)

    def save(
        self,
        path: Path,
        model: onnx.ModelProto | None = None,
        *,
        spec: ModelSpec = SPEC,
        precision: str = "fp32",
        thresholds: Thresholds | None = THRESHOLDS,
    ) -> Path:
        """The graph, by default the usual one, with a manifest that says what ``spec`` says."""
        content = (self.graph() if model is None else model).SerializeToString()
        options = GraphOptions(outputs="detections", nms="efficient", thresholds=thresholds, opset=13, batch=1)
        manifest = dataclasses.replace(
            toy_manifest(options, content, SPEC),
            model=describe_model(spec, code_line="pingolh"),
            preprocess=dataclasses.asdict(spec.preprocess),
            class_names=spec.class_names,
            head=dataclasses.asdict(spec.head) if spec.head else None,
            precision={"requested": precision, "achieved": {}},
        )
        save_artifact(path, content, manifest)
        return path

    @cached_property
    def file(self) -> Path:
        """The usual export: fused, with the plugin."""
        return self.save(self.folder / "fused.onnx")

    @cached_property
    def data(self) -> str:
        """``coco:ROOT`` of pictures whose objects are what PyTorch finds."""
        from PIL import Image
        from skimage import data
        from small_datasets import SmallImage, SmallObject, coco_document, write_coco

        from hardnet_deploy.workflows.detect import ImageDetections, detect
        from hardnet_deploy.workflows.open_engine import open_engine

        root = self.folder / "coco"
        sources = [data.astronaut(), data.coffee(), data.rocket(), data.astronaut()[::-1].copy()]
        names = [f"{number:04d}" for number in range(PICTURES)]
        blank = [SmallImage(name=name, size=SIZE) for name in names]
        write_coco(root, blank)
        for name, source in zip(names, sources, strict=True):
            Image.fromarray(source).resize(SIZE).save(root / "val2017" / f"{name}.png")
        images = []
        paths = [root / "val2017" / f"{name}.png" for name in names]
        for name, found in zip(names, detect(open_engine(self.torch), paths), strict=True):
            assert isinstance(found, ImageDetections)
            objects = tuple(SmallObject(name=one.class_name, box=one.box) for one in found.detections[:OBJECTS])
            images.append(SmallImage(name=name, size=SIZE, objects=objects))
        categories = tuple(enumerate(SPEC.class_names[1:], start=1))
        write_coco(root, [], document=coco_document(images, categories))
        return f"coco:{root}"


@cache
def pair() -> Pair:
    """One for all tests of a run."""
    return Pair()


def change(model: onnx.ModelProto, name: str, how: Callable[[np.ndarray], np.ndarray]) -> onnx.ModelProto:
    """``model`` with another initialiser ``name``."""
    (tensor,) = [one for one in model.graph.initializer if one.name == name]
    tensor.CopyFrom(numpy_helper.from_array(how(numpy_helper.to_array(tensor)), name))
    return model
