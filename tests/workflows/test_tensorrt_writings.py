"""What ``calibrate`` writes for TensorRT: the Q/DQ graph with its manifest, and the cache."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from small_int8 import (
    FIRST,
    HEADS,
    LAYERS,
    calibrate,
    changed,
    detector_graph,
    fill_folder,
    write_detector,
    write_graph,
)

from calibration.trt_cache import read_cache
from hardnet_deploy.artifacts import manifest_path
from hardnet_deploy.errors import ArtifactMismatchError, ExportError, UsageError
from hardnet_deploy.export.graph_checks import check_graph
from hardnet_deploy.files import sha256_file
from hardnet_deploy.runners.ort import OrtRunner
from hardnet_deploy.targets import get_target
from hardnet_deploy.tensor_names import CONF, DETECTION_OUTPUTS, LOC
from hardnet_deploy.workflows import calibrate as workflow
from hardnet_deploy.workflows import tensorrt_writings
from hardnet_deploy.workflows.open_engine import open_engine
from hardnet_deploy.workflows.quantise import quantiser_for, read_table
from hardnet_deploy.workflows.seeded_inputs import seeded_pixels

QDQ, CACHE = Path("qdq.onnx"), Path("t.cache")
LEAST_SQNR = 20.0  # dB; eight bits through five layers leave 30 to 40, a wrong scale or place leaves less than 10


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fill_folder(tmp_path)


def named(model: onnx.ModelProto, name: str) -> Any:
    return numpy_helper.to_array(next(tensor for tensor in model.graph.initializer if tensor.name == name))


def test_the_graph_for_tensorrt_is_symmetric_and_passes_the_lint() -> None:
    written = calibrate(qdq=QDQ).written
    model = onnx.load(QDQ)
    assert [value.name for value in model.graph.output] == list(DETECTION_OUTPUTS)
    assert model.graph.node[-1].op_type == "EfficientNMS_TRT"
    assert check_graph(model, get_target("gpu")).accepted
    quantising = [node for node in model.graph.node if node.op_type in {"QuantizeLinear", "DequantizeLinear"}]
    assert quantising
    for node in quantising:
        zero = named(model, node.input[2])
        assert zero.dtype == np.int8
        assert not zero.any()
    made = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type == "Conv":
            kinds = {made[name].op_type if name in made else "constant" for name in node.input[:2]}
            assert ("DequantizeLinear" in kinds) is (node.name != FIRST), node.name
            assert node.input[2] not in made  # the bias stays float
    assert [one.float_layers for one in written] == [(FIRST,)]


def test_its_manifest_says_what_it_is() -> None:
    (written,) = calibrate(qdq=QDQ, command=("hardnet-deploy", "calibrate")).written
    assert written.path == QDQ
    engine = open_engine(str(QDQ))
    manifest = engine.manifest
    assert manifest is not None
    assert manifest.sha256 == sha256_file(QDQ)
    assert manifest.target == "gpu"
    assert manifest.precision["requested"] == "int8"
    assert manifest.precision["achieved"] == {}
    assert manifest.precision["asked_to_stay_float"] == [FIRST]
    assert manifest.precision["calibration"]["sha256"] == sha256_file(Path("float.calib.json"))
    assert manifest.graph["nms"] == "efficient"
    assert manifest.checks["targets"]["gpu"]["accepted"] is True
    assert manifest.checks["source"]["sha256"] == sha256_file(Path("float.onnx"))
    assert manifest.command == ("hardnet-deploy", "calibrate")


def test_it_computes_what_the_float_graph_computes() -> None:
    calibrate(qdq=QDQ)
    feeds = {"images": seeded_pixels(open_engine("float.onnx").preprocess, 1)}
    exact, close = (OrtRunner(onnx.load(path), extra_outputs=(LOC, CONF)).infer(feeds) for path in ("float.onnx", QDQ))
    for name in (LOC, CONF):
        noise = np.square(exact[name] - close[name]).sum()
        assert noise > 0
        assert 10 * np.log10(np.square(exact[name]).sum() / noise) > LEAST_SQNR
    assert set(close) >= set(DETECTION_OUTPUTS)


@pytest.mark.parametrize("outputs", ["boxes", "raw"])
def test_a_graph_without_nms_gets_none(outputs: Any) -> None:
    write_detector(Path("cut.onnx"), outputs=outputs)
    calibrate("cut.onnx", qdq=QDQ)
    assert not any(node.domain == "TRT" for node in onnx.load(QDQ).graph.node)
    manifest = open_engine(str(QDQ)).manifest
    assert manifest is not None
    assert manifest.graph["nms"] is None


def test_a_graph_with_onnx_nms_gets_the_plugin() -> None:
    write_detector(Path("onnx.onnx"), nms="onnx")
    calibrate("onnx.onnx", qdq=QDQ)
    kinds = {node.op_type for node in onnx.load(QDQ).graph.node}
    assert "EfficientNMS_TRT" in kinds
    assert "NonMaxSuppression" not in kinds


def test_what_the_lint_refuses_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    report = check_graph(detector_graph(batch=2), get_target("jetson-nano"))
    assert not report.accepted
    monkeypatch.setattr(tensorrt_writings, "check_graph", lambda *_: report)
    with pytest.raises(ExportError, match="TensorRT would not take"):
        calibrate(qdq=QDQ)
    assert not list(Path().glob("qdq*"))


def test_without_a_manifest_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = dataclasses.replace(open_engine("float.onnx"), manifest=None)
    monkeypatch.setattr(workflow, "open_engine", lambda *_, **__: bare)
    new = Path("new.calib.json")
    with pytest.raises(ArtifactMismatchError, match="has no manifest"):
        calibrate(qdq=QDQ, output=new)
    assert not new.exists()
    assert calibrate(output=new, cache=CACHE).measured


def test_what_was_trusted_is_marked() -> None:
    other = changed(detector_graph(), "base.2.weight", lambda values: 2 * values)
    write_graph(Path("other.onnx"), other)
    Path("other.onnx").replace("float.onnx")
    calibrate(qdq=QDQ, trust=True)
    manifest = open_engine(str(QDQ)).manifest
    assert manifest is not None
    assert "it changed since" in manifest.checks["source"]["warning"]
    assert manifest.checks["source"]["sha256"] == sha256_file(Path("float.onnx"))


def test_the_cache_reads_back() -> None:
    (written,) = calibrate(cache=CACHE, tensorrt="8.6.1").written
    assert written.as_dict()["path"] == str(CACHE)
    cache = read_cache(CACHE.read_text(), source=str(CACHE))
    assert str(cache.header) == "TRT-8601-EntropyCalibration2"
    quantiser = quantiser_for(open_engine("float.onnx"), read_table(Path("float.calib.json")), concat_scales="unified")
    assert cache.scales == {name: np.float32(scale) for name, scale in quantiser.ranges.scales().items()}
    assert {"images", *(f"{name}.conv" for name in LAYERS)} <= set(cache.scales)
    assert not manifest_path(CACHE).exists()  # it is read by TensorRT, not by us


def test_concatenated_tensors_share_a_scale_unless_told_otherwise() -> None:
    scales = {}
    for kind in ("unified", "separate"):
        calibrate(cache=CACHE, concat_scales=kind)
        found = read_cache(CACHE.read_text(), source=kind).scales
        scales[kind] = [found[f"{name}.relu"] for name in ("base.0", "base.1.a", "base.1.b")]
    assert len(set(scales["unified"])) == 1
    assert len(set(scales["separate"])) == 3
    assert scales["unified"][0] == max(scales["separate"])


@pytest.mark.parametrize("version", ["10.3.0", "8.2.1"])
def test_caches_are_written_for_other_versions(version: str) -> None:
    calibrate(cache=CACHE, tensorrt=version)
    assert CACHE.read_text().startswith({"10.3.0": "TRT-100300-", "8.2.1": "TRT-8201-"}[version])


@pytest.mark.parametrize("version", ["8.6", "11.0.0", "7.1.3", "eight", "8.6.1.6", ""])
def test_versions_without_a_cache_are_refused_before_anything_is_measured(version: str) -> None:
    new = Path("new.calib.json")
    with pytest.raises(UsageError):
        calibrate(cache=CACHE, tensorrt=version, output=new)
    assert not new.exists()
    assert not CACHE.exists()


def test_the_heads_of_the_graph_for_tensorrt_leave_in_float() -> None:
    calibrate(qdq=QDQ)
    model = onnx.load(QDQ)
    for name in HEADS:
        (reader,) = [node for node in model.graph.node if f"{name}.conv" in node.input]
        assert reader.op_type == "Transpose"
