"""A kit is a folder that a device needs nothing else for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import files
from made_kits import DEMO, SAMPLES, demo_kit, make, workshop

from hardnet_deploy.artifacts import load_artifact
from hardnet_deploy.device import run_engine
from hardnet_deploy.errors import ArtifactMismatchError, InputFileError, UsageError
from hardnet_deploy.files import sha256_file
from hardnet_deploy.kit.document import read_kit
from hardnet_deploy.kit.layout import BEYOND_MODEL
from hardnet_deploy.workflows import make_kit
from hardnet_deploy.workflows.kit_options import KitRequest


def test_a_kit_for_the_nano() -> None:
    result = demo_kit("jetson-nano")
    assert set(files(result.folder)) == {
        "README.md",
        "kit.json",
        "model.onnx",
        "model.onnx.json",
        "run_engine.py",
        "samples/inputs.npz",
        "samples/reference.npz",
    }
    manifest = load_artifact(result.folder / "model.onnx").manifest
    assert manifest is not None
    assert (manifest.graph["opset"], manifest.target) == (13, "jetson-nano")
    settings = result.document["settings"]
    assert (settings["precision"], settings["typed"], settings["workspace_bytes"]) == ("fp16", False, 256 << 20)
    assert {"nms", "scores", "boxes"} <= set(settings["fp32_layers"])
    assert result.document["candidate_cap"] == 2000


def test_the_device_file_is_a_copy_and_reads_the_kit() -> None:
    result = demo_kit("jetson-nano")
    assert sha256_file(result.folder / "run_engine.py") == sha256_file(Path(run_engine.__file__))
    kit = run_engine.Kit(str(result.folder))
    assert kit.sha256 == result.sha256 == read_kit(result.folder).sha256
    assert set(kit.settings()) <= set(run_engine.SETTINGS)
    assert kit.arrays("inputs")["pixels"].shape == (SAMPLES, 3, 300, 300)
    reference = kit.arrays("reference")
    assert {f"detections_{number}" for number in range(SAMPLES)} <= set(reference)
    assert all(len(reference[f"detections_{number}"]) for number in range(SAMPLES))
    assert {"boxes.values", "scores.values"} <= set(reference)


def test_a_kit_for_the_1080_ti_has_its_calibration() -> None:
    result = demo_kit("gtx-1080ti")
    assert (result.folder / "model.cache").read_text().startswith("TRT-8601-EntropyCalibration2\n")
    settings = run_engine.Kit(str(result.folder)).settings()
    assert settings["precision"] == "int8"
    assert settings["calibration_cache"].startswith(b"TRT-8601-")
    assert settings["dynamic_ranges"]
    assert settings["fp32_layers"][0] == "base.0.conv"
    assert settings["fp32_outputs"]
    assert not set(settings["fp32_outputs"]).intersection(settings["fp32_layers"])
    assert result.document["calibration"]["images"] == 4
    assert result.document["tolerances"]["shown"]["share"] == 0.9


def test_a_kit_says_what_each_layer_is_asked_for_and_which_board_it_is_for() -> None:
    for target, precision, board in (("jetson-nano", "fp16", ("8.2", [5, 3])), ("gtx-1080ti", "int8", ("8.6", [6, 1]))):
        document = demo_kit(target).document
        assert (document["family"], document["compute_capability"]) == board
        settings = document["settings"]
        asked = settings["requested"]
        assert precision in asked.values()
        assert set(asked.values()) <= {precision, "fp32"}
        assert {name for name in asked if name in settings["fp32_layers"]} <= {
            name for name, kind in asked.items() if kind == "fp32"
        }
        assert settings["may_stay_float"] == []
        assert "--allow-fallback" in (demo_kit(target).folder / "README.md").read_text()


def test_the_readme_has_five_steps_and_the_version_s_trtexec() -> None:
    nano = (demo_kit("jetson-nano").folder / "README.md").read_text()
    for number, step in enumerate(("Power mode", "Memory and swap", "Build", "Check", "Time"), start=1):
        assert f"## {number}. {step}\n" in nano
    assert "nvpmodel -m 0" in nano
    assert "--workspace=256" in nano
    assert "--fp16" in nano
    assert "--layerPrecisions" not in nano
    assert "--memPoolSize" not in nano
    assert "an allowance, not measured" in nano
    assert "untrained" not in nano
    pascal = (demo_kit("gtx-1080ti").folder / "README.md").read_text()
    for option in ("--int8", "--calib=model.cache", "--precisionConstraints=obey", "nms:fp32", "--layerOutputTypes="):
        assert option in pascal
    assert "--workspace" not in pascal
    assert "--fp16" not in pascal


def test_samples_that_ranges_were_measured_on_come_last_and_are_told(tmp_path: Path) -> None:
    result = make(tmp_path / "kit", "gtx-1080ti", data=str(workshop() / "pictures"), count=4)
    assert result.table == tmp_path / "kit.calib.json"
    assert any("flatters parity" in line for line in result.notes)
    assert not any("flatters" in line for line in demo_kit("gtx-1080ti").notes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kit", "kit.calib.json"]


@pytest.mark.parametrize("target", ["jetson-nano", "gtx-1080ti"])
def test_a_kit_is_within_its_size_and_explains_its_estimate(target: str) -> None:
    result = demo_kit(target)
    on_disk = {path: path.stat().st_size for path in result.folder.rglob("*") if path.is_file()}
    beside = sum(on_disk.values()) - on_disk[result.folder / "model.onnx"]
    assert 0 < beside <= BEYOND_MODEL == 25_000_000
    estimate, text = result.document["estimate"], (result.folder / "README.md").read_text()
    assert estimate["memory_formula"] in text
    assert estimate["disk_formula"] in text
    assert f"- {estimate['build_memory_bytes'] / (1 << 20):.0f} MiB of memory" in text


@pytest.mark.parametrize("target", ["jetson-nano", "gtx-1080ti"])
def test_a_kit_says_how_many_samples_it_has(target: str) -> None:
    result = demo_kit(target)
    assert result.document["samples"]["data"] == "2 images: demo:val, first 2 of 2000 images"
    assert (
        result.document["samples"]["count"] == len(run_engine.Kit(str(result.folder)).arrays("inputs")["pixels"]) == 2
    )
    assert "Runs the samples (2 images: demo:val, first 2 of 2000 images)" in (result.folder / "README.md").read_text()


def test_an_untrained_backbone(tmp_path: Path) -> None:
    result = make(tmp_path / "kit", "jetson-nano", model="hardnet39ds", size=64, samples=1)
    assert result.document["trained"] is False
    assert result.document["thresholds"] is None
    text = (result.folder / "README.md").read_text()
    assert "**untrained**" in text
    assert "NMS plugin" not in text
    with np.load(result.folder / "samples" / "reference.npz") as stored:
        assert {name: stored[name].shape for name in stored.files} == {"logits": (1, 1000)}


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit" / "notes.txt").write_text("mine", encoding="utf-8")
    before = files(tmp_path)
    for force in (False, True):
        with pytest.raises(UsageError):
            make(tmp_path / "kit", "jetson-nano", force=force)
    assert files(tmp_path) == before


def test_a_kit_that_is_too_large_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hardnet_deploy.kit.folder.BEYOND_MODEL", 300_000)
    with pytest.raises(UsageError, match="the kit would have") as caught:
        make(tmp_path / "kit", "jetson-nano")
    assert "samples/inputs.npz" in str(caught.value.got)
    assert list(tmp_path.iterdir()) == []


def test_samples_in_which_pytorch_finds_nothing_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_kit, "references", lambda *_, **__: {"detections_0": np.zeros((0, 6), np.float32)})
    with pytest.raises(InputFileError, match="detects nothing"):
        make(tmp_path / "kit", "jetson-nano", samples=1)
    assert list(tmp_path.iterdir()) == []


def test_a_calibration_of_another_model_is_refused(tmp_path: Path) -> None:
    table = json.loads((workshop() / "ranges.calib.json").read_text())
    table["fingerprint"]["weights"] = "0" * 64
    other = tmp_path / "other.calib.json"
    other.write_text(json.dumps(table), encoding="utf-8")
    with pytest.raises((ArtifactMismatchError, InputFileError)):
        make(tmp_path / "kit", "gtx-1080ti", calib=other)
    assert not (tmp_path / "kit").exists()


def test_a_calibration_cache_is_told_apart_from_the_table(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="is a calibration cache of TensorRT") as caught:
        make(tmp_path / "kit", "gtx-1080ti", calib=demo_kit("gtx-1080ti").folder / "model.cache")
    assert caught.value.wanted == "the table F.calib.json"
    assert "hardnet-deploy calibrate" in str(caught.value.next_step)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["model.onnx", "run_engine.py", "samples/reference.npz"])
def test_a_changed_kit_is_noticed(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "kit"
    shutil.copytree(demo_kit("jetson-nano").folder, folder)
    assert read_kit(folder).document["model"]["name"] == DEMO
    with (folder / name).open("ab") as file:
        file.write(b"x")
    with pytest.raises(ArtifactMismatchError, match="is not what"):
        read_kit(folder)
    (folder / name).unlink()
    with pytest.raises(ArtifactMismatchError):
        read_kit(folder)


def test_what_is_no_kit_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="is no kit"):
        read_kit(tmp_path)
    (tmp_path / "kit.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputFileError, match="is no kit"):
        read_kit(tmp_path)
    (tmp_path / "kit.json").write_text('{"kind": "kit", "schema": 9}', encoding="utf-8")
    with pytest.raises(ArtifactMismatchError, match="another schema"):
        read_kit(tmp_path)


def test_the_request_says_where(tmp_path: Path) -> None:
    request = KitRequest(target="jetson-nano", folder=tmp_path / "none" / "kit", model="no-such-model")
    with pytest.raises(UsageError):
        make_kit.run_kit(request, lambda *_: None)
    assert list(tmp_path.iterdir()) == []
