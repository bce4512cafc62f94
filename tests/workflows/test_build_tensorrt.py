"""``build-engine`` with simulated TensorRT of every family: what is built, what it computes, what manifests say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from simulated_device import ADA, NANO, NEWEST, PASCAL
from simulated_host import LABELS, answers, build_plan_file, pictures, simulated_host
from small_int8 import FIRST, LAYERS, build, calibrate, fill_folder, write_backbone, write_detector

from hardnet_deploy.artifacts import manifest_path, read_manifest
from hardnet_deploy.data.image_marks import marks_of
from hardnet_deploy.engines.inspector import UNKNOWN
from hardnet_deploy.errors import ParityError
from hardnet_deploy.files import sha256_file
from hardnet_deploy.tensor_names import DETECTION_OUTPUTS
from hardnet_deploy.workflows import build_tensorrt
from hardnet_deploy.workflows.open_engine import open_engine
from hardnet_deploy.workflows.quantise import Quantiser

BUILDS = [
    pytest.param(device, precision, id=f"{device[0]}-{precision}")
    for device in (NANO, PASCAL, ADA, NEWEST)
    for precision in ("fp32", "fp16", "int8")
    if (device, precision) != (NANO, "int8")
]
FP16_SCORES = 5e-4
"""Scores below 1 through a few layers rounded to 11 bits."""
INT8_SCORES = 0.02
"""Scores of the small detector through four layers of 8 bits."""
INT8_LAYERS = tuple(name for name in LAYERS if name != FIRST)


@pytest.fixture(autouse=True)
def in_a_folder_with_a_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARDNET_DEPLOY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    fill_folder(Path())


def scores(engine: str, **options: Any) -> Any:
    return answers(engine, pictures(**options))["detection_scores"]


def manifest_of(engine: str) -> Any:
    return read_manifest(manifest_path(Path(engine)))


@pytest.mark.parametrize(("device", "precision"), BUILDS)
def test_every_family_builds_every_precision_that_it_has(
    device: tuple[str, str], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with simulated_host(monkeypatch, device):
        result = build_plan_file(device, precision)
        engine = open_engine(f"{precision}.engine")
        assert engine.runner.name == LABELS[device]
        assert engine.warning is None
        assert (engine.batch, engine.trained) == (1, True)
        found, wanted = answers(engine.runner), answers("float.onnx")
        if precision == "fp32":
            for name in DETECTION_OUTPUTS:
                np.testing.assert_array_equal(found[name], wanted[name])
        else:
            allowed = FP16_SCORES if precision == "fp16" else INT8_SCORES
            off = np.abs(found["detection_scores"] - wanted["detection_scores"]).max()
            assert 0 < off < allowed
    manifest = manifest_of(f"{precision}.engine")
    assert result.manifest == manifest
    assert manifest.kind == "tensorrt"
    assert manifest.sha256 == sha256_file(Path(f"{precision}.engine")) == engine.sha256
    assert f"TensorRT {manifest.versions['tensorrt']} ({manifest.versions['gpu']})" == LABELS[device]
    expected = dict.fromkeys(LAYERS, precision) | ({FIRST: "fp32"} if precision == "int8" else {})
    assert manifest.precision["achieved"] == manifest.precision["requested_by_layer"] == expected
    assert manifest.graph["thresholds"] == read_manifest(manifest_path(Path("float.onnx"))).graph["thresholds"]
    assert manifest.checks["source"]["sha256"] == sha256_file(Path("float.onnx"))
    assert result.size_bytes == Path(f"{precision}.engine").stat().st_size
    written = {path.name for path in Path().iterdir()} - {"pictures", "coco", "float.onnx", "float.onnx.json"}
    assert written == {"float.calib.json", f"{precision}.engine", f"{precision}.engine.json"}


def test_typed_graphs_are_verified_before_tensorrt_sees_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, NEWEST):
        build_plan_file(NEWEST, "fp16")
        build_plan_file(NEWEST, "int8")
    half, int8 = manifest_of("fp16.engine"), manifest_of("int8.engine")
    assert half.checks["half"]["ok"] is True
    assert half.precision["typed"] is True
    assert int8.checks["qdq"]["ok"] is True
    assert {one["name"] for one in int8.checks["qdq"]["tensors"]} == {"loc", "conf"}
    assert int8.precision["writing"] == "int8"


def test_a_graph_that_came_out_wrong_never_reaches_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Any, choice: Any, *, writing: str) -> Any:
        del choice, writing
        model = self.source.model
        (bias,) = [one for one in model.graph.initializer if one.name == "conf.0.bias"]
        bias.raw_data = np.full(bias.dims[0], np.nan, np.float32).tobytes()
        return model

    monkeypatch.setattr(Quantiser, "write", broken)
    monkeypatch.setattr(build_tensorrt, "build_plan", None)
    with simulated_host(monkeypatch, NEWEST), pytest.raises(ParityError, match="nothing was built"):
        build_plan_file(NEWEST, "int8")
    assert not list(Path().glob("int8*"))


def test_int8_of_8_takes_the_cache_with_its_header_and_keeps_the_tail_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, PASCAL):
        result = build_plan_file(PASCAL, "int8")
    precision = manifest_of("int8.engine").precision
    kept = precision["fp32_layers"]
    assert kept[0] == FIRST
    assert not set(INT8_LAYERS).intersection(kept)
    operators = {node.name: node.op_type for node in onnx.load("float.onnx").graph.node}
    assert {"Softmax", "Exp", "EfficientNMS_TRT", "Transpose", "Reshape"} <= {operators[name] for name in kept}
    assert precision["writing"] == "cache+ranges"
    assert precision["calibration"]["file"] == "float.calib.json"
    assert precision["calibration"]["image_marks"] == " ".join(marks_of(sorted(Path("pictures").iterdir())))
    assert 0.5 < result.macs_int8 < 1
    assert manifest_of("int8.engine").checks["build"]["missing_ranges"] == []


@pytest.mark.parametrize("device", [PASCAL, ADA, NEWEST], ids=["8.6", "10", "11"])
def test_other_scales_are_another_engine(device: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, device):
        build_plan_file(device, "int8")
        build_plan_file(device, "int8", method="entropy", output=Path("other.engine"))
        assert (scores("int8.engine") != scores("other.engine")).any()


@pytest.mark.parametrize("device", [PASCAL, NEWEST], ids=["8.6", "11"])
def test_layers_that_are_asked_to_stay_float_do(device: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, device):
        build_plan_file(device, "int8", layer_precisions=f"base.2:fp32,{FIRST}:int8")
    precision = manifest_of("int8.engine").precision
    assert precision["achieved"] == dict.fromkeys(LAYERS, "int8") | {"base.2": "fp32"}
    assert precision["layer_precisions"] == "base.2:fp32"


def test_ranges_that_are_measured_now_are_kept_beside_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, PASCAL):
        result = build_plan_file(PASCAL, "int8", data="pictures", method="minmax")
        build_plan_file(PASCAL, "int8", output=Path("given.engine"))
        np.testing.assert_array_equal(scores("int8.engine"), scores("given.engine"))
    assert result.table == Path("int8.calib.json")
    assert result.table.is_file()


def test_what_the_search_returns_to_float_stays_float(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, PASCAL):
        build_plan_file(PASCAL, "int8", max_drop=0.9, search_data="coco:coco:val2017")
    precision = manifest_of("int8.engine").precision
    chosen = set(precision["search"]["best"]["float_layers"])
    assert FIRST in chosen
    assert {name for name, kind in precision["achieved"].items() if kind == "fp32"} == chosen


def test_a_calibration_cache_of_the_user_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    calibrate(cache=Path("my.cache"), tensorrt="8.6.1", output=Path("again.calib.json"))
    with simulated_host(monkeypatch, PASCAL):
        build_plan_file(PASCAL, "int8", calib=Path("my.cache"))
        build_plan_file(PASCAL, "int8", output=Path("table.engine"))
        np.testing.assert_array_equal(scores("int8.engine"), scores("table.engine"))
    record = manifest_of("int8.engine").precision["calibration"]
    assert (record["file"], record["header"]) == ("my.cache", "TRT-8601-EntropyCalibration2")


@pytest.mark.parametrize("device", [ADA, NEWEST], ids=["10", "11"])
def test_a_qdq_graph_brings_its_own_scales(device: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    calibrate(qdq=Path("qdq.onnx"), output=Path("again.calib.json"))
    with simulated_host(monkeypatch, device):
        build_plan_file(device, "int8", source="qdq.onnx", calib=None)
        build_plan_file(device, "int8", output=Path("table.engine"))
        np.testing.assert_array_equal(scores("int8.engine"), scores("table.engine"))
    assert manifest_of("int8.engine").precision["achieved"]["base.2"] == "int8"


def test_int8_beside_fp16_lets_tensorrt_10_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, ADA):
        build_plan_file(ADA, "int8", fp16=True)
    precision = manifest_of("int8.engine").precision
    assert precision["typed"] is False
    assert precision["achieved"] == dict.fromkeys(LAYERS, "int8") | {FIRST: "fp32"}


@pytest.mark.parametrize("device", [PASCAL, ADA, NEWEST], ids=["8.6", "10", "11"])
def test_a_dynamic_batch_gets_its_profile(device: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    write_detector(Path("dynamic.onnx"), batch=None)
    with simulated_host(monkeypatch, device):
        build_plan_file(device, source="dynamic.onnx", batch="1,2,4")
        many = scores("fp32.engine", count=3)
        assert open_engine("fp32.engine").batch is None
        build_plan_file(device, source="dynamic.onnx", batch="2,3,4", output=Path("more.engine"))
        assert open_engine("more.engine").batch == 3
    np.testing.assert_array_equal(many, scores("dynamic.onnx", count=3))
    assert manifest_of("fp32.engine").graph["profile"] == [1, 2, 4]


def test_backbones_and_graphs_without_nms_build_too(monkeypatch: pytest.MonkeyPatch) -> None:
    write_backbone(Path("backbone.onnx"))
    write_detector(Path("raw.onnx"), outputs="raw")
    write_detector(Path("onnx_nms.onnx"), nms="onnx")
    with simulated_host(monkeypatch, ADA):
        for source in ("backbone", "raw", "onnx_nms"):
            build_plan_file(ADA, source=f"{source}.onnx", output=Path(f"{source}.engine"))
            found, wanted = answers(f"{source}.engine"), answers(f"{source}.onnx")
            assert set(found) == set(wanted)
            assert all((found[name] == wanted[name]).all() for name in wanted)


def test_what_the_inspector_does_not_tell_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def blind(_text: str | None, nodes: Any) -> dict[str, str]:
        return dict.fromkeys(nodes, UNKNOWN)

    monkeypatch.setattr(build_tensorrt, "achieved_precisions", blind)
    with simulated_host(monkeypatch, PASCAL):
        result = build_plan_file(PASCAL, "int8")
    assert set(manifest_of("int8.engine").precision["achieved"].values()) == {UNKNOWN}
    assert any("does not tell in what 6 of 6 layers compute" in note for note in result.notes)


def test_the_result_is_json_and_names_the_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, PASCAL):
        result = build_plan_file(PASCAL, "fp16")
        document = json.loads(json.dumps(result.as_dict(), allow_nan=False))
        assert "+simulated" in open_engine("fp16.engine").as_dict()["runner"]
    assert document["engine"] == "fp16.engine"
    assert any("not faster" in note for note in document["notes"])
    assert "+simulated" in manifest_of("fp16.engine").versions["tensorrt"]


def test_the_cpu_still_builds_without_any_of_this() -> None:
    assert build().manifest is not None
