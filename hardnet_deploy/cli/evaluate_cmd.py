"""``hardnet-deploy evaluate``."""

from __future__ import annotations

import json as json_module
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hardnet_deploy.artifacts import UNTRAINED
from hardnet_deploy.cli.common import Debug, Json, Trust, counting, emit, emit_json, guarded, note
from hardnet_deploy.cli.model_options import Classes

if TYPE_CHECKING:
    from hardnet_deploy.workflows.evaluate import ClassScore, Evaluation

COCO_LINES = (
    ("AP", "AP @[.50:.95]", "all sizes"),
    ("AP50", "AP @.50", "all sizes"),
    ("AP75", "AP @.75", "all sizes"),
    ("APs", "AP @[.50:.95]", "small"),
    ("APm", "AP @[.50:.95]", "medium"),
    ("APl", "AP @[.50:.95]", "large"),
    ("AR1", "AR @[.50:.95]", "1 box an image and class"),
    ("AR10", "AR @[.50:.95]", "10 boxes"),
    ("AR100", "AR @[.50:.95]", "100 boxes"),
    ("ARs", "AR @[.50:.95]", "small"),
    ("ARm", "AR @[.50:.95]", "medium"),
    ("ARl", "AR @[.50:.95]", "large"),
)


@guarded
def evaluate(
    engine: Annotated[str, typer.Argument(help="Exported file, MODEL, or MODEL=CHECKPOINT.pth.")],
    data: Annotated[str, typer.Option("--data", help="demo[:SPLIT], coco:ROOT[:SPLIT] or voc:ROOT[:YEAR-SPLIT].")],
    postprocess: Annotated[
        Literal["deployed", "upstream"],
        typer.Option("--postprocess", help="The engine's own NMS, or the post-processing of the authors' evaluation."),
    ] = "deployed",
    metric: Annotated[
        Literal["coco", "voc07", "voc12"] | None, typer.Option("--metric", help="Default: the data's own.")
    ] = None,
    count: Annotated[int | None, typer.Option("--count", help="Take only the first COUNT images.")] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Threads that read images; default one per core.")
    ] = None,
    batch: Annotated[int | None, typer.Option("--batch", help="Images at once; default the engine's, or 1.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Keep an interrupted run and continue it.")
    ] = True,
    skip_unreadable: Annotated[
        bool,
        typer.Option("--skip-unreadable", help="Go on where an image cannot be read; its objects count as missed."),
    ] = False,
    per_class: Annotated[bool, typer.Option("--per-class", help="Show every class.")] = False,
    code_line: Annotated[
        str, typer.Option("--code-line", help="For MODEL=CHECKPOINT: pingolh or lzx1413.")
    ] = "pingolh",
    classes: Classes = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the result as JSON to this file.")
    ] = None,
    trust: Trust = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure mean average precision on labelled images: COCO's twelve numbers, or VOC07 and VOC12."""
    from hardnet_deploy.workflows.document_files import refuse_outputs
    from hardnet_deploy.workflows.evaluate import RUNNING, EvaluateRequest, run_evaluate

    del debug
    refuse_outputs({"-o": output}, filter(None, (classes,)))
    request = EvaluateRequest(
        engine=engine,
        data=data,
        postprocess=postprocess,
        metric=metric,
        count=count,
        workers=workers,
        batch=batch,
        resume=resume,
        skip_unreadable=skip_unreadable,
        code_line=code_line,
        classes=classes,
        trust=trust,
    )
    kept = 0
    with counting() as show:

        def progress(what: str, done: int, total: int) -> None:
            nonlocal kept
            kept = done if what == RUNNING else kept
            show(what, done, total)

        try:
            result = run_evaluate(request, progress)
        except KeyboardInterrupt:
            if resume and kept:
                note(f"{kept} images are kept: the same command continues there")
            raise
    for text in result.warnings:
        note(f"warning: {engine}: {text}")
    for text in result.notes:
        note(f"note: {text}")
    document = result.as_dict()
    if output is not None:
        _save(output, document)
    if json:
        emit_json(document)
        return
    prefix = f"{UNTRAINED}: " if result.untrained else ""
    for line in summary(result, per_class=per_class):
        emit(prefix + line if line else line)


def _save(path: Path, document: dict[str, object]) -> None:
    from hardnet_deploy.files import atomic_output, write_durably

    text = json_module.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_output(path) as temporary:
        write_durably(temporary, text.encode("utf-8", "backslashreplace"))
    note(f"wrote {path}")


def summary(result: Evaluation, *, per_class: bool) -> Iterator[str]:
    """The result for a person."""
    from hardnet_deploy.workflows.evaluate import METRIC_NAMES

    run, dataset = result.run, result.dataset
    engine = result.engine.as_dict()
    identity = engine["sha256"] or engine["state_sha256"]
    speed = f"{run.images_per_second:.1f} images/s" if run.images_per_second else "nothing computed anew"
    yield f"mAP      {result.mean_ap:.4f}  {METRIC_NAMES[dataset.metric]}"
    yield f"engine   {result.engine.label} (SHA-256 {identity[:12] if identity else 'unknown'})"
    yield f"made by  {run.sentence}"
    yield f"data     {dataset.name}: {len(dataset)} images (digest {dataset.digest[:12]})"
    yield f"speed    {speed}, reading of images and post-processing included"
    if result.as_authors_write is not None:
        yield f"authors  {result.as_authors_write:.4f}  with boxes and scores written as the authors' evaluation does"
    if result.numbers is not None:
        yield ""
        for name, what, which in COCO_LINES:
            yield f"{name:<6} {what:<14} {which:<25} {_figure(result.numbers[name])}"
    shown = [one for one in result.per_class if one.objects] if per_class else []
    if shown:
        yield ""
        yield from _class_table(shown)
    absent = sum(not one.objects for one in result.per_class)
    if absent:
        yield f"{absent} classes have no object in these data and are not in the mean"


def _class_table(classes: list[ClassScore]) -> Iterator[str]:
    width = max(len("class"), *(len(one.name) for one in classes))
    has_ap50 = any(one.ap50 is not None for one in classes)
    yield f"{'class':<{width}}  objects  {'AP':>6}" + (f"  {'AP50':>6}" if has_ap50 else "")
    for one in classes:
        row = f"{one.name:<{width}}  {one.objects:>7}  {_figure(one.ap)}"
        yield row + (f"  {_figure(one.ap50)}" if has_ap50 else "")


def _figure(value: float | None) -> str:
    return f"{'none':>6}" if value is None else f"{value:6.4f}"
