"""What the shipped demo detector reaches, how it was trained, and what each convention of upstream's evaluation does.

Run:
    python benchmarks/demo_detector.py --training FOLDER... --save benchmarks/results/demo_detector.json

Each FOLDER is what one ``hardnet-deploy train`` left, in order; without any the training part of the saved file stays
as it is. The network runs once over the 2,000 validation scenes; every row scores the same boxes and scores.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from machine import conditions

from hardnet_deploy.data.dataset import Dataset
from hardnet_deploy.data.loading import LoadedImage, load_inputs
from hardnet_deploy.data.sources import open_data
from hardnet_deploy.evaluate.coco_metric import coco_scores
from hardnet_deploy.evaluate.postprocess import efficient_nms, upstream_postprocess
from hardnet_deploy.evaluate.voc_metric import voc_scores
from hardnet_deploy.files import sha256_file
from hardnet_deploy.models import registry
from hardnet_deploy.nms.matching import DetectionSet
from hardnet_deploy.specs import F32, Thresholds
from hardnet_deploy.tensor_names import BOXES, SCORES
from hardnet_deploy.train.curve import draw_curve
from hardnet_deploy.train.state import Curve
from hardnet_deploy.workflows.open_engine import open_engine
from hardnet_deploy.workflows.post_process import upstream_thresholds

PICTURE = Path("docs/images/training_curve.png")
PAIRS = 2  # neighbours in the class list look alike
DEPLOYED, UPSTREAM, UNFILTERED, VOC, MERGED = (
    "deployed NMS",
    "upstream",
    "upstream without its background filter",
    "upstream, thresholds of VOC",
    "deployed NMS, look-alikes taken as one class",
)
Detections = dict[str, list[DetectionSet]]


def detect(dataset: Dataset) -> Detections:
    """Detections of every scene under each post-processing."""
    engine = open_engine(registry.DEMO_MODEL)
    found: Detections = {name: [] for name in (DEPLOYED, UPSTREAM, UNFILTERED, VOC, MERGED)}
    images = load_inputs([sample.path for sample in dataset.samples], engine.preprocess)
    for number, image in enumerate(images):
        assert isinstance(image, LoadedImage)
        values = engine.runner.infer({engine.runner.inputs[0].name: image.pixels[None]})
        boxes, scores = values[BOXES], values[SCORES]
        found[DEPLOYED].append(_deployed(boxes, scores, image, engine.thresholds))
        found[MERGED].append(_deployed(boxes, _merged(scores), image, engine.thresholds))
        unfiltered = scores.copy()
        unfiltered[..., 0] = 0
        coco, voc = upstream_thresholds("coco"), upstream_thresholds("voc07")
        for name, kept, thresholds in ((UPSTREAM, scores, coco), (UNFILTERED, unfiltered, coco), (VOC, scores, voc)):
            found[name].append(_upstream(boxes[0], kept[0], image, thresholds))
        if number % 200 == 0:
            print(f"{number} of {len(dataset)} scenes", file=sys.stderr)
    return found


def _merged(scores: F32) -> F32:
    """Softmax over background and the pairs of look-alikes."""
    pairs = scores[..., 1:].reshape(*scores.shape[:2], -1, PAIRS).sum(axis=-1)
    return np.concatenate((scores[..., :1], pairs), axis=-1)


def _deployed(boxes: F32, scores: F32, image: LoadedImage, kept: Thresholds) -> DetectionSet:
    result = efficient_nms(
        boxes,
        scores,
        score_threshold=kept.score,
        iou_threshold=kept.iou,
        max_output_boxes=kept.max_detections,
        background_class=0,
    )
    unit = DetectionSet.from_result(result, 0)
    scale = np.array([image.width, image.height] * 2, np.float64)
    return DetectionSet(boxes=unit.boxes * scale, scores=unit.scores, classes=unit.classes)


def _upstream(boxes: F32, scores: F32, image: LoadedImage, kept: Thresholds) -> DetectionSet:
    size = (image.height, image.width)
    rows = upstream_postprocess(boxes, scores, size, threshold=kept.score, max_per_image=kept.max_detections)
    return DetectionSet.from_rows(rows)


def measure(dataset: Dataset, found: Detections) -> dict[str, Any]:
    """The twelve numbers of the deployed NMS, its classes, and one mAP for each convention."""
    deployed = coco_scores(dataset, found[DEPLOYED])
    rows = {f"COCO, {DEPLOYED}": deployed.mean_ap}
    rows |= {f"COCO, {name}": coco_scores(dataset, found[name]).mean_ap for name in (UPSTREAM, UNFILTERED)}
    rows["COCO, upstream, widths one pixel larger as it writes them"] = coco_scores(
        dataset, found[UPSTREAM], plus_one=True
    ).mean_ap
    rows["VOC07, upstream"] = voc_scores(dataset, found[VOC], metric="voc07").mean_ap
    rows["VOC07, upstream, scores rounded to three decimals"] = voc_scores(
        dataset, [_rounded(one) for one in found[VOC]], metric="voc07"
    ).mean_ap
    rows["VOC07, upstream, as it writes them: scores and sides rounded, one pixel larger"] = voc_scores(
        dataset, found[VOC], metric="voc07", as_upstream=True
    ).mean_ap
    rows["VOC12, upstream"] = voc_scores(dataset, found[VOC], metric="voc12").mean_ap
    rows[f"COCO, {MERGED}"] = coco_scores(_as_pairs(dataset), found[MERGED]).mean_ap
    names = dataset.class_names
    return {
        "coco": deployed.numbers,
        "per_class": {names[one.class_id]: one.ap for one in deployed.classes},
        "mAP_by_convention": rows,
    }


def _rounded(found: DetectionSet) -> DetectionSet:
    return dataclasses.replace(found, scores=np.round(found.scores, 3))


def _as_pairs(dataset: Dataset) -> Dataset:
    """The same objects, look-alikes under one name."""
    samples = tuple(
        dataclasses.replace(
            sample, truth=dataclasses.replace(sample.truth, labels=(sample.truth.labels + PAIRS - 1) // PAIRS)
        )
        for sample in dataset.samples
    )
    names = dataset.class_names[1:]
    pairs = tuple(" or ".join(names[first : first + PAIRS]) for first in range(0, len(names), PAIRS))
    return dataclasses.replace(dataset, samples=samples, class_names=(dataset.class_names[0], *pairs))


def training(folders: list[Path]) -> list[dict[str, Any]]:
    """The records that the trainings left, in order; their curves, one after the other, become the README's picture."""
    records: list[dict[str, Any]] = [
        json.loads((folder / "train.json").read_text(encoding="utf-8")) for folder in folders
    ]
    curve: Curve = []
    before = 0
    for record in records:
        curve += [
            (before + point["step"], point["learning_rate"], point["location"], point["confidence"])
            for point in record["curve"]
        ]
        before += record["steps"]
    draw_curve(curve, PICTURE, title=f"{registry.DEMO_MODEL}: {before} steps in {len(records)} runs")
    return records


def tables(record: dict[str, Any]) -> str:
    """The README's two tables, as Markdown."""
    coco, classes = record["coco"], record["per_class"]
    sizes = [f"{coco[name]:.3f}" for name in ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100")]
    return "\n".join(
        [
            "| mAP @[.50:.95] | AP50 | AP75 | small | medium | large | AR100 |",
            "|---|---|---|---|---|---|---|",
            f"| **{sizes[0]}** | {' | '.join(sizes[1:])} |",
            "",
            f"| {' | '.join(classes)} |",
            "|" + "---|" * len(classes),
            f"| {' | '.join(f'{value:.3f}' for value in classes.values())} |",
            "",
            "| mAP | metric, post-processing |",
            "|---|---|",
            *(f"| {value:.4f} | {name} |" for name, value in record["mAP_by_convention"].items()),
        ]
    )


def main() -> None:
    """Measure, print, save; or print the README's tables of a saved record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--save", type=Path)
    action.add_argument("--table", type=Path)
    parser.add_argument("--training", type=Path, nargs="+")
    options = parser.parse_args()
    if options.table:
        print(tables(json.loads(options.table.read_text(encoding="utf-8"))))
        return
    spec = registry.get(registry.DEMO_MODEL)
    weights = registry.shipped_weights(spec)
    assert weights is not None
    before = json.loads(options.save.read_text(encoding="utf-8")) if options.save.exists() else {}
    dataset = open_data("demo:val", class_names=spec.class_names, default_split="val")
    record = {
        "what": "the shipped detector on the demo data's validation split; weights as stored, rounded to float16",
        "command": ["python", *sys.argv],
        "conditions": conditions(),
        "weights": {"sha256": sha256_file(weights), "bytes": weights.stat().st_size},
        "data": {"name": dataset.name, "digest": dataset.digest, "images": len(dataset)},
        **measure(dataset, detect(dataset)),
        "training": training(options.training) if options.training else before.get("training"),
    }
    options.save.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(tables(record))


if __name__ == "__main__":
    main()
