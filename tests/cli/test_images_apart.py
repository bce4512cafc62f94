"""Images that an engine was made with do not judge it, however they are called; all others do."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from small_int8 import calibrate, fill_folder
from typer.testing import CliRunner

from hardnet_deploy.cli.main import app
from hardnet_deploy.evaluate.bootstrap import paired_drop
from hardnet_deploy.workflows import build_ranges, precision_trials

REFUSED = "cannot be judged on the same images"
SEARCH = ("--max-drop", "0.9", "--search-data", "coco:coco:val2017")


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARDNET_DEPLOY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(precision_trials, "paired_drop", partial(paired_drop, resamples=20))
    fill_folder(tmp_path)


def run(*words: str, exit_code: int = 0) -> Any:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == exit_code, result.output
    assert "Traceback" not in result.stderr
    return result


def build(*words: str, exit_code: int = 0) -> Any:
    return run("build-engine", "float.onnx", "--int8", "--target", "cpu", "-o", "e.onnx", *words, exit_code=exit_code)


def judge(data: str = "coco:coco", *words: str, exit_code: int = 0) -> Any:
    return run("evaluate", "e.onnx", "--data", data, *words, exit_code=exit_code)


def spelled(how: str) -> str:
    """The images of coco:coco:val2017 by another name."""
    if how == "absolute":
        return str(Path("coco/val2017").absolute())
    if how == "link":
        Path("link").symlink_to("coco/val2017")
        return "link"
    if how == "copies":
        Path("copies").mkdir()
        for number, path in enumerate(sorted(Path("coco/val2017").iterdir())):
            shutil.copy(path, f"copies/{9 - number}{path.suffix}")
        return "copies"
    return how


@pytest.mark.parametrize(
    "how",
    [
        "coco/val2017",
        "./coco/../coco/val2017/",
        "absolute",
        "link",
        "copies",
        "coco:coco:val2017",
        "coco:./coco:val2017",
    ],
)
def test_what_ranges_were_measured_on_does_not_judge(how: str) -> None:
    build("--data", spelled(how))
    refused = judge(exit_code=2)
    assert "e.onnx was calibrated on " in refused.stderr
    assert REFUSED in refused.stderr
    assert "got: 4 of the 4 images of coco:coco:val2017 are among them: coco/val2017/00.png" in refused.stderr
    assert "next: name data without these images" in refused.stderr
    assert REFUSED in judge(f"coco:{Path('coco').absolute()}:val2017", exit_code=2).stderr


def test_parity_refuses_them_too() -> None:
    build("--data", "coco/val2017")
    assert REFUSED in run("parity", "float.onnx", "e.onnx", "--data", "coco:coco", exit_code=2).stderr


def test_one_image_in_common_is_enough_and_the_others_are_not_refused() -> None:
    shutil.copy("coco/val2017/03.png", "pictures/one.png")
    build("--data", "pictures")
    refused = judge(exit_code=2)
    assert "got: 1 of the 4 images of coco:coco:val2017 are among them: coco/val2017/03.png\n" in refused.stderr
    judge("coco:coco", "--count", "3")


def test_other_images_judge() -> None:
    build("--data", "pictures")
    assert json.loads(judge("coco:coco", "--json").stdout)["data"]["images"] == 4


def test_other_images_of_the_same_name_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build("--data", "coco:coco:val2017")
    for path in Path("pictures").iterdir():
        shutil.copy(path, Path("coco/val2017") / path.name)
    judge()


def test_what_the_search_measured_on_does_not_judge() -> None:
    build("--data", "pictures", *SEARCH)
    Path("link").symlink_to("coco")
    refused = judge("coco:link", exit_code=2)
    assert "e.onnx was searched for on coco:coco:val2017" in refused.stderr
    assert "4 of the 4 images of coco:link:val2017" in refused.stderr


def test_a_graph_with_scales_for_tensorrt_tells_its_images_too() -> None:
    calibrate(qdq=Path("e.onnx"), data="coco/val2017", output=Path("t.json"))
    assert REFUSED in judge(exit_code=2).stderr


def without_marks(path: str, *keys: str) -> None:
    """A manifest or table as one without marks."""
    document = json.loads(Path(path).read_text())
    part = document
    for key in keys:
        part = part[key]
    assert part.pop("image_marks")
    Path(path).write_text(json.dumps(document))


def test_an_engine_that_does_not_tell_its_images_is_held_by_their_name() -> None:
    build("--data", "coco:coco:val2017")
    without_marks("e.onnx.json", "precision", "calibration")
    refused = judge(exit_code=2)
    assert REFUSED in refused.stderr
    assert "got: the same split, coco:coco:val2017" in refused.stderr
    build("--data", "pictures")
    without_marks("e.onnx.json", "precision", "calibration")
    judge()


def test_a_table_that_does_not_tell_its_images_still_serves() -> None:
    calibrate(data="coco:coco:val2017", output=Path("t.json"))
    without_marks("t.json")
    build("--calib", "t.json")
    assert REFUSED in judge(exit_code=2).stderr
    failed = build("--calib", "t.json", *SEARCH, exit_code=2)
    assert "got: the same split, coco:coco:val2017" in failed.stderr
    again = calibrate(data="coco:coco:val2017", output=Path("t.json"))
    assert again.measured == 0
    assert len(again.table.image_marks) == 4


@pytest.mark.parametrize("how", ["coco/val2017", "link", "coco:./coco:val2017"])
def test_a_search_stays_apart_from_the_ranges(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_ranges, "calibrate_engine", None)  # refused before anything is measured
    data = spelled(how)
    before = sorted(Path().rglob("*"))
    failed = build("--data", data, *SEARCH, exit_code=2)
    assert "mAP would be measured on images that the ranges come from, " in failed.stderr
    assert "got: 4 of the 4 images of coco:coco:val2017 are among them" in failed.stderr
    assert "next: --search-data with another split" in failed.stderr
    assert sorted(Path().rglob("*")) == before


def test_a_search_stays_apart_from_the_ranges_of_a_table() -> None:
    shutil.copy("coco/val2017/00.png", "pictures/one.png")
    calibrate(output=Path("t.json"))
    failed = build("--calib", "t.json", *SEARCH, exit_code=2)
    assert "got: 1 of the 4 images of coco:coco:val2017 are among them: coco/val2017/00.png" in failed.stderr
    assert not Path("e.onnx").exists()
    assert not Path("e.search.json").exists()


def test_sensitivity_is_not_measured_on_images_that_the_ranges_come_from() -> None:
    calibrate(data="coco/val2017", output=Path("float.calib.json"))
    failed = run("sensitivity", "float.onnx", "--data", "coco:coco", exit_code=2)
    assert "mAP would be measured on images that the ranges come from" in failed.stderr
    assert "next: --data with another split" in failed.stderr
    assert not Path("float.sensitivity.json").exists()
