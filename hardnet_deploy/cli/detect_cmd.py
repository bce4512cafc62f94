"""``hardnet-deploy detect``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hardnet_deploy.artifacts import UNTRAINED
from hardnet_deploy.cli.common import Debug, Json, Trust, emit_json, guarded, note
from hardnet_deploy.cli.model_options import Classes
from hardnet_deploy.errors import InputFileError


@guarded
def detect(
    engine: Annotated[str, typer.Argument(help="Exported file, MODEL, or MODEL=CHECKPOINT.pth.")],
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    score_threshold: Annotated[
        float | None, typer.Option("--score-threshold", help="Drop lower scores; default: keep all that come out.")
    ] = None,
    output_dir: Annotated[
        Path, typer.Option("--output-dir", "-o", help="Folder for the pictures, IMAGE.detections.png each.")
    ] = Path("detections"),
    picture: Annotated[bool, typer.Option("--picture/--no-picture", help="Draw the boxes.")] = True,
    code_line: Annotated[
        str, typer.Option("--code-line", help="For MODEL=CHECKPOINT: pingolh or lzx1413.")
    ] = "pingolh",
    classes: Classes = None,
    trust: Trust = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Find objects in images: JSON on stdout, a picture with boxes for each image."""
    from hardnet_deploy.workflows.detect import UnreadableImage
    from hardnet_deploy.workflows.detect import detect as run
    from hardnet_deploy.workflows.detect_pictures import picture_paths, save_picture
    from hardnet_deploy.workflows.open_engine import open_engine

    del json, debug  # the result is JSON with and without --json
    pictures = picture_paths(images, output_dir) if picture else {}
    opened = open_engine(engine, trust=trust, code_line=code_line, classes=classes)
    remark = "; ".join(filter(None, (UNTRAINED if opened.trained is False else None, opened.warning)))
    if remark:
        note(f"warning: {engine}: {remark}")
    if score_threshold is not None and score_threshold < opened.thresholds.score:
        note(
            f"note: {engine} itself keeps no score below {opened.thresholds.score:g}; --score-threshold only drops more"
        )
    prefix = f"{UNTRAINED}: " if opened.trained is False else ""
    rows, failed = [], 0
    for number, found in enumerate(run(opened, images, score_threshold=score_threshold), start=1):
        row = found.as_dict()
        rows.append(row)
        if isinstance(found, UnreadableImage):
            failed += 1
            note("error: " + str(found.error))
            continue
        note(f"{prefix}[{number}/{len(images)}] {found.path}: {len(found.detections)} detections")
        if picture:
            save_picture(found, opened, pictures[found.path], note=remark or None)
            row["picture"] = str(pictures[found.path])
    untrained = None if opened.trained is None else not opened.trained
    emit_json({**opened.as_dict(), "untrained": untrained, "images": rows})
    if failed:
        raise typer.Exit(InputFileError.exit_code)
