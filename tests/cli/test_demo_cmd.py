"""``hardnet-deploy demo``: refused early where it cannot run, and the whole road where it can."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from command_line import files, shell
from typer.testing import CliRunner

from hardnet_deploy.cli.main import app
from hardnet_deploy.data.images import load_image


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_photograph_that_is_not_there_is_an_input_error() -> None:
    result = CliRunner().invoke(app, ["demo", "--image", "nowhere.jpg", "--json"])
    assert result.exit_code == 4
    assert "nowhere.jpg" in json.loads(result.stdout)["what"]
    assert files(Path()) == {}


def test_without_scikit_image_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code == 3
    assert "--image" in result.stderr
    assert files(Path()) == {}


@pytest.mark.slow
def test_the_whole_road() -> None:
    done = shell("demo", "-o", "out", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["model"] == "ssd512-hardnet68-coco"
    assert record["trained"] is False
    assert [run["nms"] for run in record["runs"]] == ["efficient", "onnx"]
    for run in record["runs"]:
        assert run["parity"]["ok"] is True
        assert run["detections"]
        assert Path(run["onnx"] + ".json").is_file()
        assert load_image(run["picture"]).shape == (512, 512, 3)
    assert record["matched_between_nms_kinds"] > 0
    assert all(line.startswith("untrained") for line in done.stderr.splitlines())
    assert set(files(Path("out"))) == {
        *(f"ssd512-hardnet68-coco.{kind}-nms.onnx{end}" for kind in ("efficient", "onnx") for end in ("", ".json")),
        *(f"{kind}-nms/astronaut.detections.png" for kind in ("efficient", "onnx")),
    }
