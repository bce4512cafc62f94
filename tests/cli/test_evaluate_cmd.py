"""``hardnet-deploy evaluate``: JSON or a table on stdout, words on stderr, exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
import typer
from command_line import files
from small_datasets import SmallImage, SmallObject, toy_images, write_coco, write_voc
from tiny_detector import write_toy
from typer.testing import CliRunner

from hardnet_deploy.artifacts import manifest_path
from hardnet_deploy.cli import common
from hardnet_deploy.cli.common import counting
from hardnet_deploy.cli.evaluate_cmd import evaluate
from hardnet_deploy.specs import Thresholds
from hardnet_deploy.workflows import evaluate as workflow

app = typer.Typer()
app.command()(evaluate)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARDNET_DEPLOY_CACHE", str(tmp_path / "cache"))
    write_toy(Path("toy.onnx"))
    write_coco(Path("data"), toy_images())


def run(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def test_json_is_one_document_with_the_map_at_the_top() -> None:
    result = run("toy.onnx", "--data", "coco:data", "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["mAP"] == pytest.approx(1.0)
    assert document["coco"]["AP50"] == pytest.approx(1.0)
    assert document["engine"]["engine"] == "toy.onnx"
    assert result.stderr == ""


def test_the_table_says_the_same_and_what_made_it() -> None:
    result = run("toy.onnx", "--data", "coco:data", "--per-class", "-o", "out/result.json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(Path("out/result.json").read_text())
    lines = result.stdout.splitlines()
    assert lines[0] == "mAP      1.0000  COCO AP @[.50:.95]"
    assert document["engine"]["sha256"][:12] in result.stdout
    assert document["postprocess"]["made_by"] in result.stdout
    assert document["data"]["digest"][:12] in result.stdout
    assert "coco:data:val2017: 6 images" in result.stdout
    assert [line.split()[0] for line in lines if line.startswith(("AP", "AR"))] == list(document["coco"])
    assert [line.split()[-1] for line in lines if line.startswith("APl")] == ["none"]
    assert any(line.split() == ["red", "thing", "3", "1.0000", "1.0000"] for line in lines)
    assert result.stderr == "wrote out/result.json\n"
    assert "red thing" not in run("toy.onnx", "--data", "coco:data").stdout


def test_voc_has_no_coco_numbers() -> None:
    write_voc(Path("kit"), toy_images())
    result = run("toy.onnx", "--data", "voc:kit", "--per-class")
    assert result.stdout.splitlines()[0] == "mAP      1.0000  VOC07 AP @.50, 11 points"
    assert "AP75" not in result.stdout
    assert any(line.split() == ["class", "objects", "AP"] for line in result.stdout.splitlines())
    result = run("toy.onnx", "--data", "voc:kit", "--metric", "voc12", "--postprocess", "upstream")
    assert "VOC12 AP @.50, area under the curve" in result.stdout
    assert "with boxes and scores written as the authors' evaluation does" in result.stdout


def test_warnings_and_notes_go_to_stderr_and_untrained_before_every_line() -> None:
    write_toy(Path("fresh.onnx"), trained=False, thresholds=Thresholds(score=0.3, iou=0.45, max_detections=10))
    images = [one for one in toy_images() if all(two.name == "red thing" for two in one.objects)]
    write_coco(Path("red"), images)
    result = run("fresh.onnx", "--data", "coco:red")
    assert result.exit_code == 0
    assert all(line.startswith("untrained: ") for line in result.stdout.splitlines() if line)
    assert "1 classes have no object" in result.stdout
    assert "warning: fresh.onnx: untrained" in result.stderr
    assert "drops scores below 0.3" in result.stderr
    assert "note: no object of 1 of the model's 2 classes: blue thing" in result.stderr


def test_a_changed_file_needs_trust_and_marks_the_result() -> None:
    model = onnx.load("toy.onnx")
    model.producer_name = "someone else"
    onnx.save(model, "toy.onnx")
    assert run("toy.onnx", "--data", "coco:data").exit_code == 8
    result = run("toy.onnx", "--data", "coco:data", "--json", "--trust")
    assert result.exit_code == 0
    assert "changed since its manifest was written" in result.stderr
    document = json.loads(result.stdout)
    assert "changed since its manifest was written" in document["warnings"][0]
    assert document["engine"]["warning"]


def test_an_unreadable_image_stops_with_its_name_unless_skipped() -> None:
    torn = Path("data/val2017/000002.png")
    torn.write_bytes(torn.read_bytes()[:30])
    result = run("toy.onnx", "--data", "coco:data", "--json")
    assert result.exit_code == 4
    assert "000002.png" in json.loads(result.stdout)["what"]
    result = run("toy.onnx", "--data", "coco:data", "--json", "--skip-unreadable")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["unreadable"][0]["image"].endswith("000002.png")
    assert document["mAP"] < 0.9
    assert "could not be read" in result.stderr


@pytest.mark.parametrize(
    ("words", "exit_code", "said"),
    [
        (("hardnet39ds", "--data", "coco:data"), 2, "backbone"),
        (("nonsense", "--data", "coco:data"), 2, "neither a file nor a model"),
        (("toy.onnx", "--data", "data"), 2, "names no labelled data"),
        (("toy.onnx", "--data", "coco:data", "--count", "0"), 2, "--count 0"),
        (("toy.onnx", "--data", "coco:data", "--workers", "0"), 2, "--workers 0"),
        (("toy.onnx", "--data", "coco:data", "--batch", "2"), 2, "takes 1 images at once"),
        (("toy.onnx", "--data", "coco:other"), 2, "elephant"),
        (("toy.onnx", "--data", "coco:data:train2017"), 4, "instances_train2017.json"),
        (("toy.onnx", "--data", "voc:data"), 4, "there is no VOC2007"),
        (("nowhere.onnx", "--data", "coco:data"), 4, "no file nowhere.onnx"),
        (("toy.onnx", "--data", "coco:data", "-o", "data"), 4, "is a folder"),
        (("plain.onnx", "--data", "coco:data"), 8, "manifest"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_sentence_and_its_exit_code(words: tuple[str, ...], exit_code: int, said: str) -> None:
    elephant = SmallImage(name="a", objects=(SmallObject(name="elephant", box=(1, 1, 5, 5)),))
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 48}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4]}],
        "categories": [{"id": 1, "name": "elephant"}],
    }
    write_coco(Path("other"), [elephant], document=document)
    manifest_path(write_toy(Path("plain.onnx"))).unlink()
    before = files(Path())
    result = run(*words, "--json")
    assert result.exit_code == exit_code
    document = json.loads(result.stdout)
    assert document["exit_code"] == exit_code
    assert said in f"{document['what']} {document['got']}"
    assert "Traceback" not in result.stderr
    assert files(Path()) == before


def test_an_interrupt_says_what_is_kept_and_the_same_command_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    original = workflow.scores

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(workflow, "scores", stop)
    for words, kept in (((), True), (("--no-resume",), False)):
        result = run("toy.onnx", "--data", "coco:data", *words)
        assert result.exit_code == 130
        assert ("6 images are kept" in result.stderr) == kept
    monkeypatch.setattr(workflow, "scores", original)
    result = run("toy.onnx", "--data", "coco:data", "--json")
    assert json.loads(result.stdout)["resumed"] == 6
    assert json.loads(result.stdout)["images_per_second"] is None
    result = run("toy.onnx", "--data", "coco:data", "--json")
    assert json.loads(result.stdout)["resumed"] == 0


def test_lines_of_progress_have_a_rate_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([100.0, 101.0, 106.0, 107.0, 110.0, 200.0])
    monkeypatch.setattr(common.time, "monotonic", lambda: next(clock))
    with counting(every_s=5.0) as show:
        for done in (40, 42, 52, 54, 60):
            show("evaluating", done, 60)
        show("scoring", 0, 60)
    assert capsys.readouterr().err.splitlines() == [
        "evaluating: 52 of 60 images, 2.0 images/s, 4 s left",
        "evaluating: 60 of 60 images, 2.0 images/s",
    ]


def test_a_terminal_gets_a_bar_and_no_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(common.sys.stderr, "isatty", lambda: True, raising=False)
    with counting() as show:
        for done in (0, 3, 6):
            show("evaluating", done, 6)
        show("scoring", 6, 6)
    assert "evaluating: " not in capsys.readouterr().err
