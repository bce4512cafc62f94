"""Ratios to the reference network: what of the runs they divide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_up_bench import made_up_document
from made_up_times import RESNET, RESNET_MS, bench, published_row
from report_pages import page


def of(statistic: str | None, name: str = "HarDNet68", measured: float | None = 0.75) -> dict[str, Any]:
    """A row whose ratio says what it is of, or does not."""
    row = published_row(name, 22.5, measured)
    row["ratio_to_reference"] |= {} if statistic is None else {"statistic": statistic}
    return row


def said(folder: Path, *rows: dict[str, Any], of_published: str = "mean") -> str:
    document = bench([published_row(RESNET, RESNET_MS, 1.0), *rows])
    document["protocol"]["statistic"] = of_published
    return page(folder, document).one("timings").text


def test_published_and_measured_ratios_of_the_same_statistic_share_a_note(tmp_path: Path) -> None:
    text = page(tmp_path, made_up_document()).one("timings").text
    assert "Published and measured ratios are of means." in text


@pytest.mark.parametrize("statistic", ["median", None])
def test_ratios_of_different_statistics_are_told_apart(statistic: str | None, tmp_path: Path) -> None:
    """Documents of before they said it have medians."""
    text = said(tmp_path, of(statistic))
    assert "Published ratios are of means." in text
    assert "Measured ratios are of medians." in text
    assert "Published and measured" not in text


def test_nothing_is_said_of_ratios_that_are_not_there(tmp_path: Path) -> None:
    text = said(tmp_path, of("mean", measured=None))
    assert "Published ratios are of means." in text
    assert "Measured ratios" not in text
    alone = of("median")
    alone["ratio_to_reference"]["published"] = None
    (tmp_path / "alone").mkdir()
    text = said(tmp_path / "alone", alone)
    assert "Measured ratios are of medians." in text
    assert "Published ratios" not in text


def test_rows_that_differ_are_named(tmp_path: Path) -> None:
    text = said(tmp_path, of("mean"), of("median", "HarDNet85"))
    assert "Measured ratios are of means: HarDNet68, eager." in text
    assert "Measured ratios are of medians: HarDNet85, eager." in text
