"""``hardnet-deploy import-report`` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from device_reports import layer_info, profile, report, times, write
from small_kits import report_of, small_kit
from typer.testing import CliRunner

from hardnet_deploy.cli.import_report_cmd import import_report
from hardnet_deploy.files import sha256_bytes

app = typer.Typer()
app.command()(import_report)
SAID = ("--tensorrt", "8.6.1", "--device", "GTX 1080 Ti", "--date", "2024-05-16", "--engine", "m.engine")


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("report.json"), report())
    write(Path("times.json"), times())
    write(Path("profile.json"), profile())
    write(Path("layers.json"), layer_info())
    Path("m.engine").write_bytes(b"a plan")


def run(*words: str, exit_code: int = 0) -> Any:
    result = CliRunner().invoke(app, [*words])
    assert result.exit_code == exit_code, result.stderr
    assert "Traceback" not in result.stderr
    return result


def test_a_person_reads_a_row() -> None:
    out = run("report.json").stdout
    assert "imported (NVIDIA Tegra X1, 2024-05-17)" in out
    assert "simulated" not in out
    assert "10.100" in out
    assert "passed" in out
    assert "ssd300-hardnet-demo" in out
    assert "missing" not in out
    assert "untrained" not in out
    assert "added to results.json" in out


def test_untrained_weights_are_told_without_the_kit() -> None:
    write(Path("report.json"), report(trained=False))
    assert "untrained: ssd300-hardnet-demo" in run("report.json").stdout


def test_the_same_report_again_is_told() -> None:
    run("report.json")
    result = run("report.json", "--json")
    document = json.loads(result.stdout)
    assert document["new"] is False
    assert "imported before" in result.stderr
    assert len(json.loads(Path("results.json").read_text())["rows"]) == 1


def test_made_up_figures_end_with_8_and_no_store() -> None:
    write(Path("report.json"), report(timing={"median": 1.0}))
    result = run("report.json", exit_code=8)
    assert "it says median 1, but has 10.1" in result.stderr
    assert not Path("results.json").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_what_is_no_report_ends_with_4(content: str) -> None:
    Path("report.json").write_text(content, encoding="utf-8")
    result = run("report.json", "--json", exit_code=4)
    assert json.loads(result.stdout)["exit_code"] == 4
    assert not Path("results.json").exists()


def test_a_folder_beside_the_report_that_is_a_changed_kit_ends_with_8() -> None:
    small_kit(Path())
    Path("model.onnx").write_bytes(b"another")
    assert "is not what kit.json says" in run("report.json", exit_code=8).stderr


def test_trtexec_of_a_named_engine() -> None:
    result = run("--times", "times.json", "--profile", "profile.json", "--layer-info", "layers.json", *SAID)
    assert "imported (GTX 1080 Ti, 2024-05-16)" in result.stdout
    assert "slowest  conv 3.000 ms, nms 1.000 ms" in result.stdout
    assert "parity: not in this file" in result.stderr
    (row,) = json.loads(Path("results.json").read_text())["rows"]
    assert row["source"] == "trtexec"
    assert row["sha256"]["engine"] == sha256_bytes(b"a plan")
    assert row["layers"] == {"fp16": 1}
    assert row["parity"] is None
    assert row["precision"] is None
    assert {"parity", "precision", "model", "compute_capability", "sha256.kit", "sha256.onnx"} <= set(
        row["not_in_file"]
    )
    assert "NMS in or out is not in this file" in row["timing"]["boundary"]


def test_trtexec_of_8_2_without_its_warm_up() -> None:
    write(Path("times.json"), times(end_to_end=True))
    words = ("--times", "times.json", *SAID, "--tensorrt", "8.2.1", "--device", "Jetson Nano", "--json")
    assert json.loads(run(*words).stdout)["row"]["timing"]["runs"] == 16
    assert json.loads(run(*words, "--warmUp", "400").stdout)["row"]["timing"]["runs"] == 12


def test_a_simulated_version_stays_labelled() -> None:
    result = run("--times", "times.json", "--tensorrt", "8.6.1+simulated", *SAID[2:])
    assert "imported (GTX 1080 Ti, 2024-05-16), simulated" in result.stdout


@pytest.mark.parametrize(
    ("words", "exit_code"),
    [
        ((), 2),
        (("report.json", "--times", "times.json"), 2),
        (("report.json", "--device", "x"), 2),
        (("--times", "times.json"), 2),
        (("--times", "times.json", *SAID[:-2]), 2),
        (("--times", "times.json", *SAID, "--date", "yesterday"), 2),
        (("--times", "times.json", *SAID, "--tensorrt", "9.9"), 2),
        (("--times", "times.json", *SAID, "--tensorrt", "8.2.1"), 2),
        (("--times", "times.json", *SAID, "--tensorrt", "8.2.1", "--device", "a GPU"), 4),
        (("--times", "profile.json", *SAID), 4),
        (("--times", "times.json", *SAID, "--profile", "times.json"), 4),
        (("--times", "times.json", *SAID, "--layer-info", "profile.json"), 4),
        (("--times", "times.json", *SAID, "--engine", "none.engine"), 4),
        (("--times", "times.json", *SAID, "--kit", "."), 4),
        (("report.json", "--kit", "."), 4),
        (("report.json", "--save", "."), 4),
    ],
    ids=str,
)
def test_faults_are_one_sentence_and_an_exit_code(words: tuple[str, ...], exit_code: int) -> None:
    assert run(*words, exit_code=exit_code).stderr.startswith("error: ")
    assert not Path("results.json").exists()


def test_an_engine_that_is_not_its_manifest_s_ends_with_8() -> None:
    Path("m.engine.json").write_text("{}", encoding="utf-8")
    run("--times", "times.json", *SAID, exit_code=8)


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "binary"])
@pytest.mark.parametrize("option", ["", "--times", "--profile", "--layer-info", "--engine", "--kit", "--save"])
def test_a_file_that_cannot_be_read_ends_with_4_and_says_what_next(kind: str, option: str) -> None:
    path = Path("x")
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes(b"" if kind == "empty" else b"\x9f\x00\xff")
    if (option, kind) in {("--engine", "binary"), ("--save", "missing")}:
        return  # as it should be
    if option in {"", "--kit", "--save"}:
        words = {"": ("x",), "--kit": ("report.json", "--kit", "x"), "--save": ("report.json", "--save", "x")}[option]
    else:
        words = ("--times", "times.json", *SAID, option, "x")
    result = run(*words, "--json", exit_code=4)
    assert "  next: " in result.stderr
    assert json.loads(result.stdout)["next"]
    assert not Path("results.json").exists()


def test_a_report_of_another_kit_ends_with_8() -> None:
    small_kit(Path("kit"))
    write(Path("report.json"), report_of(Path("kit")))
    run("report.json", "--kit", "kit")
    small_kit(Path("other"), notes=["another"])
    result = run("report.json", "--kit", "other", exit_code=8)
    assert "another kit.json" in result.stderr
    assert "--kit DIR" in result.stderr


def test_swapped_files_of_a_kit_end_with_8() -> None:
    small_kit(Path("kit"))
    write(Path("report.json"), report_of(Path("kit")))
    one, other = Path("kit/samples/inputs.npz"), Path("kit/samples/reference.npz")
    inputs, references = one.read_bytes(), other.read_bytes()
    one.write_bytes(references)
    other.write_bytes(inputs)
    run("report.json", "--kit", "kit", exit_code=8)


@pytest.mark.parametrize(
    "changes",
    [
        {"onnx": {}},
        {"onnx": {"sha256": "ab" * 32}},
        {"files": {}},
        {"files": {"../x": {"sha256": "ab" * 32}}},
        {"target": "toaster"},
        {"target": "cpu"},
        {"precision": "int8"},
        {"model": {"name": "a\nb"}},
        {"outputs": None},
        {"samples": {}},
        {"tolerances": []},
    ],
    ids=str,
)
def test_a_kit_that_is_not_whole_ends_with_4(changes: dict[str, Any]) -> None:
    small_kit(Path("kit"), **changes)
    assert "  next: " in run("report.json", "--kit", "kit", exit_code=4).stderr


def test_times_of_a_tensorrt_that_the_kit_cannot_have_end_with_2() -> None:
    small_kit(Path("kit"), target="gtx-1080ti")
    words = ("--times", "times.json", *SAID, "--kit", "kit", "--tensorrt")
    assert "cannot run TensorRT 10.9.0" in run(*words, "10.9.0", exit_code=2).stderr
    assert not Path("results.json").exists()
    run(*words, "8.6.1")


def test_a_report_of_a_tensorrt_that_its_target_cannot_have_ends_with_8() -> None:
    write(Path("report.json"), report(tensorrt="10.9.0"))
    assert "cannot run TensorRT 10.9.0" in run("report.json", exit_code=8).stderr
    write(Path("report.json"), report(date="9999-01-01T00:00:00+00:00"))
    assert "a day that has not come" in run("report.json", exit_code=8).stderr
    assert not Path("results.json").exists()


def test_times_without_their_engine_leave_the_kit_s_facts_open() -> None:
    small_kit(Path("kit"), target="gtx-1080ti")
    row = json.loads(run("--times", "times.json", *SAID[:-2], "--kit", "kit", "--json").stdout)["row"]
    assert (row["model"], row["precision"], row["sha256"]["onnx"]) == (None, None, None)
    assert {"model", "precision", "sha256.onnx", "sha256.engine"} <= set(row["not_in_file"])


def test_a_number_beyond_all_floats_ends_with_4() -> None:
    text = Path("report.json").read_text()
    Path("report.json").write_text(text.replace('"worst_iou": 0.9', '"worst_iou": 1e999'), encoding="utf-8")
    run("report.json", exit_code=4)
