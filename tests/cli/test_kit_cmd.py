"""``hardnet-deploy kit`` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from made_kits import DEMO, demo_kit
from typer.testing import CliRunner

from hardnet_deploy.cli import kit_cmd
from hardnet_deploy.cli.kit_cmd import kit
from hardnet_deploy.workflows import make_kit

app = typer.Typer()
app.command()(kit)


def run(*words: str, exit_code: int = 0) -> Any:
    result = CliRunner().invoke(app, [*words])
    assert result.exit_code == exit_code, result.stderr
    assert "Traceback" not in result.stderr
    return result


def test_int8_for_the_nano_ends_with_3_and_writes_nothing(tmp_path: Path) -> None:
    result = run(
        DEMO, "--target", "jetson-nano", "--precision", "int8", "-o", str(tmp_path / "kit"), "--json", exit_code=3
    )
    assert json.loads(result.stdout)["next"] == "use --precision fp16"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [("--target", "jetson-nano"), ("-o", "kit"), ("--target", "x", "-o", "kit")], ids=str)
def test_target_and_folder_are_wanted(words: tuple[str, ...]) -> None:
    run(DEMO, *words, exit_code=2)


@pytest.mark.parametrize("words", [("--count", "0"), ("--count", "-3"), ("--samples", "0")], ids=str)
def test_no_images_ends_with_2_at_once(words: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_kit, "run_export", None)  # nothing may run
    result = run(DEMO, "--target", "gtx-1080ti", "-o", str(tmp_path / "kit"), *words, exit_code=2)
    assert " ".join(words) in result.stderr
    assert "  next: " in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["jetson-nano", "gtx-1080ti"])
def test_a_person_reads_what_was_written(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = demo_kit(target)
    monkeypatch.setattr(make_kit, "run_kit", lambda *_: made)
    out = run(DEMO, "--target", target, "-o", "kit").stdout
    assert f"wrote    {made.folder}: " in out
    assert "layers stay in FP32" in out
    assert "(estimated)" in out
    assert ("ranges   " in out) == (target == "gtx-1080ti")
    document = json.loads(run(DEMO, "--target", target, "-o", "kit", "--json").stdout)
    assert document["sha256"] == made.sha256
    assert document["trained"] is True


def test_the_default_of_samples_is_the_workflow_s() -> None:
    from hardnet_deploy.workflows.kit_options import SAMPLES

    parameter = next(one for one in typer.main.get_command(app).params if one.name == "samples")
    assert parameter.default == SAMPLES
    assert kit_cmd.INT8
