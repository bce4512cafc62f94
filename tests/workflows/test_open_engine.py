"""What may stand where a command says ENGINE, and what is refused with which exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from tiny_detector import SMALL_MODEL, THRESHOLDS, TOY, write_toy

from hardnet_deploy.artifacts import manifest_path
from hardnet_deploy.errors import ArtifactMismatchError, CheckpointError, InputFileError, UsageError
from hardnet_deploy.export.graph_builder import GraphBuilder
from hardnet_deploy.files import sha256_file
from hardnet_deploy.models import registry
from hardnet_deploy.models.initialise import initialise
from hardnet_deploy.runners.ort import OrtRunner
from hardnet_deploy.runners.torch import TorchRunner
from hardnet_deploy.specs import Thresholds
from hardnet_deploy.workflows.open_engine import open_engine

REGISTERED = registry.get(SMALL_MODEL)
EVAL_VOC = Thresholds(score=0.03, iou=0.45, max_detections=300)


def change_harmlessly(path: Path) -> None:
    """Still a model, and another file."""
    model = onnx.load(path)
    model.producer_name = "someone else"
    onnx.save(model, path)


def rewrite_manifest(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    record = json.loads(manifest_path(path).read_text())
    change(record)
    manifest_path(path).write_text(json.dumps(record))


def refused(kind: type[InputFileError | ArtifactMismatchError], path: Path, *, trust: bool = False) -> str:
    with pytest.raises(kind) as caught:
        open_engine(str(path), trust=trust)
    assert caught.value.exit_code == {InputFileError: 4, ArtifactMismatchError: 8}[kind]
    assert str(path) in caught.value.what
    return str(caught.value)


def test_a_file_is_what_its_manifest_says(tmp_path: Path) -> None:
    path = write_toy(tmp_path / "toy.onnx")
    engine = open_engine(str(path))
    assert engine.label == str(path)
    assert isinstance(engine.runner, OrtRunner)
    assert (engine.preprocess, engine.head, engine.class_names) == (TOY.preprocess, TOY.head, TOY.class_names)
    assert engine.thresholds == THRESHOLDS
    assert engine.trained is True
    assert engine.sha256 == sha256_file(path)
    assert engine.warning is None
    assert engine.as_dict() == {
        "engine": str(path),
        "sha256": sha256_file(path),
        "state_sha256": None,
        "code_line": None,
        "runner": engine.runner.name,
        "thresholds": vars(THRESHOLDS),
        "trained": True,
        "warning": None,
    }


def test_untrained_weights_are_known(tmp_path: Path) -> None:
    assert open_engine(str(write_toy(tmp_path / "toy.onnx", trained=False))).trained is False


@pytest.mark.parametrize(("batch", "wanted"), [(1, 1), (2, 2), (None, None)])
def test_the_batch_is_the_graphs(tmp_path: Path, batch: int | None, wanted: int | None) -> None:
    assert open_engine(str(write_toy(tmp_path / "toy.onnx", batch=batch))).batch == wanted


@pytest.mark.parametrize("outputs", ["raw", "boxes"])
def test_without_an_nms_the_evaluation_thresholds_are_used(tmp_path: Path, outputs: Any) -> None:
    assert open_engine(str(write_toy(tmp_path / "toy.onnx", outputs=outputs))).thresholds == EVAL_VOC


def test_a_class_beyond_the_list_has_its_number(tmp_path: Path) -> None:
    engine = open_engine(str(write_toy(tmp_path / "toy.onnx")))
    assert [engine.class_name(number) for number in (0, 1, 3, -1)] == ["background", "red thing", "class 3", "class -1"]


# MODEL and MODEL=CHECKPOINT


def test_a_model_by_name_is_pytorch_itself_and_untrained() -> None:
    engine = open_engine("hardnet39ds")
    assert isinstance(engine.runner, TorchRunner)
    assert engine.head is None
    assert engine.trained is False
    assert engine.sha256 is None
    assert engine.batch is None


def test_a_model_with_a_checkpoint_carries_the_checkpoints_hash(tmp_path: Path) -> None:
    checkpoint = tmp_path / "a=b.pth"
    model = registry.build("hardnet39ds")
    initialise(model, preprocess=registry.get("hardnet39ds").preprocess, seed=5)
    torch.save(model.state_dict(), checkpoint)
    engine = open_engine(f"hardnet39ds={checkpoint}")
    assert engine.label == f"hardnet39ds={checkpoint}"
    assert engine.trained is True
    assert engine.sha256 == sha256_file(checkpoint)


def test_a_checkpoint_that_is_not_there_or_not_one_is_an_input_error(tmp_path: Path) -> None:
    page = tmp_path / "page.pth"
    page.write_text("<html></html>")
    for path in (tmp_path / "nowhere.pth", page, tmp_path):
        with pytest.raises(CheckpointError) as caught:
            open_engine(f"hardnet39ds={path}")
        assert caught.value.exit_code == 4


def test_an_empty_checkpoint_name_never_means_untrained_weights() -> None:
    """``MODEL=$WEIGHTS`` with the variable unset."""
    with pytest.raises(UsageError, match="names no checkpoint"):
        open_engine(f"{SMALL_MODEL}=")


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("ssd300-hardnet68-vocc", "ssd300-hardnet68-voc"),
        ("ssd300-hardnet68-vocc=w.pth", "ssd300-hardnet68-voc"),
        ("hardnet68sd", "hardnet68ds"),
        ("x", None),
        ("", None),
    ],
)
def test_neither_a_file_nor_a_model_is_a_usage_error(text: str, near: str | None) -> None:
    with pytest.raises(UsageError, match="neither a file nor a model") as caught:
        open_engine(text)
    assert caught.value.wanted == (f"perhaps '{near}'" if near else None)


def test_a_code_line_is_for_checkpoints(tmp_path: Path) -> None:
    path = write_toy(tmp_path / "toy.onnx")
    with pytest.raises(UsageError, match="--code-line"):
        open_engine(str(path), code_line="lzx1413")
    with pytest.raises(UsageError, match="code line 'caffe'"):
        open_engine("hardnet39ds", code_line="caffe")


# What cannot be read, exit 4, whatever its manifest says


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("manifest", ["its own", "none", "broken"])
@pytest.mark.parametrize("damage", ["truncated", "cut in half", "empty", "text", "zeros"])
def test_what_is_no_onnx_file_is_an_input_error(tmp_path: Path, damage: str, manifest: str, *, trust: bool) -> None:
    path = write_toy(tmp_path / "toy.onnx")
    whole = path.read_bytes()
    path.write_bytes(
        {
            "truncated": whole[:-1],
            "cut in half": whole[: len(whole) // 2],
            "empty": b"",
            "text": b"boxes",
            "zeros": bytes(len(whole)),
        }[damage]
    )
    if manifest == "none":
        manifest_path(path).unlink()
    if manifest == "broken":
        manifest_path(path).write_text("{")
    refused(InputFileError, path, trust=trust)


@pytest.mark.parametrize("trust", [False, True])
def test_a_missing_file_and_a_folder_are_input_errors(tmp_path: Path, *, trust: bool) -> None:
    for path in (tmp_path / "nowhere.onnx", tmp_path, tmp_path / ("n" * 300 + ".onnx")):
        refused(InputFileError, path, trust=trust)


def test_a_graph_with_two_inputs_is_refused(tmp_path: Path) -> None:
    path = write_toy(tmp_path / "toy.onnx")
    builder = GraphBuilder(opset=13, name="two")
    builder.input("a", (1, 3))
    builder.input("b", (1, 3))
    builder.node("Add", ["a", "b"], "y", (1, 3))
    path.write_bytes(builder.model(["y"], doc="").SerializeToString())
    assert "2 inputs" in refused(InputFileError, path, trust=True)


# What only the manifest disagrees with, exit 8


def test_a_changed_file_is_refused_and_marked_where_trusted(tmp_path: Path) -> None:
    path = write_toy(tmp_path / "toy.onnx")
    change_harmlessly(path)
    assert "--trust" in refused(ArtifactMismatchError, path)
    engine = open_engine(str(path), trust=True)
    assert engine.warning is not None
    assert "changed" in engine.warning
    assert engine.as_dict()["warning"] == engine.warning
    assert engine.sha256 == sha256_file(path)


def test_another_exports_manifest_is_refused(tmp_path: Path) -> None:
    path, other = write_toy(tmp_path / "toy.onnx"), write_toy(tmp_path / "other.onnx", nms="onnx")
    manifest_path(path).write_bytes(manifest_path(other).read_bytes())
    refused(ArtifactMismatchError, path)


def test_a_file_without_its_manifest_is_refused_and_taken_for_its_model_where_trusted(tmp_path: Path) -> None:
    path = write_toy(tmp_path / "toy.onnx", spec=REGISTERED)
    manifest_path(path).unlink()
    refused(ArtifactMismatchError, path)
    engine = open_engine(str(path), trust=True)
    assert engine.warning is not None
    assert "without a manifest" in engine.warning
    assert SMALL_MODEL in engine.warning
    assert (engine.preprocess, engine.head) == (REGISTERED.preprocess, REGISTERED.head)
    assert engine.class_names == REGISTERED.class_names
    assert engine.thresholds == THRESHOLDS  # the graph's own, not what such models usually have
    assert engine.trained is None


def test_a_graph_that_calls_itself_untrained_is_so_without_its_manifest(tmp_path: Path) -> None:
    path = write_toy(tmp_path / "toy.onnx", spec=REGISTERED)
    manifest_path(path).unlink()
    graph = onnx.load(path)
    graph.graph.doc_string = "untrained: drawn from seed 0"
    onnx.save(graph, path)
    assert open_engine(str(path), trust=True).trained is False


@pytest.mark.parametrize("outputs", ["detections", "boxes", "raw"])
def test_classes_of_a_users_own_are_never_called_by_another_models_names(tmp_path: Path, outputs: Any) -> None:
    own = registry.with_classes(REGISTERED, ("cat", "dog"))
    path = write_toy(tmp_path / "toy.onnx", spec=own, outputs=outputs)
    manifest_path(path).unlink()
    engine = open_engine(str(path), trust=True)
    assert engine.class_name(1) == "class 1"
    assert engine.head == own.head
    assert engine.warning is not None
    assert "no names" in engine.warning


def test_a_graph_of_no_known_model_needs_its_manifest(tmp_path: Path) -> None:
    path = write_toy(tmp_path / "toy.onnx")
    manifest_path(path).unlink()
    assert "'toy'" in refused(ArtifactMismatchError, path, trust=True)


def test_a_broken_manifest_is_refused_and_marked_where_trusted(tmp_path: Path) -> None:
    path = write_toy(tmp_path / "toy.onnx", spec=REGISTERED)
    manifest_path(path).write_text("null")
    refused(ArtifactMismatchError, path)
    warning = open_engine(str(path), trust=True).warning
    assert warning is not None
    assert str(manifest_path(path)) in warning


def size_33(record: dict[str, Any]) -> None:
    record["preprocess"]["size"] = 33


def one_class_more(record: dict[str, Any]) -> None:
    record["head"]["num_classes"] += 1


def another_grid(record: dict[str, Any]) -> None:
    record["head"]["layers"][0]["grid"] = 3


def no_thresholds(record: dict[str, Any]) -> None:
    record["graph"]["thresholds"] = "eval"


def divided_by_zero(record: dict[str, Any]) -> None:
    record["preprocess"]["std"] = [1.0, 1.0, 0.0]


@pytest.mark.parametrize("outputs", ["detections", "boxes", "raw"])
@pytest.mark.parametrize("change", [size_33, one_class_more, another_grid, no_thresholds, divided_by_zero])
def test_a_manifest_that_is_not_of_this_graph_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], outputs: Any
) -> None:
    """The hash agrees, as after somebody edited the manifest."""
    path = write_toy(tmp_path / "toy.onnx", outputs=outputs)
    rewrite_manifest(path, change)
    with pytest.raises(ArtifactMismatchError) as caught:
        open_engine(str(path))
    assert caught.value.exit_code == 8
