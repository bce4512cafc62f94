"""The loss curve is a picture for any run, also one of a single point."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardnet_deploy.data.images import load_image
from hardnet_deploy.train.curve import draw_curve
from hardnet_deploy.train.state import Curve


@pytest.mark.parametrize(
    "curve",
    [[], [(2, 5.5e-10, 30.0, 400.0)], [(20, 1e-3, 2.0, 5.0), (40, 1e-3, 1.0, 3.0), (60, 1e-4, 0.5, 2.0)]],
    ids=["empty", "one point", "three points"],
)
def test_it_is_a_picture(tmp_path: Path, curve: Curve) -> None:
    draw_curve(curve, tmp_path / "curve.png", title="a run")
    assert load_image(tmp_path / "curve.png").shape[2] == 3
