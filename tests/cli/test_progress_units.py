"""Progress says what it counts."""

from __future__ import annotations

import pytest

from hardnet_deploy.cli import demo_cmd
from hardnet_deploy.cli.common import counting
from hardnet_deploy.cli.int8_options import UNITS
from hardnet_deploy.workflows.bench import TIMING
from hardnet_deploy.workflows.build_engine import EXPORTING
from hardnet_deploy.workflows.precision_trials import RANKING


def test_layers_and_steps_are_not_counted_as_images(capsys: pytest.CaptureFixture[str]) -> None:
    with counting(units=UNITS, every_s=0.0) as progress:
        for what, total in ((RANKING, 52), (EXPORTING, 1), ("measuring ranges", 9)):
            progress(what, 0, total)
            progress(what, min(7, total), total)
    first, second, third = capsys.readouterr().err.splitlines()
    assert first.startswith(f"{RANKING}: 7 of 52 layers, ")
    assert " layers/s, " in first
    assert second.startswith(f"{EXPORTING}: 1 of 1 steps")
    assert third.startswith("measuring ranges: 7 of 9 images, ")
    assert "images" not in first + second


def test_the_demo_counts_rounds_as_rounds(capsys: pytest.CaptureFixture[str]) -> None:
    with counting(units=demo_cmd.units(), every_s=0.0) as progress:
        for _ in range(2):
            progress(f"bench: {TIMING}", 3, 8)
    assert capsys.readouterr().err.startswith("bench: timing: 3 of 8 rounds")
