"""``hardnet-deploy train``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from hardnet_deploy.cli.common import Debug, Json, counting, emit, emit_json, guarded, note


@guarded
def train(
    model: Annotated[
        str | None, typer.Argument(help="An SSD model; on demo data the default is ssd300-hardnet-demo.")
    ] = None,
    data: Annotated[
        str,
        typer.Option("--data", help="demo, coco:ROOT[:SPLIT] (train2017), voc:ROOT[:YEAR-SPLIT] (2007-trainval)."),
    ] = "demo",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for weights, curve, record; the same folder resumes.")
    ] = Path("training"),
    weights: Annotated[
        Path | None, typer.Option("--weights", help="Checkpoint to start from; its class heads may differ in number.")
    ] = None,
    classes: Annotated[
        Path | None, typer.Option("--classes", help="File with your own class names, one a line, without background.")
    ] = None,
    code_line: Annotated[str, typer.Option("--code-line", help="Network to train: pingolh or lzx1413.")] = "pingolh",
    count: Annotated[int | None, typer.Option("--count", help="Only the first so many images.")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="Default: 150 (COCO, demo) or 300 (VOC).")] = None,
    batch: Annotated[int, typer.Option("--batch", help="Images a step.")] = 32,
    lr: Annotated[float, typer.Option("--lr", help="Learning rate once warmed up.")] = 4e-3,
    schedule: Annotated[
        Literal["steps", "cosine"],
        typer.Option("--schedule", help="How the rate falls: to a tenth at 60, 80 and 90 % of the run, or a cosine."),
    ] = "steps",
    optimizer: Annotated[
        Literal["sgd", "adamw"],
        typer.Option("--optimizer", help="The authors' SGD; AdamW gets further in a short run from nothing."),
    ] = "sgd",
    momentum: Annotated[float | None, typer.Option("--momentum", help="Of SGD; default 0.9.")] = None,
    weight_decay: Annotated[
        float | None, typer.Option("--weight-decay", help="Default: 1e-4 (COCO, demo) or 5e-4 (VOC).")
    ] = None,
    clip_norm: Annotated[
        float, typer.Option("--clip-norm", help="Shorten longer gradients to this; 0 leaves them as they are.")
    ] = 0.0,
    warmup: Annotated[
        float | None, typer.Option("--warmup", help="Epochs over which the learning rate rises; default 1.")
    ] = None,
    location_beta: Annotated[
        float, typer.Option("--location-beta", help="Of smooth L1 on box offsets; smaller asks for tighter boxes.")
    ] = 1.0,
    augmentation: Annotated[
        Literal["ssd", "light", "mirror", "none"],
        typer.Option("--augmentation", help="SSD's own; milder, for short runs; mirroring alone; none."),
    ] = "ssd",
    amp: Annotated[
        Literal["auto", "off", "bf16", "fp16"],
        typer.Option("--amp", help="Mixed precision; auto: fp16 on CUDA, off on a CPU."),
    ] = "auto",
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[
        int | None, typer.Option("--workers", help="Processes that read and augment; the result is the same for any.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", help="Of PyTorch on a CPU; a resumed run needs the same number.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of weights, order and augmentation.")] = 0,
    store: Annotated[
        Literal["fp32", "fp16"], typer.Option("--store", help="Number format of the written weights.")
    ] = "fp32",
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew in a folder that holds a run.")] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train an SSD detector with its authors' recipe; run the same command again to go on after an interruption."""
    from hardnet_deploy.train.loop import Progress
    from hardnet_deploy.workflows.train import run_training
    from hardnet_deploy.workflows.train_options import TrainRequest

    del debug
    request = TrainRequest(
        data=data,
        output=output,
        model=model,
        weights=weights,
        code_line=code_line,
        classes=classes,
        count=count,
        epochs=epochs,
        batch=batch,
        learning_rate=lr,
        optimizer=optimizer,
        momentum=momentum,
        weight_decay=weight_decay,
        clip_norm=clip_norm,
        warmup_epochs=warmup,
        schedule=schedule,
        location_beta=location_beta,
        augmentation=augmentation,
        amp=amp,
        device=device,
        workers=workers,
        threads=threads,
        seed=seed,
        store=store,
        restart=restart,
        command=("hardnet-deploy", *sys.argv[1:]),
    )
    with counting(unit="scenes") as drawn, counting(unit="steps", every_s=30.0) as steps:

        def report(at: Progress) -> None:
            steps("training", at.step, at.steps, f"loss {at.loss:.2f}, {at.images_per_second:.0f} images/s")

        result = run_training(request, drawing=lambda done, total: drawn("drawing", done, total), report=report)
    for line in result.notes:
        note(f"note: {line}")
    if json:
        emit_json(result.as_dict())
        return
    _, rate, location, confidence = result.outcome.curve[-1]
    emit(f"trained  {result.spec.name} on {result.dataset.name}: {len(result.dataset)} images")
    emit(f"         {result.outcome.steps} steps in {result.outcome.seconds / 60:.1f} min")
    emit(f"loss     location {location:.3f}, confidence {confidence:.3f} at a learning rate of {rate:g}")
    emit(f"weights  {result.weights} (SHA-256 {result.sha256})")
    emit(f"curve    {result.curve}")
    emit(f"record   {result.record}")
    where = "demo" if data.startswith("demo") else f"{data.partition(':')[0]}:ROOT"
    line = "" if code_line == "pingolh" else f" --code-line {code_line}"
    emit(f"next     hardnet-deploy evaluate {result.spec.name}={result.weights} --data {where}{line}")
