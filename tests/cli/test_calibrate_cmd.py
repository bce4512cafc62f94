"""``hardnet-deploy calibrate``: what a person reads, what a program reads, and how it ends."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from small_int8 import build, fill_folder, save_pictures
from typer.testing import CliRunner

from calibration import summary
from hardnet_deploy.cli import calibrate_cmd
from hardnet_deploy.cli.calibrate_cmd import calibrate

app = typer.Typer()
app.command()(calibrate)
FAST = ("--data", "pictures", "--threads", "1", "--workers", "1")


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fill_folder(tmp_path)
    Path("float.calib.json").unlink()


def run(*words: str, exit_code: int = 0) -> Any:
    result = CliRunner().invoke(app, ["float.onnx", *FAST, *words])
    assert result.exit_code == exit_code, result.stderr
    assert "Traceback" not in result.stderr
    return result


def test_help_lists_every_option() -> None:
    result = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
    assert result.exit_code == 0
    options = (
        "data calib method count seed threads workers restart output qdq cache ranges choice layer-precisions tensorrt "
        "concat-scales trust json debug"
    )
    for option in options.split():
        assert f"--{option}" in result.stdout
    for told in ("entropy", "default train2017", "default 2007-trainval"):
        assert told in " ".join(result.stdout.replace("│", " ").split())


def test_a_person_reads_what_was_measured_and_where_it_is() -> None:
    result = run()
    assert "wrote    float.calib.json: ranges of " in result.stdout
    assert "method entropy" in result.stdout
    assert "images   4 of pictures, 4 of 4 images drawn with seed 0 (digest " in result.stdout
    assert "ran      4 images in " in result.stdout
    assert "concat   1 families of 3 tensors" in result.stdout
    assert "reused" not in result.stdout
    assert "error" not in result.stderr


def test_another_method_says_that_nothing_was_run_again() -> None:
    run()
    result = run("--method", "mse")
    assert "reused   the same images had been measured" in result.stdout
    assert "ran " not in result.stdout
    assert "read     float.calib.json: ranges of " in result.stdout
    assert "method mse" in result.stdout
    assert "note: float.calib.json stays as it was measured, with method entropy" in result.stderr


def test_how_the_ranges_move_is_a_table() -> None:
    save_pictures(Path("many"), 32)
    result = run("--data", "many")
    assert "settled  images" in result.stdout
    assert "    32 " in result.stdout


def test_json_is_one_document() -> None:
    document = json.loads(run("--json", "--method", "minmax", "--qdq", "q.onnx", "--cache", "c.cache").stdout)
    assert document["table"] == "float.calib.json"
    assert document["method"] == "minmax"
    assert document["measured"] == 4
    assert [one["path"] for one in document["written"]] == ["q.onnx", "c.cache"]
    assert set(Path().glob("[qc].*")) == {Path("q.onnx"), Path("q.onnx.json"), Path("c.cache")}


def test_what_is_written_for_tensorrt_is_named() -> None:
    result = run("--qdq", "q.onnx", "--cache", "c.cache", "--tensorrt", "8.2.1")
    assert "wrote    q.onnx: symmetric int8 Q/DQ graph for TensorRT" in result.stdout
    assert "wrote    c.cache: calibration cache for TensorRT 8.2.1" in result.stdout


@pytest.mark.parametrize("option", ["--qdq", "--cache", "--ranges"])
def test_concat_scales_change_every_file_for_tensorrt(option: str) -> None:
    contents = []
    for number, words in enumerate([(), ("--concat-scales", "unified"), ("--concat-scales", "separate")]):
        run(option, f"{number}.out", *words)
        contents.append(Path(f"{number}.out").read_bytes().replace(b"separate", b"unified"))
    assert contents[0] == contents[1] != contents[2]


def test_what_is_clipped_is_told_as_the_method_means_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for method in ("minmax", "percentile"):
        assert "clipped" not in run("--method", method).stdout
    everything = {name: replace(one, notable=0.0) for name, one in summary.CLIPPING.items()}
    monkeypatch.setattr(summary, "CLIPPING", everything)
    monkeypatch.setattr(calibrate_cmd, "SHOWN", 1)
    assert "clipped" not in run("--method", "minmax").stdout
    result = run("--method", "percentile")
    assert "clipped  0.01 % of " in result.stdout
    assert "clipped  more than 0 % of " in result.stdout
    assert "percentile clips 0.01 % of every tensor by design" in result.stdout
    document = json.loads(run("--method", "percentile", "--json").stdout)
    assert document["clipping"] == {"notable": 0.0, "why": everything["percentile"].why}


def test_files_that_are_left_out_are_noted() -> None:
    Path("pictures/notes.txt").touch()
    assert "note: files in pictures that are left out" in run().stderr


@pytest.mark.parametrize(
    ("words", "exit_code", "text"),
    [
        (("--data", "demo:val"), 2, "kept for measuring"),
        (("--count", "9"), 2, "more than pictures has"),
        (("--method", "median"), 2, "median"),
        (("--cache", "c.cache", "--tensorrt", "11.0.0"), 2, "no calibrators"),
        (("--tensorrt", "8.6.1"), 2, "without --cache --tensorrt would do nothing"),
        (("--tensorrt", "8.6.1", "--qdq", "q.onnx"), 2, "without --cache --tensorrt would do nothing"),
        (("--concat-scales", "unified"), 2, "without --qdq or --cache or --ranges --concat-scales would do nothing"),
        (
            ("--layer-precisions", "base.0:fp32", "--cache", "c"),
            2,
            "without --qdq or --ranges --layer-precisions would",
        ),
        (("-o", "float.onnx"), 2, "would overwrite"),
        (("--data", "nowhere"), 4, "there is no folder nowhere"),
        (("-o", "pictures"), 4, "is a folder"),
    ],
)
def test_what_cannot_be_done_ends_with_one_sentence(words: tuple[str, ...], exit_code: int, text: str) -> None:
    before = sorted(Path().rglob("*"))
    result = run(*words, exit_code=exit_code)
    assert text in result.stderr
    assert result.stdout == ""
    assert sorted(Path().rglob("*")) == before


def test_errors_are_one_json_document_too() -> None:
    Path("float.onnx.json").unlink()
    result = run("--json", exit_code=8)
    assert json.loads(result.stdout)["error"] == "ArtifactMismatchError"


def test_a_calibration_serves_the_build() -> None:
    run("--method", "minmax")
    assert build().macs_int8 == 1.0
