"""``build-engine``: the engine and what its manifest says of it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from small_int8 import (
    DETECTOR,
    FIRST,
    HEADS,
    LAYERS,
    build,
    calibrate,
    changed,
    detector_graph,
    fill_folder,
    write_backbone,
    write_detector,
    write_graph,
)

from calibration.errors import CalibrationError
from calibration.table import CalibrationTable
from hardnet_deploy.artifacts import describe_model, manifest_path
from hardnet_deploy.errors import ArtifactMismatchError, HardnetDeployError, UsageError
from hardnet_deploy.files import sha256_file
from hardnet_deploy.models import registry
from hardnet_deploy.runners.ort import OrtRunner
from hardnet_deploy.tensor_names import CONF, DETECTION_OUTPUTS, LOC
from hardnet_deploy.workflows import build_ranges
from hardnet_deploy.workflows.evaluate import EvaluateRequest, run_evaluate
from hardnet_deploy.workflows.open_engine import open_engine
from hardnet_deploy.workflows.seeded_inputs import seeded_pixels

ENGINE, TABLE = Path("int8.onnx"), Path("float.calib.json")
LEAST_SQNR = 20.0  # dB; eight bits through five layers leave 30 to 40, a wrong scale or place leaves less than 10
SLOW = pytest.mark.slow
KEPT_MAP = 0.9  # of the float engine's, on four pictures with three objects each; a broken engine keeps none


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARDNET_DEPLOY_CACHE", str(tmp_path / "cache"))
    fill_folder(tmp_path)


def left() -> set[str]:
    return {str(path) for path in Path().rglob("*") if "cache" not in path.parts}


def refused(kind: type[HardnetDeployError], message: str, **options: Any) -> HardnetDeployError:
    """The error of a build that leaves the folder as it was."""
    before = left()
    with pytest.raises(kind, match=message) as caught:
        build(**options)
    assert left() == before
    return caught.value


def mean_ap(engine: Path) -> float:
    return run_evaluate(EvaluateRequest(engine=str(engine), data="coco:coco"), lambda *_: None).mean_ap


def test_an_int8_engine_opens_again_and_keeps_the_detections() -> None:
    result = build()
    engine = open_engine(str(ENGINE))
    assert engine.warning is None
    assert engine.head == DETECTOR.head
    exact = mean_ap(Path("float.onnx"))
    assert exact > 0.5
    assert mean_ap(ENGINE) >= KEPT_MAP * exact
    feeds = {"images": seeded_pixels(engine.preprocess, 1)}
    one, other = (OrtRunner(onnx.load(path), extra_outputs=(LOC, CONF)).infer(feeds) for path in ("float.onnx", ENGINE))
    for name in (LOC, CONF):
        noise = np.square(one[name] - other[name]).sum()
        assert noise > 0  # it is not the float graph that was written
        assert 10 * np.log10(np.square(one[name]).sum() / noise) > LEAST_SQNR
    assert result.size_bytes == ENGINE.stat().st_size


def test_its_manifest_says_what_it_is_made_of() -> None:
    result = build(command=("hardnet-deploy", "build-engine"))
    manifest = open_engine(str(ENGINE)).manifest
    assert manifest is not None
    assert manifest.as_json() == (result.manifest.as_json() if result.manifest else None)
    precision = manifest.precision
    assert precision["requested"] == "int8"
    assert precision["achieved"] == dict.fromkeys(LAYERS, "int8")
    assert precision["asked_to_stay_float"] == precision["float_by_search"] == []
    assert precision["layer_precisions"] == ""
    assert precision["macs_in_int8"] == 1.0
    assert (precision["writing"], precision["weight_bits"], precision["concat_scales"]) == ("uint8", 8, "unified")
    assert precision["search"] is None
    record = precision["calibration"]
    assert record["sha256"] == sha256_file(TABLE)
    assert record["method"] == "minmax"
    assert record["images"] == 4
    assert "pictures, 4 of 4 images" in record["data"]
    assert manifest.target == "cpu"
    assert manifest.sha256 == sha256_file(ENGINE)
    assert manifest.graph["nms"] == "onnx"
    assert manifest.graph["outputs"] == list(DETECTION_OUTPUTS)
    assert manifest.checks["source"]["sha256"] == sha256_file(Path("float.onnx"))
    assert manifest.checks["source"]["warning"] is None
    assert manifest.checks["build"]["integer_convolutions"] == len(LAYERS)
    assert manifest.checks["build"]["float_convolutions"] == []
    assert manifest.command == ("hardnet-deploy", "build-engine")
    assert {"onnx", "numpy", "hardnet-deploy"} <= set(manifest.versions)


def test_the_result_goes_into_json() -> None:
    document = json.loads(json.dumps(build().as_dict(), allow_nan=False))
    assert document["engine"] == str(ENGINE)
    assert document["sha256"] == sha256_file(ENGINE)
    assert document["calibration"] == str(TABLE)
    assert document["macs_in_int8"] == 1.0
    assert any("replaced by ONNX NonMaxSuppression" in note for note in document["notes"])


def test_the_same_inputs_give_the_same_bytes() -> None:
    build()
    first, record = ENGINE.read_bytes(), manifest_path(ENGINE).read_bytes()
    build()
    assert ENGINE.read_bytes() == first
    assert manifest_path(ENGINE).read_bytes() == record
    build(output=Path("other.onnx"))
    assert Path("other.onnx").read_bytes() == first


def test_only_the_engine_and_its_manifest_are_written() -> None:
    before = left()
    build()
    assert left() - before == {str(ENGINE), str(manifest_path(ENGINE))}


def test_layers_stay_float_where_they_are_asked_to() -> None:
    result = build(layer_precisions=f"*.0:fp32,{FIRST}:int8")
    assert result.manifest is not None
    precision = result.manifest.precision
    assert precision["asked_to_stay_float"] == sorted(HEADS)
    assert precision["layer_precisions"] == ",".join(f"{name}:fp32" for name in sorted(HEADS))
    assert {name for name, kind in precision["achieved"].items() if kind == "fp32"} == set(HEADS)
    assert 0 < precision["macs_in_int8"] < 1
    assert result.notes == build(output=Path("all.onnx")).notes  # what was asked is no fallback


def test_every_layer_alone_can_stay_float() -> None:
    for name in LAYERS:
        result = build(layer_precisions=f"{name}:fp32")
        assert result.optimised is not None
        assert [layer for layer, kind in result.optimised.achieved.items() if kind == "fp32"] == [name]


def test_another_method_of_the_table_gives_another_engine() -> None:
    build()
    first = ENGINE.read_bytes()
    result = build(method="entropy")
    assert ENGINE.read_bytes() != first
    assert result.manifest is not None
    assert result.manifest.precision["calibration"]["method"] == "entropy"


def test_weights_of_seven_bits() -> None:
    result = build(reduce_range=True)
    assert result.manifest is not None
    assert result.manifest.precision["weight_bits"] == 7
    weights = [tensor for tensor in onnx.load(ENGINE).graph.initializer if tensor.name.endswith("weight.quantized")]
    assert len(weights) == len(LAYERS)
    assert all(np.abs(onnx.numpy_helper.to_array(tensor)).max() == 63 for tensor in weights)


def test_a_float_engine_says_so_and_computes_the_same() -> None:
    before = left()
    result = build(int8=False, output=Path("fp32.onnx"))
    assert left() - before == {"fp32.onnx", "fp32.onnx.json"}
    assert result.manifest is not None
    assert result.manifest.precision == {"requested": "fp32", "achieved": dict.fromkeys(LAYERS, "fp32")}
    assert result.table is None
    assert mean_ap(Path("fp32.onnx")) == mean_ap(Path("float.onnx"))


@pytest.mark.parametrize("outputs", ["boxes", "raw"])
def test_a_graph_without_nms_is_built_without(outputs: Any) -> None:
    write_detector(Path("cut.onnx"), outputs=outputs)
    result = build(source="cut.onnx")  # with the ranges of the whole one: they end where the convolutions do
    assert result.manifest is not None
    assert result.manifest.graph["nms"] is None
    assert result.manifest.graph["outputs"] == {"boxes": ["boxes", "scores"], "raw": [LOC, CONF]}[outputs]
    assert set(result.manifest.precision["achieved"].values()) == {"int8"}
    assert not any("NonMaxSuppression" in note for note in result.notes)


def test_nothing_is_said_to_be_replaced_where_onnx_nms_was_there() -> None:
    write_detector(Path("onnx.onnx"), nms="onnx")
    result = build(source="onnx.onnx")
    assert result.notes == ()
    build(output=Path("other.onnx"))
    assert ENGINE.read_bytes() == Path("other.onnx").read_bytes()


def test_a_backbone_becomes_an_engine() -> None:
    write_backbone(Path("backbone.onnx"))
    result = build(source="backbone.onnx", data="pictures", method="minmax")
    assert result.manifest is not None
    assert set(result.manifest.precision["achieved"].values()) == {"int8"}
    assert result.table == Path("int8.calib.json")
    refused(UsageError, "a backbone detects nothing", source="backbone.onnx", data="pictures", max_drop=0.1)


def test_ranges_are_measured_in_place_and_kept() -> None:
    before = left()
    result = build(data="pictures", method="minmax", count=3)
    assert left() - before == {str(ENGINE), str(manifest_path(ENGINE)), "int8.calib.json"}
    table = CalibrationTable.from_json(Path("int8.calib.json").read_text(), source="kept")
    assert table.fingerprint.count == 3
    assert result.table == Path("int8.calib.json")
    first = ENGINE.read_bytes()
    Path("int8.calib.json").rename("kept.calib.json")
    build(calib=Path("kept.calib.json"))
    assert ENGINE.read_bytes() == first


@pytest.mark.parametrize("batch", [2, None])
def test_the_table_of_one_image_serves_other_batches(batch: int | None) -> None:
    write_graph(Path("batch.onnx"), detector_graph(batch=batch))
    build(source="batch.onnx")
    assert open_engine(str(ENGINE)).batch == batch
    assert mean_ap(ENGINE) > 0


def test_a_detector_of_the_demo_data_takes_its_own_split(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def measured(_engine: object, request: Any, *_rest: object) -> None:
        asked.append(request.data)
        raise CalibrationError("far enough")

    model = {**describe_model(DETECTOR, code_line="pingolh"), "dataset": "demo"}
    write_graph(Path("float.onnx"), detector_graph(), model=model)
    monkeypatch.setattr(build_ranges, "calibrate_engine", measured)
    with pytest.raises(CalibrationError):
        build(calib=None)
    assert asked == ["demo"]


def test_what_was_trusted_is_marked_in_the_engine() -> None:
    write_graph(Path("other.onnx"), changed(detector_graph(), "base.2.weight", lambda values: 2 * values))
    Path("other.onnx").replace("float.onnx")
    refused(ArtifactMismatchError, "is not the file that its manifest describes")
    calibrate(trust=True)
    result = build(trust=True)
    assert result.manifest is not None
    assert "it changed since" in result.manifest.checks["source"]["warning"]
    assert result.manifest.checks["source"]["sha256"] == sha256_file(Path("float.onnx"))
    assert any("it changed since" in note for note in result.notes)


@SLOW
def test_a_model_is_exported_on_the_way_and_only_its_engine_is_left() -> None:
    before, temporary = left(), set(Path(tempfile.gettempdir()).glob("hardnet-deploy-*"))
    result = build(source=registry.DEMO_MODEL, data="pictures", count=2, method="minmax")
    assert left() - before == {str(ENGINE), str(manifest_path(ENGINE)), "int8.calib.json"}
    assert set(Path(tempfile.gettempdir()).glob("hardnet-deploy-*")) <= temporary
    manifest = open_engine(str(ENGINE)).manifest
    assert manifest is not None
    assert manifest.model["name"] == registry.DEMO_MODEL
    assert set(manifest.precision["achieved"].values()) == {"int8"}
    assert manifest.checks["source"]["checks"]["parity"]["ok"] is True
    assert result.optimised is not None
    assert result.optimised.float_relus == ()
