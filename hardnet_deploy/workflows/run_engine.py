"""Running an engine over a data set: images read in parallel, detections kept on disk, interrupted runs continued."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal

import numpy as np
from typing_extensions import Self

from hardnet_deploy.artifacts import versions
from hardnet_deploy.cache import cache_folder
from hardnet_deploy.data.dataset import Dataset
from hardnet_deploy.data.listing import named
from hardnet_deploy.data.loading import LoadedImage, load_inputs, refuse_other_size
from hardnet_deploy.errors import InputFileError, UsageError
from hardnet_deploy.specs import F32, DetectorHead, Thresholds
from hardnet_deploy.workflows.detection_store import DetectionStore, ImageRecord
from hardnet_deploy.workflows.open_engine import OpenEngine
from hardnet_deploy.workflows.post_process import Postprocess, PostProcessing, plan_postprocess

Progress = Callable[[int, int], None]
STORE_FORMAT: Final = 1  # raised with every change of what detections are computed or kept
_NOTHING: Final = np.zeros((0, 6), np.float32)
_PACKAGES: Final = ("torch", "onnxruntime-gpu", "onnxruntime", "numpy", "Pillow")


@dataclass(frozen=True, kw_only=True)
class DetectionRun:
    """What an engine found in every image of a data set.

    Use it in a ``with`` statement, or call :meth:`close`: then its files are removed. Where the ``with`` statement ends
    in an error or an interrupt they are kept, and the next run of the same has nothing left to compute.

    Args:
        detections: One set per image, in the data set's order, boxes in pixels of the image; read from disk as they
            are asked for. An image that could not be read has none.
        runner: What ran.
        postprocess: Which post-processing made the detections.
        thresholds: Of that post-processing.
        sentence: Runner, post-processing and thresholds in words.
        elapsed_s: Seconds this run took, reading of images and post-processing included.
        computed: Images that this run computed.
        resumed: Images that an earlier, interrupted run had computed.
        unreadable: Index of each image that could not be read, and why; empty unless these were to be skipped.
        notes: What is worth a line to the user.
    """

    detections: DetectionStore
    runner: str
    postprocess: Postprocess
    thresholds: Thresholds
    sentence: str
    elapsed_s: float
    computed: int
    resumed: int
    unreadable: tuple[tuple[int, str], ...]
    notes: tuple[str, ...]

    @property
    def images_per_second(self) -> float | None:
        """Of the images this run computed; None where it computed none."""
        return self.computed / self.elapsed_s if self.computed else None

    def close(self) -> None:
        """Remove the run's files; its detections can be read no more."""
        self.detections.close(keep=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.detections.close(keep=error is not None)


def detect_dataset(
    engine: OpenEngine,
    dataset: Dataset,
    *,
    postprocess: Postprocess = "deployed",
    workers: int | None = None,
    batch: int | None = None,
    store: Path | Literal[True] | None = None,
    skip_unreadable: bool = False,
    progress: Progress | None = None,
) -> DetectionRun:
    """The engine's detections in every image, in pixels of the image.

    Args:
        engine: An open engine of a detector.
        dataset: Its images; its metric selects upstream's thresholds.
        postprocess: ``deployed``: the graph's own NMS or, where it has none, the NumPy EfficientNMS with the engine's
            thresholds. ``upstream``: the authors' evaluation on ``boxes`` and ``scores``, with the authors' thresholds
            for the metric: 0.02 and 200 boxes for COCO's, 0.03 and 300 for VOC's.
        workers: Threads that read and pre-process images; None for one per core, 16 at most.
        batch: Images at once; None for the engine's own, or 1.
        store: Folder in which an unfinished run is kept and continued where engine, data, thresholds, pre- and
            post-processing and versions are equal; True for the cache folder; None for a temporary folder, so that
            nothing is continued.
        skip_unreadable: Count images that cannot be read instead of stopping; their objects stay in the data set and
            count as missed.
        progress: Told (images done, images in all): first with what an earlier run did, then as they come.

    Raises:
        UsageError: A backbone, other classes than the data set's, no images, options that do not fit, or the same run
            in another process.
        InputFileError: An image that cannot be read or is not of the size that its annotations say; an engine whose
            outputs are of no use; for ``upstream``, one that has no ``boxes`` and ``scores`` inside.
        OutputFileError: The detections cannot be written.
    """
    head = _detector_head(engine, dataset)
    step = _batch(engine, batch)
    plan = plan_postprocess(engine, head, dataset.metric, postprocess)
    key = _key(engine, dataset, plan, batch=step, skip_unreadable=skip_unreadable)
    known = engine.sha256 is not None or engine.state_sha256 is not None
    detections = DetectionStore(_store_folder(store) if known else None, key)
    try:
        resumed = len(detections)
        if progress:
            progress(resumed, len(dataset))
        started = time.perf_counter()
        _compute(
            engine, dataset, plan, detections, batch=step, workers=workers, skip=skip_unreadable, progress=progress
        )
        elapsed = time.perf_counter() - started
        detections.flush()
    except BaseException:
        detections.close(keep=True)
        raise
    unreadable = detections.errors
    return DetectionRun(
        detections=detections,
        runner=plan.runner.name,
        postprocess=postprocess,
        thresholds=plan.thresholds,
        sentence=plan.sentence,
        elapsed_s=elapsed,
        computed=len(dataset) - resumed,
        resumed=resumed,
        unreadable=unreadable,
        notes=tuple(_notes(dataset, detections, resumed=resumed)),
    )


def _detector_head(engine: OpenEngine, dataset: Dataset) -> DetectorHead:
    if engine.head is None:
        raise UsageError(f"{engine.label} is a backbone: it has no boxes", next_step="name an SSD model or its export")
    if not len(dataset):
        raise UsageError(f"{dataset.name} has no image")
    if engine.head.num_classes != len(dataset.class_names):
        raise UsageError(
            f"{engine.label} has other classes than {dataset.name}",
            got=f"{engine.head.num_classes - 1} classes",
            wanted=f"{len(dataset.class_names) - 1}",
        )
    return engine.head


def _batch(engine: OpenEngine, batch: int | None) -> int:
    if batch is not None and batch < 1:
        raise UsageError(f"--batch {batch} leaves no image", wanted="1 or more")
    if batch is not None and engine.batch is not None and batch != engine.batch:
        raise UsageError(
            f"{engine.label} takes {engine.batch} images at once, no other number",
            got=f"--batch {batch}",
            next_step="drop --batch, or export with --batch dynamic",
        )
    return batch or engine.batch or 1


def _store_folder(store: Path | Literal[True] | None) -> Path | None:
    return cache_folder() / "runs" if store is True else store


def _key(
    engine: OpenEngine, dataset: Dataset, plan: PostProcessing, *, batch: int, skip_unreadable: bool
) -> dict[str, Any]:
    """Everything that decides what is detected."""
    return {
        "format": STORE_FORMAT,
        "engine": engine.sha256,
        "weights": engine.state_sha256,
        "code_line": engine.code_line,
        "head": asdict(engine.head) if engine.head else None,
        "preprocess": asdict(engine.preprocess),
        "runner": plan.runner.name,
        "postprocess": plan.sentence,
        "thresholds": asdict(plan.thresholds),
        "batch": batch,
        "data": dataset.digest,
        "images": len(dataset),
        "skip_unreadable": skip_unreadable,
        "versions": versions(_PACKAGES),
    }


def _compute(
    engine: OpenEngine,
    dataset: Dataset,
    plan: PostProcessing,
    detections: DetectionStore,
    *,
    batch: int,
    workers: int | None,
    skip: bool,
    progress: Progress | None,
) -> None:
    """Append what is missing to ``detections``."""
    paths = [sample.path for sample in dataset.samples[len(detections) :]]
    images = load_inputs(paths, engine.preprocess, workers=workers, look_ahead=batch)
    with contextlib.closing(images):
        for group in _groups(images, batch):
            if not skip:
                for image in group:
                    if isinstance(image, InputFileError):
                        raise _stopped(image)
            readable = [image for image in group if isinstance(image, LoadedImage)]
            for sample, image in zip(dataset.samples[len(detections) :], group, strict=False):
                if isinstance(image, LoadedImage):
                    refuse_other_size(sample, image)
            found = iter(_run(plan, readable, batch=batch) if readable else ())
            for image in group:
                if isinstance(image, LoadedImage):
                    detections.append(ImageRecord(rows=next(found), width=image.width, height=image.height))
                else:
                    detections.append(ImageRecord(rows=_NOTHING, width=0, height=0, error=image.what))
            if progress:
                progress(len(detections), len(dataset))


def _stopped(error: InputFileError) -> InputFileError:
    repair = error.next_step or "repair the file"
    return InputFileError(
        error.what,
        got=error.got,
        wanted=error.wanted,
        next_step=f"{repair}, or use --skip-unreadable, which counts its objects as missed",
    )


def _groups(images: Iterator[LoadedImage | InputFileError], size: int) -> Iterator[list[LoadedImage | InputFileError]]:
    group: list[LoadedImage | InputFileError] = []
    for image in images:
        group.append(image)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _run(plan: PostProcessing, images: Sequence[LoadedImage], *, batch: int) -> Iterator[F32]:
    """One batch; a batch that is not full is filled up with its last image, whose further results are dropped."""
    fed = [image.pixels for image in images]
    fed += [fed[-1]] * (batch - len(fed))
    values = plan.runner.infer({plan.runner.inputs[0].name: np.stack(fed)})
    yield from plan.detections(values, [(image.width, image.height) for image in images])


def _notes(dataset: Dataset, detections: DetectionStore, *, resumed: int) -> Iterator[str]:
    if resumed:
        yield f"{resumed} of {len(dataset)} images were computed by an earlier run of the same, which was interrupted"
    if unreadable := detections.errors:
        names = named([dataset.samples[index].path.name for index, _ in unreadable])
        yield f"{len(unreadable)} images could not be read, so their objects count as missed: {names}"
    other = [
        sample.path.name
        for sample, size in zip(dataset.samples, detections.sizes, strict=True)
        if size not in {(0, 0), (sample.width, sample.height)}
    ]
    if other:
        yield (
            f"{len(other)} images lie on their side, perhaps turned by their EXIF orientation; boxes are compared in "
            f"the image's own pixels: {named(other)}"
        )
