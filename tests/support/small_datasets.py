"""Small data sets in the layouts of COCO and VOC, written by tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tiny_detector import BLUE, BLUE_PRIOR, BOTH, NONE, RED, RED_PRIOR, TOY, expected_box, save_image

from hardnet_deploy.data.dataset import Dataset, GroundTruth, Metric, Sample
from hardnet_deploy.nms.matching import DetectionSet

Box = tuple[float, float, float, float]
CATEGORIES = ((3, "red thing"), (90, "blue thing"))  # with a gap, as COCO's ids have


@dataclass(frozen=True, kw_only=True)
class SmallObject:
    """One object; ``box`` corners in continuous pixels; ``flag``: crowd in COCO, difficult in VOC."""

    name: str
    box: Box
    flag: bool = False


@dataclass(frozen=True, kw_only=True)
class SmallImage:
    name: str
    colour: tuple[int, int, int] = RED
    size: tuple[int, int] = (64, 48)
    objects: tuple[SmallObject, ...] = field(default=())


def toy_images(count: int = 6) -> list[SmallImage]:
    """Images in which the toy detector is right about everything, to a thousandth of a pixel."""
    images = []
    for number in range(count):
        colour = (RED, BLUE, BOTH, NONE)[number % 4]
        size = (64 + 2 * number, 48)
        names = {RED: ["red"], BLUE: ["blue"], BOTH: ["red", "blue"], NONE: []}[colour]
        objects = tuple(
            SmallObject(name=f"{word} thing", box=expected_box({"red": RED_PRIOR, "blue": BLUE_PRIOR}[word], *size))
            for word in names
        )
        images.append(SmallImage(name=f"{number + 1:06d}", colour=colour, size=size, objects=objects))
    return images


def coco_document(
    images: Sequence[SmallImage], categories: Sequence[tuple[int, str]] = CATEGORIES, *, suffix: str = ".png"
) -> dict[str, Any]:
    """An instances file; image ids count from 10."""
    ids = {name: number for number, name in categories}
    annotations = []
    for number, image in enumerate(images, start=10):
        for one in image.objects:
            x1, y1, x2, y2 = one.box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": ids[one.name],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": int(one.flag),
                }
            )
    return {
        "images": [
            {"id": number, "file_name": image.name + suffix, "width": image.size[0], "height": image.size[1]}
            for number, image in enumerate(images, start=10)
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in categories],
    }


def write_coco(
    root: Path, images: Sequence[SmallImage], *, split: str = "val2017", document: dict[str, Any] | None = None
) -> Path:
    """COCO's layout at ``root``; returns the annotation file."""
    path = root / "annotations" / f"instances_{split}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    (root / split).mkdir(exist_ok=True)
    for image in images:
        save_image(root / split / f"{image.name}.png", image.colour, image.size)
    path.write_text(json.dumps(coco_document(images) if document is None else document), encoding="utf-8")
    return path


def voc_xml(image: SmallImage) -> str:
    """An annotation as VOC writes it: pixels from 1, both ends included; boxes rounded to whole pixels."""
    width, height = image.size
    parts = [f"<annotation><filename>{image.name}.jpg</filename>"]
    parts.append(f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>")
    for one in image.objects:
        x1, y1, x2, y2 = (round(side) for side in one.box)
        parts.append(
            f"<object><name>{one.name}</name><difficult>{int(one.flag)}</difficult><bndbox><xmin>{x1 + 1}</xmin>"
            f"<ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        )
    return "\n".join([*parts, "</annotation>"])


def write_voc(root: Path, images: Sequence[SmallImage], *, year: int = 2007, split: str = "test") -> Path:
    """VOC's layout in ``root``/VOCdevkit; returns the year's folder."""
    folder = root / "VOCdevkit" / f"VOC{year}"
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for image in images:
        save_image(folder / "JPEGImages" / f"{image.name}.jpg", image.colour, image.size)
        (folder / "Annotations" / f"{image.name}.xml").write_text(voc_xml(image), encoding="utf-8")
    (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{image.name}\n" for image in images))
    return folder


def truth(
    rows: Sequence[tuple[int, Box]],
    *,
    crowd: Sequence[int] = (),
    difficult: Sequence[int] = (),
    areas: Sequence[float] | None = None,
) -> GroundTruth:
    """Objects from (label, box); ``crowd`` and ``difficult`` are their indices."""
    boxes = np.array([box for _, box in rows], np.float64).reshape(-1, 4)
    count = np.arange(len(rows))
    sides = boxes[:, 2:] - boxes[:, :2]
    return GroundTruth(
        boxes=boxes,
        labels=np.array([label for label, _ in rows], np.int64),
        areas=sides.prod(axis=1) if areas is None else np.array(areas, np.float64),
        crowd=np.isin(count, crowd),
        difficult=np.isin(count, difficult),
    )


def dataset(
    truths: Sequence[GroundTruth], *, class_names: tuple[str, ...] = TOY.class_names, metric: Metric = "coco"
) -> Dataset:
    """A data set without files."""
    return Dataset(
        name="made up",
        class_names=class_names,
        samples=tuple(
            Sample(image_id=number, path=Path(f"{number}.png"), width=640, height=480, truth=one)
            for number, one in enumerate(truths)
        ),
        digest="0" * 64,
        metric=metric,
    )


def found(rows: Sequence[tuple[int, Box, float]]) -> DetectionSet:
    """Detections from (class, box, score)."""
    return DetectionSet.from_rows([(label, *box, score) for label, box, score in rows])


def random_dataset(seed: int, *, images: int = 12, classes: int = 3, metric: Metric = "coco") -> Dataset:
    """Objects of all sizes, with crowds (COCO) or difficult ones (VOC), overlaps, and images without any."""
    draw = np.random.default_rng(seed)
    truths = []
    for _ in range(images):
        count = int(draw.integers(0, 8))
        corner = draw.uniform(0, 400, (count, 2))
        boxes = np.concatenate((corner, corner + np.exp(draw.uniform(np.log(8), np.log(200), (count, 2)))), axis=1)
        boxes[1::3] = boxes[0::3][: len(boxes[1::3])] + draw.uniform(-9, 9, boxes[1::3].shape)
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        flags = np.nonzero(draw.random(count) < 0.2)[0].tolist()
        labels = draw.integers(1, classes + 1, count).tolist()
        rows = [(label, tuple(box)) for label, box in zip(labels, boxes.tolist(), strict=True)]
        truths.append(truth(rows, **{"crowd" if metric == "coco" else "difficult": flags}))
    names = ("background", *(f"class {number}" for number in range(1, classes + 1)))
    return dataset(truths, class_names=names, metric=metric)


def random_detections(data: Dataset, seed: int, *, decimals: int = 1) -> list[DetectionSet]:
    """Shifted copies of the objects, some doubled, some lost, some of the wrong class, and inventions; tied scores."""
    draw = np.random.default_rng(seed)
    classes = len(data.class_names)
    results = []
    for sample in data.samples:
        boxes, labels = sample.truth.boxes, sample.truth.labels
        kept = draw.random(len(boxes)) < 0.8
        again = draw.random(len(boxes)) < 0.4
        corner = draw.uniform(0, 400, (5, 2))
        invented = np.concatenate((corner, corner + draw.uniform(5, 150, (5, 2))), axis=1)
        all_boxes = np.concatenate((boxes[kept], boxes[again], invented))
        all_boxes = all_boxes + draw.normal(0, 4, all_boxes.shape)
        all_boxes[:, 2:] = np.maximum(all_boxes[:, 2:], all_boxes[:, :2] + 0.5)
        all_labels = np.concatenate((labels[kept], labels[again], draw.integers(1, classes, 5)))
        wrong = draw.random(len(all_labels)) < 0.1
        all_labels = np.where(wrong, draw.integers(1, classes, len(all_labels)), all_labels)
        scores = np.round(draw.uniform(0.05, 1, len(all_labels)), decimals)
        order = np.argsort(-scores, kind="stable")
        results.append(DetectionSet(boxes=all_boxes[order], scores=scores[order], classes=all_labels[order]))
    return results


def as_detections(data: Dataset) -> list[DetectionSet]:
    """Every object that counts, found exactly, with scores that fall."""
    results = []
    for sample in data.samples:
        counts = ~(sample.truth.crowd | sample.truth.difficult)
        total = int(counts.sum())
        results.append(
            DetectionSet(
                boxes=sample.truth.boxes[counts],
                scores=np.linspace(0.9, 0.5, total),
                classes=sample.truth.labels[counts],
            )
        )
    return results
