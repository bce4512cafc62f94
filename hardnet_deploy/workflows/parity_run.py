"""Running one side of a parity comparison over the data: every post-processing from one inference per image."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Final

import numpy as np
from typing_extensions import Self

from hardnet_deploy.data.dataset import Dataset
from hardnet_deploy.data.loading import LoadedImage, load_inputs, refuse_other_size
from hardnet_deploy.errors import InputFileError
from hardnet_deploy.evaluate.postprocess import EfficientNmsResult, upstream_postprocess
from hardnet_deploy.runners.base import Arrays
from hardnet_deploy.specs import F32, Thresholds
from hardnet_deploy.tensor_names import BOXES, DETECTION_OUTPUTS, SCORES
from hardnet_deploy.workflows.detect import keep_by_efficient_nms
from hardnet_deploy.workflows.detection_store import DetectionStore, ImageRecord
from hardnet_deploy.workflows.parity_side import Side
from hardnet_deploy.workflows.post_process import rows_in_pixels, upstream_thresholds

Progress = Callable[[int, int], None]
OWN: Final = "each side's own NMS"
COMMON: Final = "EfficientNMS for both"
UPSTREAM: Final = "the authors' for both"
_NOTHING: Final = np.zeros((0, 6), np.float32)


class SideDetections:
    """What one side detects in every image, in pixels, by post-processing; kept on disk until it is closed.

    ``own`` is by the NMS in its graph or, where it has none, by the NumPy EfficientNMS with its thresholds; ``common``
    by the NumPy EfficientNMS with thresholds that both sides are given; ``upstream`` by the authors' post-processing.

    Args:
        has_candidates: Whether boxes and scores are known before the NMS; else there is ``own`` alone.
        common_is_own: ``own`` is the common EfficientNMS; they share one list.
    """

    def __init__(self, *, has_candidates: bool, common_is_own: bool) -> None:
        self.stores: dict[str, DetectionStore] = {OWN: DetectionStore(None, {})}
        if has_candidates:
            self.stores[COMMON] = self.stores[OWN] if common_is_own else DetectionStore(None, {})
            self.stores[UPSTREAM] = DetectionStore(None, {})
        self.broken = 0
        self.fault: str | None = None

    def add(self, rows: Mapping[str, F32], image: LoadedImage) -> None:
        """The detections of the next image by each post-processing: (n, 6) class, box in pixels, score."""
        for store, name in self._distinct().items():
            store.append(ImageRecord(rows=rows[name], width=image.width, height=image.height))

    def add_broken(self, fault: str, image: LoadedImage) -> None:
        """The next image gave no usable numbers: it counts as one without detections, and ``fault`` says why."""
        self.broken += 1
        self.fault = self.fault or fault
        self.add(dict.fromkeys(self.stores, _NOTHING), image)

    def _distinct(self) -> dict[DetectionStore, str]:
        return {store: name for name, store in reversed(self.stores.items())}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for store in self._distinct():
            store.close(keep=False)


def run_side(side: Side, dataset: Dataset, *, common: Thresholds, progress: Progress | None = None) -> SideDetections:
    """Every image once through one side.

    Args:
        side: Of a detector.
        dataset: Its images; one batch is in memory at a time.
        common: Of the EfficientNMS that both sides are given.
        progress: Told of (images done, images).

    Raises:
        InputFileError: An image cannot be read, or the engine's outputs are not a detector's.
    """
    has_nms = all(name in side.engine.runner.outputs for name in DETECTION_OUTPUTS)
    if not has_nms and not side.has_candidates:
        raise InputFileError(
            f"the outputs of {side.engine.label} are not a detector's",
            got=", ".join(side.engine.runner.outputs),
            wanted=f"{', '.join(DETECTION_OUTPUTS)}; boxes and scores; or loc and conf",
        )
    same = not has_nms and side.engine.thresholds == common
    found = SideDetections(has_candidates=side.has_candidates, common_is_own=same)
    upstream = upstream_thresholds(dataset.metric)
    with contextlib.ExitStack() as on_error:
        on_error.enter_context(found)
        done = 0
        for images in _batches(side, dataset):
            values = side.infer(np.stack([image.pixels for image in images]))
            for row, image in enumerate(images):
                one = {name: value[row : row + 1] for name, value in values.items()}
                fault = _fault(one)
                with np.errstate(over="ignore", invalid="ignore"):  # found just below
                    rows = {} if fault else _rows(side, one, image, None if same else common, upstream)
                if any(not np.isfinite(boxes).all() for boxes in rows.values()):
                    fault = "a detection of infinite size"
                if fault:
                    found.add_broken(fault, image)
                else:
                    found.add(rows, image)
            done += len(images)
            if progress:
                progress(done, len(dataset))
        on_error.pop_all()
    return found


def _batches(side: Side, dataset: Dataset) -> Iterator[list[LoadedImage]]:
    step = side.engine.batch or 1
    waiting: list[LoadedImage] = []
    paths = [sample.path for sample in dataset.samples]
    inputs = load_inputs(paths, side.engine.preprocess, look_ahead=step)
    for sample, loaded in zip(dataset.samples, inputs, strict=True):
        if isinstance(loaded, InputFileError):
            raise loaded
        refuse_other_size(sample, loaded)
        waiting.append(loaded)
        if len(waiting) == step:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _fault(values: Arrays) -> str | None:
    return next((f"NaN in '{name}'" for name, value in values.items() if np.isnan(value).any()), None)


def _rows(
    side: Side, values: Arrays, image: LoadedImage, common: Thresholds | None, upstream: Thresholds
) -> dict[str, F32]:
    """The detections of one image by every post-processing: (n, 6) class, box in pixels, score."""
    own = (
        EfficientNmsResult(*(values[name] for name in DETECTION_OUTPUTS))
        if all(name in values for name in DETECTION_OUTPUTS)
        else keep_by_efficient_nms(values[BOXES], values[SCORES], side.engine.thresholds)
    )
    rows = {OWN: rows_in_pixels(own, 0, image.width, image.height)}
    if not side.has_candidates:
        return rows
    if common is not None:
        shared = keep_by_efficient_nms(values[BOXES], values[SCORES], common)
        rows[COMMON] = rows_in_pixels(shared, 0, image.width, image.height)
    rows[UPSTREAM] = upstream_postprocess(
        values[BOXES][0],
        values[SCORES][0],
        (image.height, image.width),
        threshold=upstream.score,
        max_per_image=upstream.max_detections,
    )
    return rows
