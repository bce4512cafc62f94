"""The store of results: each report once, whatever was in the file before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from device_reports import report, write

from hardnet_deploy.errors import InputFileError
from hardnet_deploy.kit.device_report import read_report
from hardnet_deploy.kit.labels import label_of
from hardnet_deploy.kit.results import Row, merge, read_rows


def row(folder: Path, **changes: Any) -> Row:
    return read_report(write(folder / "report.json", report(**changes)), None)


def test_the_same_report_twice_is_one_row(tmp_path: Path) -> None:
    store = tmp_path / "results.json"
    first, new = merge(store, row(tmp_path))
    assert new
    path = tmp_path / "report.json"
    path.write_text(json.dumps(json.loads(path.read_text()), indent=4), encoding="utf-8")  # laid out otherwise
    again, new = merge(store, read_report(path, None))
    assert not new
    assert again["id"] == first["id"]
    assert len(read_rows(store)) == 1


def test_another_report_is_another_row_and_the_first_stays(tmp_path: Path) -> None:
    store = tmp_path / "results.json"
    merge(store, row(tmp_path))
    merge(store, row(tmp_path, date="2024-05-18T10:00:00+00:00"))
    assert [one["date"] for one in read_rows(store)] == ["2024-05-17", "2024-05-18"]
    document = json.loads(store.read_text())
    assert (document["schema"], document["kind"]) == (1, "device-results")


def test_raw_times_are_kept(tmp_path: Path) -> None:
    stored, _ = merge(tmp_path / "results.json", row(tmp_path))
    assert len(stored["timing"]["gpu_compute_ms"]) == 5
    assert "document" not in stored


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"kind": "device-results", "schema": 2, "rows": []}', '{"kind": "device-results", "rows": [1]}'],
)
def test_a_foreign_file_stays_as_it_is(tmp_path: Path, content: str) -> None:
    store = tmp_path / "results.json"
    store.write_text(content, encoding="utf-8")
    with pytest.raises(InputFileError):
        merge(store, row(tmp_path))
    assert store.read_text() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "results.json"]


def test_labels() -> None:
    assert label_of("GeForce GTX 1080 Ti", "8.6.1", "2024-05-17") == (
        "imported (GeForce GTX 1080 Ti, 2024-05-17)",
        False,
    )
    assert label_of("x", "8.6.1+simulated", "d") == ("imported (x, d), simulated", True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "1"),
        ("label", "imported (another, 2024-05-17)"),
        ("label", "measured here"),
        ("simulated", True),
        ("tensorrt", "8.2.1.8+simulated"),
        ("tensorrt", "10.9"),
        ("target", "gtx-1080ti"),
        ("compute_capability", "8.9"),
        ("compute_capability", "sm_53"),
        ("date", "some day"),
        ("source", "a rumour"),
        ("precision", "int4"),
        ("device", "a\nb"),
        ("trained", "yes"),
        ("layers", {"fp16": -1}),
        ("sha256", {"kit": None, "onnx": None, "engine": None, "file": None}),
        ("sha256", {"file": "ab" * 32}),
        ("not_in_file", "model"),
        ("notes", [1]),
        ("timing", None),
        ("parity", []),
        ("profile", {}),
    ],
    ids=str,
)
def test_a_row_that_was_changed_by_hand_is_not_read(tmp_path: Path, name: str, value: Any) -> None:
    store = tmp_path / "results.json"
    merge(store, row(tmp_path))
    document = json.loads(store.read_text())
    document["rows"][0][name] = value
    store.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputFileError, match=r"rows\[0\]") as caught:
        read_rows(store)
    assert caught.value.next_step


@pytest.mark.parametrize("name", ["id", "model", "parity", "not_in_file"])
def test_a_row_that_lacks_a_part_is_not_read(tmp_path: Path, name: str) -> None:
    store = tmp_path / "results.json"
    merge(store, row(tmp_path))
    document = json.loads(store.read_text())
    del document["rows"][0][name]
    store.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputFileError):
        read_rows(store)


@pytest.mark.parametrize(
    ("name", "value"),
    [("p95", 1.0), ("stable", False), ("runs", 4), ("gpu_compute_ms", [1.0]), ("cov_percent", 0.0), ("boundary", "")],
)
def test_figures_in_a_store_follow_from_its_raw_times(tmp_path: Path, name: str, value: Any) -> None:
    store = tmp_path / "results.json"
    merge(store, row(tmp_path))
    document = json.loads(store.read_text())
    document["rows"][0]["timing"][name] = value
    store.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputFileError, match="timing"):
        read_rows(store)


def test_the_same_row_twice_is_not_read(tmp_path: Path) -> None:
    store = tmp_path / "results.json"
    merge(store, row(tmp_path))
    document = json.loads(store.read_text())
    document["rows"] *= 2
    store.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputFileError, match="twice"):
        read_rows(store)


def test_a_row_has_what_a_page_of_results_shows(tmp_path: Path) -> None:
    store = tmp_path / "results.json"
    merge(store, row(tmp_path, tensorrt="8.2.1+simulated"))
    (read,) = read_rows(store)
    assert read["label"] == "imported (NVIDIA Tegra X1, 2024-05-17), simulated"
    assert {"median", "mean", "p90", "p95", "p99", "min", "max", "cov_percent", "stable"} <= set(read["timing"])
    assert read["timing"]["boundary"]
    assert read["timing"]["protocol"]["iterations"] == 5
    assert set(read["sha256"]) == {"kit", "onnx", "engine", "file"}


def test_no_store_has_no_rows_and_a_folder_is_none(tmp_path: Path) -> None:
    assert read_rows(tmp_path / "none.json") == []
    with pytest.raises(InputFileError, match="is a folder"):
        read_rows(tmp_path)
