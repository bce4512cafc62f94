"""A detector with three classes of its user's own: checkpoint, class list, export, and pictures of what it finds."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from hardnet_deploy.models import registry

MODEL: Final = registry.DEMO_MODEL
NAMES: Final = ("heron", "pike", "water vole")
SPEC: Final = registry.with_classes(registry.get(MODEL), NAMES)
CHECKPOINT: Final = "mine.pth"
CLASSES: Final = "names.txt"
ENGINE: Final = f"{MODEL}={CHECKPOINT}"
ONNX: Final = "mine.onnx"
DATA: Final = "coco:coco"
PICTURES: Final = 3
SIZE: Final = (160, 120)
OBJECTS: Final = 2  # of each class, found best in each picture
LOUDNESS: Final = 5.0  # of the scores, so that it detects something in any picture
BACKGROUND_BIAS: Final = 8.0


def write_checkpoint(folder: Path) -> None:
    """``mine.pth``, which holds weights alone, as the authors' training writes it, and ``names.txt``."""
    import torch

    from hardnet_deploy.models.initialise import initialise

    network = registry.build(SPEC)
    initialise(network, preprocess=SPEC.preprocess)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if name.startswith("conf.") and name.endswith("weight"):
                value.mul_(LOUDNESS)
            if name.startswith("conf.") and name.endswith("bias"):
                value.view(-1, len(SPEC.class_names))[:, 0] += BACKGROUND_BIAS
    torch.save(network.state_dict(), folder / CHECKPOINT)
    (folder / CLASSES).write_text("\n".join(NAMES) + "\n", encoding="utf-8")


def write_export(folder: Path) -> None:
    """``mine.onnx``, as ``export --classes`` writes it."""
    from hardnet_deploy.workflows.export import run_export
    from hardnet_deploy.workflows.export_options import ExportRequest

    request = ExportRequest(model=MODEL, weights=folder / CHECKPOINT, classes=folder / CLASSES, output=folder / ONNX)
    run_export(request, lambda *_: None)


def write_data(folder: Path) -> None:
    """``coco``: pictures whose objects are what the exported file finds best in them."""
    from PIL import Image
    from skimage import data
    from small_datasets import SmallImage, SmallObject, coco_document, write_coco

    from hardnet_deploy.workflows.detect import ImageDetections, detect
    from hardnet_deploy.workflows.open_engine import open_engine

    root = folder / "coco"
    names = [f"{number:04d}" for number in range(PICTURES)]
    write_coco(root, [SmallImage(name=name, size=SIZE) for name in names])
    paths = [root / "val2017" / f"{name}.png" for name in names]
    for path, source in zip(paths, (data.astronaut(), data.coffee(), data.rocket()), strict=True):
        Image.fromarray(source).resize(SIZE).save(path)
    images = []
    for name, found in zip(names, detect(open_engine(str(folder / ONNX)), paths), strict=True):
        assert isinstance(found, ImageDetections)
        best = [[one for one in found.detections if one.class_name == own][:OBJECTS] for own in NAMES]
        objects = tuple(SmallObject(name=one.class_name, box=one.box) for kind in best for one in kind)
        images.append(SmallImage(name=name, size=SIZE, objects=objects))
    write_coco(root, [], document=coco_document(images, tuple(enumerate(NAMES, start=1))))
