"""The releases that the code is held against, each with where its interface is known from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

from trt_api_model import Api, api_from, golden_api
from trt_build_scenarios import BUILDS, QUESTIONS
from trt_run_scenarios import RUNS
from trt_scenarios import Outcome, record
from trt_wheels import WHEELS, Unavailable, Wheel, api_of

SCENARIOS: Final = (*QUESTIONS, *BUILDS, *RUNS)
GOLDEN_VERSIONS: Final = {"8.2.1": "8.2", "8.6.1": "8.6", "10.9.0.34": "10", "10.16.1.11": "10", "11.4.0.106": "11"}


@dataclass(frozen=True)
class Release:
    """One release: from its own bindings where ``wheel`` is given, else from the list that the project ships."""

    family: str
    version: str
    wheel: Wheel | None = None

    def __str__(self) -> str:
        return f"{self.version}-{'list' if self.wheel is None else 'bindings'}"


RELEASES: Final = (
    *(Release(family, version) for version, family in GOLDEN_VERSIONS.items()),
    *(Release(wheel.family, wheel.version, wheel) for wheel in WHEELS),
)


@cache
def bindings_of(wheel: Wheel) -> Api | str:
    """The interface of a release's bindings, or why it cannot be had here."""
    try:
        return api_from(api_of(wheel), f"bindings of {wheel}")
    except Unavailable as reason:
        return str(reason)


@cache
def interface_of(release: Release) -> Api | str:
    """What a release offers, or why that cannot be known here.

    The list of 8.2.1, for which there are no bindings to import, takes types of properties from 8.6.1's bindings.
    """
    if release.wheel is not None:
        return bindings_of(release.wheel)
    listed = golden_api(release.version)
    later = bindings_of(WHEELS[0])
    return listed if isinstance(later, str) or release.family != "8.2" else listed.with_signatures_of(later)


@cache
def outcome_of(release: Release) -> Outcome | str:
    """The recording of every scenario on a release, or why there is none."""
    interface = interface_of(release)
    return interface if isinstance(interface, str) else record(interface, SCENARIOS)


def known_outcomes() -> Iterator[Outcome]:
    """Of every release whose interface can be had here: of the lists always."""
    for release in RELEASES:
        outcome = outcome_of(release)
        if not isinstance(outcome, str):
            yield outcome
