from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from hardnet_deploy.cli import doctor_cmd
from hardnet_deploy.cli.doctor_cmd import doctor
from hardnet_deploy.cli.targets_cmd import targets
from hardnet_deploy.targets import TARGETS
from hardnet_deploy.workflows.doctor import inspect_environment

LABELS = (
    *("device", "capability", "tensorrt", "family", "at least", "cuda", "python", "opset"),
    *("fp32", "fp16", "int8", "nms", "nms plugin", "batch", "workspace", "memory"),
)


@pytest.fixture
def run() -> CliRunner:
    return CliRunner()


@pytest.fixture
def app() -> typer.Typer:
    application = typer.Typer()
    application.command()(doctor)
    application.command()(targets)
    return application


def test_targets_is_a_table_with_every_pitfall_behind_it(run: CliRunner, app: typer.Typer) -> None:
    result = run.invoke(app, ["targets"])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == list(TARGETS)
    assert max(map(len, lines)) <= 120
    labels = {line[:15].strip() for line in lines}
    assert labels.issuperset(LABELS)
    told = " ".join(result.stdout.split())
    assert all(pitfall.text in told for target in TARGETS.values() for pitfall in target.pitfalls)
    assert "source:" not in told
    assert "at most 256 MiB" in told
    assert "4 GiB, shared with the" in told


def test_targets_names_the_source_of_every_fact_when_asked(run: CliRunner, app: typer.Typer) -> None:
    told = " ".join(run.invoke(app, ["targets", "--sources"]).stdout.split())
    for target in TARGETS.values():
        assert all(f"{name}: {' '.join(source.split())}" in told for name, source in target.sources.items())
        assert all(f"source: {pitfall.source}" in told for pitfall in target.pitfalls)


def test_targets_json_is_one_document_with_every_fact(run: CliRunner, app: typer.Typer) -> None:
    document = json.loads(run.invoke(app, ["targets", "--json"]).stdout)
    rows = {row["name"]: row for row in document["targets"]}
    assert set(rows) == set(TARGETS)
    assert rows["jetson-nano"]["precisions"]["int8"] == "refused"
    assert rows["jetson-nano"]["max_workspace"] == 256 * 1024**2
    assert rows["gtx-1080ti"]["compute_capability"] == [6, 1]
    assert rows["gpu"]["pitfalls"][0]["source"]
    assert rows["jetson-nano"]["memory"] == 4 * 1024**3
    assert rows["jetson-nano"]["sources"]["minimum_tensorrt"].endswith("/issues/1538")


def test_doctor_tells_what_is_here_and_what_each_target_says(run: CliRunner, app: typer.Typer) -> None:
    result = run.invoke(app, ["doctor"])
    assert result.exit_code == 0
    assert all(f"  {name}" in result.stdout for name in TARGETS)
    assert "the target of this machine itself: " in result.stdout


def test_doctor_json_is_one_document(run: CliRunner, app: typer.Typer) -> None:
    document = json.loads(run.invoke(app, ["doctor", "--json"]).stdout)
    assert {row["target"] for row in document["targets"]} == set(TARGETS)
    assert document["packages"]["torch"]


def test_doctor_text_keeps_unknown_things_apart_from_absent_ones() -> None:
    text = "\n".join(doctor_cmd.lines(inspect_environment()))
    assert "hardnet-deploy" in text
    assert "None" not in text
