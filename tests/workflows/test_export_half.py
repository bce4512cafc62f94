"""``export --precision fp16`` end to end, and its file where any other is taken."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import onnx
import pytest

from hardnet_deploy.artifacts import load_artifact
from hardnet_deploy.errors import ExportError, ParityError
from hardnet_deploy.evaluate.tensors import Divergence
from hardnet_deploy.export.half import to_half
from hardnet_deploy.models import registry
from hardnet_deploy.runners.half_rounding import is_half_typed
from hardnet_deploy.workflows import export as workflow
from hardnet_deploy.workflows.export import ExportResult, run_export
from hardnet_deploy.workflows.export_options import ExportRequest
from hardnet_deploy.workflows.open_engine import open_engine
from hardnet_deploy.workflows.parity_side import open_side
from hardnet_deploy.workflows.verify_half import HalfVerification

BACKBONE = "hardnet39ds"


def silent(_stage: str, _number: int, _of: int) -> None:
    return None


def run(path: Path, **options: Any) -> ExportResult:
    return run_export(ExportRequest(output=path, **{"precision": "fp16", **options}), silent)


@cache
def _exported(folder: Path) -> ExportResult:
    return run(folder / "half.onnx", model=registry.DEMO_MODEL, target="gpu")


@pytest.fixture
def detector(tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    return _exported(tmp_path_factory.getbasetemp())


def test_the_file_is_fp16_typed_and_the_manifest_says_which_layers(detector: ExportResult) -> None:
    artifact = load_artifact(detector.path)
    manifest, model = artifact.manifest, onnx.load(detector.path)
    assert manifest is not None
    assert is_half_typed(model)
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    precision = manifest.precision
    assert precision["requested"] == "fp16"
    assert precision["achieved"] == dict.fromkeys(convolutions, "fp16")
    assert {"L2Norm", "scores", "boxes", "nms"} <= set(precision["float32_nodes"])
    assert precision["casts"] == 5
    assert sum(precision["underflowed"].values()) > 0
    assert manifest.target == "gpu"
    assert manifest.checks["fp16"]["ok"] is True
    assert manifest.checks["parity"]["ok"] is True
    assert manifest.checks["targets"]["gpu"] == {"accepted": True, "findings": []}
    assert manifest.checks["targets"]["gtx-1080ti"]["accepted"] is False
    json.dumps(manifest.as_json(), allow_nan=False)


def test_it_is_little_more_than_half_as_large(detector: ExportResult, tmp_path: Path) -> None:
    full = run(tmp_path / "full.onnx", model=registry.DEMO_MODEL, precision="fp32")
    assert full.typing is None
    assert "fp16" not in full.manifest.checks
    assert full.manifest.precision == {
        "requested": "fp32",
        "achieved": dict.fromkeys(full.manifest.precision["achieved"], "fp32"),
    }
    assert 0.5 < detector.size_bytes / full.size_bytes < 0.55
    assert to_half(onnx.load(full.path)).model.SerializeToString(deterministic=True) == detector.path.read_bytes()


def test_it_opens_and_takes_part_in_parity_as_fp16(detector: ExportResult) -> None:
    engine = open_engine(str(detector.path))
    assert engine.runner.inputs[0].dtype == "float32"
    assert "rounded to float16" in engine.runner.name
    side = open_side(str(detector.path), trust=False, code_line=registry.CODE_LINES[0])
    assert side.precision == "fp16"
    assert side.decodes
    assert {"images.fp16", "base.9.relu", "loc", "conf"} <= set(side.inner.tensors)


def test_a_backbone_has_casts_at_its_ends_alone(tmp_path: Path) -> None:
    result = run(tmp_path / "b.onnx", model=BACKBONE, size=64)
    assert result.typing is not None
    assert result.typing.graph.casts == 2
    assert result.typing.graph.fp32_nodes == ()
    assert result.manifest.graph["outputs"] == ["logits"]


def test_stages_have_one_more(tmp_path: Path) -> None:
    seen: list[str] = []
    request = ExportRequest(model=BACKBONE, size=64, precision="fp16", fuse_bn=False, output=tmp_path / "b.onnx")
    run_export(request, lambda name, _number, _of: seen.append(name))
    assert seen[-2:] == ["comparing fp16 with fp32", "saving"]
    assert len(seen) == 5


def test_a_graph_that_computes_something_else_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = HalfVerification(
        runner="none", batches=(), tensors=(), divergence=Divergence(name="base.3", error=0.5, within=False)
    )
    monkeypatch.setattr(workflow, "verify_half", lambda *_arguments, **_options: bad)
    with pytest.raises(ParityError, match="does not compute what its float32 graph computes") as caught:
        run(tmp_path / "b.onnx", model=BACKBONE, size=64)
    assert caught.value.exit_code == 5
    assert "base.3" in (caught.value.got or "")
    assert list(tmp_path.iterdir()) == []


def test_a_weight_beyond_float16_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_model: onnx.ModelProto) -> None:
        raise ExportError("'base.0.weight' does not fit float16; nothing was written")

    monkeypatch.setattr("hardnet_deploy.export.half.to_half", refuse)
    with pytest.raises(ExportError, match="does not fit float16"):
        run(tmp_path / "b.onnx", model=BACKBONE, size=64)
    assert list(tmp_path.iterdir()) == []
