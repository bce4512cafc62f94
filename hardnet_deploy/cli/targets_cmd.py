"""``hardnet-deploy targets``."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hardnet_deploy.cli.common import Debug, Json, emit, emit_json, guarded

if TYPE_CHECKING:
    from hardnet_deploy.targets import Target

LABEL_WIDTH = 15
COLUMN_WIDTH = 24
GAP = "  "
WIDTH = 120
GIB = 1024**3
MIB = 1024**2
UNBROKEN: Any = {"break_long_words": False, "break_on_hyphens": False}


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
    for line in table(rows):
        emit(line)
    for row in rows:
        for line in pitfalls(row, sources=sources):
            emit(line)
    if sources:
        for row in rows:
            for line in facts_with_sources(row):
                emit(line)
    else:
        emit("--sources names the public source of every fact, --json has all of it")


def as_dict(target: Target) -> dict[str, Any]:
    """Every fact of a target and its source, for ``--json``."""
    shown = {field.name: getattr(target, field.name) for field in dataclasses.fields(target)}
    shown["precisions"] = dict(target.precisions)
    shown["sources"] = dict(target.sources)
    shown["pitfalls"] = [dataclasses.asdict(pitfall) for pitfall in target.pitfalls]
    return shown


def table(rows: Sequence[Target]) -> Iterator[str]:
    """The targets side by side, a fact a row, at most 120 columns wide."""
    columns = [facts(row) for row in rows]
    yield from _row("", [row.name for row in rows])
    yield "-" * (LABEL_WIDTH + len(rows) * (len(GAP) + COLUMN_WIDTH))
    for label in columns[0]:
        yield from _row(label, [column[label] for column in columns])
    yield ""


def _row(label: str, texts: Sequence[str]) -> Iterator[str]:
    cells = [textwrap.wrap(text, COLUMN_WIDTH, **UNBROKEN) or [""] for text in texts]
    for number in range(max(len(cell) for cell in cells)):
        parts = [cell[number] if number < len(cell) else "" for cell in cells]
        line = (label if number == 0 else "").ljust(LABEL_WIDTH)
        yield (line + "".join(GAP + part.ljust(COLUMN_WIDTH) for part in parts)).rstrip()


def facts(target: Target) -> dict[str, str]:
    """The facts of a target in words, by label."""
    capability, lowest = target.compute_capability, target.minimum_compute_capability
    architecture = "{}.{}".format(*capability) if capability else "{}.{} or newer".format(*lowest) if lowest else "-"
    memory = "the machine's" if target.memory is None else f"{target.memory // GIB} GiB"
    cap = "" if target.nms_candidate_cap is None else f", {target.nms_candidate_cap} candidates"
    oldest = target.minimum_tensorrt
    return {
        "device": target.device,
        "capability": architecture,
        "tensorrt": target.tensorrt or f"none: {target.runtime}",
        "family": " or ".join(target.tensorrt_families) or "-",
        "at least": "{}.{}.{}".format(*oldest) if oldest else "-",
        "cuda": target.cuda or "-",
        "python": target.python,
        "opset": f"{target.min_opset} to {target.max_opset}",
        **{str(name): fitness for name, fitness in target.precisions.items()},
        "nms": f"{target.default_nms}, of {' and '.join(target.nms_kinds)}{cap}"
        if len(target.nms_kinds) > 1
        else f"{target.default_nms} only{cap}",
        "nms plugin": _short(target.nms_plugin),
        "batch": "any, or dynamic" if target.max_batch is None else f"fixed, at most {target.max_batch}",
        "workspace": "as memory allows"
        if target.max_workspace is None
        else f"at most {target.max_workspace // MIB} MiB",
        "memory": f"{memory}, shared with the CPU" if target.memory_is_shared else memory,
    }


def _short(plugin: str) -> str:
    """The plugin's status without what the pitfalls say at length."""
    return plugin.partition(";")[0].partition(":")[0]


def pitfalls(target: Target, *, sources: bool) -> Iterator[str]:
    """What goes wrong on a target, each with its source where asked for."""
    yield f"{target.name}: beware"
    for pitfall in target.pitfalls:
        yield from _wrapped(pitfall.text, "  - ", "    ")
        if sources:
            yield from _wrapped(f"source: {pitfall.source}", "    ", "    ")
    yield ""


def facts_with_sources(target: Target) -> Iterator[str]:
    """Every fact's public source."""
    yield f"{target.name}: sources"
    for name, source in target.sources.items():
        yield from _wrapped(f"{name}: {source}", "  ", "    ")
    yield ""


def _wrapped(text: str, first: str, later: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=later, **UNBROKEN)
