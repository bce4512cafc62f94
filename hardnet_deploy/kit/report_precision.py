"""What the layers of a device's engine were asked for and what they got: does the report hold together?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hardnet_deploy.device.run_engine import EngineError, judge_precisions
from hardnet_deploy.kit.json_record import Record
from hardnet_deploy.kit.report_parity import refused

ASKED: Final = ("requested", "may_stay_float")
"""Parts of ``build`` that the kit's settings say, too."""


def read_precisions(report: Record, layers: Mapping[str, int]) -> tuple[str, ...]:
    """What the user should know of the precision of a report's layers.

    Args:
        report: The whole report.
        layers: Number of the engine's layers by what they compute in; empty where the inspector did not tell.

    Raises:
        InputFileError: A part is missing or of another kind.
        ArtifactMismatchError: Layers fell back to FP32 though nobody allowed it, which no device reports, or what is
            said of them does not follow from what was requested and achieved.
    """
    build = report.record("build")
    stated: dict[str, Any] = {name: _words(build, name) for name in ("requested", "achieved")}
    stated |= {name: build.texts(name) for name in ("may_stay_float", "fell_back")}
    allowed = build.boolean("allow_fallback")
    if stated["requested"] and set(stated["achieved"]) != set(stated["requested"]):
        build.refuse("achieved", "the layers of 'requested'")
    try:
        found, notes = judge_precisions(stated, allow_fallback=allowed)
    except EngineError as error:
        raise refused(report, "that nobody allowed a fallback", error.what.partition(";")[0]) from error
    if found["fell_back"] != stated["fell_back"]:
        raise refused(report, f"'fell_back' {stated['fell_back']}", f"{found['fell_back']}, from its layers")
    precision = build.line("precision")
    if layers and precision not in layers:
        notes.append(f"no layer computes in {precision}, which was asked for: {', '.join(sorted(layers))}")
    return tuple(notes)


def _words(build: Record, name: str) -> dict[str, str]:
    part = build.record(name)
    return {node: part.line(node) for node in part.values}
