"""``hardnet-deploy export``: what it prints, what it leaves behind, and what it leaves alone."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import threading
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from command_line import environment, files, shell
from tiny_detector import SMALL_MODEL, real_export
from typer.testing import CliRunner

from hardnet_deploy.cli.export_cmd import document, summary
from hardnet_deploy.cli.main import app
from hardnet_deploy.files import sha256_file
from hardnet_deploy.models import registry
from hardnet_deploy.models.initialise import initialise
from hardnet_deploy.models.registry import DEMO_MODEL

SMALL = "hardnet39ds"
QUICK = (SMALL, "--size", "64", "--no-fuse-bn")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["export", *words])


def save_checkpoint(path: Path) -> None:
    model = registry.build(SMALL)
    initialise(model, preprocess=registry.get(SMALL).preprocess, seed=3)
    torch.save(model.state_dict(), path)


def test_an_untrained_export_says_so_on_every_line() -> None:
    result = run(SMALL, "--size", "64", "--explain")
    assert result.exit_code == 0, result.stderr
    assert set(files(Path())) == {f"{SMALL}.onnx", f"{SMALL}.onnx.json"}
    for stream in (result.stdout, result.stderr):
        assert stream
        assert all(line.startswith("untrained: ") for line in stream.splitlines())
    assert "5/5" in result.stderr
    assert "opset 13, batch 1" in result.stdout
    assert "74 of 74 batch norms folded" in result.stdout
    assert result.stdout.count(".norm into base.") == 74  # --explain: a line for each


def test_the_shipped_detector_is_not_called_untrained() -> None:
    result = run(DEMO_MODEL, "--target", "cpu")
    assert result.exit_code == 0, result.stderr
    assert "untrained" not in result.stdout + result.stderr


def test_with_a_checkpoint_nothing_is_called_untrained() -> None:
    save_checkpoint(Path("w.pth"))
    result = run(*QUICK, "--weights", "w.pth", "-o", "a/b.onnx", "--json")
    assert result.exit_code == 0, result.stderr
    assert "untrained" not in result.stdout + result.stderr
    record = json.loads(result.stdout)
    assert record["onnx"] == "a/b.onnx"
    assert record["manifest"] == "a/b.onnx.json"
    assert record["sha256"] == sha256_file(Path("a/b.onnx"))
    assert record["bytes"] == Path("a/b.onnx").stat().st_size
    assert record["trained"] is True
    assert record["weights"]["source"] == "w.pth"
    assert record["checks"]["fusion"] is None
    assert record["checks"]["parity"]["ok"] is True
    assert record["graph"]["outputs"] == ["logits"]
    assert set(files(Path())) == {"w.pth", "a/b.onnx", "a/b.onnx.json"}
    onnx.checker.check_model(onnx.load("a/b.onnx"))


def drain(terminal: int, read: list[bytes]) -> None:
    """Read until nobody has the other end open, which Linux tells as an error."""
    with contextlib.suppress(OSError):
        while got := os.read(terminal, 1 << 16):
            read.append(got)


def test_the_installed_command_shows_a_bar_on_a_terminal_and_keeps_stdout_clean() -> None:
    """stderr is a terminal, stdout a pipe; the file name is no text."""
    name = b"caf\xe9.onnx"
    terminal, slave = pty.openpty()
    read: list[bytes] = []
    reader = threading.Thread(target=drain, args=(terminal, read))
    reader.start()  # a terminal holds 4 KiB: on a slow machine a bar is drawn more often than that
    try:
        done = shell("export", *QUICK, "-o", name, "--json", stderr=slave, env=environment(TERM="xterm"))
    finally:
        os.close(slave)
        reader.join()
        os.close(terminal)
    shown = b"".join(read).decode(errors="replace")
    assert done.returncode == 0, shown
    assert "\x1b[" in shown
    record = json.loads(done.stdout)
    assert os.fsencode(record["onnx"]) == name
    assert record["trained"] is False
    assert {os.fsencode(path.name) for path in Path().iterdir()} == {name, name + b".json"}
    manifest = json.loads(Path(os.fsdecode(name) + ".json").read_text(encoding="utf-8"))
    assert manifest["command"][-2:] == [os.fsdecode(name), "--json"]


def test_the_summary_of_a_detector_says_what_its_graph_ends_with() -> None:
    result = real_export().result
    text = "\n".join(summary(result))
    assert SMALL_MODEL in text
    assert "EfficientNMS_TRT plugin, score 0.03, IoU 0.45, at most 300 detections" in text
    assert "num_detections, detection_boxes, detection_scores, detection_classes" in text
    assert "64 of 64 batch norms folded" in text
    assert "cpu, gtx-1080ti, jetson-nano, gpu" in text
    record = document(result)
    assert json.loads(json.dumps(record, allow_nan=False))["graph"]["thresholds"]["score"] == 0.03
    assert record["trained"] is False


def test_an_fp16_typed_export_says_what_stays_fp32_and_how_far_it_is_off() -> None:
    result = run(registry.DEMO_MODEL, "--precision", "fp16", "--target", "cpu", "-o", "h.onnx")
    assert result.exit_code == 0, result.stderr
    assert "warning: fp16 runs on target 'cpu' but is not faster than fp32 there" in result.stderr
    assert "comparing fp16 with fp32" in result.stderr
    assert "in fp32, 5 casts" in result.stdout
    assert "weights are too small for all 11 bits of fp16" in result.stdout
    assert " dB on " in result.stdout
    assert "not by jetson-nano: TensorRT 8.2 takes fp16 as a flag of the build" in result.stdout


BAD_INPUT = [
    (("no-such-model",), 2, "no model called"),
    (("--opset", "12"), 2, "--opset 12"),
    (("--batch", "none"), 2, "--batch none"),
    (("--score-threshold", "0.001"), 2, "EfficientNMS_TRT"),
    (("--score-threshold", "nan"), 2, "--score-threshold"),
    (("--outputs", "raw", "--nms", "onnx"), 2, "--nms"),
    ((SMALL, "--thresholds", "deploy"), 2, "--thresholds"),
    (("--size", "300"), 2, "--size"),
    (("--target", "tpu"), 2, "unknown target"),
    ((SMALL, "--weights", "w.pth", "-o", "w.pth"), 2, "would overwrite"),
    (("--target", "jetson-nano", "--nms", "onnx"), 3, "jetson-nano"),
    (("--target", "jetson-nano", "--batch", "dynamic"), 3, "dynamic"),
    (("--target", "gtx-1080ti", "--opset", "18"), 3, "opset 18"),
    (("--target", "gtx-1080ti", "--precision", "fp16"), 3, "flag of the build"),
    (("--target", "jetson-nano", "--precision", "fp16"), 3, "flag of the build"),
    (("-o", "folder"), 4, "is a folder"),
    (("-o", "w.pth/x.onnx"), 4, "is not a folder"),
    (("-o", "n" * 300), 4, "File name too long"),
    (("--classes", "nowhere.txt"), 4, "nowhere.txt"),
    ((SMALL, "--weights", "nowhere.pth"), 4, "nowhere.pth"),
    ((SMALL, "--weights", "folder"), 4, "is a folder"),
    ((SMALL, "--weights", "page.pth"), 4, "HTML"),
    ((SMALL, "--weights", "cut.pth"), 4, "truncated"),
    ((SMALL, "--weights", "code.pth"), 4, "code"),
    (("hardnet68ds", "--weights", "w.pth"), 4, f"these weights fit {SMALL}"),
]


def fill_the_folder() -> None:
    save_checkpoint(Path("w.pth"))
    Path("cut.pth").write_bytes(Path("w.pth").read_bytes()[:-1000])
    Path("page.pth").write_text("<!doctype html><html></html>", encoding="utf-8")
    Path("code.pth").write_bytes(b"cos\nsystem\n(S'touch run.txt'\ntR.")
    Path("folder").mkdir()


@pytest.mark.parametrize("as_json", [False, True])
def test_bad_input_is_one_sentence_its_exit_code_and_no_file(*, as_json: bool) -> None:
    fill_the_folder()
    before = files(Path())
    for words, exit_code, said in BAD_INPUT:
        result = run(*words, *(["--json"] if as_json else []))
        assert result.exit_code == exit_code, words
        assert said in result.stderr, words
        assert "Traceback" not in result.stderr
        assert files(Path()) == before, words
        if as_json:
            record = json.loads(result.stdout)
            assert sorted(record) == ["error", "exit_code", "got", "next", "wanted", "what"]
            assert record["exit_code"] == exit_code
            assert record["what"] in result.stderr
        else:
            assert result.stdout == ""


@pytest.mark.parametrize(
    "words",
    [
        ("--no-such-option",),
        ("a", "b"),
        ("--outputs", "masks"),
        ("--precision", "int8"),
        ("--opset", "thirteen"),
        ("--weights",),
    ],
    ids=" ".join,
)
def test_what_cannot_be_parsed_is_a_usage_error(words: tuple[str, ...]) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Error" in result.stderr
    assert files(Path()) == {}


@pytest.mark.parametrize(
    ("words", "exit_code"),
    [
        (("no-such-model",), 2),
        (("--no-such-option",), 2),
        (("--target", "jetson-nano", "--nms", "onnx"), 3),
        (("-o", "folder"), 4),
        ((SMALL, "--weights", "page.pth"), 4),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_the_installed_command_ends_with_the_exit_code(words: tuple[str, ...], exit_code: int) -> None:
    Path("folder").mkdir()
    Path("page.pth").write_text("<html>", encoding="utf-8")
    before = files(Path())
    done = shell("export", *words, "--json")
    assert done.returncode == exit_code
    assert done.stderr
    assert "Traceback" not in done.stderr
    if "--no-such-option" not in words:  # there is no command yet that could know of --json
        assert json.loads(done.stdout)["exit_code"] == exit_code
    assert files(Path()) == before


def test_a_full_disk_leaves_the_older_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Path("x.onnx")
    target.write_bytes(b"older")
    Path("x.onnx.json").write_bytes(b"older too")

    def full(_number: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    result = run(*QUICK, "-o", "x.onnx", "--json")
    assert result.exit_code == 4
    assert "no space left" in json.loads(result.stdout)["what"]
    assert files(Path()) == {"x.onnx": b"older", "x.onnx.json": b"older too"}
