"""The store of results: each report once, whatever was in the file before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from device_reports import report, write

from hardnet_deploy.errors import InputFileError
from hardnet_deploy.kit.device_report import read_report
from hardnet_deploy.kit.results import Row, label_of, merge, read_rows


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
    merge(store, row(tmp_path, date="2026-11-22T10:00:00+00:00"))
    assert [one["date"] for one in read_rows(store)] == ["2026-11-21", "2026-11-22"]
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
    assert label_of("GeForce GTX 1080 Ti", "8.6.1", "2026-11-21") == (
        "imported (GeForce GTX 1080 Ti, 2026-11-21)",
        False,
    )
    assert label_of("x", "8.6.1+simulated", "d") == ("imported (x, d), simulated", True)
