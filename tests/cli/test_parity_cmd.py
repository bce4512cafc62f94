"""``hardnet-deploy parity``: exit codes, one JSON document whatever the outcome, and a report that is out before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from small_datasets import write_coco
from tiny_detector import THRESHOLDS, write_toy
from toy_parity import DATA, fill_folder, save
from typer.testing import CliRunner

from hardnet_deploy.cli.parity_cmd import parity
from hardnet_deploy.cli.parity_table import too_few
from hardnet_deploy.evaluate.bootstrap import LEAST_FOR_INTERVAL

app = typer.Typer()
app.command()(parity)
FAST = ("--data", DATA, "--resamples", "20", "--tensor-images", "2")


@pytest.fixture(autouse=True)
def in_a_folder_with_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fill_folder()


def run(candidate: str, *words: str, exit_code: int = 0) -> Any:
    result = CliRunner().invoke(app, ["reference.onnx", candidate, *FAST, *words])
    assert result.exit_code == exit_code, result.stderr
    assert "Traceback" not in result.stderr
    return result


def zeroed() -> str:
    return str(save("zeroed.onnx", conf_b=lambda values: values * 0))


def shifted() -> str:
    """Judged as int8, whose tensors have no gate: only the budget is missed."""
    offset = [1.0, 0.0, 0.0, 0.0]
    how = {"loc_b": lambda values: values + np.tile(offset, len(values) // 4)}
    return str(save("shifted.onnx", precision="int8", **how))


def test_a_pass_says_so_and_prints_every_part_on_stdout() -> None:
    result = run("reference.onnx")
    for text in (
        "reference   reference.onnx",
        "digest",
        "images",
        "loc",
        "conf",
        "boxes",
        "scores",
        "inside",
        "passed",
    ):
        assert text in result.stdout
    assert "the authors' for both" in result.stdout
    assert "effect of the network +0.0000, of the NMS +0.0000" in result.stdout
    assert "0.50 % of --max-drop" in result.stdout
    assert "error" not in result.stderr
    assert all(len(line) == len(line.rstrip()) for line in result.stdout.splitlines())


def test_parity_that_fails_ends_with_5_after_the_whole_report() -> None:
    result = run(zeroed(), exit_code=5)
    assert "FAILED, exit code 5" in result.stdout
    assert "mAP drops by" in result.stdout
    assert "'conf' (from the images) is off" in result.stderr
    assert "to diverge is 'conf.flat'" in result.stderr
    assert result.stderr.count("error:") == 1


def test_a_missed_budget_ends_with_6_and_a_larger_one_passes() -> None:
    candidate = shifted()
    result = run(candidate, exit_code=6)
    assert "detects less than" in result.stderr
    assert "--max-drop" in result.stderr
    assert "passed" in run(candidate, "--max-drop", "1").stdout
    assert "points" in run(candidate, "--max-drop", "0.001", "--drop-type", "absolute", exit_code=6).stdout


@pytest.mark.parametrize(("candidate", "exit_code"), [(zeroed, 5), (shifted, 6), (lambda: "reference.onnx", 0)])
def test_json_is_one_document_whatever_the_outcome(candidate: Any, exit_code: int) -> None:
    result = run(candidate(), "--json", exit_code=exit_code)
    document = json.loads(result.stdout)
    assert document["exit_code"] == exit_code
    assert document["passed"] is (exit_code == 0)
    assert bool(document["failures"]) is (exit_code != 0)
    assert {"reference", "candidate", "data", "tensors", "detections", "metric"} <= set(document)


def test_the_result_can_be_kept_in_a_file_even_where_it_fails() -> None:
    shown = json.loads(run(zeroed(), "--json", "-o", "out/result.json", exit_code=5).stdout)
    assert json.loads(Path("out/result.json").read_text(encoding="utf-8")) == shown
    assert [path.name for path in Path("out").iterdir()] == ["result.json"]


def test_another_threshold_names_the_way_out() -> None:
    strict = THRESHOLDS.__class__(score=0.3, iou=THRESHOLDS.iou, max_detections=THRESHOLDS.max_detections)
    write_toy(Path("strict.onnx"), thresholds=strict)
    result = run("strict.onnx", exit_code=5)
    assert "the score threshold differs: 0.03 in the reference, 0.3 in the candidate" in result.stderr
    assert "--allow-other-thresholds" in result.stderr
    allowed = run("strict.onnx", "--allow-other-thresholds")
    assert "note: the score threshold differs" in allowed.stderr
    assert "EfficientNMS for both" in allowed.stdout


def test_pictures_are_named_in_the_report() -> None:
    result = run(zeroed(), "--pictures", "pictures", exit_code=5)
    files = sorted(str(path) for path in Path("pictures").iterdir())
    assert files
    assert all(file in result.stdout for file in files)


def test_what_is_trusted_is_marked() -> None:
    write_toy(Path("bare.onnx"))
    Path("bare.onnx.json").unlink()
    run("bare.onnx", exit_code=8)
    # Without a manifest a graph is taken for a model of its name; the toy is none.
    run("bare.onnx", "--trust", exit_code=8)
    write_toy(Path("changed.onnx"))
    with Path("changed.onnx").open("ab") as file:
        file.write(b"\x82\x02\x00")
    run("changed.onnx", exit_code=8)
    result = run("changed.onnx", "--trust")
    assert "warning: changed.onnx: taken although it changed" in result.stderr


def test_untrained_engines_are_marked_on_every_line() -> None:
    write_toy(Path("untrained.onnx"), trained=False)
    lines = run("untrained.onnx").stdout.splitlines()
    assert all(line.startswith("untrained:") for line in lines)


def test_no_images_and_nonsense_are_refused_without_a_result() -> None:
    write_coco(Path("empty"), [])
    result = CliRunner().invoke(app, ["reference.onnx", "reference.onnx", "--data", "coco:empty", "--json"])
    assert result.exit_code == 4
    assert json.loads(result.stdout)["error"] == "InputFileError"
    run("reference.onnx", "--count", "0", exit_code=2)
    run("missing.onnx", exit_code=4)


def test_an_interval_of_few_images_is_said_to_be_too_narrow() -> None:
    assert "too few for an interval" in run("reference.onnx").stdout
    assert not list(too_few(LEAST_FOR_INTERVAL))
    assert next(too_few(1)).startswith("of 1 image: too few")
