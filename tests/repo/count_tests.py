"""Compare how many tests there are with the record in tests/test_counts.json, or write that record.

A test that vanishes (a renamed file, a broken import skipped over, a marker too many) makes no test fail. Here it does:
``check`` ends with 1 unless the numbers of fast and of slow tests and the list of test files are the recorded ones.

Usage: ``python tests/repo/count_tests.py check|record``.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "tests" / "test_counts.json"
RECORDING = "make counts"


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Numbers of collected tests, and the files that hold at least one."""

    fast: int
    slow: int
    files: list[str]


class CollectionError(Exception):
    """The tests cannot even be collected."""


class _Collector:
    """A pytest plugin that keeps what was collected before markers deselect."""

    def __init__(self) -> None:
        self.items: list[pytest.Item] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self.items = list(items)


def collect(root: Path) -> Counts:
    """Collect the tests under ``root``, running none.

    Raises:
        CollectionError: A test file cannot be imported; the message is pytest's.
    """
    collector, output = _Collector(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        status = pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", "--rootdir", str(root)], [collector])
    if status not in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
        raise CollectionError(output.getvalue().partition("= ERRORS =")[2] or output.getvalue())
    slow = sum(item.get_closest_marker("slow") is not None for item in collector.items)
    files = sorted({item.path.relative_to(root).as_posix() for item in collector.items})
    return Counts(fast=len(collector.items) - slow, slow=slow, files=files)


def differences(found: Counts, recorded: Counts) -> list[str]:
    """One sentence for each way in which the tests are not the recorded ones."""
    told = []
    for kind, now, then in (("fast", found.fast, recorded.fast), ("slow", found.slow, recorded.slow)):
        if now < then:
            told.append(f"{then - now} {kind} tests are missing: {now} found, {then} recorded")
        elif now > then:
            told.append(f"{now - then} {kind} tests are new: {now} found, {then} recorded; record them: {RECORDING}")
    told += [f"{name} has no tests any more" for name in recorded.files if name not in found.files]
    told += [f"{name} is not recorded; record it: {RECORDING}" for name in found.files if name not in recorded.files]
    return told


def main(arguments: list[str]) -> int:
    """Run one of the two commands; returns the exit status."""
    if arguments not in (["check"], ["record"]):
        sys.stderr.write(f"{__doc__}\n")
        return 2
    try:
        found = collect(ROOT)
    except CollectionError as error:
        sys.stderr.write(f"the tests cannot be collected\n{error}\n")
        return 1
    if arguments == ["record"]:
        RECORD.write_text(json.dumps(asdict(found), indent=2) + "\n", encoding="utf-8")
        sys.stdout.write(f"recorded {found.fast} fast and {found.slow} slow tests in {len(found.files)} files\n")
        return 0
    told = differences(found, Counts(**json.loads(RECORD.read_text(encoding="utf-8"))))
    sys.stdout.writelines(
        f"{line}\n" for line in told or [f"{found.fast} fast and {found.slow} slow tests, as recorded"]
    )
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
