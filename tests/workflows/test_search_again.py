"""A search and its table, used again: another budget, another command, another engine beside the first, TensorRT."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import pytest
import typer
from small_int8 import FIRST, HEADS, LAYERS, build, calibrate, changed, detector_graph, fill_folder, write_graph
from typer.testing import CliRunner

from calibration import sensitivity as ranking
from calibration.graph import GraphMap
from hardnet_deploy.artifacts import read_manifest
from hardnet_deploy.cli.build_engine_cmd import build_engine
from hardnet_deploy.cli.calibrate_cmd import calibrate as calibrate_command
from hardnet_deploy.errors import AccuracyBudgetError, ArtifactMismatchError, HardnetDeployError, UsageError
from hardnet_deploy.evaluate.bootstrap import DropInterval, paired_drop
from hardnet_deploy.files import sha256_file
from hardnet_deploy.workflows import build_engine as build_workflow
from hardnet_deploy.workflows import calibrate as workflow
from hardnet_deploy.workflows import precision_trials
from hardnet_deploy.workflows.float_parts import float_parts
from hardnet_deploy.workflows.open_engine import open_engine
from hardnet_deploy.workflows.quantise import float_graph
from hardnet_deploy.workflows.sensitivity import SensitivityRequest, run_sensitivity

SEARCH: dict[str, Any] = {"data": "pictures", "search_data": "coco:coco:val2017", "method": "minmax"}
QDQ, RANGES, CACHE = Path("q.onnx"), Path("r.json"), Path("c.cache")
GIVEN: dict[str, Any] = {"calib": Path("float.calib.json"), **dict.fromkeys(("data", "method", "threads", "workers"))}


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(precision_trials, "paired_drop", partial(paired_drop, resamples=20))
    fill_folder(tmp_path)


def made_up_drops(drops: list[float]) -> Callable[..., DropInterval]:
    """``paired_drop`` of one trial after another."""
    left = iter(drops)

    def drop(*_arguments: object, **_options: object) -> DropInterval:
        value = next(left)
        return DropInterval(
            kind="relative",
            drop=value,
            two_sided=(value, value),
            at_most=value,
            at_least=value,
            confidence=0.95,
            resamples=20,
            undefined=0,
            seed=0,
        )

    return drop


def searched(monkeypatch: pytest.MonkeyPatch, drops: list[float], **options: Any) -> Any:
    monkeypatch.setattr(precision_trials, "paired_drop", made_up_drops(drops))
    result = build(**options)
    assert result.manifest is not None
    return result.manifest.precision


def test_another_budget_and_command_measure_and_rank_nothing_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    first = searched(monkeypatch, [0.3, 0.2, 0.1], max_drop=0.1, command=("one",), **SEARCH)
    assert len(first["search"]["best"]["float_layers"]) == 2
    table = Path("int8.calib.json").read_bytes()
    for module, what in (
        (precision_trials, "detect_dataset"),
        (precision_trials, "_median_ms"),
        (precision_trials, "paired_drop"),
        (workflow, "Measurement"),
    ):
        monkeypatch.setattr(module, what, None)
    ranked = ranking._run
    runs: list[int] = []

    def run_once_more(*given: Any) -> Any:
        runs.append(len(runs))
        return ranked(*given)

    monkeypatch.setattr(ranking, "_run", run_once_more)
    second = build(max_drop=0.2, command=("another", "--max-drop"), **SEARCH)
    assert second.manifest is not None
    assert len(second.manifest.precision["search"]["best"]["float_layers"]) == 1
    assert len(runs) <= 1  # the float graph, with which a ranking begins
    assert Path("int8.calib.json").read_bytes() == table
    assert json.loads(table)["command"] == ["one"]


def recorded(engine: str) -> Any:
    return read_manifest(Path(f"{engine}.json")).precision["calibration"]


def test_an_engine_names_the_table_as_it_is_whatever_is_built_later(monkeypatch: pytest.MonkeyPatch) -> None:
    build(data="pictures", method="minmax")
    table = Path("int8.calib.json")
    monkeypatch.setattr(precision_trials, "paired_drop", made_up_drops([0.5] * 9))
    with pytest.raises(AccuracyBudgetError):
        build(max_drop=0.001, command=("failing",), **{**SEARCH, "method": "mse"})
    assert recorded("int8.onnx")["sha256"] == sha256_file(table)
    build(calib=table, method="mse", output=Path("other.onnx"))
    build(data="pictures", method="mse", output=Path("int8.engine.onnx"))
    for engine, method in (("int8.onnx", "minmax"), ("other.onnx", "mse")):
        assert (recorded(engine)["method"], recorded(engine)["sha256"]) == (method, sha256_file(table))
    build(data="pictures", method="mse")  # in the first one's place, by its table
    assert (recorded("int8.onnx")["method"], recorded("int8.onnx")["sha256"]) == ("mse", sha256_file(table))
    assert Path("int8.onnx").read_bytes() == Path("other.onnx").read_bytes()


def test_a_search_is_written_for_tensorrt_in_every_form(monkeypatch: pytest.MonkeyPatch) -> None:
    found = searched(monkeypatch, [0.3, 0.2, 0.1], max_drop=0.1, search_data="coco:coco:val2017")
    chosen = found["search"]["best"]["float_layers"]
    assert chosen
    before = Path("float.calib.json").read_bytes()
    result = calibrate(choice=Path("int8.onnx"), qdq=QDQ, ranges=RANGES, cache=CACHE, **GIVEN)
    assert (result.origin, result.measured, result.path) == ("given", 0, Path("float.calib.json"))
    assert Path("float.calib.json").read_bytes() == before
    layers = sorted({FIRST, *chosen})
    assert read_manifest(Path("q.onnx.json")).precision["asked_to_stay_float"] == layers
    document = json.loads(RANGES.read_text())
    assert document["float_layers"] == layers
    kept = document["layer_precisions"].split(",")
    assert {f"{name}:fp32" for name in layers} <= set(kept)
    assert not {f"{name}:fp32" for name in set(LAYERS) - set(layers)} & set(kept)
    held = document["layer_output_types"].split(",")
    assert {f"{name}:fp32" for name in set(HEADS) - set(layers)} <= set(held)
    parts = float_parts(onnx.load("float.onnx"), "int8", graph=layer_map(), left=frozenset(layers))
    assert [one.removesuffix(":fp32") for one in kept] == list(parts.fp32_layers)  # as a plan and a kit have it
    assert [one.removesuffix(":fp32") for one in held] == list(parts.fp32_outputs)
    operators = {node.name: node.op_type for node in detector_graph().graph.node}
    kinds = {operators[one.removesuffix(":fp32")] for one in kept}
    assert {"Transpose", "Reshape", "Softmax", "EfficientNMS_TRT"} <= kinds
    (said,) = [note for note in result.notes if "names no float layers" in note]
    for flag in ("--calib=c.cache", "--precisionConstraints=obey", "--layerPrecisions", "--layerOutputTypes", "r.json"):
        assert flag in said


def layer_map() -> GraphMap:
    return GraphMap(float_graph(open_engine("float.onnx")).model)


def test_layers_by_hand_come_after_the_choice() -> None:
    build(layer_precisions="base.2:fp32,loc.0:fp32")
    calibrate(choice=Path("int8.onnx"), ranges=RANGES, layer_precisions="base.2:int8", **GIVEN)
    assert json.loads(RANGES.read_text())["float_layers"] == [FIRST, "loc.0"]


def test_a_finished_table_is_read_by_another_method() -> None:
    calibrate(ranges=RANGES, **GIVEN)
    first = json.loads(RANGES.read_text())
    calibrate(ranges=RANGES, **{**GIVEN, "method": "entropy"})
    second = json.loads(RANGES.read_text())
    assert (first["method"], second["method"]) == ("minmax", "entropy")
    assert first["dynamic_ranges"] != second["dynamic_ranges"]


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"choice": Path("float.onnx"), "ranges": RANGES}, UsageError, "tells no float layers"),
        ({"choice": Path("other.int8.onnx"), "ranges": RANGES}, ArtifactMismatchError, "from another graph"),
        ({"choice": Path("bare.onnx"), "ranges": RANGES}, ArtifactMismatchError, "has no manifest"),
        ({"choice": Path("int8.onnx"), "cache": CACHE}, UsageError, "without --qdq or --ranges --choice would do"),
        ({"choice": Path("int8.onnx"), "ranges": Path("int8.onnx")}, UsageError, "would overwrite"),
        ({"choice": Path("int8.onnx"), "ranges": Path("int8.onnx.json")}, UsageError, "would overwrite"),
        ({"layer_precisions": "x:fp32", "ranges": RANGES}, UsageError, "no layer is called 'x'"),
    ],
)
def test_what_is_no_choice_is_refused_before_anything_is_measured(
    options: dict[str, Any], kind: type[HardnetDeployError], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    build()
    Path("bare.onnx").write_bytes(Path("int8.onnx").read_bytes())
    write_graph(Path("other.onnx"), changed(detector_graph(), "base.2.weight", lambda values: 2 * values))
    calibrate("other.onnx", output=Path("other.calib.json"))
    build(source="other.onnx", calib=Path("other.calib.json"), output=Path("other.int8.onnx"))
    monkeypatch.setattr(workflow, "Measurement", None)
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    with pytest.raises(kind, match=message):
        calibrate(output=Path("new.json"), **options)
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_the_command_that_is_named_after_a_search_writes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision_trials, "paired_drop", made_up_drops([0.3, 0.1]))
    app, other = typer.Typer(), typer.Typer()
    app.command()(build_engine)
    other.command()(calibrate_command)
    words = ["float.onnx", "--int8", "--calib", "float.calib.json", "--target", "cpu", "-o", "out/e.onnx"]
    shown = CliRunner().invoke(app, [*words, "--max-drop", "0.1", "--search-data", "coco:coco:val2017"])
    assert shown.exit_code == 0, shown.stderr
    (line,) = [one.strip() for one in shown.stdout.splitlines() if "hardnet-deploy calibrate" in one]
    written = CliRunner().invoke(other, line.split()[2:])
    assert written.exit_code == 0, written.stderr
    assert "read     float.calib.json: ranges of " in written.stdout
    assert "reused" not in written.stdout
    chosen = read_manifest(Path("out/e.onnx.json")).precision["search"]["best"]["float_layers"]
    assert read_manifest(Path("out/e.qdq.onnx.json")).precision["asked_to_stay_float"] == sorted({FIRST, *chosen})
    assert json.loads(Path("out/e.ranges.json").read_text())["float_layers"] == sorted({FIRST, *chosen})


def test_noise_on_other_images_costs_no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(**options: Any) -> Any:
        given: dict[str, Any] = {"onnx": Path("float.onnx"), "data": "coco:coco", **options}
        return run_sensitivity(SensitivityRequest(**given), lambda *_: None)

    whole = run()
    run(with_map=False, count=3)
    monkeypatch.setattr(precision_trials, "detect_dataset", None)
    assert run().layers == whole.layers


@pytest.mark.parametrize(("dot_product", "reduced", "told"), [(False, False, True), (False, True, False)])
def test_a_cpu_without_dot_products_is_told_of_reduced_weights(
    dot_product: bool, reduced: bool, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Processor:
        int8_dot_product: bool | None = dot_product

    monkeypatch.setattr(build_workflow, "read_cpu", lambda _: Processor())
    assert any("--reduce-range" in note for note in build(reduce_range=reduced).notes) is told
    for known in (True, None):
        Processor.int8_dot_product = known
        result = build()
        assert not any("--reduce-range" in note for note in result.notes)
        assert result.manifest is not None
        assert "instruction_sets" in result.manifest.checks["build"]["cpu"]
