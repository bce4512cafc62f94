"""``hardnet-deploy verify``: what a person and a program read, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_int8 import fill_folder
from typer.testing import CliRunner

from hardnet_deploy.artifacts import manifest_path
from hardnet_deploy.cli.main import app


@pytest.fixture(autouse=True)
def in_a_folder_with_a_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fill_folder(Path())


def run(*words: str, exit_code: int = 0) -> Any:
    before = sorted(Path().rglob("*"))
    result = CliRunner().invoke(app, ["verify", *words])
    assert result.exit_code == exit_code, result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(Path().rglob("*")) == before  # it writes nothing
    return result


def damage() -> None:
    path = manifest_path(Path("float.onnx"))
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "sha256": "0" * 64}))


def test_a_person_reads_a_line_for_each_check_and_the_count() -> None:
    lines = run("float.onnx").stdout.splitlines()
    assert lines[0] == "float.onnx (onnx, fp32, toy)"
    assert any(line.startswith("held         hash") for line in lines)
    assert any(line.startswith("not checked  computes") and "(no weights" in line for line in lines)
    assert " 0 FAILED, " in lines[-1]


def test_a_failure_is_a_line_and_the_exit_code() -> None:
    damage()
    result = run("float.onnx", exit_code=8)
    assert any(line.startswith("FAILED       hash") for line in result.stdout.splitlines())
    assert "first of all 'hash'" in result.stderr
    assert run("float.onnx", "--trust").exit_code == 0


def test_a_program_reads_one_document() -> None:
    good = json.loads(run("float.onnx", "--json").stdout)
    assert (good["schema"], good["passed"], good["exit_code"]) == (1, True, 0)
    assert {one["outcome"] for one in good["checks"]} == {"held", "not checked"}
    damage()
    bad = json.loads(run("float.onnx", "--json", exit_code=8).stdout)
    assert (bad["passed"], bad["exit_code"]) == (False, 8)
    assert [one["name"] for one in bad["checks"] if one["outcome"] == "FAILED"] == ["hash"]
    missing = json.loads(run("nothing.onnx", "--json", exit_code=4).stdout)
    assert missing["exit_code"] == 4


def test_what_is_no_artifact_says_what_it_is() -> None:
    Path("x.engine").write_text("hello")
    assert "is not a TensorRT plan" in run("x.engine", exit_code=4).stderr
    assert "is a model" in run("ssd300-hardnet-demo", exit_code=2).stderr
