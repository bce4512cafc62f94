"""A report as a file: whatever stands in it, it is a row or one sentence."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from device_reports import report, write

from hardnet_deploy.errors import HardnetDeployError, InputFileError
from hardnet_deploy.kit.device_report import read_report
from hardnet_deploy.kit.document import KitFolder
from hardnet_deploy.kit.json_record import MOST_BYTES


def read(folder: Path, document: Any, kit: KitFolder | None = None) -> Any:
    return read_report(write(folder / "report.json", document), kit)


@pytest.mark.parametrize("name", ["", " ", "x" * 201, "a\nb", "\x1b[31mred", "\ud800", "\u202egnp"], ids=ascii)
def test_a_name_is_one_line_that_can_be_shown(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputFileError, match=r"device\.name"):
        read(tmp_path, report(device={"name": name}))


def test_names_of_any_language_are_taken(tmp_path: Path) -> None:
    assert "Jetson Nano (書斎, №1)" in read(tmp_path, report(device={"name": "Jetson Nano (書斎, №1)"})).label


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (b"", "an empty file"),
        (b" \n", "an empty file"),
        (b"\x9f\x00\xff", "bytes that are no UTF-8 text"),
        (b'{"median": 1e999}', "it holds 1e999, which is beyond all numbers"),
        (b"[" * 100_000, "endless nesting"),
    ],
    ids=["empty", "blank", "binary", "huge number", "deep"],
)
def test_a_file_that_cannot_be_read_says_why_and_what_next(tmp_path: Path, content: bytes, got: str) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(content)
    with pytest.raises(InputFileError) as caught:
        read_report(path, None)
    assert caught.value.got == got
    assert caught.value.next_step


def test_a_byte_order_mark_is_let_pass(tmp_path: Path) -> None:
    path = write(tmp_path / "report.json", report())
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_report(path, None).trained


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)  # sparse: takes no disk
    with pytest.raises(InputFileError, match="is too large"):
        read_report(path, None)


VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1e308,
    10**400,
    "",
    "x",
    "\ud800",
    "9999-12-31",
    [],
    {},
    [1],
    [None],
    {"a": 1},
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where every part of a document stands; of a list its first."""
    if path:
        yield path
    parts = value.items() if isinstance(value, dict) else list(enumerate(value))[:1] if isinstance(value, list) else ()
    for key, part in parts:
        yield from places(part, (*path, key))


@pytest.mark.parametrize("part", sorted(report()))
def test_whatever_is_changed_a_report_is_a_row_or_a_sentence(tmp_path: Path, part: str) -> None:
    original = report()
    refused: list[HardnetDeployError] = []
    for place in places({part: original[part]}):
        for value in VALUES:
            document = copy.deepcopy(original)
            parent = document
            for key in place[:-1]:
                parent = parent[key]
            parent[place[-1]] = value
            try:
                row = read(tmp_path, document).as_dict()
            except HardnetDeployError as error:
                refused.append(error)
            else:
                json.dumps(row, allow_nan=False)
                assert row["label"].isprintable()
    assert all(error.next_step for error in refused)
    assert refused or part == "cuda_layer"  # of which a row has nothing
