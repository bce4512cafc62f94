"""``sensitivity``: the ranking of layers as a report and a picture."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import typer
from small_int8 import LAYERS, fill_folder, silent, write_backbone
from typer.testing import CliRunner

from hardnet_deploy.cli.sensitivity_cmd import sensitivity
from hardnet_deploy.errors import ArtifactMismatchError, HardnetDeployError, InputFileError, OutputFileError, UsageError
from hardnet_deploy.evaluate.bootstrap import paired_drop
from hardnet_deploy.workflows import precision_trials, quantise
from hardnet_deploy.workflows.sensitivity import SensitivityRequest, SensitivityResult, run_sensitivity

PNG = b"\x89PNG"


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(precision_trials, "paired_drop", partial(paired_drop, resamples=20))
    fill_folder(tmp_path)


def run(**options: Any) -> SensitivityResult:
    settings: dict[str, Any] = {"onnx": Path("float.onnx"), "data": "coco:coco"} | options
    return run_sensitivity(SensitivityRequest(**settings), silent)


def test_every_layer_is_ranked_with_what_it_costs_alone() -> None:
    result = run()
    assert [one.noise.worst for one in result.layers] == sorted(one.noise.worst for one in result.layers)
    assert {one.noise.name for one in result.layers} == set(LAYERS)
    for one in result.layers:
        assert one.trial is not None
        assert set(one.trial.float_layers) == set(LAYERS) - {one.noise.name}
    report = json.loads(Path("float.sensitivity.json").read_text(), parse_constant=pytest.fail)
    assert [row["layer"] for row in report["layers"]] == [one.noise.name for one in result.layers]
    assert (report["kind"], report["schema"]) == ("sensitivity", 1)
    assert report["command"][:3] == ["hardnet-deploy", "sensitivity", "float.onnx"]
    assert report["data"]["images"] == 4
    assert {row["fell_back"] for row in report["layers"]} == {False}
    assert Path("float.sensitivity.png").read_bytes().startswith(PNG)


def test_without_map_only_the_noise_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision_trials, "detect_dataset", None)
    result = run(with_map=False, output=Path("out/r.json"))
    assert all(one.trial is None for one in result.layers)
    assert {path.name for path in Path("out").iterdir()} == {"r.json", "r.png", "r.trials.json"}


def test_a_layer_that_onnx_runtime_keeps_in_float_is_ranked_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantise, "optimise", lambda model: model)
    result = run()
    assert {one.as_dict()["fell_back"] for one in result.layers} == {True}
    assert {one.trial.macs_int8 for one in result.layers if one.trial} == {0.0}
    assert {one.as_dict()["fell_back"] for one in run(with_map=False).layers} == {None}


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"output": Path("float.onnx")}, UsageError, "is taken already"),
        ({"output": Path("float.calib.json")}, UsageError, "is taken already"),
        ({"output": Path("r.png")}, UsageError, "is taken already"),
        ({"output": Path("coco")}, OutputFileError, "is a folder"),
        ({"data": "nothing"}, UsageError, "names no labelled data"),
        ({"calib": Path("none.json")}, InputFileError, "cannot be read"),
        ({"onnx": Path("backbone.onnx")}, UsageError, "is no exported detector"),
        ({"onnx": Path("other.onnx"), "calib": Path("float.calib.json")}, ArtifactMismatchError, "no manifest"),
    ],
)
def test_what_cannot_be_done_is_refused(options: dict[str, Any], kind: type[HardnetDeployError], message: str) -> None:
    write_backbone(Path("backbone.onnx"))
    Path("other.onnx").write_bytes(Path("float.onnx").read_bytes())
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    with pytest.raises(kind, match=message):
        run(**options)
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_the_command_prints_the_most_harmful_layers_and_one_json_document() -> None:
    app = typer.Typer()
    app.command()(sensitivity)
    words = ["float.onnx", "--data", "coco:coco", "--no-map"]
    shown = CliRunner().invoke(app, [*words, "--top", "2"])
    assert shown.exit_code == 0, shown.stderr
    assert f"{len(LAYERS)} layers of float.onnx, each alone in INT8, on coco:coco:val2017" in shown.stdout
    assert sum(name in shown.stdout for name in LAYERS) == 2
    assert "not measured" in shown.stdout
    document = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert len(document["layers"]) == len(LAYERS)
    assert document["layers"][0]["drop"] is None
    listed = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"}).stdout
    for option in ("calib", "data", "count", "map", "concat-scales", "top", "output", "trust", "json", "debug"):
        assert f"--{option}" in listed
