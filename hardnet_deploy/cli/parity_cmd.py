"""``hardnet-deploy parity``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hardnet_deploy.artifacts import UNTRAINED
from hardnet_deploy.cli.common import Debug, Json, Trust, counting, emit, emit_json, guarded, note
from hardnet_deploy.cli.model_options import Classes

GATE = "What must hold"


@guarded
def parity(
    reference: Annotated[str, typer.Argument(help="What is trusted: exported file, MODEL, or MODEL=CHECKPOINT.pth.")],
    candidate: Annotated[str, typer.Argument(help="What is in question, likewise.")],
    data: Annotated[
        str, typer.Option("--data", help="demo[:SPLIT], coco:ROOT[:SPLIT] or voc:ROOT[:YEAR-SPLIT]; default demo:val.")
    ] = "demo",
    count: Annotated[int | None, typer.Option("--count", help="Take only the first COUNT images.")] = None,
    tensor_images: Annotated[int, typer.Option("--tensor-images", help="Images whose tensors are compared.")] = 8,
    postprocess: Annotated[
        Literal["deployed", "upstream"],
        typer.Option("--postprocess", help="Each side's own NMS, or the authors' post-processing for both."),
    ] = "deployed",
    max_drop: Annotated[
        float | None,
        typer.Option("--max-drop", help="Largest accepted drop of mAP; default 0.005.", rich_help_panel=GATE),
    ] = None,
    drop_type: Annotated[
        Literal["relative", "absolute"],
        typer.Option("--drop-type", help="To the reference's mAP, or in mAP itself.", rich_help_panel=GATE),
    ] = "relative",
    allow_other_thresholds: Annotated[
        bool,
        typer.Option(
            "--allow-other-thresholds",
            help="Compare although the NMS have other thresholds; boxes are then matched under one common NMS.",
            rich_help_panel=GATE,
        ),
    ] = False,
    resamples: Annotated[int, typer.Option("--resamples", help="Of the bootstrap over images.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap.")] = 0,
    pictures: Annotated[
        Path | None, typer.Option("--pictures", help="Folder for the ten worst images, side by side.")
    ] = None,
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
    """Compare two engines: tensors and the first layer that diverges, matched boxes, and the drop of mAP."""
    from hardnet_deploy.cli.parity_table import summary
    from hardnet_deploy.workflows.parity import run_parity
    from hardnet_deploy.workflows.parity_options import ParityRequest

    del debug
    request = ParityRequest(
        reference=reference,
        candidate=candidate,
        data=data,
        count=count,
        tensor_images=tensor_images,
        postprocess=postprocess,
        max_drop=max_drop,
        drop_type=drop_type,
        resamples=resamples,
        seed=seed,
        pictures=pictures,
        output=output,
        trust=trust,
        code_line=code_line,
        classes=classes,
        allow_other_thresholds=allow_other_thresholds,
    )
    with counting() as progress:
        result = run_parity(request, progress)
    for side in (result.reference, result.candidate):
        if side.engine.warning:
            note(f"warning: {side.engine.label}: {side.engine.warning}")
    for text in (*result.dataset.notes, *result.notes):
        note(f"note: {text}")
    if output is not None:
        result.save(output)
        note(f"wrote {output}")
    if json:
        emit_json(result.as_dict())
    else:
        untrained = any(side.engine.trained is False for side in (result.reference, result.candidate))
        prefix = f"{UNTRAINED}: " if untrained else ""
        for line in summary(result):
            emit((prefix + line).rstrip())
    error = result.error()
    if error is not None:  # not raised: with --json the document is out already, and holds it
        note("error: " + "\n".join(error.lines()))
        raise typer.Exit(error.exit_code)
