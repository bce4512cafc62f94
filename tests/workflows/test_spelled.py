"""Command lines in documents: what they say again is what was run."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import typer

from hardnet_deploy.cli.main import app
from hardnet_deploy.workflows.evaluate import EvaluateRequest
from hardnet_deploy.workflows.parity_options import ParityRequest
from hardnet_deploy.workflows.parity_result import command_of
from hardnet_deploy.workflows.sensitivity import SensitivityRequest
from hardnet_deploy.workflows.spelled import spelled

FULL_PARITY = ParityRequest(
    reference="m=w.pth",
    candidate="a b.onnx",
    data="coco:x",
    count=7,
    tensor_images=3,
    postprocess="upstream",
    max_drop=0.02,
    drop_type="absolute",
    resamples=50,
    seed=4,
    pictures=Path("worst"),
    output=Path("o.json"),
    trust=True,
    code_line="lzx1413",
    allow_other_thresholds=True,
)


def test_options_that_are_not_set_are_left_out() -> None:
    options = {"--a": None, "--b": False, "--c": True, "--d": 0, "--e": 0.5, "--f": Path("x y")}
    line = spelled("verb", ["word"], options)
    assert line == ["hardnet-deploy", "verb", "word", "--c", "--d", "0", "--e", "0.5", "--f", "x y"]
    assert shlex.join(line).endswith("--f 'x y'")


LINES = {
    "evaluate": EvaluateRequest(engine="e.onnx", data="demo").command(),
    "evaluate, all options": EvaluateRequest(
        engine="e.onnx",
        data="voc:x",
        postprocess="upstream",
        metric="voc12",
        count=3,
        batch=2,
        skip_unreadable=True,
        code_line="lzx1413",
        trust=True,
    ).command(),
    "sensitivity": SensitivityRequest(onnx=Path("f.onnx")).command(),
    "sensitivity, all options": SensitivityRequest(
        onnx=Path("f.onnx"), calib=Path("c.json"), with_map=False, output=Path("o.json"), trust=True
    ).command(),
    "parity": command_of(ParityRequest(reference="m", candidate="a.onnx")),
    "parity, all options": command_of(FULL_PARITY),
}


@pytest.mark.parametrize("case", LINES)
def test_the_command_line_understands_them(case: str) -> None:
    program, command, *words = LINES[case]
    assert program == "hardnet-deploy"
    parser = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]  # a group has commands
    context = parser.make_context(command, [*words])
    assert context.args == []


def test_every_option_that_changes_the_result_is_spelled() -> None:
    line = " ".join(command_of(FULL_PARITY))
    for words in ("m=w.pth a b.onnx", "--data coco:x", "--count 7", "--tensor-images 3", "--postprocess upstream"):
        assert words in line
    for words in ("--max-drop 0.02", "--drop-type absolute", "--resamples 50", "--seed 4", "--code-line lzx1413"):
        assert words in line
    for words in ("--trust", "--allow-other-thresholds", "--pictures worst", "--output o.json"):
        assert words in line
