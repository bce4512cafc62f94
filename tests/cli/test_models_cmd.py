"""``hardnet-deploy models``: counted numbers beside published ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from hardnet_deploy.cli.main import app
from hardnet_deploy.cli.models_cmd import table
from hardnet_deploy.models import registry
from hardnet_deploy.workflows.list_models import list_models

# Published numbers are rounded, 0.8 from 0.775; a missing block is off by more.
PUBLISHED_SHARE = 0.04


@pytest.fixture(scope="module")
def run() -> Any:
    return CliRunner().invoke(app, ["models", "--json"])


def test_json_lists_every_model_with_numbers(run: Any) -> None:
    assert run.exit_code == 0
    rows = {row["name"]: row for row in json.loads(run.stdout)["models"]}
    assert tuple(rows) == registry.names()
    for name, row in rows.items():
        spec = registry.get(name)
        assert row["kind"] == ("detector" if spec.is_detector else "backbone")
        assert row["input_size"] == spec.preprocess.size
        assert row["priors"] == (spec.head.num_priors if spec.head else None)
        assert row["classes_with_background"] == {"coco": 81, "voc": 21, "demo": 13, "imagenet": None}[spec.dataset]
        assert set(row["macs"]) == {str(spec.preprocess.size), "1024"}
        assert row["macs"]["1024"] > row["macs"][str(spec.preprocess.size)] > 0


def test_what_is_counted_is_what_is_published(run: Any) -> None:
    compared = 0
    for row in json.loads(run.stdout)["models"]:
        said = row["published"]
        for counted, published in (
            (row["parameters"] / 1e6, said["params_m"]),
            (row["macs"].get("224", 0) / 1e9, said["gmacs"]),
        ):
            if published is not None:
                assert counted == pytest.approx(published, rel=PUBLISHED_SHARE), row["name"]
                compared += 1
    assert compared == 8


def test_progress_goes_to_stderr(run: Any) -> None:
    assert run.stderr.splitlines() == ["[1/1] counting parameters and multiply-accumulates"]


def test_the_table_has_a_line_for_each_model_and_says_what_it_counts() -> None:
    rows = list_models()
    head, *body = table(rows)
    lines = body[: len(rows)]
    assert [line.split()[0] for line in lines] == list(registry.names())
    assert "published" in head
    assert "COCO mAP 31.7" in lines[0]
    assert "top-1 78 %" in lines[-1]
    assert all(line == line.rstrip() for line in table(rows))
    assert "multiply-accumulates" in "\n".join(body[len(rows) :])
