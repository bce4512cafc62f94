"""Whether a comparison leads back to PyTorch: a file that equals itself, or one that failed, has shown nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from hardnet_deploy.report.documents import Document
from hardnet_deploy.report.runs import Engine, Runs

State = Literal["passed", "failed", "not compared"]


def state_of(engine: Engine, runs: Runs, above: Sequence[Engine] = ()) -> State:
    """What the comparisons of ``engine`` come to.

    One that failed outweighs those that passed. One that passed counts where its reference is PyTorch, the reference
    outputs in a kit, or an engine that has passed in its turn.

    Args:
        engine: It.
        runs: With all comparisons.
        above: Engines that are judged by this one.
    """
    on_devices = [row.part("parity").flag("passed") for row in engine.device_rows if row.part("parity")]
    found = [document.content.flag("passed") for document in engine.parity] + on_devices
    if not found:
        return "not compared"
    if not all(passed is True for passed in found):
        return "failed"
    counts = on_devices or any(why_void(document, runs, above) is None for document in engine.parity)
    return "passed" if counts else "not compared"


def why_void(parity: Document, runs: Runs, above: Sequence[Engine] = ()) -> str | None:
    """Why a comparison says nothing of its candidate, even where it passed; None where it counts."""
    candidate, reference = (runs.side(parity.content.part(role)) for role in ("candidate", "reference"))
    if candidate is None or reference is None:
        return "compared with nothing that is known"
    if reference.ids & candidate.ids:
        return "compared with itself"
    if any(reference is one for one in above):
        return f"compared with {reference.name}, which was compared with it"
    state = state_of(reference, runs, (*above, candidate))
    if state == "failed":
        return f"compared with {reference.name}, which failed parity itself"
    if reference.in_pytorch or state == "passed":
        return None
    return f"compared with {reference.name}, which was never held against PyTorch itself"


def references(engine: Engine, runs: Runs) -> tuple[Engine, ...]:
    """Everything that ``engine`` was held against, the nearest first, and what that was held against; never itself."""
    found: list[Engine] = [engine]
    for one in found:
        for document in one.parity:
            reference = runs.side(document.content.part("reference"))
            if reference and not any(reference is other for other in found):
                found.append(reference)
    return tuple(found[1:])
