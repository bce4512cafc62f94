"""``hardnet-deploy evaluate``: mean average precision of an engine on labelled images, and what exactly it measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from hardnet_deploy.artifacts import UNTRAINED
from hardnet_deploy.data.dataset import Dataset, Metric
from hardnet_deploy.data.sources import open_data, split_name
from hardnet_deploy.errors import UsageError
from hardnet_deploy.evaluate.coco_metric import CocoClass, CocoScores, coco_scores
from hardnet_deploy.evaluate.metrics import scores
from hardnet_deploy.evaluate.voc_metric import voc_scores
from hardnet_deploy.models import registry
from hardnet_deploy.workflows.judged_apart import refuse_images_it_was_made_with
from hardnet_deploy.workflows.open_engine import OpenEngine, open_engine
from hardnet_deploy.workflows.post_process import Postprocess
from hardnet_deploy.workflows.run_engine import DetectionRun, detect_dataset
from hardnet_deploy.workflows.spelled import spelled

Progress = Callable[[str, int, int], None]
SCHEMA: Final = 1
KIND: Final = "evaluation"
RUNNING: Final = "evaluating"
DEFAULT_SPLIT: Final = "val"  # of the demo data
COMPARABLE_SCORE: Final = 0.05  # above it, the part of the precision-recall curve that is cut off shows in the mAP
METRIC_NAMES: Final[dict[Metric, str]] = {
    "coco": "COCO AP @[.50:.95]",
    "voc07": "VOC07 AP @.50, 11 points",
    "voc12": "VOC12 AP @.50, area under the curve",
}


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest:
    """The options as typed.

    Args:
        engine: Artifact, ``MODEL`` or ``MODEL=CHECKPOINT``.
        data: See :func:`~hardnet_deploy.data.sources.open_data`.
        postprocess: Which post-processing makes the detections.
        metric: Instead of the data's own.
        count: Only the first so many images.
        workers: Threads that read images.
        batch: Images at once.
        resume: Keep an interrupted run and continue it.
        skip_unreadable: Count images that cannot be read instead of stopping.
        code_line: Of a checkpoint.
        classes: File with the class names of a checkpoint; None for the usual ones.
        trust: Take an artifact whose manifest is missing or disagrees.
    """

    engine: str
    data: str
    postprocess: Postprocess = "deployed"
    metric: Metric | None = None
    count: int | None = None
    workers: int | None = None
    batch: int | None = None
    resume: bool = True
    skip_unreadable: bool = False
    code_line: str = registry.CODE_LINES[0]
    classes: Path | None = None
    trust: bool = False

    def command(self) -> list[str]:
        """The command line that measures this."""
        options = {
            "--data": self.data,
            "--postprocess": self.postprocess,
            "--metric": self.metric,
            "--count": self.count,
            "--batch": self.batch,
            "--skip-unreadable": self.skip_unreadable,
            "--code-line": None if self.code_line == registry.CODE_LINES[0] else self.code_line,
            "--classes": self.classes,
            "--trust": self.trust,
        }
        return spelled("evaluate", [self.engine], options)


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """One class of the result; ``ap`` as the metric says, ``ap50`` only of COCO's; None where there is no object."""

    class_id: int
    name: str
    ap: float | None
    ap50: float | None
    objects: int


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The result.

    Args:
        request: The options.
        mean_ap: In [0, 1], of the data set's metric.
        as_authors_write: The same with boxes and scores written as the authors' evaluation writes them (+1 pixel, and
            rounding for VOC); None where their post-processing was not asked for.
        numbers: COCO's twelve, by name; None of another metric.
        per_class: Every class of the model, ascending.
        engine: What ran.
        dataset: On what.
        split: Which part of the data.
        run: What came out; its files are removed already.
        untrained: None where it is not known.
        warnings: What makes the number worth less than it looks.
        notes: What else is worth a line.
    """

    request: EvaluateRequest
    mean_ap: float
    as_authors_write: float | None
    numbers: dict[str, float | None] | None
    per_class: tuple[ClassScore, ...]
    engine: OpenEngine
    dataset: Dataset
    split: str
    run: DetectionRun
    untrained: bool | None
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        run, dataset = self.run, self.dataset
        return {
            "schema": SCHEMA,
            "kind": KIND,
            "command": self.request.command(),
            "mAP": self.mean_ap,
            "metric": dataset.metric,
            "coco": self.numbers,
            "per_class": [asdict(one) for one in self.per_class],
            "engine": self.engine.as_dict(),
            "data": {"name": dataset.name, "split": self.split, "digest": dataset.digest, "images": len(dataset)},
            "postprocess": {
                "kind": run.postprocess,
                "made_by": run.sentence,
                "thresholds": asdict(run.thresholds),
                "mAP_as_authors_write": self.as_authors_write,
            },
            "images_per_second": run.images_per_second,
            "resumed": run.resumed,
            "unreadable": [{"image": str(dataset.samples[place].path), "why": why} for place, why in run.unreadable],
            "untrained": self.untrained,
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }


def run_evaluate(request: EvaluateRequest, progress: Progress) -> Evaluation:
    """Open engine and data, detect, score.

    Args:
        request: The options.
        progress: Told (what is done, how much is done, how much there is); what is done begins with ``RUNNING`` while
            images go through the engine.

    Raises:
        UsageError: A backbone, no such data, or options that do not fit.
        InputFileError: Data, an image or an engine that cannot be used.
        ArtifactMismatchError, CheckpointError: See :func:`~hardnet_deploy.workflows.open_engine.open_engine`.
    """
    engine = open_engine(request.engine, trust=request.trust, code_line=request.code_line, classes=request.classes)
    if engine.head is None:
        raise UsageError(f"{engine.label} is a backbone: it has no boxes", next_step="name an SSD model or its export")
    dataset = open_data(
        request.data,
        class_names=engine.class_names,
        default_split=DEFAULT_SPLIT,
        count=request.count,
        metric=request.metric,
        progress=lambda done, total: progress("drawing the demo data", done, total),
    )
    refuse_images_it_was_made_with(engine, dataset)
    with (
        engine.runner,
        detect_dataset(
            engine,
            dataset,
            postprocess=request.postprocess,
            workers=request.workers,
            batch=request.batch,
            store=True if request.resume else None,
            skip_unreadable=request.skip_unreadable,
            progress=lambda done, total: progress(RUNNING, done, total),
        ) as run,
    ):
        found = scores(dataset, run.detections, progress=lambda done, total: progress("scoring", done, total))
        as_authors_write = _as_authors_write(dataset, run) if request.postprocess == "upstream" else None
    return Evaluation(
        request=request,
        mean_ap=found.mean_ap,
        as_authors_write=as_authors_write,
        numbers=found.numbers if isinstance(found, CocoScores) else None,
        per_class=tuple(
            ClassScore(
                class_id=one.class_id,
                name=engine.class_name(one.class_id),
                ap=one.ap,
                ap50=one.ap50 if isinstance(one, CocoClass) else None,
                objects=one.objects,
            )
            for one in found.classes
        ),
        engine=engine,
        dataset=dataset,
        split=split_name(request.data, default_split=DEFAULT_SPLIT),
        run=run,
        untrained=None if engine.trained is None else not engine.trained,
        warnings=tuple(_warnings(engine, run)),
        notes=(*dataset.notes, *run.notes),
    )


def _as_authors_write(dataset: Dataset, run: DetectionRun) -> float:
    if dataset.metric == "coco":
        return coco_scores(dataset, run.detections, plus_one=True).mean_ap
    return voc_scores(dataset, run.detections, metric=dataset.metric, as_upstream=True).mean_ap


def _warnings(engine: OpenEngine, run: DetectionRun) -> Iterator[str]:
    if engine.trained is False:
        yield f"{UNTRAINED}: the weights are drawn from a seed, so this mAP says nothing about the model"
    if engine.warning:
        yield engine.warning
    if run.thresholds.score > COMPARABLE_SCORE:
        yield (
            f"the NMS drops scores below {run.thresholds.score:g}: this mAP is too low and not comparable; export with "
            "--thresholds eval to measure it"
        )
    if run.unreadable:
        yield f"{len(run.unreadable)} images could not be read and count as if nothing was found in them"
