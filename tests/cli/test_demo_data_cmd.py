"""``hardnet-deploy demo-data``: a COCO data set in a folder of its own, nothing overwritten."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from pycocotools.coco import COCO
from typer.testing import CliRunner

from hardnet_deploy.cli.demo_data_cmd import demo_data
from hardnet_deploy.data.demo.splits import SPLIT_SIZES
from hardnet_deploy.errors import OutputFileError, UsageError
from hardnet_deploy.workflows import demo_data as workflow

app = typer.Typer()
app.command()(demo_data)


def run(*words: str, exit_code: int = 0) -> Any:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == exit_code, result.stderr
    assert "Traceback" not in result.stderr
    return result


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A folder that holds two images of ``val``."""
    folder = tmp_path / "out"
    run("-o", str(folder), "--split", "val", "--count", "2")
    return folder


def test_all_four_splits_by_default(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "out"
    result = run("-o", str(folder), "--count", "1", "--json")
    document = json.loads(result.stdout)
    assert [row["split"] for row in document["splits"]] == list(SPLIT_SIZES)
    assert "drawing train" in result.stderr
    for row in document["splits"]:
        coco = COCO(row["annotations"])
        names = [image["file_name"] for image in coco.loadImgs(coco.getImgIds())]
        assert [path.name for path in Path(row["images"]).iterdir()] == names
        assert len(coco.getAnnIds()) == sum(row["objects"].values())
        assert row["use"] == f"--data coco:{folder}:{row['split']}"
        assert len(row["digest"]) == 64
    names = {"annotations", *SPLIT_SIZES, *(f"{split}.digest.json" for split in SPLIT_SIZES)}
    assert {path.name for path in folder.iterdir()} == names


def test_the_text_says_where_how_many_and_how_to_use_it(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    result = run("-o", str(folder), "--split", "val", "--split", "val", "--count", "2")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("val: 2 images, ")
    assert str(folder / "annotations" / "instances_val.json") in result.stdout
    assert lines[-1].endswith(f"--data coco:{folder}:val")
    assert "drawing" not in result.stdout


def test_another_split_is_added_and_one_that_is_there_is_kept(output: Path) -> None:
    before = tree(output)
    result = run("-o", str(output), "--split", "val", "--split", "search", "--count", "2", "--json")
    assert "drawing search" in result.stderr
    assert "drawing val" not in result.stderr
    assert before.items() <= tree(output).items()


def test_seeds_give_other_images(output: Path, tmp_path: Path) -> None:
    run("-o", str(tmp_path / "other"), "--split", "val", "--count", "2", "--seed", "1")
    first, second = tree(output), tree(tmp_path / "other")
    assert first.keys() == second.keys()
    assert all(first[name] != second[name] for name in first)


@pytest.mark.parametrize("options", [["--count", "3"], ["--count", "2", "--seed", "1"]])
def test_a_split_drawn_with_other_options_is_not_overwritten(output: Path, options: list[str]) -> None:
    before = tree(output)
    result = run("-o", str(output), "--split", "search", "--split", "val", *options, exit_code=4)
    assert "nothing is overwritten" in result.stderr
    assert tree(output) == before


def test_a_damaged_split_is_not_overwritten(output: Path) -> None:
    (output / "val" / "000000000001.jpg").write_bytes(b"mine")
    result = run("-o", str(output), "--split", "val", "--count", "2", exit_code=OutputFileError.exit_code)
    assert "differs from what was written" in result.stderr
    assert (output / "val" / "000000000001.jpg").read_bytes() == b"mine"


@pytest.mark.parametrize(
    "name", ["notes.txt", "val/000000000001.jpg", "annotations/instances_val2017.json", "train2017/1.jpg"]
)
def test_a_folder_with_other_things_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    result = run("-o", str(tmp_path), "--count", "1", "--json", exit_code=OutputFileError.exit_code)
    assert json.loads(result.stdout)["error"] == "OutputFileError"
    assert tree(tmp_path) == {name: b"mine"}


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    run("-o", str(tmp_path / "out"), "--count", "1", exit_code=OutputFileError.exit_code)
    assert tree(tmp_path) == {"out": b"mine"}


@pytest.mark.parametrize(
    "options", [["--split", "test"], ["--count", "0"], ["--count", "501"], ["--seed", "-1"], ["--count", "many"]]
)
def test_what_cannot_be_meant_is_a_usage_error_and_makes_nothing(tmp_path: Path, options: list[str]) -> None:
    run("-o", str(tmp_path / "out"), *options, exit_code=UsageError.exit_code)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("there", [False, True])
def test_an_interrupt_leaves_the_folder_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    folder = tmp_path / "out"
    if there:
        folder.mkdir()

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(workflow, "read_split", interrupted)  # after everything was moved in place
    result = run("-o", str(folder), "--split", "val", "--count", "1", exit_code=130)
    assert "nothing was left half-written" in result.stderr
    assert folder.exists() is there
    assert not list(tmp_path.rglob("*.jpg"))
