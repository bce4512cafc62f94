"""A detector with its user's own classes, from ``export --classes`` to every command that opens ``MODEL=mine.pth``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import files
from own_classes import (
    CHECKPOINT,
    CLASSES,
    DATA,
    ENGINE,
    MODEL,
    NAMES,
    ONNX,
    write_checkpoint,
    write_data,
    write_export,
)
from typer.testing import CliRunner

from hardnet_deploy.cli.main import app

PICTURE = "coco/val2017/0000.png"
PARITY = ("parity", ENGINE, ONNX, "--data", DATA, "--resamples", "20", "--tensor-images", "2")
EVALUATE = ("evaluate", ENGINE, "--data", DATA)
DETECT = ("detect", ENGINE, PICTURE, "--no-picture")
PROFILE = ("profile", ENGINE, "--iterations", "1", "--threads", "1")
BENCH = ("bench", ENGINE, "--engines", "eager", "--iterations", "1", "--rounds", "1", "--threads", "1")
BENCH = (*BENCH, "--allow-unstable")
EVERY = pytest.mark.parametrize("words", [PARITY, EVALUATE, DETECT, PROFILE, BENCH], ids=lambda words: words[0])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own-classes")
    write_checkpoint(folder)
    write_export(folder)
    write_data(folder)
    return folder


@pytest.fixture(autouse=True)
def in_a_folder_with_them(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARDNET_DEPLOY_CACHE", str(tmp_path / "cache"))
    work = tmp_path / "work"
    work.mkdir()
    for path in made.iterdir():
        (work / path.name).symlink_to(path)
    monkeypatch.chdir(work)


def run(*words: str, exit_code: int = 0) -> Any:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == exit_code, result.stderr
    assert "Traceback" not in result.stderr
    return result


def test_the_exported_file_is_held_against_the_checkpoint() -> None:
    document = json.loads(run(*PARITY, "--classes", CLASSES, "--json").stdout)
    assert document["passed"] is True
    assert document["reference"]["engine"] == ENGINE
    command = document["command"]
    assert command[command.index("--classes") + 1] == CLASSES


def test_both_sides_of_parity_may_be_checkpoints() -> None:
    document = json.loads(run("parity", ENGINE, *PARITY[1:2], *PARITY[3:], "--classes", CLASSES, "--json").stdout)
    assert document["passed"] is True
    assert document["candidate"]["engine"] == ENGINE


def test_other_names_than_the_files_fail_parity() -> None:
    """The right number of names in another order: nothing but the names can tell."""
    Path("other.txt").write_text("\n".join(reversed(NAMES)), encoding="utf-8")
    result = run(*PARITY, "--classes", "other.txt", exit_code=5)
    assert "2 classes have other names: class 1 is 'water vole' in the reference and 'heron' in the candidate" in (
        result.stderr
    )


def test_detect_prints_the_own_names() -> None:
    (image,) = json.loads(run(*DETECT, "--classes", CLASSES).stdout)["images"]
    assert image["detections"]
    assert {one["class"] for one in image["detections"]} <= set(NAMES)
    assert all(one["class"] == NAMES[one["class_id"] - 1] for one in image["detections"])


def test_evaluate_matches_the_datas_categories_by_the_own_names() -> None:
    document = json.loads(run(*EVALUATE, "--classes", CLASSES, "--json").stdout)
    assert [one["name"] for one in document["per_class"]] == list(NAMES)
    assert all(one["objects"] for one in document["per_class"])
    exported = json.loads(run("evaluate", ONNX, "--data", DATA, "--json").stdout)
    assert document["mAP"] == pytest.approx(exported["mAP"], abs=0.01)
    assert document["mAP"] > 0.3
    command = document["command"]
    assert json.loads(run(*command[1:], "--json").stdout)["mAP"] == document["mAP"]
    Path("strange.txt").write_text("heron\npike\nrat\n", encoding="utf-8")
    result = run(*EVALUATE, "--classes", "strange.txt", exit_code=2)
    assert "the model does not have: water vole" in result.stderr
    assert "where they are a checkpoint's own with --classes FILE" in result.stderr


def test_bench_times_the_checkpoint_and_its_export_with_the_same_weights_and_a_model_named_alone_as_it_is() -> None:
    words = ("bench", ENGINE, MODEL, *BENCH[2:], "--engines", "eager,ort-fp32", "--boundary", "network")
    document = json.loads(run(*words, "--classes", CLASSES, "--json").stdout)
    rows = {one["key"]: one for one in document["rows"]}
    assert set(rows) == {f"{network}/{engine}" for network in (ENGINE, MODEL) for engine in ("eager", "ort-fp32")}
    assert all(one["measured"] for one in rows.values())
    assert all(one["trained"] for one in rows.values())
    assert rows[f"{ENGINE}/ort-fp32"]["gain_over_eager"]["eager"] == f"{ENGINE}/eager"
    own, shipped = (rows[f"{network}/eager"]["parameters"] for network in (ENGINE, MODEL))
    assert own < shipped  # 3 classes, not 12


@EVERY
def test_without_a_class_list_the_next_step_can_be_typed_on_the_same_command(words: tuple[str, ...]) -> None:
    result = run(*words, exit_code=4)
    assert "which are of 3 classes and background: name these with --classes FILE" in result.stderr
    run(*words, "--classes", CLASSES)


@EVERY
def test_a_list_of_another_number_is_told_the_checkpoints(words: tuple[str, ...]) -> None:
    Path("four.txt").write_text("a\nb\nc\nd\n", encoding="utf-8")
    result = run(*words, "--classes", "four.txt", exit_code=4)
    assert f"{CHECKPOINT} does not fit {MODEL}" in result.stderr
    assert "of 3 classes and background" in result.stderr


@EVERY
@pytest.mark.parametrize(("content", "exit_code"), [(None, 4), (b"\xff\xfe", 4), (b"", 2), (b"a\na\nb\n", 2)])
def test_lists_are_refused_as_export_refuses_them(
    words: tuple[str, ...], content: bytes | None, exit_code: int
) -> None:
    if content is not None:
        Path("odd.txt").write_bytes(content)
    exported = run(
        "export", MODEL, "--weights", CHECKPOINT, "--classes", "odd.txt", "-o", "x.onnx", exit_code=exit_code
    )
    assert run(*words, "--classes", "odd.txt", exit_code=exit_code).stderr.endswith(exported.stderr)


@pytest.mark.parametrize(
    "words",
    [
        ("parity", ONNX, ONNX, "--data", DATA),
        ("evaluate", ONNX, "--data", DATA),
        ("detect", ONNX, PICTURE),
        ("profile", ONNX),
        ("bench", ONNX, MODEL),
        ("bench", "resnet50", "hardnet39ds"),
        ("parity", "hardnet39ds", ONNX, "--data", DATA),
        ("profile", "hardnet39ds"),
    ],
    ids=lambda words: f"{words[0]} {words[1]}",
)
def test_a_list_that_would_do_nothing_is_a_usage_error(words: tuple[str, ...]) -> None:
    before = files(Path())
    result = run(*words, "--classes", CLASSES, exit_code=2)
    assert "--classes" in result.stderr
    assert files(Path()) == before


@pytest.mark.parametrize(("words", "option"), [(PARITY, "-o"), (EVALUATE, "-o"), (PROFILE, "-o"), (BENCH, "--save")])
def test_the_class_list_is_not_overwritten(words: tuple[str, ...], option: str) -> None:
    result = run(*words, "--classes", CLASSES, option, CLASSES, exit_code=2)
    assert "would overwrite names.txt" in result.stderr
    assert Path(CLASSES).read_text(encoding="utf-8").split("\n")[0] == NAMES[0]
