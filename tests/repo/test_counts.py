from __future__ import annotations

import dataclasses
import json

from count_tests import RECORD, ROOT, Counts, differences

RECORDED = Counts(fast=10, slow=2, files=["tests/a/test_a.py", "tests/b/test_b.py"])


def test_nothing_is_said_when_the_tests_are_the_recorded_ones() -> None:
    assert differences(RECORDED, RECORDED) == []


def test_a_missing_test_is_told() -> None:
    assert differences(dataclasses.replace(RECORDED, fast=9), RECORDED) == [
        "1 fast tests are missing: 9 found, 10 recorded"
    ]


def test_a_test_that_became_slow_is_told_on_both_sides() -> None:
    told = differences(dataclasses.replace(RECORDED, fast=9, slow=3), RECORDED)
    assert "1 fast tests are missing" in told[0]
    assert "1 slow tests are new" in told[1]


def test_a_file_without_tests_is_told_even_where_the_numbers_agree() -> None:
    told = differences(dataclasses.replace(RECORDED, files=["tests/a/test_a.py", "tests/c/test_c.py"]), RECORDED)
    assert told == [
        "tests/b/test_b.py has no tests any more",
        "tests/c/test_c.py is not recorded; record it: make counts",
    ]


def test_every_recorded_file_is_there() -> None:
    recorded = Counts(**json.loads(RECORD.read_text(encoding="utf-8")))
    missing = [name for name in recorded.files if not (ROOT / name).is_file()]
    assert not missing
