"""Timings on the page: of what intervals are, by which rules rows are marked, and all that a device sent back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_up_times import bench, bench_row, device_results, device_row, device_timing, eager_row
from report_pages import page, table

from hardnet_deploy.bench.stats import summarise
from hardnet_deploy.report import texts


def said(folder: Path, *rows: dict[str, Any], **protocol: Any) -> str:
    run = bench([eager_row(), *rows])
    run["protocol"] |= protocol
    return page(folder, run).one("timings").text


@pytest.mark.parametrize(
    ("loadings", "told"),
    [
        ([0, 0, 1, 2, 3, 4], "95 % interval over 5 loadings."),
        ([0] * 6, "95 % interval over rounds."),
        (None, "95 % interval over rounds."),
    ],
)
def test_an_interval_is_over_what_the_rows_have(loadings: list[int] | None, told: str, tmp_path: Path) -> None:
    rows = [bench_row("a.onnx", 10.0, loadings=loadings), bench_row("b.onnx", 20.0, loadings=loadings)]
    text = said(tmp_path, *rows)
    assert f"Gains: of medians, {told}" in text


def test_rows_with_one_loading_and_with_several_are_told_apart(tmp_path: Path) -> None:
    rows = [
        bench_row(f"{place}.onnx", 10.0, loadings=one)
        for place, one in enumerate(([0] * 6, [0, 0, 1, 2, 3, 4], [*range(6)]))
    ]
    assert "95 % interval over 5 to 6 loadings, of what was loaded once over rounds." in said(tmp_path, *rows)


def test_without_a_gain_no_interval_is_spoken_of(tmp_path: Path) -> None:
    assert "Gains:" not in said(tmp_path, bench_row("a.onnx", 10.0, gain_over_eager=None))


def test_method_and_rule_are_told_in_the_documents_words(tmp_path: Path) -> None:
    text = said(tmp_path, method="each engine in turn, by hand", stability="median known to 10 %")
    assert "Method: each engine in turn, by hand." in text
    assert "Stable: median known to 10 %." in text


def test_iterations_are_those_that_were_asked_for(tmp_path: Path) -> None:
    text = said(tmp_path, bench_row("a.onnx", 10.0), iterations=300)
    assert "300 iterations asked for" in text
    times = table(page(tmp_path), "Times")
    assert times["SSD300 made up, a.onnx"][times["network, engine"].index("runs")] == "60"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.16, "0.160×"),
        (0.1634, "0.163×"),
        (0.0163, "0.0163×"),
        (4.0, "4.00×"),
        (12.34, "12.3×"),
        (163.4, "163×"),
        (0.0, "0.00×"),
    ],
)
def test_a_ratio_has_three_digits(value: float, shown: str) -> None:
    assert texts.ratio(value) == shown


def test_an_interval_of_a_small_ratio_has_a_width() -> None:
    assert texts.between(0.1612, 0.1648) == "0.161 to 0.165"


CONDITIONS = {"before": {"temperatures": {"GPU": 41.5}}, "after": {"temperatures": {"GPU": 58.0}}}


def test_a_device_row_has_its_percentiles_variation_and_conditions(tmp_path: Path) -> None:
    timing = {**device_timing(45.0), "conditions": CONDITIONS}
    root = page(tmp_path, device_results([device_row(timing=timing)]))
    found = table(root, "Imported from devices")
    (name,) = found.keys() - {"engine"}
    row = dict(zip(found["engine"], found[name], strict=True))
    assert row["p90"] == texts.milliseconds(timing["p90"])
    assert row["p95"] == texts.milliseconds(timing["p95"])
    assert row["CoV"] == f"{timing['cov_percent']:.1f} %"
    assert row["runs"] == str(timing["runs"])
    conditions = table(root, "Conditions, ssd300-made-up, fp16, imported (Made-up Nano, 2026-11-21)")
    assert conditions["before, temperatures, GPU"] == ["41.5"]
    assert conditions["after, temperatures, GPU"] == ["58.0"]


def test_a_device_row_without_conditions_has_no_table_of_them(tmp_path: Path) -> None:
    text = page(tmp_path, device_results([device_row()])).one("timings").text
    assert "Conditions" not in text


def test_a_row_that_is_flagged_and_stable_is_explained(tmp_path: Path) -> None:
    flagged = bench_row("a.onnx", 10.0)
    assert flagged["measured"]["cov_percent"] < 2.5
    assert "A row can be both" not in said(tmp_path, flagged)
    rounds = [[9.0, 11.0] * 5] * 6
    wide = bench_row("b.onnx", 10.0, rounds_ms=rounds, measured={**summarise(rounds).as_dict(), "stable": True})
    other = tmp_path / "wide"
    assert "A row can be both" in said(other, wide)
