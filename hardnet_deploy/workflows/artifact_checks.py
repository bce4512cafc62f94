"""One check of an artifact: whether it held, failed, or could not be made, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from hardnet_deploy.errors import (
    ArtifactMismatchError,
    HardnetDeployError,
    InputFileError,
    ParityError,
    TargetError,
    UsageError,
)

Outcome = Literal["held", "FAILED", "not checked"]
HELD: Final = "held"
FAILED: Final = "FAILED"
UNCHECKED: Final = "not checked"
WORST_FIRST: Final[tuple[type[HardnetDeployError], ...]] = (
    InputFileError,
    ArtifactMismatchError,
    ParityError,
    TargetError,
    UsageError,
)
"""A file that is of no use at all, before one that is another, before one that computes something else, before one that
this machine or its target cannot run."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of the outcome.

    Args:
        name: What was looked at.
        outcome: ``held``, ``FAILED`` or ``not checked``.
        told: What was found, or why nothing was.
        exit_code: Of a failure; None otherwise.
        next_step: What leads on, where that is known.
    """

    name: str
    outcome: Outcome
    told: str
    exit_code: int | None = None
    next_step: str | None = None

    @property
    def held(self) -> bool:
        """True where it was made and nothing spoke against it."""
        return self.outcome == HELD

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


def held(name: str, told: str) -> Check:
    """Made, and nothing spoke against it."""
    return Check(name=name, outcome=HELD, told=told)


def unchecked(name: str, why: str, *, next_step: str | None = None) -> Check:
    """Not made."""
    return Check(name=name, outcome=UNCHECKED, told=why, next_step=next_step)


def failed(name: str, error: HardnetDeployError) -> Check:
    """Made, and what the error says was found."""
    details = [f"{label} {text}" for label, text in (("got", error.got), ("wanted", error.wanted)) if text]
    return Check(
        name=name,
        outcome=FAILED,
        told="; ".join([error.what, *details]),
        exit_code=error.exit_code,
        next_step=error.next_step,
    )


def attempted(name: str, check: Callable[[], str]) -> Check:
    """A check as a call that returns what it found, or raises what speaks against it."""
    try:
        return held(name, check())
    except HardnetDeployError as error:
        return failed(name, error)


def worst(checks: tuple[Check, ...], what: str) -> HardnetDeployError | None:
    """What the command ends with for the gravest failure of ``what``; None where nothing failed."""
    found = [check for check in checks if check.outcome == FAILED]
    for kind in WORST_FIRST:
        for check in found:
            if check.exit_code == kind.exit_code:
                return kind(
                    f"{what}: {len(found)} of {len(checks)} checks failed, first of all '{check.name}'",
                    got=check.told,
                    next_step=check.next_step,
                )
    return None
