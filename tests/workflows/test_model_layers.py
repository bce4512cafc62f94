"""What is known of a model before its export is what the exported graph has, and what is of another is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import onnx
import pytest
from made_kits import demo_kit
from made_machines import planned
from made_up_table import statistics, table

from calibration.graph import GraphMap
from calibration.table import CalibrationTable
from hardnet_deploy.errors import ArtifactMismatchError, InputFileError, UsageError
from hardnet_deploy.models import registry
from hardnet_deploy.specs import ModelSpec
from hardnet_deploy.workflows.build_options import BuildRequest, plan_build
from hardnet_deploy.workflows.model_layers import layers_of_model

DEMO = "ssd300-hardnet-demo"
TARGETS = pytest.mark.parametrize("target", ["cpu", "gtx-1080ti", "gpu"])


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def table_of(spec: ModelSpec) -> CalibrationTable:
    known = layers_of_model(spec)
    mark = dataclasses.replace(table().fingerprint, preprocess=dataclasses.asdict(spec.preprocess))
    names = ["images", *(names[-1] for names in known.ends)]
    return table(fingerprint=mark, tensors={name: statistics(0.0, 1.0) for name in names}, snapshots={})


def plan(target: str, **options: Any) -> Any:
    return plan_build(BuildRequest(source=DEMO, int8=True, target=target, dry_run=True, **options))


def test_the_names_are_those_of_the_exported_graph() -> None:
    graph = GraphMap(onnx.load(demo_kit("jetson-nano").folder / "model.onnx"))
    known = layers_of_model(registry.get(DEMO))
    assert known.layers == tuple(unit.name for unit in graph.units)
    assert set(graph.measured) <= known.tensors
    assert all(set(names).intersection(graph.measured) for names in known.ends)


@TARGETS
def test_a_layer_that_the_model_lacks_is_refused_before_the_export(target: str) -> None:
    with pytest.raises(UsageError, match=r"no layer is called 'loc\.9'") as caught:
        plan(target, layer_precisions="loc.9:fp32")
    assert "loc." in str(caught.value.wanted)
    assert plan(target, layer_precisions="loc.*:fp32")


@TARGETS
@pytest.mark.parametrize(
    ("other", "message"),
    [("hardnet68", "another pre-processing"), ("ssd300-hardnet68-coco", f"not measured on {DEMO}")],
)
def test_a_table_of_another_model_is_refused_before_the_export(target: str, other: str, message: str) -> None:
    Path("t.calib.json").write_text(table_of(registry.get(other)).to_json(), encoding="utf-8")
    with pytest.raises(ArtifactMismatchError, match=message) as caught:
        plan(target, calib=Path("t.calib.json"))
    assert caught.value.exit_code == 8
    assert caught.value.next_step


def test_a_table_that_may_be_the_model_s_is_held_against_its_weights_after_the_export() -> None:
    Path("t.calib.json").write_text(table_of(registry.get(DEMO)).to_json(), encoding="utf-8")
    decided = planned(source=DEMO, int8=True, target="gtx-1080ti", calib=Path("t.calib.json"))
    assert (
        "take the ranges from t.calib.json; whether they are of these very weights is checked after the export"
        in decided.steps
    )


def test_what_is_no_table_is_refused_and_a_cache_is_another_s_to_read() -> None:
    Path("t.calib.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputFileError):
        plan("gtx-1080ti", calib=Path("t.calib.json"))
    Path("t.cache").write_text("TRT-8601-EntropyCalibration2\nimages: 3c010a14\n", encoding="utf-8")
    assert plan("gtx-1080ti", calib=Path("t.cache"))
