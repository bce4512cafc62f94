"""``hardnet-deploy profile`` and ``roofline`` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from small_int8 import build, detector_graph, fill_folder, write_graph
from typer.testing import CliRunner

from hardnet_deploy.bench import machine_peak
from hardnet_deploy.cli.profile_cmd import profile
from hardnet_deploy.cli.roofline_cmd import roofline

app = typer.Typer()
app.command()(profile)
app.command()(roofline)
PROFILE = ("profile", "float.onnx", "--iterations", "2", "--threads", "1")


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in (("SECONDS", 0.0), ("LEAST_RUNS", 1), ("SIDE", 64), ("COPY_BYTES", 1 << 20)):
        monkeypatch.setattr(machine_peak, name, value)
    fill_folder(tmp_path)


def run(*words: str, exit_code: int = 0) -> Any:
    result = CliRunner().invoke(app, [*words])
    assert result.exit_code == exit_code, result.stderr
    assert "Traceback" not in result.stderr
    return result


def test_a_person_reads_groups_layers_and_lints() -> None:
    result = run(*PROFILE, "--picture", "p.png")
    assert "measured here" in result.stdout
    assert "% of a run's" in result.stdout
    assert "for being profiled" in result.stdout or "drowns in noise" in result.stdout
    assert "without the profiler" in result.stdout
    for part in ("stem", "concatenations", "heads", "softmax and decode", "NMS"):
        assert any(line.startswith(part) for line in result.stdout.splitlines()), part
    assert "TensorRT concatenations:" in result.stdout
    assert "wrote p.png" in result.stderr
    assert Path("p.png").exists()


def test_json_is_one_document_and_the_file_is_the_same() -> None:
    document = json.loads(run(*PROFILE, "--json", "-o", "p.json").stdout)
    saved = json.loads(Path("p.json").read_text())
    document.pop("date")
    saved.pop("date")
    assert document == saved


def test_top_limits_what_is_printed() -> None:
    few, many = (len(run(*PROFILE, "--top", count).stdout.splitlines()) for count in ("1", "5"))
    assert many == few + 4


def test_one_run_is_not_called_several() -> None:
    (source,) = (line for line in run(*PROFILE, "--iterations", "1").stdout.splitlines() if line.startswith("source"))
    assert "mean of 1 run; " in source
    assert source.endswith("; 1 thread")


@pytest.mark.parametrize("engine", ["hardnet39ds", "untrained.onnx"])
def test_what_nobody_trained_is_called_so_with_its_hash(engine: str) -> None:
    write_graph(Path("untrained.onnx"), detector_graph(), weights={"trained": False, "source": "drawn from seed 0"})
    result = run("profile", engine, "--iterations", "1", "--threads", "1", "-o", "p.json", "--picture", "p.svg")
    lines = result.stdout.splitlines()
    assert all(line.startswith("untrained:") for line in lines)
    told = json.loads(Path("p.json").read_text())["engine"]
    digest = (told["sha256"] or told["state_sha256"])[:12]
    assert f"{engine} (SHA-256 {digest})" in lines[0]


def test_what_was_trained_is_not_called_untrained() -> None:
    assert "untrained" not in run(*PROFILE).stdout


@pytest.mark.parametrize("command", ["profile", "roofline"])
def test_a_dollar_in_a_name_is_no_formula(command: str) -> None:
    for end in ("", ".json"):
        Path(f"float.onnx{end}").rename(f"a$_$b.onnx{end}")
    run(command, "a$_$b.onnx", "--threads", "1", "--picture", "p.svg")
    assert Path("p.svg").exists()


def test_an_import_is_said_to_be_one() -> None:
    entry = {"name": "base.0.conv", "timeMs": 10.0, "averageMs": 1.0, "medianMs": 1.0, "percentage": 100.0}
    Path("t.json").write_text(json.dumps([{"count": 10}, entry]))
    out = run("profile", "float.onnx", "--exportProfile", "t.json").stdout
    assert "imported (device not in the file)" in out
    assert "the time of the whole run is not in this file" in out
    assert "measured here" not in out


def test_a_roofline_for_a_person() -> None:
    out = run("roofline", "float.onnx", "--measure", "--threads", "1").stdout
    assert "GMACs" in out
    assert "GeForce GTX 1080 Ti" in out
    assert "this machine's CPU, measured" in out
    assert "bound by" in out
    assert "Winograd" in out
    assert "at least" not in out
    assert "https://" in out
    assert "measured here" in out
    assert "the network's share is of a run without the profiler" in out


def test_a_mixed_engine_has_one_row_a_device_and_the_peaks_of_both_precisions() -> None:
    build(layer_precisions="base.1.a:fp32")
    lines = run("roofline", "int8.onnx", "--target", "gtx-1080ti").stdout.splitlines()
    (row,) = (line for line in lines if line.startswith("GeForce GTX 1080 Ti   "))
    assert " % int8 " in row
    peaks = [line.partition(":")[0].rpartition(", ")[2] for line in lines if line.startswith("peak ")]
    assert peaks == ["int8", "fp32"]


@pytest.mark.parametrize(
    ("model", "told"), [("ssd300-hardnet-demo", True), ("hardnet39ds", False), ("float.onnx", False)]
)
def test_a_detector_by_name_says_that_its_nms_is_not_counted(model: str, told: bool) -> None:
    out = run("roofline", model, "--target", "h200").stdout
    assert ("NMS, whose cost depends on the boxes, is not" in out) == told


def test_a_roofline_in_json() -> None:
    document = json.loads(run("roofline", "float.onnx", "--target", "jetson-nano", "--json").stdout)
    assert [one["precision"] for one in document["targets"]] == ["fp32", "fp16"]


@pytest.mark.parametrize(
    ("words", "exit_code"),
    [
        (("profile",), 2),
        (("profile", "none.onnx"), 4),
        (("profile", "float.onnx", "--data", "nothing"), 2),
        (("roofline", "float.onnx", "--target", "jetson-nano", "--precision", "int8"), 3),
        (("roofline", "float.onnx", "--target", "nowhere"), 2),
    ],
)
def test_errors_have_their_exit_code_and_words(words: tuple[str, ...], exit_code: int) -> None:
    result = run(*words, exit_code=exit_code)
    assert result.stderr.startswith("error:")
    assert not result.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("profile", "float.onnx", "-o", "float.onnx"),
        ("profile", "float.onnx", "-o", "float.onnx.json"),
        ("profile", "float.onnx", "-o", "p.json", "--csv", "./p.json"),
        ("roofline", "float.onnx", "--csv", "float.onnx"),
        ("roofline", "float.onnx", "--times", "times.json", "-o", "times.json"),
    ],
)
def test_what_is_read_or_written_already_is_never_overwritten(words: tuple[str, ...]) -> None:
    Path("times.json").write_text("mine")
    before = {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    assert "would overwrite" in run(*words, exit_code=2).stderr
    assert {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before
