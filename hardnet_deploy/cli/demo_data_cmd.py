"""``hardnet-deploy demo-data``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hardnet_deploy.cli.common import Debug, Json, Stage, emit, emit_json, guarded, stages

if TYPE_CHECKING:
    from hardnet_deploy.data.demo.layout import DemoSplit


@guarded
def demo_data(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder, new or empty.")],
    split: Annotated[
        list[str] | None,
        typer.Option("--split", help="train, calibration, search or val; may be repeated; default: all four."),
    ] = None,
    count: Annotated[int | None, typer.Option("--count", help="Only the first so many images of each split.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the scenes; another seed gives other images.")] = 0,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write the demo data, scenes this program draws itself, as a COCO data set."""
    from hardnet_deploy.workflows.demo_data import ALL_SPLITS, write_demo_data

    del debug
    with stages() as stage:
        made = write_demo_data(output, splits=split or ALL_SPLITS, count=count, seed=seed, progress=_every_tenth(stage))
    if json:
        emit_json({"folder": str(output), "seed": seed, "splits": [as_dict(row) for row in made]})
        return
    for row in made:
        small, medium, large = row.sizes
        emit(
            f"{row.name}: {row.count} images, {sum(row.sizes)} objects ({small} small, {medium} medium, {large} large)"
        )
        emit(f"  images       {row.images}")
        emit(f"  annotations  {row.annotations}")
        emit(f"  digest       {row.digest}")
        emit(f"  use it with  {data_option(row)}")


def as_dict(split: DemoSplit) -> dict[str, Any]:
    """One split for ``--json``."""
    small, medium, large = split.sizes
    return {
        "split": split.name,
        "count": split.count,
        "objects": {"small": small, "medium": medium, "large": large},
        "images": str(split.images),
        "annotations": str(split.annotations),
        "digest": split.digest,
        "use": data_option(split),
    }


def data_option(split: DemoSplit) -> str:
    """How other commands are told to read this split."""
    return f"--data coco:{split.root}:{split.name}"


def _every_tenth(stage: Stage) -> Callable[[str, int, int], None]:
    """Show a split's progress in ten steps, which reads well as a bar and as lines."""
    shown: dict[str, int] = {}

    def show(split: str, done: int, total: int) -> None:
        tenth = 10 * done // total
        if shown.get(split) != tenth:
            shown[split] = tenth
            stage(f"drawing {split}", done, total)

    return show
