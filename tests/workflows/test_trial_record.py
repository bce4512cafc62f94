"""What was measured of one thing stays when another is measured into the same file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from made_up_table import table

from hardnet_deploy.workflows.trial_record import keep_record, ranges_digest, read_records


def test_a_record_takes_the_place_of_its_own_and_of_no_other(tmp_path: Path) -> None:
    path = tmp_path / "trials.json"
    assert read_records(path) == []
    one, other = {"identity": {"data": "a"}, "trials": {"x": 1}}, {"identity": {"data": "b"}, "trials": {}}
    keep_record(path, one)
    keep_record(path, other)
    assert read_records(path) == [other, one]
    again = {**one, "trials": {"x": 1, "y": 2}}
    keep_record(path, again)
    assert read_records(path) == [again, other]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"records": 5}', '{"records": [{}]}', '{"records": [{"identity": NaN}]}', "[" * 5000],
)
def test_a_file_that_cannot_be_read_is_empty(text: str, tmp_path: Path) -> None:
    path = tmp_path / "trials.json"
    path.write_text(text)
    assert read_records(path) == []
    keep_record(path, {"identity": 1})
    assert read_records(path) == [{"identity": 1}]


def test_ranges_are_the_same_whoever_measured_them() -> None:
    given = table()
    assert ranges_digest(replace(given, command=("x",), versions={"onnx": "0"})) == ranges_digest(given)
    methods = {ranges_digest(given.with_method(method)) for method in ("minmax", "entropy", "mse", "percentile")}
    assert len(methods) == 4
    other = replace(given, fingerprint=replace(given.fingerprint, images="0" * 64))
    assert ranges_digest(other) != ranges_digest(given)
