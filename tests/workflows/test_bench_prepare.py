"""What the rows of a bench need before the clock starts: files, each made once, and what cannot be made."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_up_bench import LAPTOP, WORKSTATION
from tiny_detector import BLUE, RED, save_image, write_toy

from hardnet_deploy.artifacts import load_artifact
from hardnet_deploy.bench import rival_onnx as rivals_writer
from hardnet_deploy.bench.engine_columns import Machine
from hardnet_deploy.bench.rival_table import RIVALS
from hardnet_deploy.bench.rivals import load_network
from hardnet_deploy.bench.torch_columns import state_sha256
from hardnet_deploy.errors import CheckpointError, ExportError, InputFileError
from hardnet_deploy.models import registry
from hardnet_deploy.specs import Thresholds, classifier_preprocess
from hardnet_deploy.workflows import bench_artifacts, bench_plan
from hardnet_deploy.workflows.bench_data import BenchData, read_bench_data
from hardnet_deploy.workflows.bench_options import BenchRequest
from hardnet_deploy.workflows.bench_plan import plan_bench
from hardnet_deploy.workflows.bench_prepare import Prepared, prepare
from hardnet_deploy.workflows.bench_thresholds import with_files_thresholds
from hardnet_deploy.workflows.export import load_model

SIZE = 64


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def prepared(*subjects: str, machine: Machine = LAPTOP, data: str = "random", **options: Any) -> Prepared:
    plan = plan_bench(BenchRequest(subjects=subjects, threads=1, **options), machine)
    folder = Path("made")
    fed = read_bench_data(data, folder, batch=1, progress=lambda *_: None)
    return prepare(plan, machine, fed, folder, lambda *_: None, code_line="pingolh", trust=bool(options.get("trust")))


def drawn(network: str) -> torch.nn.Module:
    """The weights that PyTorch times: from the seed."""
    if network in RIVALS:
        return load_network(network)[0]
    return load_model(registry.get(network), None, code_line=registry.CODE_LINES[0])[0]


@pytest.mark.slow
def test_a_network_and_a_rival_become_float_and_int8_files_with_manifests() -> None:
    made = prepared("hardnet39ds", "mobilenet_v2", size=SIZE, engines="eager,ort-fp32,ort-int8")
    assert not made.why_not
    for network in ("hardnet39ds", "mobilenet_v2"):
        eager, float32, int8 = (made.sides[f"{network}/{name}"] for name in ("eager", "ort-fp32", "ort-int8"))
        assert (eager.kind, eager.network, eager.artifact) == ("torch", network, None)
        manifests = [load_artifact(Path(side.artifact or "")).manifest for side in (float32, int8)]
        assert [one.precision["requested"] for one in manifests if one] == ["fp32", "int8"]
        assert all(one.model["name"] == network and not one.trained for one in manifests if one)
        (weights,) = {one.weights["state_sha256"] for one in manifests if one}
        assert weights == state_sha256(drawn(network))  # what the row of PyTorch has: they are compared
        assert {side.size for side in (eager, float32, int8)} == {SIZE}
        assert any("for timing only" in text for text in made.notes[int8.key])
        assert made.notes[float32.key] == ()
    assert made.sources["hardnet39ds/ort-int8"] == "hardnet-deploy's own definition"
    assert made.sources["mobilenet_v2/ort-fp32"]
    assert "hardnet39ds/eager" not in made.sources
    assert len(list(Path("made").glob("?.onnx"))) == 2  # each exported once


@pytest.mark.slow
def test_a_resnet_becomes_int8_although_floats_follow_its_last_relu() -> None:
    made = prepared("resnet50", size=SIZE, engines="ort-int8")
    assert not made.why_not
    manifest = load_artifact(Path(made.sides["resnet50/ort-int8"].artifact or "")).manifest
    assert manifest is not None
    assert set(manifest.precision["achieved"].values()) == {"int8"}


def test_what_cannot_be_made_says_why_and_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ExportError("it cannot be written", got="an operator")

    monkeypatch.setattr(rivals_writer, "rival_onnx", refuse)
    monkeypatch.setattr(bench_artifacts, "run_export", lambda *_: None)
    made = prepared("mobilenet_v2", "hardnet39ds", size=SIZE, engines="ort-fp32,eager")
    assert made.why_not == {"mobilenet_v2/ort-fp32": "it cannot be written; an operator"}
    assert set(made.sides) == {"mobilenet_v2/eager", "hardnet39ds/ort-fp32", "hardnet39ds/eager"}


def test_files_are_timed_where_they_stand_and_trust_is_for_them_alone() -> None:
    write_toy(Path("toy.onnx"), outputs="raw")
    made = prepared("toy.onnx", "hardnet39ds", engines="eager", trust=True)
    toy, eager = made.sides.values()
    assert (toy.artifact, toy.trust, toy.size, toy.boundary) == ("toy.onnx", True, 32, "network")
    assert eager.trust is False
    assert not made.sources


def test_a_checkpoint_of_another_model_is_an_error_and_no_row() -> None:
    torch.save({"conv.weight": torch.zeros(1)}, "w.pth")
    with pytest.raises(CheckpointError):
        prepared("hardnet39ds=w.pth", size=SIZE, engines="ort-fp32")


def test_with_a_gpu_torch_runs_there_and_what_it_is_asked_to_build_is_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def build(request: Any, *_: Any) -> None:
        asked.append(request)
        raise ExportError("made up: no build here")

    monkeypatch.setattr(bench_artifacts, "run_build", build)
    monkeypatch.setattr(bench_artifacts, "run_export", lambda *_: None)
    made = prepared("hardnet39ds", machine=WORKSTATION, size=SIZE, engines="eager,cuda-graph,ort-fp32,trt-fp16")
    assert {key: side.device for key, side in made.sides.items()} == {
        "hardnet39ds/eager": "cuda",
        "hardnet39ds/cuda-graph": "cuda",
        "hardnet39ds/ort-fp32": "cpu",
    }
    assert made.sides["hardnet39ds/cuda-graph"].options == ("cuda-graph",)
    assert made.why_not == {"hardnet39ds/trt-fp16": "made up: no build here"}
    assert [(one.target, one.fp16, one.int8) for one in asked] == [("gpu", True, False)]


def fed_with(text: str, batch: int = 1) -> BenchData:
    return read_bench_data(text, Path("made"), batch=batch, progress=lambda *_: None)


def test_images_of_a_folder_are_scaled_to_the_first_and_repeated_to_fill_a_batch() -> None:
    Path("images").mkdir()
    save_image(Path("images/a.png"), RED, (8, 6))
    save_image(Path("images/b.png"), BLUE, (20, 30))
    data = fed_with("images", batch=5)
    stored = np.load(data.side)
    assert stored.shape == (5, 6, 8, 3)
    assert stored.dtype == np.uint8
    assert [tuple(image[0, 0]) for image in stored] == [RED, BLUE, RED, BLUE, RED]
    assert "images" in data.text
    assert "8 x 6" in data.text
    inputs = list(data.inputs(classifier_preprocess(32), 2))
    assert {one.shape for one in inputs} == {(2, 3, 32, 32)}


def test_repeated_images_are_counted_once() -> None:
    Path("images").mkdir()
    for name, colour in (("a", RED), ("b", BLUE), ("c", (0, 255, 0))):
        save_image(Path(f"images/{name}.png"), colour, (8, 6))
    data = fed_with("images", batch=4)
    assert data.repeated(4) == "3 images, repeated to batches of 4"
    assert data.repeated(2) == "3 images, repeated to 2 batches of 2, in turn"
    assert data.repeated(3) is None
    assert fed_with("images", batch=3).repeated(1) is None
    assert fed_with("random", batch=4).repeated(4) is None


def test_random_pixels_are_the_same_every_time_and_no_file() -> None:
    one, other = fed_with("random"), fed_with("random")
    assert one == other
    assert not Path("made").exists()
    (pixels,) = one.inputs(classifier_preprocess(32), 3)
    assert pixels.shape == (3, 3, 32, 32)


def test_a_folder_without_images_is_an_error() -> None:
    Path("empty").mkdir()
    with pytest.raises(InputFileError, match="no image in empty"):
        fed_with("empty")


def test_nms_limits_reach_the_side_of_pytorch_and_the_export(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(bench_artifacts, "run_export", lambda request, *_: asked.append(request))
    limits = Thresholds(score=0.3, iou=0.5, max_detections=7)
    real = with_files_thresholds

    def with_limits(subjects: Any) -> Any:
        found, notes = real(subjects)
        return tuple(dataclasses.replace(one, thresholds=limits) if one.spec else one for one in found), notes

    monkeypatch.setattr(bench_plan, "with_files_thresholds", with_limits)
    made = prepared("ssd300-hardnet-demo", boundary="network+nms", engines="eager,ort-fp32")
    assert made.sides["ssd300-hardnet-demo/eager/network+NMS"].thresholds == limits
    (request,) = asked
    assert (request.score_threshold, request.iou_threshold, request.max_detections) == (0.3, 0.5, 7)
    without = prepared("ssd300-hardnet-demo", boundary="network", engines="eager")
    assert without.sides["ssd300-hardnet-demo/eager"].thresholds is None
