"""``hardnet-deploy parity``: does the candidate compute and detect what the reference does?"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

from hardnet_deploy.data.dataset import Dataset
from hardnet_deploy.data.image_lists import ImageList, open_images
from hardnet_deploy.data.sources import open_data
from hardnet_deploy.errors import AccuracyBudgetError
from hardnet_deploy.evaluate.detections import DetectionsParity, compare_detections
from hardnet_deploy.evaluate.tolerances import BY_PRECISION, SHOWN_SCORE, PrecisionTolerances
from hardnet_deploy.models import registry
from hardnet_deploy.nms.efficient import SMALLEST_SCORE_THRESHOLD
from hardnet_deploy.nms.matching import DetectionSet
from hardnet_deploy.workflows.judged_apart import refuse_images_it_was_made_with
from hardnet_deploy.workflows.open_engine import names_model
from hardnet_deploy.workflows.parity_comparable import common_thresholds, differences, other_thresholds
from hardnet_deploy.workflows.parity_metric import MetricParity, compare_metric
from hardnet_deploy.workflows.parity_options import DEFAULT_SPLIT, ParityRequest, check_request
from hardnet_deploy.workflows.parity_pictures import SavedPicture, refuse_overwriting, save_pictures
from hardnet_deploy.workflows.parity_result import Failure, ParityResult
from hardnet_deploy.workflows.parity_run import COMMON, OWN, UPSTREAM, SideDetections, run_side
from hardnet_deploy.workflows.parity_side import Side, open_side
from hardnet_deploy.workflows.parity_tensors import compare_side_tensors

Progress = Callable[[str, int, int], None]
OTHER_THRESHOLDS: Final = "export the candidate with the reference's thresholds, or pass --allow-other-thresholds"
OVER_BUDGET: Final = "keep the layers that matter in a higher precision, or accept the drop with a larger --max-drop"


def run_parity(request: ParityRequest, progress: Progress) -> ParityResult:
    """Compare two engines: tensors, detections, mAP. Every part runs, whatever an earlier one says.

    Args:
        request: The options as typed.
        progress: Told of (what runs, how much of it is done, how much there is).

    Returns:
        The result; whether it passed is in it, nothing is raised for that.

    Raises:
        UsageError: Options that cannot be meant.
        InputFileError: An engine, the data or an image cannot be read.
        ArtifactMismatchError: An engine is not what its manifest describes.
        OutputFileError: An output cannot be written.
    """
    check_request(request)
    with contextlib.ExitStack() as stack:
        sides = []
        for number, text in enumerate((request.reference, request.candidate)):
            progress(f"opening {text}", number, 2)
            code_line = request.code_line if names_model(text) else registry.CODE_LINES[0]
            sides.append(open_side(text, trust=request.trust, code_line=code_line, classes=request.classes))
            stack.enter_context(sides[-1].engine.runner)
        reference, candidate = sides
        return _compare(request, reference, candidate, progress)


def _compare(request: ParityRequest, reference: Side, candidate: Side, progress: Progress) -> ParityResult:
    dataset = _open(request, reference, candidate, progress)
    for side in (reference, candidate):
        refuse_images_it_was_made_with(side.engine, dataset)
    if request.pictures is not None and isinstance(dataset, Dataset):
        refuse_overwriting(request.pictures, dataset)
    paths = dataset.paths if isinstance(dataset, ImageList) else [sample.path for sample in dataset.samples]
    first = paths[: request.tensor_images]
    tensors = compare_side_tensors(reference, candidate, first, partial(progress, "comparing tensors"))
    failures = [Failure(part="sides", what=what) for what in differences(reference.engine, candidate.engine)]
    thresholds = other_thresholds(reference.engine, candidate.engine)
    if not request.allow_other_thresholds:
        failures += [Failure(part="sides", what=what, next_step=OTHER_THRESHOLDS) for what in thresholds]
    failures += [Failure(part="tensors", what=what) for what in tensors.failures()]
    notes = [f"{what}: allowed by --allow-other-thresholds" for what in thresholds if request.allow_other_thresholds]
    result = ParityResult(
        request=request,
        reference=reference,
        candidate=candidate,
        dataset=dataset,
        tensors=tensors,
        detections=None,
        matched=None,
        metric=None,
        failures=tuple(failures),
        notes=(*notes, *_small(request, dataset)),
    )
    if isinstance(dataset, ImageList):
        return result
    return _with_detections(result, dataset, progress, same_thresholds=not thresholds)


def _open(request: ParityRequest, reference: Side, candidate: Side, progress: Progress) -> Dataset | ImageList:
    """Labelled images; where a side is a backbone, which detects nothing, images alone."""
    drawing = partial(progress, "drawing the demo data")
    if reference.engine.head is None or candidate.engine.head is None:
        return open_images(request.data, default_split=DEFAULT_SPLIT, count=request.count, progress=drawing)
    return open_data(
        request.data,
        class_names=reference.engine.class_names or candidate.engine.class_names,
        default_split=DEFAULT_SPLIT,
        count=request.count,
        progress=drawing,
    )


def _small(request: ParityRequest, dataset: Dataset | ImageList) -> tuple[str, ...]:
    wanted = request.tensor_images
    return (f"only {len(dataset)} images, so tensors of no more were compared",) if len(dataset) < wanted else ()


def _with_detections(
    result: ParityResult, dataset: Dataset, progress: Progress, *, same_thresholds: bool
) -> ParityResult:
    request = result.request
    common = common_thresholds(result.reference.engine, SMALLEST_SCORE_THRESHOLD)
    judged = UPSTREAM if request.postprocess == "upstream" else OWN
    with contextlib.ExitStack() as stack:
        found: list[SideDetections] = []
        for role, side in (("reference", result.reference), ("candidate", result.candidate)):
            title = f"{role}: detecting in {len(dataset)} images"
            run = run_side(side, dataset, common=common, progress=partial(progress, title))
            found.append(stack.enter_context(run))
        has_common = all(COMMON in one.stores for one in found)
        matched = judged if same_thresholds or judged == UPSTREAM or not has_common else COMMON
        detections, failures = _match(result.candidate, found, matched, progress)
        metric = compare_metric(
            dataset,
            *found,
            judged=judged,
            limit=request.limit,
            drop_type=request.drop_type,
            resamples=request.resamples,
            seed=request.seed,
            progress=progress,
        )
        pictures: tuple[SavedPicture, ...] = ()
        if request.pictures is not None and detections is not None:
            pictures = save_pictures(
                request.pictures, dataset, detections, found[0].stores[matched], found[1].stores[matched]
            )
    return dataclasses.replace(
        result,
        detections=detections,
        matched=matched,
        metric=metric,
        pictures=pictures,
        failures=(*result.failures, *_broken(found, dataset), *failures, *_metric_failures(metric)),
    )


def _match(
    candidate: Side, found: list[SideDetections], matched: str, progress: Progress
) -> tuple[DetectionsParity | None, tuple[Failure, ...]]:
    missing = [role for role, one in zip(("reference", "candidate"), found, strict=True) if matched not in one.stores]
    if missing:
        what = f"no detections were matched: the {' and the '.join(missing)} gives no boxes and scores before its NMS"
        return None, (Failure(part="detections", what=what),)
    reference, theirs = (one.stores[matched] for one in found)
    allowed = BY_PRECISION[candidate.precision]
    pairs = _counted(reference, theirs, progress)
    parity = compare_detections(pairs, shown_score=SHOWN_SCORE, score_tolerance=allowed.shown.score)
    sentences = _detection_failures(parity, allowed)
    return parity, tuple(Failure(part="detections", what=what) for what in sentences)


def _counted(
    reference: Sequence[DetectionSet], candidate: Sequence[DetectionSet], progress: Progress
) -> Iterator[tuple[DetectionSet, DetectionSet]]:
    for done, pair in enumerate(zip(reference, candidate, strict=True), start=1):
        yield pair
        progress("matching detections", done, len(reference))


def _detection_failures(parity: DetectionsParity, tolerances: PrecisionTolerances) -> Iterator[str]:
    if not (parity.everything.reference or parity.everything.candidate):
        yield "neither side detects anything: nothing was compared"
    elif tolerances.detections is None and not (parity.shown.reference or parity.shown.candidate):
        yield f"neither side detects anything from a score of {SHOWN_SCORE:g} upwards: nothing was compared"
    if tolerances.detections is not None:
        yield from parity.everything.failures(tolerances.detections)
    yield from parity.shown.failures(tolerances.shown)


def _broken(found: list[SideDetections], dataset: Dataset) -> Iterator[Failure]:
    for role, one in zip(("reference", "candidate"), found, strict=True):
        if one.broken:
            what = f"the {role} gives no usable numbers for {one.broken} of {len(dataset)} images: {one.fault}"
            yield Failure(part="detections", what=what)


def _metric_failures(metric: MetricParity) -> Iterator[Failure]:
    if metric.drop is None:
        yield Failure(part="metric", what=metric.verdict())
    elif not metric.within:
        code = AccuracyBudgetError.exit_code
        yield Failure(part="metric", what=metric.verdict(), exit_code=code, next_step=OVER_BUDGET)
