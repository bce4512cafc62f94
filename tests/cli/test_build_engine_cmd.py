"""``hardnet-deploy build-engine``: what a person reads, what a program reads, and how it ends."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import typer
from small_int8 import FIRST, LAYERS, calibrate, fill_folder
from typer.testing import CliRunner

from hardnet_deploy.cli.build_engine_cmd import build_engine
from hardnet_deploy.evaluate.bootstrap import paired_drop
from hardnet_deploy.files import sha256_file
from hardnet_deploy.models import registry
from hardnet_deploy.workflows import precision_trials, quantise
from hardnet_deploy.workflows.open_engine import open_engine

app = typer.Typer()
app.command()(build_engine)
INT8 = ("--int8", "--calib", "float.calib.json")


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fill_folder(tmp_path)


def run(*words: str, exit_code: int = 0, source: str = "float.onnx") -> Any:
    result = CliRunner().invoke(app, [source, *words])
    assert result.exit_code == exit_code, result.stderr
    assert "Traceback" not in result.stderr
    return result


def test_help_lists_every_option() -> None:
    result = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
    assert result.exit_code == 0
    options = (
        "int8 fp16 target weights code-line calib data count seed method concat-scales layer-precisions reduce-range "
        "max-drop drop-type search-data search-count allow-fallback dry-run output trust json debug "
        "saveEngine layerPrecisions"
    )
    for option in options.split():
        assert f"--{option}" in result.stdout


def test_a_person_reads_what_runs_in_int8() -> None:
    result = run(*INT8)
    assert "wrote    float.int8.onnx (" in result.stdout
    assert "and float.int8.onnx.json" in result.stdout
    assert "engine   int8 for target cpu, toy" in result.stdout
    assert f"layers   {len(LAYERS)} of {len(LAYERS)} convolutions in INT8, 100.0 % of the arithmetic" in result.stdout
    assert "ranges   minmax, 4 images of " in result.stdout
    assert "next     hardnet-deploy parity float.onnx float.int8.onnx --data" in result.stdout
    assert "asked to stay float" not in result.stdout
    assert "note: no --target is named: 'cpu'" in result.stderr
    assert "note: EfficientNMS_TRT was replaced by ONNX NonMaxSuppression" in result.stderr


def test_layers_that_were_asked_to_stay_float_are_named() -> None:
    result = run(*INT8, "--layerPrecisions", f"{FIRST}:fp32", "--saveEngine", "e.onnx")
    assert f"float    asked to stay float: {FIRST}" in result.stdout
    assert f"layers   {len(LAYERS) - 1} of {len(LAYERS)} convolutions" in result.stdout
    assert open_engine("e.onnx").sha256 == sha256_file(Path("e.onnx"))


def test_json_is_one_document() -> None:
    document = json.loads(run(*INT8, "--json", "-o", "e.onnx").stdout)
    assert document["engine"] == "e.onnx"
    assert document["sha256"] == sha256_file(Path("e.onnx"))
    assert document["precision"]["achieved"] == dict.fromkeys(LAYERS, "int8")
    assert document["target"] == "cpu"


def test_a_float_engine_names_no_ranges() -> None:
    result = run()
    assert "engine   fp32 for target cpu" in result.stdout
    assert "ranges" not in result.stdout
    assert "INT8" not in result.stdout


def test_a_dry_run_says_what_would_be() -> None:
    before = sorted(Path().rglob("*"))
    result = run(*INT8, "--dry-run", "--target", "cpu")
    assert result.stdout.splitlines() == ["would build float.int8.onnx from float.onnx: int8 for target cpu"]
    assert "note: dry run: nothing was built" in result.stderr
    document = json.loads(run(*INT8, "--dry-run", "--json").stdout)
    assert document["engine"] is None
    assert sorted(Path().rglob("*")) == before


def test_a_bare_dry_run_names_what_it_chose() -> None:
    result = CliRunner().invoke(app, ["--int8", "--dry-run"])
    assert result.exit_code == 0, result.stderr
    assert f"from {registry.DEMO_MODEL}: int8 for target cpu" in result.stdout
    assert f"no model or file is named: {registry.DEMO_MODEL}, the trained demo detector" in result.stderr


def test_a_search_shows_its_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision_trials, "paired_drop", partial(paired_drop, resamples=20))
    words = (*INT8, "--search-data", "coco:coco:val2017", "--max-drop")
    result = run(*words, "0.9")
    assert "search   budget 90 % (relative), coco:coco:val2017" in result.stdout
    assert result.stdout.count("  chosen") == 1
    assert "(95 %)" in result.stdout
    failed = run(*words, "1e-9", "--drop-type", "absolute", "-o", "none.onnx", exit_code=6)
    assert "the best found" in failed.stderr
    assert not Path("none.onnx").exists()


def test_a_seed_draws_the_images_as_calibrate_does() -> None:
    words = ("--int8", "--data", "pictures", "--count", "2", "--json", "-o")
    drawn = {}
    for seed in ("0", "1"):
        drawn[seed] = json.loads(run(*words, f"e{seed}.onnx", "--seed", seed).stdout)["precision"]["calibration"]
        assert drawn[seed]["seed"] == int(seed)
        expected = calibrate(count=2, seed=int(seed), output=Path("c.json"))
        assert drawn[seed]["images_sha256"] == expected.table.fingerprint.images
    assert drawn["0"]["images_sha256"] != drawn["1"]["images_sha256"]
    bare = json.loads(run(*words, "e.onnx").stdout)["precision"]["calibration"]
    assert bare["images_sha256"] == drawn["0"]["images_sha256"]


def test_a_cache_of_tensorrt_is_told_from_a_table() -> None:
    calibrate(cache=Path("c.calib.json"), output=Path("t.json"))
    failed = run("--int8", "--calib", "c.calib.json", exit_code=4)
    assert "c.calib.json is a calibration cache of TensorRT" in failed.stderr
    assert "next: hardnet-deploy calibrate" in failed.stderr
    assert not list(Path().glob("*.int8.onnx*"))
    run("--int8", "--calib", "t.json")


def test_a_fallback_ends_with_4_unless_it_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantise, "optimise", lambda model: model)
    assert "stayed float in ONNX Runtime" in run(*INT8, exit_code=4).stderr
    assert not Path("float.int8.onnx").exists()
    result = run(*INT8, "--allow-fallback")
    assert f"note: stayed float without being asked: {FIRST}" in result.stderr
    assert f"layers   0 of {len(LAYERS)} convolutions in INT8, 0.0 % of the arithmetic" in result.stdout


@pytest.mark.parametrize(
    ("words", "exit_code", "text"),
    [
        (("--fp16", "--target", "cpu"), 3, "--int8 instead of --fp16"),
        (("--int8", "--target", "jetson-nano"), 3, "use --fp16"),
        (("--int8", "--target", "gtx-1080ti"), 3, "there is none in this machine"),
        (("--int8", "--fp16"), 2, "exclude each other"),
        (("--calib", "float.calib.json"), 2, "--calib"),
        ((*INT8, "--data", "pictures"), 2, "--data would do nothing"),
        ((*INT8, "--seed", "1"), 2, "--seed would do nothing"),
        (("--int8", "--data", "pictures", "--seed", "-1"), 2, "--seed -1 is out of range"),
        ((*INT8, "--max-drop", "0.5", "--search-data", "coco:coco"), 2, "names no split, and val2017"),
        (("--int8",), 2, "INT8 needs ranges"),
        (("--int8", "--calib", "coco/annotations/instances_val2017.json"), 4, "not a calibration table"),
        (("--int8", "--data", "nowhere"), 4, "there is no folder nowhere"),
        ((*INT8, "-o", "float.onnx"), 2, "would overwrite"),
        ((*INT8, "-o", "pictures"), 4, "is a folder"),
        ((*INT8, "--layer-precisions", "base.9:fp32"), 2, "no layer is called 'base.9'"),
        (("--target", "tpu"), 2, "unknown target"),
    ],
)
def test_what_cannot_be_done_ends_with_one_sentence(words: tuple[str, ...], exit_code: int, text: str) -> None:
    before = sorted(Path().rglob("*"))
    result = run(*words, exit_code=exit_code)
    assert text in result.stderr
    assert result.stderr.count("error:") == 1
    assert result.stdout == ""
    assert sorted(Path().rglob("*")) == before


def test_errors_are_one_json_document_too() -> None:
    document = json.loads(run(*INT8, "--json", exit_code=4, source="none.onnx").stdout)
    assert document["error"] == "InputFileError"
    assert document["exit_code"] == 4
