"""The commands on TensorRT plans, with simulated TensorRT: what a person and a program read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from simulated_device import PASCAL
from simulated_host import LABELS, simulated_host
from small_int8 import fill_folder
from typer.testing import CliRunner

from hardnet_deploy.artifacts import manifest_path
from hardnet_deploy.cache import cache_folder
from hardnet_deploy.cli.main import app
from hardnet_deploy.workflows.open_plan import PLAN_TAG

BUILD = ("build-engine", "float.onnx", "--int8", "--calib", "float.calib.json", "--target", "gtx-1080ti")


@pytest.fixture(autouse=True)
def in_a_folder_with_a_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARDNET_DEPLOY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    fill_folder(Path())


def run(*words: str, exit_code: int = 0) -> Any:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == exit_code, result.output
    return result


def test_a_build_says_what_built_it_and_what_runs_in_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, PASCAL):
        text = run(*BUILD).stdout
        document = json.loads(run(*BUILD, "--json").stdout)
    assert "wrote    float.int8.engine" in text
    assert "built by TensorRT 8.6.1+simulated on Simulated GTX 1080 Ti (sm_61)" in text
    assert "layers   5 of 6 convolutions in INT8, 93.9 % of the arithmetic" in text
    assert "ranges   minmax, 4 images" in text
    assert document["engine"] == "float.int8.engine"
    assert document["precision"]["achieved"]["base.2"] == "int8"


def test_the_other_commands_take_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = "float.int8.engine"
    with simulated_host(monkeypatch, PASCAL):
        run(*BUILD)
        found = json.loads(run("evaluate", plan, "--data", "coco:coco:val2017", "--json").stdout)
        assert found["engine"]["runner"] == LABELS[PASCAL]
        detected = json.loads(run("detect", plan, "pictures/00.png", "--json").stdout)
        assert LABELS[PASCAL] in json.dumps(detected)
        text = run("parity", plan, plan, "--data", "coco:coco:val2017").stdout
        assert "not available: a TensorRT plan hands out its outputs alone" in text
        assert LABELS[PASCAL] in text


def test_a_plan_that_cannot_run_here_ends_with_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, PASCAL):
        run(*BUILD)
        (entry,) = (cache_folder() / "plans").iterdir()
        entry.unlink()
        words = ("evaluate", "float.int8.engine", "--data", "coco:coco:val2017")
        assert "was not built by you on this machine" in run(*words, exit_code=8).stderr
        trusted = json.loads(run(*words, "--trust", "--json").stdout)
        assert trusted["engine"]["warning"]
    assert "this machine cannot run it" in run(*words, exit_code=3).stderr
    manifest_path(Path("float.int8.engine")).unlink()
    assert "is not a TensorRT plan" in run(*words, exit_code=4).stderr  # it is not: it is a simulated one
    Path("float.int8.engine").write_bytes(PLAN_TAG + bytes(range(128, 256)))
    assert "is a TensorRT plan without a manifest" in run(*words, exit_code=8).stderr
