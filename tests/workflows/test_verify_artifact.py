"""``verify`` on exported files: held against PyTorch with the weights that they were exported from."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from small_int8 import build
from verified import BACKBONE, SIDE, check, exit_code, export, fill_with_exports, rewrite, verify

from hardnet_deploy.artifacts import manifest_path
from hardnet_deploy.errors import ArtifactMismatchError, UsageError
from hardnet_deploy.files import sha256_file
from hardnet_deploy.models import registry
from hardnet_deploy.models.checkpoints import load_checkpoint


@pytest.fixture(autouse=True)
def exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_with_exports(tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["fp32.onnx", "fp16.onnx"])
def test_an_export_holds_in_everything(name: str) -> None:
    result = verify(name)
    assert [one for one in result.checks if not one.held] == []
    assert exit_code(result) == 0
    names = [one.name for one in result.checks]
    assert {"hash", "ONNX checker", "weights", "graph", "runs", "computes"} <= set(names)
    assert "w.pth" in check(result, "weights").told


def test_without_the_weights_it_says_so_and_takes_them_from_the_user() -> None:
    Path("w.pth").rename("moved.pth")
    result = verify("fp32.onnx")
    assert check(result, "weights").outcome == check(result, "computes").outcome == "not checked"
    assert "--weights" in str(check(result, "computes").next_step)
    assert exit_code(result) == 0
    assert check(verify("fp32.onnx", weights=Path("moved.pth")), "computes").held


def test_other_weights_fail_and_are_compared_with_nothing() -> None:
    torch.manual_seed(4)
    torch.save(registry.build(BACKBONE).state_dict(), "w.pth")
    result = verify("fp32.onnx")
    assert check(result, "weights").outcome == "FAILED"
    assert not check(result, "computes").held
    assert exit_code(result) == 8


def test_the_same_weights_saved_anew_are_the_same() -> None:
    network = registry.build(BACKBONE)
    load_checkpoint(network, Path("w.pth"), name=BACKBONE, expected={})
    torch.save({"state_dict": network.state_dict()}, "w.pth")
    assert check(verify("fp32.onnx"), "weights").held


@pytest.mark.parametrize("name", ["fp32.onnx", "fp16.onnx"])
def test_a_file_that_computes_something_else_fails_though_its_hash_was_adapted(name: str) -> None:
    model = onnx.load(name)
    bias = [one for one in model.graph.initializer if one.name.endswith("bias")][-1]  # of the classifier
    values = onnx.numpy_helper.to_array(bias)
    bias.CopyFrom(onnx.numpy_helper.from_array((values + 1).astype(values.dtype), bias.name))
    onnx.save(model, name)
    rewrite(Path(name), lambda record: record.update(sha256=sha256_file(Path(name))))
    result = verify(name)
    assert check(result, "hash").held
    assert check(result, "computes").outcome == "FAILED"
    assert exit_code(result) == 5


def test_weights_from_the_seed_are_drawn_again() -> None:
    export(Path("seeded.onnx"), "fp32", model=BACKBONE, size=SIDE)
    assert check(verify("seeded.onnx"), "computes").held
    rewrite(Path("seeded.onnx"), lambda record: record["weights"].update(state_sha256="0" * 64))
    assert check(verify("seeded.onnx"), "weights").outcome == "FAILED"
    rewrite(Path("seeded.onnx"), lambda record: record["versions"].update(torch="1.0"))
    result = verify("seeded.onnx")  # another PyTorch may draw other numbers
    assert check(result, "weights").outcome == check(result, "computes").outcome == "not checked"


@pytest.mark.parametrize("content", [None, "{"], ids=["missing", "damaged"])
def test_without_a_manifest_it_ends_with_exit_8_unless_trusted(content: str | None) -> None:
    manifest_path(Path("fp32.onnx")).unlink()
    if content is not None:
        manifest_path(Path("fp32.onnx")).write_text(content)
    with pytest.raises(ArtifactMismatchError):
        verify("fp32.onnx")
    with pytest.raises((ArtifactMismatchError, UsageError)):  # of another size than the model is usually
        verify("fp32.onnx", trust=True)


def test_another_mean_in_the_manifest_fails_although_the_file_is_the_same() -> None:
    rewrite(Path("fp32.onnx"), lambda record: record["preprocess"].update(mean=[0.0, 0.0, 0.0]))
    result = verify("fp32.onnx")
    assert "'preprocess' is not that of hardnet39ds" in check(result, "graph").told
    assert exit_code(result) == 8


@pytest.mark.slow
def test_the_demo_detector_in_every_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARDNET_DEPLOY_CACHE", str(tmp_path / "cache"))
    for precision in ("fp32", "fp16"):
        export(Path(f"{precision}.onnx"), precision, model=registry.DEMO_MODEL)
    build(source="fp32.onnx", data="demo", count=4)
    for name in ("fp32", "fp16", "int8"):
        result = verify(f"{name}.onnx")
        assert check(result, "computes").held
        assert "PyTorch" in check(result, "computes").told
        assert exit_code(result) == 0
    manifest_path(Path("fp32.onnx")).unlink()
    bare = verify("fp32.onnx", trust=True)
    outcomes = {one.name: one.outcome for one in bare.checks}
    assert outcomes["runs"] == outcomes["ONNX checker"] == "held"
    assert {outcomes[name] for name in ("hash", "graph", "parser", "computes")} == {"not checked"}
