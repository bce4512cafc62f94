"""``hardnet-deploy detect``: boxes of an engine on images, as values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.data.images import load_image
from hardnet_deploy.data.preprocess import preprocess_image
from hardnet_deploy.errors import InputFileError, UsageError
from hardnet_deploy.evaluate.postprocess import EfficientNmsResult, efficient_nms
from hardnet_deploy.nms.boxes import decode_boxes, softmax
from hardnet_deploy.runners.base import Arrays
from hardnet_deploy.specs import F32, DetectorHead, Thresholds
from hardnet_deploy.tensor_names import BOXES, CONF, DETECTION_OUTPUTS, LOC, SCORES
from hardnet_deploy.workflows.open_engine import OpenEngine

U8 = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Detection:
    """One box.

    Args:
        class_id: From 1; 0 is background and never detected.
        class_name: Its name.
        score: In [0, 1].
        box: (x1, y1, x2, y2) in pixels of the image, not clipped to it.
    """

    class_id: int
    class_name: str
    score: float
    box: tuple[float, float, float, float]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"class": self.class_name, "class_id": self.class_id, "score": self.score, "box": list(self.box)}


@dataclass(frozen=True, kw_only=True)
class ImageDetections:
    """What was found in one image.

    Args:
        path: The image.
        image: Its pixels [H, W, 3], RGB.
        detections: By descending score.
    """

    path: Path
    image: U8
    detections: tuple[Detection, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        height, width = self.image.shape[:2]
        boxes = [detection.as_dict() for detection in self.detections]
        return {"image": str(self.path), "width": width, "height": height, "detections": boxes}


@dataclass(frozen=True, kw_only=True)
class UnreadableImage:
    """An image that could not be read; the others are not held up by it."""

    path: Path
    error: InputFileError

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"image": str(self.path), "error": self.error.as_dict()}


def detect(
    engine: OpenEngine, images: Sequence[Path], *, score_threshold: float | None = None
) -> Iterator[ImageDetections | UnreadableImage]:
    """Run the engine on each image; results come one by one, in order.

    Args:
        engine: An open engine of a detector.
        images: Image files of any size and kind.
        score_threshold: Drop what scores lower than this; None keeps what the engine returns.

    Raises:
        UsageError: The engine is no detector, or a threshold out of range.
    """
    if engine.head is None:
        raise UsageError(f"{engine.label} is a backbone: it has no boxes", next_step="name an SSD model or its export")
    if score_threshold is not None and not 0.0 <= score_threshold <= 1.0:
        raise UsageError(f"--score-threshold {score_threshold:g} is out of range", wanted="0 to 1")
    return _detect(engine, engine.head, images, score_threshold)


def _detect(
    engine: OpenEngine, head: DetectorHead, images: Sequence[Path], score_threshold: float | None
) -> Iterator[ImageDetections | UnreadableImage]:
    step = engine.batch or 1
    for start in range(0, len(images), step):
        loaded = [_load(path) for path in images[start : start + step]]
        pixels = [pixel for _, pixel in loaded if not isinstance(pixel, InputFileError)]
        results = _run(engine, head, pixels, batch=step) if pixels else None
        row = 0
        for path, image in loaded:
            if isinstance(image, InputFileError) or results is None:
                assert isinstance(image, InputFileError)
                yield UnreadableImage(path=path, error=image)
                continue
            found = _detections(engine, results, row, image, score_threshold)
            yield ImageDetections(path=path, image=image, detections=found)
            row += 1


def _load(path: Path) -> tuple[Path, U8 | InputFileError]:
    try:
        return path, load_image(path)
    except InputFileError as error:
        return path, error


def _run(engine: OpenEngine, head: DetectorHead, images: Sequence[U8], *, batch: int) -> EfficientNmsResult:
    """One batch; a batch that is not full is filled up with its last image, whose further results are dropped."""
    fed = [preprocess_image(image, engine.preprocess) for image in images]
    fed += [fed[-1]] * (batch - len(fed))
    values = engine.runner.infer({engine.runner.inputs[0].name: np.stack(fed)})
    return to_detections(values, head, engine.thresholds)


def to_detections(values: Arrays, head: DetectorHead, thresholds: Thresholds) -> EfficientNmsResult:
    """Detections from whatever the graph's outputs are.

    ``detections`` are taken as they are; ``boxes`` go through the NumPy reference of EfficientNMS, ``raw`` outputs
    through softmax and SSD decoding first.

    Raises:
        InputFileError: Outputs of no known kind, NaN in an output, or an infinite box among the detections.
    """
    refuse_nan(values)
    if all(name in values for name in DETECTION_OUTPUTS):
        return _finite(EfficientNmsResult(*(values[name] for name in DETECTION_OUTPUTS)))
    boxes, scores = boxes_and_scores(values, head)
    return _finite(keep_by_efficient_nms(boxes, scores, thresholds))


def keep_by_efficient_nms(boxes: F32, scores: F32, thresholds: Thresholds) -> EfficientNmsResult:
    """The NumPy EfficientNMS with these thresholds, background being class 0; shapes as of ``efficient_nms``."""
    return efficient_nms(
        boxes,
        scores,
        score_threshold=thresholds.score,
        iou_threshold=thresholds.iou,
        max_output_boxes=thresholds.max_detections,
        background_class=0,
    )


def refuse_nan(values: Arrays) -> None:
    """Refuse outputs that are no numbers.

    Raises:
        InputFileError: NaN in an output.
    """
    for name, value in values.items():
        if np.isnan(value).any():
            raise InputFileError(
                f"the engine's output '{name}' has NaN values",
                next_step="check the weights, and the precision if it is below fp32",
            )


def boxes_and_scores(values: Arrays, head: DetectorHead) -> tuple[F32, F32]:
    """``boxes`` [N, P, 4] and ``scores`` [N, P, C], computed from ``loc`` and ``conf`` where they are not there.

    Raises:
        InputFileError: Outputs of no known kind.
    """
    if BOXES in values and SCORES in values:
        return values[BOXES], values[SCORES]
    if LOC in values and CONF in values:
        return decode_boxes(values[LOC], head.priors(), head.variances), softmax(values[CONF])
    raise InputFileError(
        "the engine's outputs are not a detector's",
        got=", ".join(values),
        wanted=f"{', '.join(DETECTION_OUTPUTS)}; boxes and scores; or loc and conf",
    )


def _finite(result: EfficientNmsResult) -> EfficientNmsResult:
    """The result, if every detected box can be drawn; SSD decoding overflows where weights and inputs do not belong."""
    refuse_infinite(result.detection_boxes)
    return result


def refuse_infinite(boxes: F32) -> None:
    """Refuse boxes that reach beyond all numbers.

    Raises:
        InputFileError: There is one.
    """
    if not np.isfinite(boxes).all():
        raise InputFileError(
            "the engine detects boxes of infinite size",
            next_step="check that the weights were trained with this pre-processing",
        )


def _detections(
    engine: OpenEngine, results: EfficientNmsResult, index: int, image: U8, score_threshold: float | None
) -> tuple[Detection, ...]:
    height, width = image.shape[:2]
    scale = np.array([width, height, width, height], np.float32)
    found = []
    for row in range(int(results.num_detections[index, 0])):
        score = float(results.detection_scores[index, row])
        if score_threshold is not None and score < score_threshold:
            continue
        class_id = int(results.detection_classes[index, row])
        x1, y1, x2, y2 = (float(side) for side in results.detection_boxes[index, row] * scale)
        found.append(
            Detection(class_id=class_id, class_name=engine.class_name(class_id), score=score, box=(x1, y1, x2, y2))
        )
    return tuple(sorted(found, key=lambda detection: -detection.score))
