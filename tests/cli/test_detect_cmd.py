"""``hardnet-deploy detect``: JSON on stdout, words on stderr, a picture for each image."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from command_line import environment, files, shell
from tiny_detector import BLUE, BOTH, NONE, RED, RED_PRIOR, SMALL_MODEL, THRESHOLDS, expected_box, save_image, write_toy
from typer.testing import CliRunner

from hardnet_deploy.artifacts import manifest_path
from hardnet_deploy.cli.main import app
from hardnet_deploy.data.images import load_image
from hardnet_deploy.files import sha256_file
from hardnet_deploy.models import registry

PIXELS = 1e-3  # float32 fractions of a side of some hundred pixels


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["detect", *words])


def found(*words: str, exit_code: int = 0) -> dict[str, Any]:
    result = run(*words)
    assert result.exit_code == exit_code, result.stderr
    assert "Traceback" not in result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_the_result_is_one_document_with_the_engines_hash() -> None:
    path = write_toy(Path("toy.onnx"))
    save_image(Path("red.png"), RED, (320, 200))
    document = found("toy.onnx", "red.png")
    (image,) = document.pop("images")
    (box,) = image.pop("detections")
    assert document == {
        "engine": "toy.onnx",
        "sha256": sha256_file(path),
        "state_sha256": None,
        "code_line": None,
        "runner": "ONNX Runtime (CPU), EfficientNMS by its NumPy reference",
        "thresholds": vars(THRESHOLDS),
        "trained": True,
        "untrained": False,
        "warning": None,
    }
    picture = str(Path("detections") / "red.detections.png")
    assert image == {"image": "red.png", "width": 320, "height": 200, "picture": picture}
    assert (box["class"], box["class_id"]) == ("red thing", 1)
    assert box["box"] == pytest.approx(expected_box(RED_PRIOR, 320, 200), abs=PIXELS)
    assert load_image(image["picture"]).shape == (200, 320, 3)


def test_json_is_what_comes_anyway() -> None:
    write_toy(Path("toy.onnx"))
    save_image(Path("red.png"), RED)
    assert run("toy.onnx", "red.png").stdout == run("toy.onnx", "red.png", "--json").stdout


def test_words_go_to_stderr() -> None:
    write_toy(Path("toy.onnx"))
    save_image(Path("red.png"), RED)
    save_image(Path("none.png"), NONE)
    result = run("toy.onnx", "red.png", "none.png")
    assert result.stderr.splitlines() == ["[1/2] red.png: 1 detections", "[2/2] none.png: 0 detections"]


def test_pictures_go_where_they_are_sent_or_nowhere() -> None:
    write_toy(Path("toy.onnx"))
    save_image(Path("red.png"), RED)
    (image,) = found("toy.onnx", "red.png", "--no-picture")["images"]
    assert "picture" not in image
    assert set(files(Path())) == {"toy.onnx", "toy.onnx.json", "red.png"}
    found("toy.onnx", "red.png", "-o", "a/b")
    assert (Path("a") / "b" / "red.detections.png").is_file()
    assert not Path("detections").exists()


def test_a_threshold_drops_boxes() -> None:
    write_toy(Path("toy.onnx"))
    save_image(Path("both.png"), BOTH)
    assert len(found("toy.onnx", "both.png")["images"][0]["detections"]) == 2
    assert len(found("toy.onnx", "both.png", "--score-threshold", "0.999")["images"][0]["detections"]) == 1
    for value in ("1.5", "nan", "-0.5"):
        result = run("toy.onnx", "both.png", "--score-threshold", value, "-o", "other")
        assert result.exit_code == 2
        assert "--score-threshold" in result.stderr
    assert not Path("other").exists()


def test_untrained_weights_are_marked_in_json_on_every_line_and_in_the_picture() -> None:
    save_image(Path("red.png"), RED, (320, 200))
    save_image(Path("blue.png"), BLUE, (320, 200))
    write_toy(Path("trained.onnx"))
    write_toy(Path("toy.onnx"), trained=False)
    found("trained.onnx", "red.png", "-o", "plain")
    result = run("toy.onnx", "red.png", "blue.png", "-o", "marked")
    assert json.loads(result.stdout)["untrained"] is True
    assert json.loads(result.stdout)["trained"] is False
    assert len(result.stderr.splitlines()) == 3
    assert all("untrained" in line for line in result.stderr.splitlines())
    assert marked("red") == (True, False)


def marked(name: str) -> tuple[bool, bool]:
    """Whether the picture in ``marked`` differs from that in ``plain`` in its top left corner, and elsewhere."""
    plain, noted = (load_image(Path(folder) / f"{name}.detections.png") for folder in ("plain", "marked"))
    changed = (plain != noted).any(axis=2)
    return bool(changed[:10, :40].all()), bool(changed[40:].any())


def test_a_model_by_name_says_untrained() -> None:
    save_image(Path("red.png"), RED)
    document = found(SMALL_MODEL, "red.png", "--no-picture")
    assert document["engine"] == SMALL_MODEL
    assert document["runner"] == "PyTorch (CPU)"
    assert document["untrained"] is True
    assert document["sha256"] is None


def test_what_is_only_trusted_is_marked_in_json_on_stderr_and_in_the_picture() -> None:
    path = write_toy(Path("toy.onnx"))
    save_image(Path("red.png"), RED, (320, 200))
    found("toy.onnx", "red.png", "-o", "plain")
    model = onnx.load(path)
    model.producer_name = "someone else"
    onnx.save(model, path)
    before = files(Path())
    refused = run("toy.onnx", "red.png", "-o", "marked")
    assert refused.exit_code == 8
    assert refused.stdout == ""
    assert "--trust" in refused.stderr
    assert files(Path()) == before
    result = run("toy.onnx", "red.png", "-o", "marked", "--trust")
    assert result.exit_code == 0
    assert "changed since its manifest was written" in json.loads(result.stdout)["warning"]
    assert "changed since its manifest was written" in result.stderr
    assert marked("red")[0]


def test_a_file_without_a_manifest_is_refused_and_taken_where_trusted() -> None:
    path = write_toy(Path("toy.onnx"), spec=registry.get(SMALL_MODEL))
    save_image(Path("red.png"), RED)
    manifest_path(path).unlink()
    assert run("toy.onnx", "red.png").exit_code == 8
    assert SMALL_MODEL in found("toy.onnx", "red.png", "--trust")["warning"]


def test_an_unreadable_image_fails_the_run_after_the_others_were_reported() -> None:
    write_toy(Path("toy.onnx"))
    save_image(Path("red.png"), RED)
    save_image(Path("blue.png"), BLUE)
    Path("bad.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing more")
    result = run("toy.onnx", "red.png", "bad.png", "nowhere.png", "blue.png")
    assert result.exit_code == 4
    rows = json.loads(result.stdout)["images"]
    assert [row["image"] for row in rows] == ["red.png", "bad.png", "nowhere.png", "blue.png"]
    assert [sorted(row) for row in rows[1:3]] == [["error", "image"]] * 2
    assert rows[1]["error"]["exit_code"] == 4
    assert [row["detections"][0]["class"] for row in (rows[0], rows[3])] == ["red thing", "blue thing"]
    assert "bad.png" in result.stderr
    assert "nowhere.png" in result.stderr
    assert sorted(path.name for path in Path("detections").iterdir()) == ["blue.detections.png", "red.detections.png"]


def test_images_of_one_name_do_not_share_a_picture() -> None:
    write_toy(Path("toy.onnx"))
    for folder, colour in (("x", RED), ("y", NONE)):
        Path(folder).mkdir()
        save_image(Path(folder) / "photo.png", colour)
    rows = found("toy.onnx", "x/photo.png", "y/photo.png")["images"]
    assert len({row["picture"] for row in rows}) == 2
    assert (load_image(rows[1]["picture"]) == np.array(NONE, np.uint8)).all()


@pytest.mark.parametrize(
    ("words", "exit_code", "said"),
    [
        (("hardnet39ds", "red.png"), 2, "backbone"),
        (("toy.onnx", "red.png", "--code-line", "lzx1413"), 2, "--code-line"),
        (("nonsense", "red.png"), 2, "neither a file nor a model"),
        (("nowhere.onnx", "red.png"), 4, "no file nowhere.onnx"),
        (("red.png", "red.png"), 4, "red.png is not an ONNX model"),
        ((".", "red.png"), 4, "is a folder"),
        (("cut.onnx", "red.png"), 4, "cut.onnx is not an ONNX model"),
        ((f"{SMALL_MODEL}=red.png", "red.png"), 4, "an image"),
        (("toy.onnx", "red.png", "-o", "red.png"), 4, "red.png is not a folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
@pytest.mark.parametrize("as_json", [False, True])
def test_bad_input_is_one_sentence_its_exit_code_and_no_file(
    words: tuple[str, ...], exit_code: int, said: str, *, as_json: bool
) -> None:
    path = write_toy(Path("toy.onnx"))
    Path("cut.onnx").write_bytes(path.read_bytes()[:-200])
    save_image(Path("red.png"), RED)
    before = files(Path())
    result = run(*words, *(["--json"] if as_json else []))
    assert result.exit_code == exit_code
    assert said in result.stderr
    assert "error: " in result.stderr
    assert "Traceback" not in result.stderr
    assert files(Path()) == before
    if as_json:
        document = json.loads(result.stdout)
        assert document["exit_code"] == exit_code
        assert said in f"{document['what']} {document['got']}"
    else:
        assert result.stdout == ""


def test_missing_arguments_are_usage_errors() -> None:
    for words in ((), ("toy.onnx",), ("toy.onnx", "a.png", "--no-such-option")):
        result = run(*words)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert "Usage:" in result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has file names that are no text")
def test_names_that_are_not_utf_8_are_printed_as_json_in_any_locale() -> None:
    write_toy(Path("toy.onnx"))
    save_image(Path("red.png"), RED)
    name = b"caf\xe9 \xe7\x8c\xab.png"
    Path("red.png").rename(os.fsdecode(name))
    for locale in ({"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf-8:strict"}):
        done = shell("detect", "toy.onnx", name, env=environment(**locale))
        assert done.returncode == 0, done.stderr
        (image,) = json.loads(done.stdout)["images"]
        assert os.fsencode(image["image"]) == name
        assert Path(image["picture"]).is_file()


def test_the_installed_command_runs_a_changed_file_only_when_trusted() -> None:
    path = write_toy(Path("toy.onnx"))
    save_image(Path("red.png"), RED)
    manifest_path(path).write_text(manifest_path(path).read_text().replace(sha256_file(path), "0" * 64))
    done = shell("detect", "toy.onnx", "red.png", "--json")
    assert done.returncode == 8
    assert json.loads(done.stdout)["exit_code"] == 8
    assert not Path("detections").exists()
    done = shell("detect", "toy.onnx", "red.png", "--trust")
    assert done.returncode == 0
    assert json.loads(done.stdout)["warning"]
