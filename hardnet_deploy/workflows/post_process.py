"""From an engine's outputs to detections in pixels: by the NMS it is deployed with, or as the authors evaluate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hardnet_deploy.data.dataset import Metric
from hardnet_deploy.errors import InputFileError
from hardnet_deploy.evaluate.postprocess import EfficientNmsResult, upstream_postprocess
from hardnet_deploy.nms.upstream import BACKGROUND_SCORE_TO_DROP, MAX_PER_CLASS
from hardnet_deploy.runners.base import Arrays, Runner
from hardnet_deploy.specs import F32, DetectorHead, Thresholds
from hardnet_deploy.tensor_names import BOXES, CONF, DETECTION_OUTPUTS, LOC, SCORES
from hardnet_deploy.workflows.detect import boxes_and_scores, refuse_infinite, refuse_nan, to_detections
from hardnet_deploy.workflows.export_options import EVAL_SCORE, MAX_DETECTIONS, UPSTREAM_IOU
from hardnet_deploy.workflows.open_engine import OpenEngine

Postprocess = Literal["deployed", "upstream"]
Sizes = Sequence[tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class PostProcessing:
    """How one engine's outputs become detections.

    Args:
        runner: What is to be run: the engine's own runner, or the part of its graph before the NMS.
        thresholds: What is kept.
        sentence: All of it in words.
        detections: From the runner's outputs and (width, height) of each image: for each image rows (n, 6), float32:
            class, x1, y1, x2, y2 in pixels, score.
    """

    runner: Runner
    thresholds: Thresholds
    sentence: str
    detections: Callable[[Arrays, Sizes], Iterator[F32]]


def upstream_thresholds(metric: Metric) -> Thresholds:
    """The thresholds of the authors' evaluation for COCO or VOC."""
    dataset = "coco" if metric == "coco" else "voc"
    return Thresholds(score=EVAL_SCORE[dataset], iou=UPSTREAM_IOU, max_detections=MAX_DETECTIONS[dataset])


def rows_in_pixels(result: EfficientNmsResult, image: int, width: int, height: int) -> F32:
    """Detections of image ``image`` of a batch as rows (n, 6): class, x1, y1, x2, y2 in pixels, score."""
    count = int(result.num_detections[image, 0])
    columns = (
        result.detection_classes[image, :count, None].astype(np.float32),
        result.detection_boxes[image, :count] * np.array([width, height, width, height], np.float32),
        result.detection_scores[image, :count, None],
    )
    return np.concatenate(columns, axis=1)


def plan_postprocess(
    engine: OpenEngine, head: DetectorHead, metric: Metric, postprocess: Postprocess
) -> PostProcessing:
    """The post-processing of ``engine`` that was asked for.

    Raises:
        InputFileError: ``upstream``, and the engine gives no boxes and scores before its NMS.
    """
    return _upstream(engine, head, metric) if postprocess == "upstream" else _deployed(engine, head)


def _deployed(engine: OpenEngine, head: DetectorHead) -> PostProcessing:
    kept = engine.thresholds
    own = all(name in engine.runner.outputs for name in DETECTION_OUTPUTS)
    how = "the NMS in its graph" if own else "EfficientNMS by its NumPy reference, as the graph has no NMS"

    def detections(values: Arrays, sizes: Sizes) -> Iterator[F32]:
        result = to_detections(values, head, kept)
        for image, (width, height) in enumerate(sizes):
            yield rows_in_pixels(result, image, width, height)

    return PostProcessing(
        runner=engine.runner,
        thresholds=kept,
        sentence=(
            f"{engine.runner.name}; deployed: {how}, scores from {kept.score:g}, IoU {kept.iou:g}, at most "
            f"{kept.max_detections} boxes an image"
        ),
        detections=detections,
    )


def _upstream(engine: OpenEngine, head: DetectorHead, metric: Metric) -> PostProcessing:
    kept = upstream_thresholds(metric)
    runner = runner_before_nms(engine)

    def detections(values: Arrays, sizes: Sizes) -> Iterator[F32]:
        refuse_nan(values)
        boxes, scores = boxes_and_scores(values, head)
        for image, (width, height) in enumerate(sizes):
            found = upstream_postprocess(
                boxes[image],
                scores[image],
                (height, width),
                threshold=kept.score,
                max_per_image=kept.max_detections,
                iou_threshold=kept.iou,
            )
            refuse_infinite(found)
            yield found

    return PostProcessing(
        runner=runner,
        thresholds=kept,
        sentence=(
            f"{runner.name} up to boxes and scores; the authors' own post-processing: P(background) < "
            f"{BACKGROUND_SCORE_TO_DROP:g}, scores above {kept.score:g}, IoU {kept.iou:g}, at most {MAX_PER_CLASS} "
            f"boxes of a class and {kept.max_detections} an image"
        ),
        detections=detections,
    )


def runner_before_nms(engine: OpenEngine) -> Runner:
    """A runner whose outputs hold ``boxes`` and ``scores``, or ``loc`` and ``conf``.

    Raises:
        InputFileError: The engine has neither, not even inside.
    """
    from hardnet_deploy.runners.graph import cut, tensor_names
    from hardnet_deploy.runners.ort import OrtRunner

    if any(set(names) <= set(engine.runner.outputs) for names in ((BOXES, SCORES), (LOC, CONF))):
        return engine.runner
    if engine.model is not None and {BOXES, SCORES} <= set(tensor_names(engine.model)):
        return OrtRunner(cut(engine.model, (BOXES, SCORES)))
    raise InputFileError(
        f"{engine.label} does not give the boxes and scores before its NMS, which the authors' post-processing needs",
        got=f"outputs {', '.join(engine.runner.outputs)}",
        wanted=f"tensors '{BOXES}' and '{SCORES}' in the graph, as hardnet-deploy export writes them",
        next_step="export it again, or evaluate it with --postprocess deployed",
    )
