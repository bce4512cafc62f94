"""``hardnet-deploy targets``."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hardnet_deploy.cli.common import Debug, Json, emit, emit_json, guarded

if TYPE_CHECKING:
    from hardnet_deploy.targets import Target

LABEL_WIDTH = 12


@guarded
def targets(
    sources: Annotated[bool, typer.Option("--sources", help="Name the public source of every fact.")] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """List the deployment targets: what each can run, and what goes wrong there."""
    from hardnet_deploy.targets import TARGETS, get_target

    del debug
    rows = [get_target(name) for name in TARGETS]
    if json:
        emit_json({"targets": [as_dict(row) for row in rows]})
        return
    for row in rows:
        for line in lines(row, sources=sources):
            emit(line)


def as_dict(target: Target) -> dict[str, Any]:
    """Every fact of a target and its source, for ``--json``."""
    shown = {field.name: getattr(target, field.name) for field in dataclasses.fields(target)}
    shown["precisions"] = dict(target.precisions)
    shown["sources"] = dict(target.sources)
    shown["pitfalls"] = [dataclasses.asdict(pitfall) for pitfall in target.pitfalls]
    return shown


def lines(target: Target, *, sources: bool) -> list[str]:
    """A target as text, one fact a line, each with its source where asked for."""
    capability, lowest = target.compute_capability, target.minimum_compute_capability
    architecture = "sm_{}{}".format(*capability) if capability else "sm_{}{} or newer".format(*lowest) if lowest else ""
    cuda = f", CUDA {target.cuda}" if target.cuda else ""
    batch = "any" if target.max_batch is None else f"fixed, at most {target.max_batch}"
    precisions = ", ".join(f"{name} {fitness}" for name, fitness in target.precisions.items())
    facts = [
        ("runtime", f"{target.runtime}{cuda}, Python {target.python}", "runtime"),
        ("opset", f"{target.min_opset} to {target.max_opset}", "max_opset"),
        ("precisions", precisions, "precisions"),
        ("nms", f"{target.default_nms} (takes {', '.join(target.nms_kinds)})", "nms_kinds"),
        ("nms plugin", target.nms_plugin, "nms_plugin"),
        ("batch", batch, "max_batch"),
    ]
    if target.nms_candidate_cap is not None:
        facts.append(("nms limit", f"{target.nms_candidate_cap} candidates an image", "nms_candidate_cap"))
    if target.max_workspace is not None:
        facts.append(("workspace", f"at most {target.max_workspace // 1024**2} MiB", "max_workspace"))
    told = [f"{target.name}: {target.device}{f', {architecture}' if architecture else ''}"]
    for label, text, fact in facts:
        told.append(f"  {label.ljust(LABEL_WIDTH)}{text}")
        if sources and fact in target.sources:
            told.append(f"  {' ' * LABEL_WIDTH}source: {target.sources[fact]}")
    for pitfall in target.pitfalls:
        told.append(f"  {'beware'.ljust(LABEL_WIDTH)}{pitfall.text}")
        if sources:
            told.append(f"  {' ' * LABEL_WIDTH}source: {pitfall.source}")
    return [*told, ""]
