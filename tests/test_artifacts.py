"""Manifests: what is written reads back, and whatever else stands there is refused in one sentence with exit 8."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from made_up_artifact import CONTENT, manifest, saved
from tiny_detector import TOY

from hardnet_deploy import files
from hardnet_deploy.artifacts import (
    Manifest,
    load_artifact,
    manifest_path,
    read_manifest,
    save_artifact,
    versions,
)
from hardnet_deploy.errors import ArtifactMismatchError, InputFileError, OutputFileError
from hardnet_deploy.files import sha256_bytes
from hardnet_deploy.models import registry
from hardnet_deploy.specs import Thresholds


def test_what_is_saved_reads_back(tmp_path: Path) -> None:
    path = saved(tmp_path)
    artifact = load_artifact(path)
    assert artifact.content == CONTENT
    assert artifact.sha256 == sha256_bytes(CONTENT)
    assert artifact.warning is None
    assert artifact.path == path
    assert artifact.manifest == manifest_of_json(manifest())
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.onnx", "a.onnx.json"]


def manifest_of_json(written: Manifest) -> Manifest:
    """What JSON can carry of it: inner tuples become lists."""
    record = json.loads(written.as_json())
    return Manifest(**{**record, "class_names": written.class_names, "command": written.command})


def test_its_parts_come_back_as_objects(tmp_path: Path) -> None:
    read = read_manifest(manifest_path(saved(tmp_path)))
    assert read.preprocess_spec() == TOY.preprocess
    assert read.head_spec() == TOY.head
    assert read.thresholds() == Thresholds(score=0.02, iou=0.45, max_detections=200)
    assert read.trained


@pytest.mark.parametrize("name", registry.names())
def test_every_registered_model_comes_back_as_it_was(tmp_path: Path, name: str) -> None:
    spec = registry.get(name)
    written = saved(
        tmp_path,
        preprocess=dataclasses.asdict(spec.preprocess),
        head=dataclasses.asdict(spec.head) if spec.head else None,
        class_names=spec.class_names,
        graph={"thresholds": None},
    )
    read = read_manifest(manifest_path(written))
    assert read.preprocess_spec() == spec.preprocess
    assert read.head_spec() == spec.head
    assert read.class_names == spec.class_names
    assert read.thresholds() is None


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = saved(tmp_path / "a"), saved(tmp_path / "b")
    assert manifest_path(first).read_bytes() == manifest_path(second).read_bytes()
    text = manifest_path(first).read_text(encoding="utf-8")
    assert "Füße" in text
    assert "猫" in text
    assert text.endswith("}\n")


def test_a_number_that_json_cannot_carry_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        saved(tmp_path, checks={"error": math.nan})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("weights", [{}, {"trained": "yes"}, {"trained": 1}, {"trained": False}])
def test_only_weights_that_say_so_are_trained(weights: dict[str, Any]) -> None:
    assert not manifest(weights=weights).trained


def test_a_file_without_a_manifest_is_refused_unless_trusted(tmp_path: Path) -> None:
    path = saved(tmp_path)
    manifest_path(path).unlink()
    with pytest.raises(ArtifactMismatchError, match="has no manifest") as caught:
        load_artifact(path)
    assert caught.value.exit_code == 8
    assert "--trust" in str(caught.value)
    trusted = load_artifact(path, trust=True)
    assert trusted.manifest is None
    assert trusted.warning is not None
    assert "without a manifest" in trusted.warning


@pytest.mark.parametrize("content", [b"", CONTENT[:-1], CONTENT + b"\n", b"another thing"])
def test_a_file_that_changed_is_refused_unless_trusted(tmp_path: Path, content: bytes) -> None:
    path = saved(tmp_path)
    path.write_bytes(content)
    with pytest.raises(ArtifactMismatchError, match="not the file") as caught:
        load_artifact(path)
    assert caught.value.exit_code == 8
    trusted = load_artifact(path, trust=True)
    assert trusted.content == content
    assert trusted.sha256 == sha256_bytes(content)
    assert trusted.manifest is not None
    assert trusted.warning is not None
    assert "changed" in trusted.warning


@pytest.mark.parametrize("trust", [False, True])
def test_a_missing_file_and_a_folder_are_inputs_that_cannot_be_read(tmp_path: Path, *, trust: bool) -> None:
    (tmp_path / "file").touch()
    for path in (
        tmp_path / "nowhere.onnx",
        tmp_path,
        tmp_path / "file" / "below.onnx",
        tmp_path / ("n" * 300),
    ):
        with pytest.raises(InputFileError) as caught:
            load_artifact(path, trust=trust)
        assert caught.value.exit_code == 4
        assert str(path) in caught.value.what


def test_a_manifest_that_cannot_be_written_leaves_no_artifact(tmp_path: Path) -> None:
    manifest_path(tmp_path / "a.onnx").mkdir()
    with pytest.raises(OutputFileError, match=r"a\.onnx\.json"):
        saved(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.onnx.json"]


@pytest.mark.parametrize("failing", [1, 2])
@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=repr)
def test_a_fault_in_either_file_leaves_the_older_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int, fault: BaseException
) -> None:
    path = saved(tmp_path)
    before = {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()}
    calls = iter(range(1, 10))
    original = os.fsync

    def fsync(number: int) -> None:
        original(number)
        if next(calls) == failing:
            raise fault

    monkeypatch.setattr(files.os, "fsync", fsync)
    wanted = OutputFileError if isinstance(fault, OSError) else KeyboardInterrupt
    with pytest.raises(wanted):
        save_artifact(path, b"newer", manifest(b"newer"))
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == before
    load_artifact(path)


def test_versions_name_what_is_installed_and_leave_out_what_is_not() -> None:
    found = versions(("numpy", "no-such-package-at-all"))
    assert set(found) == {"hardnet-deploy", "python", "numpy"}
    assert all(found.values())
