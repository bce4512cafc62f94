from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from hardnet_deploy.cache import VARIABLE
from hardnet_deploy.errors import OutputFileError
from hardnet_deploy.workflows.plan_registry import built_here, record_plan

PLAN, OTHER = "a" * 64, "b" * 64


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))


def record(sha256: str = PLAN) -> Path:
    return record_plan(sha256, plan=Path("one.engine"), tensorrt="8.6.1", gpu="GTX 1080 Ti")


def test_only_what_was_recorded_is_known() -> None:
    assert not built_here(PLAN)
    record()
    assert built_here(PLAN)
    assert not built_here(OTHER)
    record()
    assert built_here(PLAN)


def test_an_entry_says_what_and_where() -> None:
    entry = json.loads(record().read_text())
    assert entry["sha256"] == PLAN
    assert entry["plan"] == str(Path("one.engine").absolute())
    assert (entry["tensorrt"], entry["gpu"]) == ("8.6.1", "GTX 1080 Ti")


def test_nobody_else_may_write_an_entry() -> None:
    old = os.umask(0o002)
    try:
        path = record()
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_an_entry_that_others_may_write_counts_for_nothing(mode: int) -> None:
    record().chmod(mode)
    assert not built_here(PLAN)


def test_a_folder_that_others_may_write_counts_for_nothing() -> None:
    record().parent.chmod(0o777)
    assert not built_here(PLAN)


def test_an_entry_of_another_user_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    record()
    monkeypatch.setattr(os, "getuid", lambda: -1)
    assert not built_here(PLAN)


@pytest.mark.parametrize("text", ["", "[]", '{"sha256": "' + OTHER + '"}', "{"])
def test_a_damaged_entry_counts_for_nothing(text: str) -> None:
    record().write_text(text)
    assert not built_here(PLAN)


def test_a_registry_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file"))
    with pytest.raises(OutputFileError):
        record()
    assert not built_here(PLAN)
