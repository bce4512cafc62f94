"""The page: sections in their order, through the templates, as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from hardnet_deploy import __version__
from hardnet_deploy.report import (
    sections_accuracy,
    sections_layers,
    sections_origin,
    sections_parity,
    sections_precision,
    sections_speed,
    texts,
)
from hardnet_deploy.report.blocks import Section
from hardnet_deploy.report.contradictions import contradictions, file_states
from hardnet_deploy.report.decision import Decision, decide
from hardnet_deploy.report.pictures import Embedder
from hardnet_deploy.report.runs import Runs

TEMPLATE: Final = "page.html.j2"
_MADE_BY: Final = b'<meta name="generator" content="hardnet-deploy '
_HEAD_BYTES: Final = 4096
"""Of a page, within which it says what made it."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """What stands on the page.

    Args:
        decisions: One for each model and machine.
        cautions: What does not fit together.
        sections: In their order.
    """

    decisions: tuple[Decision, ...]
    cautions: tuple[str, ...]
    sections: tuple[Section, ...]


def make_page(runs: Runs) -> Page:
    """Put the page together.

    Raises:
        InputFileError: A document holds something else than its kind says.
    """
    states = file_states(runs)
    return Page(
        decisions=decide(runs),
        cautions=contradictions(runs, states),
        sections=(
            sections_accuracy.against_latency(runs),
            sections_accuracy.accuracy(runs),
            sections_parity.parity(runs),
            sections_parity.worst_images(runs, Embedder()),
            sections_precision.precision(runs),
            sections_speed.timings(runs),
            sections_layers.profile(runs),
            sections_layers.roofline(runs),
            sections_origin.manifests(runs, states),
            sections_origin.reproduce(runs),
        ),
    )


def render(page: Page, *, made: datetime, command: Sequence[str]) -> str:
    """The HTML text.

    Args:
        page: What stands on it.
        made: When, as the page says.
        command: The command line that makes it again.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("hardnet_deploy.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(
        page=page, made=made, version=__version__, command=command, texts=texts
    )


def is_page(path: Path) -> bool:
    """Whether the file at ``path`` begins as a page of :func:`render` does.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return head.lstrip().startswith(b"<!DOCTYPE html>") and _MADE_BY in head
