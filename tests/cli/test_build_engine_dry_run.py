"""``build-engine --dry-run`` for devices of TensorRT: what a person and a program read, on a machine with none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from made_machines import BARE
from small_int8 import write_detector
from typer.testing import CliRunner

from hardnet_deploy.cli.build_engine_cmd import build_engine
from hardnet_deploy.workflows import preflight

app = typer.Typer()
app.command()(build_engine)


@pytest.fixture(autouse=True)
def on_a_bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARDNET_DEPLOY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(preflight, "read_machine", lambda _folder: BARE)
    write_detector(tmp_path / "float.onnx")


def run(*words: str, exit_code: int = 0) -> Any:
    before = sorted(Path().rglob("*"))
    result = CliRunner().invoke(app, ["float.onnx", *words])
    assert result.exit_code == exit_code, result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(Path().rglob("*")) == before
    return result


@pytest.mark.parametrize(
    ("target", "words", "exit_code", "sentence"),
    [
        ("gtx-1080ti", (), 0, "build with TensorRT 8.6.1"),
        ("gtx-1080ti", ("--fp16",), 0, "weakly typed, with the flag FP16"),
        ("gtx-1080ti", ("--int8", "--data", "demo"), 0, "calibration cache (TRT-8601-EntropyCalibration2)"),
        ("gtx-1080ti", ("--int8", "--fp16", "--data", "demo"), 2, "fp16 is not faster there"),
        ("jetson-nano", (), 0, "workspace at most 256 MiB"),
        ("jetson-nano", ("--fp16",), 0, "with the flag FP16"),
        ("jetson-nano", ("--int8",), 3, "use --fp16"),
        ("gpu", (), 0, "fp32, no precision flag"),
        ("gpu", ("--fp16",), 0, "strongly typed, the precision stands in the graph"),
        ("gpu", ("--int8", "--data", "demo"), 0, "symmetric int8 Q/DQ"),
        ("gpu", ("--int8", "--fp16", "--data", "demo"), 0, "weakly typed, with the flags INT8 and FP16"),
    ],
)
def test_every_target_and_precision_has_its_message(
    target: str, words: tuple[str, ...], exit_code: int, sentence: str
) -> None:
    result = run("--dry-run", "--target", target, *words, exit_code=exit_code)
    assert sentence in " ".join((result.stdout + result.stderr).split())
    assert max(map(len, result.stdout.splitlines()), default=0) <= 120
    real = run("--target", target, *words, exit_code=exit_code or 3)  # there is no GPU here
    assert real.stdout == ""
    assert exit_code or "none in this machine" in real.stderr


def test_fp16_on_the_1080ti_is_warned_of() -> None:
    assert (
        "not faster than fp32 there; use int8 for speed" in run("--dry-run", "--target", "gtx-1080ti", "--fp16").stderr
    )


def test_a_program_reads_one_document_with_the_whole_plan() -> None:
    words = (
        "--dry-run",
        "--json",
        "--target",
        "gtx-1080ti",
        "--memPoolSize",
        "workspace:512",
        "--timingCacheFile",
        "t",
    )
    document = json.loads(run(*words).stdout)
    assert document["engine"] is None
    assert document["plan"]["workspace_bytes"] == 512 * 1024**2
    assert document["plan"]["timing_cache"] == "t"
    assert document["plan"]["steps"]
    refused = json.loads(run("--json", "--int8", "--target", "jetson-nano", exit_code=3).stdout)
    assert (refused["exit_code"], refused["next"]) == (3, "use --fp16")
    assert "plan" not in json.loads(run("--dry-run", "--json", "--target", "cpu").stdout)


def test_help_names_the_options_of_tensorrt() -> None:
    told = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"}).stdout
    for option in ("workspace", "memPoolSize", "batch", "timing-cache", "timingCacheFile", "locked"):
        assert f"--{option}" in told
