"""ONNX files and (simulated) TensorRT plans, loaded in this process as the bench's worker loads them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulated_device import ADA
from simulated_host import LABELS, build_plan_file, simulated_host
from small_int8 import DETECTOR, fill_folder
from tiny_detector import THRESHOLDS, TOY, write_toy

from hardnet_deploy.artifacts import manifest_path
from hardnet_deploy.bench.artifact_columns import load_artifact_side
from hardnet_deploy.bench.loaded import Loaded, WallClock
from hardnet_deploy.bench.sides import Side, SideError
from hardnet_deploy.errors import ArtifactMismatchError
from hardnet_deploy.files import sha256_file
from hardnet_deploy.runners.ort import OrtRunner
from hardnet_deploy.workflows.bench_worker import PARTS

SIZE = TOY.preprocess.size


def graph(path: Path, **options: Any) -> Side:
    fixed = {"key": "k", "kind": "onnxruntime", "artifact": str(path), "size": SIZE, "boundary": "network+NMS"}
    return Side(**fixed | options)


def load(side: Side) -> Loaded:
    return load_artifact_side(side, PARTS)


def run(loaded: Loaded, number: int = 0) -> Any:
    assert isinstance(loaded, WallClock)
    return loaded._run(number)


def test_a_graph_is_timed_with_its_manifests_facts(tmp_path: Path) -> None:
    path = write_toy(tmp_path / "toy.onnx", nms="onnx")
    loaded = load(graph(path))
    assert len(loaded.turn(4, warm_up_ms=0, least_warm_up=1)) == 4
    facts = loaded.facts
    assert facts.artifact_sha256 == sha256_file(path)
    assert facts.trained is True
    assert facts.source == str(path)
    assert facts.engine.startswith("ONNX Runtime 1.")
    assert facts.boundary_text.endswith("NMS (score 0.03, IoU 0.45, at most 10) in")
    assert (facts.nms, facts.thresholds) == ("in-graph", THRESHOLDS)
    assert facts.weights_sha256 is None
    assert json.dumps(dataclasses.asdict(facts))


def test_nms_by_its_reference_is_said_so(tmp_path: Path) -> None:
    loaded = load(graph(write_toy(tmp_path / "toy.onnx", nms="efficient")))
    assert "EfficientNMS by its NumPy reference" in loaded.facts.engine
    assert loaded.facts.nms == "plugin-by-numpy"
    assert "at most 10) in, the NMS by the NumPy reference of its plugin" in loaded.facts.boundary_text


@pytest.mark.parametrize("nms", ["efficient", "onnx"])
def test_what_reaches_the_nms_is_counted_in_what_is_timed(tmp_path: Path, nms: Any) -> None:
    path = write_toy(tmp_path / "toy.onnx", nms=nms)
    images = np.zeros((3, 9, 12, 3), np.uint8)
    images[0, ..., 0] = 255  # red: one candidate; black: none
    np.save(tmp_path / "images.npy", images)
    for boundary in ("network+NMS", "end-to-end"):
        batches = load(graph(path, boundary=boundary, data=str(tmp_path / "images.npy")))
        assert batches.facts.nms_candidates == 0  # of three images one has one
    np.save(tmp_path / "images.npy", images[:1])
    assert load(graph(path, data=str(tmp_path / "images.npy"))).facts.nms_candidates == 1


def test_a_graph_without_nms_has_no_facts_of_one(tmp_path: Path) -> None:
    facts = load(graph(write_toy(tmp_path / "toy.onnx", outputs="raw"), boundary="network")).facts
    assert (facts.nms, facts.thresholds, facts.nms_candidates) == (None, None, None)
    assert "score" not in facts.boundary_text


def test_the_weights_hash_is_the_manifests(tmp_path: Path) -> None:
    path = write_toy(tmp_path / "toy.onnx", nms="onnx")
    record = json.loads(manifest_path(path).read_text())
    record["weights"]["state_sha256"] = "5e" * 32
    manifest_path(path).write_text(json.dumps(record))
    assert load(graph(path)).facts.weights_sha256 == "5e" * 32


def test_a_side_has_the_threads_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int | None] = []

    class Watched(OrtRunner):
        def __init__(self, model: Any, **options: Any) -> None:
            asked.append(options.get("threads"))
            super().__init__(model, **options)

    monkeypatch.setattr("hardnet_deploy.runners.ort.OrtRunner", Watched)
    load(graph(write_toy(tmp_path / "toy.onnx"), threads=1))
    assert asked[-1] == 1


@pytest.mark.parametrize(
    ("outputs", "boundary", "message"),
    [
        ("raw", "network+NMS", "computes 'network', not 'network.NMS'"),
        ("detections", "network", "computes 'network.NMS', not 'network'"),
        ("boxes", "end-to-end", "needs --outputs detections"),
    ],
)
def test_a_boundary_that_the_file_does_not_have_is_refused(
    tmp_path: Path, outputs: Any, boundary: Any, message: str
) -> None:
    path = write_toy(tmp_path / "toy.onnx", outputs=outputs)
    with pytest.raises(SideError, match=message):
        load(graph(path, boundary=boundary))


@pytest.mark.parametrize("options", [{"size": 2 * SIZE}, {"batch": 2}])
def test_another_size_or_batch_is_refused(tmp_path: Path, options: dict[str, int]) -> None:
    with pytest.raises(SideError, match=r"takes images \[1, 3, 32, 32\]"):
        load(graph(write_toy(tmp_path / "toy.onnx"), **options))


def test_end_to_end_begins_at_the_image(tmp_path: Path) -> None:
    path = write_toy(tmp_path / "toy.onnx", nms="onnx")
    images = np.zeros((2, 9, 12, 3), np.uint8)
    images[0, ..., 0] = images[1, ..., 2] = 255  # red, then blue: classes 1 and 2
    np.save(tmp_path / "images.npy", images)
    loaded = load(graph(path, boundary="end-to-end", data=str(tmp_path / "images.npy")))
    assert "pre-processing in NumPy" in loaded.facts.boundary_text
    assert [int(run(loaded, number)["detection_classes"][0, 0]) for number in range(3)] == [1, 2, 1]


def test_a_file_of_another_manifest_is_refused_unless_trusted_and_that_is_noted(tmp_path: Path) -> None:
    path = write_toy(tmp_path / "toy.onnx")
    manifest = json.loads(manifest_path(path).read_text())
    manifest["sha256"] = "0" * 64
    manifest_path(path).write_text(json.dumps(manifest))
    with pytest.raises(ArtifactMismatchError):
        load(graph(path))
    trusted = load(graph(path, trust=True))
    assert any("manifest" in note for note in trusted.facts.notes)


def test_a_plan_is_timed_by_the_device_files_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARDNET_DEPLOY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    fill_folder(Path())
    fixed: dict[str, Any] = {
        "key": "plan",
        "kind": "tensorrt",
        "artifact": "fp32.engine",
        "device": "cuda",
        "size": DETECTOR.preprocess.size,
    }
    with simulated_host(monkeypatch, ADA):
        build_plan_file(ADA)
        for options in ((), ("cuda-graph",)):
            loaded = load(Side(**fixed, options=options, boundary="network+NMS"))
            assert len(loaded.turn(5, warm_up_ms=0, least_warm_up=1)) == 5
            assert loaded.facts.engine == LABELS[ADA] + (", CUDA graph" if options else "")
            assert loaded.facts.artifact_sha256 == sha256_file(Path("fp32.engine"))
            assert (loaded.facts.nms, loaded.facts.nms_candidates) == ("in-graph", None)
            assert "score 0.03, IoU 0.45, at most 10" in loaded.facts.boundary_text
        whole = load(Side(**fixed, boundary="end-to-end"))
        assert len(whole.turn(2, warm_up_ms=0, least_warm_up=1)) == 2
        with pytest.raises(SideError, match="not end-to-end"):
            load(Side(**fixed, options=("cuda-graph",), boundary="end-to-end"))
        with pytest.raises(SideError, match="not 'network'"):
            load(Side(**fixed, boundary="network"))
        del loaded, whole


def test_a_plan_in_place_of_a_graph_is_refused(tmp_path: Path) -> None:
    path = write_toy(tmp_path / "toy.onnx")
    with pytest.raises(SideError, match="no TensorRT plan"):
        load(Side(key="k", kind="tensorrt", artifact=str(path), device="cuda", size=SIZE, boundary="network+NMS"))
