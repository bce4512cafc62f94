"""What a time with NMS in it depends on stands beside it: what does the NMS, and how many candidates it sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_up_times import bench, bench_row, eager_row, imported_row, published_row
from report_pages import page, table

from hardnet_deploy.bench.sides import NMS_KINDS
from hardnet_deploy.report.suppression import IN_WORDS

EAGER = {"nms": "torchvision", "nms_candidates": 131}
OF_EVERY_ROW = "NMS of every row that records one: "
WHAT_THEY_ARE = "Candidates: pairs of a box and a class"


def timings(folder: Path, *rows: dict[str, Any]) -> tuple[dict[str, list[str]], str]:
    root = page(folder, bench(list(rows)))
    return table(root, "Times"), root.one("timings").text


def column(times: dict[str, list[str]]) -> list[str]:
    place = times["network, engine"].index("NMS")
    return [row[place] for name, row in times.items() if name != "network, engine"]


def test_rows_that_differ_say_it_each(tmp_path: Path) -> None:
    of_rows: list[dict[str, Any]] = [
        {"nms": "in-graph", "nms_candidates": 1},
        {"nms": "plugin-by-numpy", "nms_candidates": 12_345},
        {"nms": "in-graph", "nms_candidates": None},
        {},
    ]
    rows = [bench_row(f"{place}.onnx", 10.0, **one) for place, one in enumerate(of_rows)]
    rows.append(published_row("VGG-16", 49.0))  # not timed
    times, text = timings(tmp_path, eager_row(**EAGER), *rows, imported_row("n", 45.0, "imported (Made-up Nano)"))
    assert column(times) == [
        "torchvision, 131 candidates",
        "in the graph, 1 candidate",
        "its plugin by NumPy, 12 345 candidates",
        "in the graph, candidates not counted",
        "none recorded",
        "–",
        "none recorded",
    ]
    assert WHAT_THEY_ARE in text
    assert OF_EVERY_ROW not in text


def test_what_all_rows_share_is_one_note_and_no_column(tmp_path: Path) -> None:
    backbone = published_row("ResNet-50", 31.0, 1.0)
    times, text = timings(tmp_path, eager_row(**EAGER), bench_row("channels-last", 30.0, **EAGER), backbone)
    assert "NMS" not in times["network, engine"]
    assert f"{OF_EVERY_ROW}torchvision, 131 candidates." in text
    assert WHAT_THEY_ARE in text


@pytest.mark.parametrize("row", [{}, {"nms": None, "nms_candidates": None}])
def test_nothing_is_said_of_an_nms_that_no_row_records(row: dict[str, Any], tmp_path: Path) -> None:
    times, text = timings(tmp_path, eager_row(**row), bench_row("a.onnx", 10.0, **row))
    assert "NMS" not in times["network, engine"]
    assert OF_EVERY_ROW not in text
    assert WHAT_THEY_ARE not in text


def test_candidates_that_nobody_counted_are_not_explained(tmp_path: Path) -> None:
    _, text = timings(tmp_path, eager_row(nms="numpy", nms_candidates=None))
    assert f"{OF_EVERY_ROW}NumPy, candidates not counted." in text
    assert WHAT_THEY_ARE not in text


@pytest.mark.parametrize("kind", NMS_KINDS)
def test_every_kind_has_words(kind: str, tmp_path: Path) -> None:
    _, text = timings(tmp_path, eager_row(nms=kind, nms_candidates=2))
    assert f"{OF_EVERY_ROW}{IN_WORDS[kind]}, 2 candidates." in text
