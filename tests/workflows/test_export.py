"""``run_export`` end to end: the file, its manifest, and nothing at all where a check fails."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from oracle_fill import fill
from torch import nn

from fusion import FoldVerification
from hardnet_deploy.artifacts import load_artifact, manifest_path
from hardnet_deploy.errors import CheckpointError, ExportError, ParityError, TargetError
from hardnet_deploy.models import registry
from hardnet_deploy.nms.boxes import decode_boxes
from hardnet_deploy.runners.ort import OrtRunner
from hardnet_deploy.workflows import export as workflow
from hardnet_deploy.workflows.export import ExportResult, run_export
from hardnet_deploy.workflows.export_options import ExportRequest

SMALL = "hardnet39ds"


def silent(_stage: str, _number: int, _of: int) -> None:
    return None


def run(folder: Path, **options: object) -> ExportResult:
    request = ExportRequest(output=folder / "m.onnx", **{"model": SMALL, **options})  # type: ignore[arg-type]
    return run_export(request, silent)


def test_the_manifest_says_what_was_done(tmp_path: Path) -> None:
    checkpoint = tmp_path / "w.pth"
    model = registry.build(SMALL)
    fill(model)
    torch.save(model.state_dict(), checkpoint)
    result = run(tmp_path, weights=checkpoint, command=("hardnet-deploy", "export"))
    artifact = load_artifact(result.path)
    manifest = artifact.manifest
    assert manifest is not None
    assert manifest.as_json() == result.manifest.as_json()
    assert manifest.trained
    assert manifest.weights["sha256"] is not None
    assert manifest.sha256 == artifact.sha256
    assert manifest.command == ("hardnet-deploy", "export")
    assert manifest.graph["opset"] == 13
    assert manifest.checks["fusion"]["folded_count"] == 74
    assert manifest.checks["fusion"]["not_folded_count"] == 0
    assert manifest.checks["fusion"]["verification"]["worst_layer_error"] <= 1e-10
    assert manifest.checks["fusion"]["verification"]["worst_output_error"] <= 1e-5
    assert manifest.checks["parity"]["ok"] is True
    assert manifest.precision["requested"] == "fp32"
    assert set(manifest.precision["achieved"].values()) == {"fp32"}
    assert len(manifest.precision["achieved"]) == 75
    assert set(manifest.checks["targets"]) == {"cpu", "gtx-1080ti", "jetson-nano", "gpu"}
    assert manifest.versions["torch"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "m.onnx.json", "w.pth"]


def test_without_weights_everything_says_untrained(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert not result.weights.trained
    assert not result.manifest.trained
    assert "untrained" in result.manifest.weights["source"]
    assert "untrained" in onnx.load(result.path).graph.doc_string
    assert "untrained" in manifest_path(result.path).read_text()


def test_weights_from_the_seed_and_files_are_reproducible(tmp_path: Path) -> None:
    first = run(tmp_path / "a")
    second = run(tmp_path / "b")
    assert first.path.read_bytes() == second.path.read_bytes()
    one, other = (json.loads(manifest_path(result.path).read_text()) for result in (first, second))
    assert one == other


def test_random_state_of_the_caller_is_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    run(tmp_path)
    assert torch.equal(torch.rand(4), wanted)


def test_fused_and_unfused_files_compute_the_same(tmp_path: Path) -> None:
    fused, plain = run(tmp_path / "fused"), run(tmp_path / "plain", fuse_bn=False)
    assert plain.fusion is None
    assert plain.manifest.checks["fusion"] is None
    counts = [
        sum(node.op_type == "BatchNormalization" for node in onnx.load(result.path).graph.node)
        for result in (fused, plain)
    ]
    assert counts == [0, 74]
    feeds = {"images": np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)}
    outputs = [OrtRunner(onnx.load(result.path)).infer(feeds)["logits"] for result in (fused, plain)]
    np.testing.assert_allclose(*outputs, atol=1e-4)


def test_stages_are_reported_in_order(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    run_export(
        ExportRequest(model=SMALL, output=tmp_path / "m.onnx"), lambda _name, number, of: seen.append((number, of))
    )
    assert seen == [(number, 5) for number in range(1, 6)]


def failing(folder: Path, error: type[Exception], **options: object) -> Exception:
    with pytest.raises(error) as caught:
        run(folder, **options)
    left = [path.name for path in folder.iterdir() if path.suffix != ".pth"]
    assert left == []
    return caught.value


def test_a_file_that_computes_something_else_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = workflow._write_graph

    def tampered(network: nn.Module, *arguments: object, **options: object) -> onnx.ModelProto:
        with torch.no_grad():
            network.get_parameter("base.13.conv.bias").zero_()
        return original(network, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(workflow, "_write_graph", tampered)
    error = failing(tmp_path, ParityError)
    assert error.exit_code == 5  # type: ignore[attr-defined]
    assert "first tensor that diverges is 'base.13.norm'" in str(error)


def test_a_fold_over_its_tolerance_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = FoldVerification(layers=(), outputs=(), problems=("made up by the test",))
    monkeypatch.setattr("fusion.verify.verify_fold", lambda *_arguments, **_options: bad)
    error = failing(tmp_path, ParityError)
    assert error.exit_code == 5  # type: ignore[attr-defined]
    assert "made up by the test" in str(error)


def test_an_unclean_graph_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hardnet_deploy.export.graph_checks.check_clean", lambda _model, *, fused: ["made up"])
    assert failing(tmp_path, ExportError).exit_code == 4  # type: ignore[attr-defined]


def test_a_graph_that_the_named_target_refuses_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nano = dataclasses.replace(workflow.TARGETS["jetson-nano"], max_opset=12)
    monkeypatch.setattr(workflow, "TARGETS", {"jetson-nano": nano})
    monkeypatch.setattr(workflow, "get_target", lambda _name: nano)
    assert failing(tmp_path, TargetError, target="jetson-nano").exit_code == 3  # type: ignore[attr-defined]


def test_a_broken_checkpoint_leaves_an_older_export_as_it_was(tmp_path: Path) -> None:
    result = run(tmp_path)
    before = result.path.read_bytes(), manifest_path(result.path).read_bytes()
    (tmp_path / "w.pth").write_bytes(b"<html>gone</html>")
    with pytest.raises(CheckpointError):
        run(tmp_path, weights=tmp_path / "w.pth")
    assert (result.path.read_bytes(), manifest_path(result.path).read_bytes()) == before


@pytest.mark.slow
def test_a_sister_checkpoint_is_another_network(tmp_path: Path) -> None:
    model = registry.build("ssd300-hardnet68-voc")
    fill(model)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    spec = registry.get("ssd300-hardnet68-voc")
    feeds = {"images": np.random.default_rng(1).normal(0, 1, (1, 3, 300, 300)).astype(np.float32)}
    outputs = []
    for line in registry.CODE_LINES:
        request = ExportRequest(
            model=spec.name,
            weights=tmp_path / "w.pth",
            code_line=line,
            outputs="raw",
            output=tmp_path / f"{line}.onnx",
        )
        result = run_export(request, silent)
        assert result.manifest.model["code_line"] == line
        outputs.append(OrtRunner(onnx.load(result.path)).infer(feeds)["loc"])
    assert np.abs(outputs[0] - outputs[1]).max() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("nms", ["efficient", "onnx"])
@pytest.mark.parametrize(
    "name", [name for name in registry.names() if name.startswith("ssd") and name.endswith("coco")]
)
def test_every_detector_exports_both_ways_and_runs(tmp_path: Path, name: str, nms: str) -> None:
    result = run(tmp_path, model=name, nms=nms)
    spec = registry.get(name)
    assert spec.head is not None
    size = spec.preprocess.size
    runner = OrtRunner(onnx.load(result.path), extra_outputs=("loc", "boxes"))
    feeds = {"images": np.random.default_rng(2).normal(0, 40, (1, 3, size, size)).astype(np.float32)}
    got = runner.infer(feeds)
    assert got["num_detections"][0, 0] > 0
    assert got["detection_boxes"].shape == (1, 200, 4)
    np.testing.assert_allclose(
        got["boxes"], decode_boxes(got["loc"], spec.head.priors(), spec.head.variances), atol=1e-4, rtol=1e-4
    )
