"""What the layers were asked for against what they got, on the device itself; and the board that a kit is for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from simulated_device import ADA, NANO, PASCAL, simulated, write_kit
from small_int8 import LAYERS, detector_graph, write_detector

from hardnet_deploy.artifacts import load_artifact
from hardnet_deploy.device import run_engine
from hardnet_deploy.engines.requested import requested_precisions

FP16 = {"precision": "fp16"}
EXACT = {"precision": "fp32"}


def call(*arguments: str) -> int:
    return run_engine.main(list(arguments))


def report_in(kit: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((kit / "report.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    return write_kit(tmp_path / "kit", settings=FP16, device=NANO)


@pytest.mark.parametrize("command", ["build", "all"])
def test_a_silent_fallback_ends_the_build_and_names_the_layers(
    kit: Path, monkeypatch: pytest.MonkeyPatch, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with simulated(monkeypatch, *NANO, float_fallback=(LAYERS[1],)):
        assert call(command, "--kit", str(kit), "--json") == 4
    streams = capsys.readouterr()
    assert f"1 of {len(LAYERS)} layers" in streams.err
    assert f"run in FP32, asked for FP16: {LAYERS[1]}; nothing was written" in streams.err
    assert "--allow-fallback" in json.loads(streams.out)["next"]
    assert not (kit / "model.engine").exists()
    assert not (kit / "report.json").exists()


def test_a_fallback_that_is_allowed_is_told_and_reported(
    kit: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with simulated(monkeypatch, *NANO, float_fallback=(LAYERS[1],)):
        assert call("all", "--kit", str(kit), "--allow-fallback", "--allow-unstable") == 0
    assert f"asked for FP16: {LAYERS[1]}" in capsys.readouterr().out
    build = report_in(kit)["build"]
    assert build["fell_back"] == [LAYERS[1]]
    assert build["allow_fallback"] is True
    assert (build["requested"][LAYERS[1]], build["achieved"][LAYERS[1]]) == ("fp16", "fp32")
    manifest = load_artifact(kit / "model.engine").manifest
    assert manifest is not None
    assert manifest.precision["requested_by_layer"] == build["requested"]
    assert manifest.precision["achieved"] == build["achieved"]
    assert "--allow-fallback" in manifest.command


def test_what_the_kit_asks_for_goes_before_what_the_flags_ask_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = dict.fromkeys(LAYERS, "fp16")
    free = {**FP16, "requested": asked, "may_stay_float": [LAYERS[1]]}
    held = {**FP16, "requested": asked, "may_stay_float": [LAYERS[2]]}
    with simulated(monkeypatch, *NANO, float_fallback=(LAYERS[1],)):
        kit = write_kit(tmp_path / "free", settings=free, device=NANO)
        assert call("all", "--kit", str(kit), "--allow-unstable") == 0
        build = report_in(kit)["build"]
        assert (build["requested"], build["fell_back"], build["allow_fallback"]) == (asked, [], False)
        kit = write_kit(tmp_path / "held", settings=held, device=NANO)
        assert call("all", "--kit", str(kit), "--allow-unstable") == 4


def test_where_the_inspector_is_missing_the_precision_is_said_to_be_unknown(
    kit: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_engine._Build, "_inspect", lambda *_given: None)
    with simulated(monkeypatch, *NANO, float_fallback=(LAYERS[1],)):
        assert call("all", "--kit", str(kit), "--allow-unstable") == 0
    assert "achieved precision not known" in capsys.readouterr().out
    build = report_in(kit)["build"]
    assert set(build["achieved"].values()) == {"unknown"}
    assert build["layers"] == {}
    assert any("achieved precision not known" in note for note in build["notes"])


def test_an_engine_without_an_inspector_is_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_detector(tmp_path / "a.onnx")
    with simulated(monkeypatch, *NANO) as here:
        monkeypatch.delattr(here.trt.ICudaEngine, "create_engine_inspector")
        built = run_engine.build(here.trt, (tmp_path / "a.onnx").read_bytes(), FP16)
    assert built["layers"] is None
    assert set(built["achieved"].values()) == {run_engine.UNKNOWN}


def test_without_a_kit_a_fallback_is_refused_too_and_its_timings_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_detector(tmp_path / "a.onnx")
    words = ("build", str(tmp_path / "a.onnx"), "--precision", "fp16", "--timing-cache", str(tmp_path / "t.cache"))
    with simulated(monkeypatch, *NANO, float_fallback=(LAYERS[1],)):
        assert call(*words) == 4
        assert (tmp_path / "t.cache").stat().st_size
        assert not (tmp_path / "a.engine").exists()
        assert call(*words, "--fp32-layers", LAYERS[1]) == 0  # asked for, so no fallback
    with simulated(monkeypatch, *PASCAL, float_fallback=(LAYERS[1],)):
        assert call(*words[:4]) == 0  # FP16 is no faster there


@pytest.mark.parametrize(
    ("device", "settings"),
    [
        (NANO, {"precision": "fp16", "fp32_layers": [LAYERS[2]]}),
        (PASCAL, {"precision": "int8", "dynamic_ranges": {"images": [-100.0, 100.0], "base.1.in": [-9.0, 9.0]}}),
        (ADA, {"precision": "int8", "dynamic_ranges": {"base.1.in": [-9.0, 9.0]}, "fp32_layers": [LAYERS[3]]}),
    ],
    ids=["8.2 fp16", "8.6 int8", "10 int8 and fp16"],
)
def test_what_is_asked_is_what_the_host_would_have_asked(
    monkeypatch: pytest.MonkeyPatch, device: tuple[str, str], settings: dict[str, Any]
) -> None:
    model = detector_graph()
    with simulated(monkeypatch, *device) as here:
        built = run_engine.build(here.trt, model.SerializeToString(), settings)
    flags: Any = {NANO: ("fp16",), PASCAL: ("int8",), ADA: ("int8", "fp16")}[device]
    wanted = requested_precisions(
        model, flags=flags, fp32_layers=settings.get("fp32_layers", ()), scaled=settings.get("dynamic_ranges", ())
    )
    assert built["requested"] == wanted
    assert len(set(wanted.values())) > 1


@pytest.mark.parametrize("command", ["build", "all"])
@pytest.mark.parametrize(
    ("made_for", "here", "said", "step"),
    [
        (PASCAL, NANO, "is for target 'gtx-1080ti' (sm_61), this is Simulated Jetson Nano", "--target jetson-nano"),
        (NANO, PASCAL, "is for target 'jetson-nano' (sm_53), this is Simulated GTX 1080 Ti", "--target gtx-1080ti"),
        (PASCAL, ADA, "is for target 'gtx-1080ti' (sm_61), this is", "build-engine toy --target gpu"),
    ],
    ids=["1080 ti on nano", "nano on 1080 ti", "1080 ti on ada"],
)
def test_a_kit_on_another_board_is_refused_before_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    made_for: tuple[str, str], here: tuple[str, str], said: str, step: str, command: str,
) -> None:  # fmt: skip
    kit = write_kit(tmp_path / "kit", settings=EXACT, device=made_for)
    monkeypatch.setattr(run_engine, "build", lambda *_given, **_more: pytest.fail("it was built"))
    with simulated(monkeypatch, *here):
        assert call(command, "--kit", str(kit), "--json") == 3
    streams = capsys.readouterr()
    assert said in streams.err
    assert step in json.loads(streams.out)["next"]
    assert "this takes minutes" not in streams.err


@pytest.mark.parametrize(
    "changes", [{"family": "10"}, {"minimum_tensorrt": [8, 6, 2]}], ids=lambda changes: next(iter(changes))
)
def test_a_kit_for_another_tensorrt_is_refused_before_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    kit = write_kit(tmp_path / "kit", settings=EXACT, runtime="TensorRT 8.6.9", **changes)
    with simulated(monkeypatch, *PASCAL):
        assert call("all", "--kit", str(kit)) == 3
    said = capsys.readouterr().err
    assert "is for TensorRT 8.6.9, this is TensorRT 8.6.1" in said
    assert "next: install TensorRT 8.6.9" in said
