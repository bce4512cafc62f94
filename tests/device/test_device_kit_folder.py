"""Which kit is meant where none is named, and what a run in it leaves behind."""

from __future__ import annotations

import collections
import json
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulated_device import PASCAL, simulated, write_kit
from small_int8 import write_detector

from hardnet_deploy.artifacts import load_artifact
from hardnet_deploy.device import run_engine
from hardnet_deploy.files import sha256_file

EXACT = {"precision": "fp32"}
QUICK = ("--iterations", "2", "--warm-up", "0", "--allow-unstable")


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    """With its own copy of the script, as the host writes it."""
    folder = write_kit(tmp_path / "the kit", settings=EXACT)
    shutil.copyfile(run_engine.__file__, folder / "run_engine.py")
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another folder, which is the current one."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def call(kit: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """``python3 KIT/run_engine.py ...``."""
    monkeypatch.setattr(sys, "argv", [str(kit / "run_engine.py"), *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(kit / "run_engine.py"), run_name="__main__")
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_script_takes_the_kit_it_lies_in_from_any_folder(
    kit: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_kit(elsewhere / "other", settings=EXACT)
    monkeypatch.chdir(elsewhere / "other")
    before = sorted(path.name for path in (elsewhere / "other").iterdir())
    with simulated(monkeypatch, *PASCAL):
        assert call(kit, monkeypatch, "build") == 0
        assert call(kit, monkeypatch, "parity") == 0
        assert call(kit, monkeypatch, "bench", *QUICK) == 0
        assert "sample 0 of the kit" in capsys.readouterr().out
        assert call(kit, monkeypatch, "all", "--allow-unstable") == 0
    assert f"kit: {kit}" in capsys.readouterr().err
    assert (kit / "report.json").exists()
    assert sorted(path.name for path in (elsewhere / "other").iterdir()) == before


def test_a_kit_that_is_named_goes_before_the_one_around_the_script(
    kit: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_kit(elsewhere / "other", settings=EXACT)
    with simulated(monkeypatch, *PASCAL):
        assert call(kit, monkeypatch, "build", "--kit", str(other)) == 0
    assert (other / "model.engine").exists()
    assert not (kit / "model.engine").exists()


def test_the_current_folder_is_taken_where_the_script_lies_in_none(
    kit: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(kit)
    with simulated(monkeypatch, *PASCAL):
        assert run_engine.main(["build"]) == 0
        assert run_engine.main(["parity"]) == 0
    assert "kit: " not in capsys.readouterr().err


@pytest.mark.parametrize("command", ["parity", "bench"])
def test_before_the_build_the_build_is_the_next_step(
    kit: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert elsewhere.is_dir()
    with simulated(monkeypatch, *PASCAL):
        assert call(kit, monkeypatch, command, "--json") == 4
        streams = capsys.readouterr()
        assert "the kit has no engine yet" in streams.err
        step = json.loads(streams.out)["next"]
        assert step == f"build it: python3 '{kit}/run_engine.py' build --kit '{kit}'"
        assert call(kit, monkeypatch, "build", "--kit", str(kit)) == 0
        assert call(kit, monkeypatch, command, *(QUICK if command == "bench" else ())) == 0


@pytest.mark.parametrize("option", [("--precision", "fp16"), ("--typed",), ("--batch", "1,1,1"), ("--cache", "x")])
def test_what_the_kit_decides_is_not_taken_from_the_command_line(
    kit: Path, monkeypatch: pytest.MonkeyPatch, option: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_engine.main(["build", "--kit", str(kit), *option]) == 2
    assert f"decides how it is built: {option[0]} cannot" in capsys.readouterr().err
    monkeypatch.chdir(kit)
    assert run_engine.main(["build", *option]) == 2
    assert not (kit / "model.engine").exists()


@pytest.mark.parametrize("command", ["build", "all"])
def test_the_workspace_and_the_timing_cache_are_the_devices_own(
    kit: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    given = []
    building = run_engine.build

    def build(trt: Any, content: bytes, settings: dict[str, Any], **options: Any) -> dict[str, Any]:
        given.append(settings)
        return building(trt, content, settings, **options)

    monkeypatch.setattr(run_engine, "build", build)
    options = ("--timing-cache", str(kit / "t.cache")) if command == "build" else ("--allow-unstable",)
    with simulated(monkeypatch, *PASCAL):
        for _ in range(2):
            assert run_engine.main([command, "--kit", str(kit), "--workspace", "64M", *options]) == 0
    assert [settings["workspace_bytes"] for settings in given] == [64 << 20, 64 << 20]
    if command == "build":
        assert given[1]["timing_cache"] == (kit / "t.cache").read_bytes()
    manifest = load_artifact(kit / "model.engine").manifest
    assert manifest is not None
    (note,) = manifest.checks["notes"]
    assert note == "the workspace is 64 MiB by command line, the kit has no limit"
    if command == "all":
        assert json.loads((kit / "report.json").read_text(encoding="utf-8"))["build"]["notes"] == [note]


def test_an_earlier_report_does_not_outlive_a_run_that_fails(
    kit: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with simulated(monkeypatch, *PASCAL):
        assert run_engine.main(["all", "--kit", str(kit), "--allow-unstable"]) == 0
        first = (kit / "report.json").read_bytes()
        assert "earlier run" not in capsys.readouterr().err
        assert run_engine.main(["all", "--kit", str(kit), "--allow-unstable"]) == 0
        assert "report.json of an earlier run is now report.previous.json" in capsys.readouterr().err
        assert (kit / "report.previous.json").read_bytes() == first
        assert (kit / "report.json").exists()
        last = (kit / "report.json").read_bytes()
        monkeypatch.setenv("SIMULATED_CUDA_FAIL", "cudaEventSynchronize,1")
        assert run_engine.main(["all", "--kit", str(kit), "--allow-unstable"]) == 3
    assert not (kit / "report.json").exists()
    assert (kit / "report.previous.json").read_bytes() == last


@pytest.mark.parametrize("damage", ["kit.json", "model.onnx", "samples/inputs.npz"])
def test_nor_one_that_fails_at_once(kit: Path, damage: str) -> None:
    (kit / "report.json").write_text("{}", encoding="utf-8")
    (kit / damage).write_bytes(b"{")
    assert run_engine.main(["all", "--kit", str(kit)]) in {3, 4, 8}
    assert not (kit / "report.json").exists()
    assert (kit / "report.previous.json").exists()


@pytest.mark.parametrize("command", ["build", "all"])
@pytest.mark.parametrize("short", ["memory", "disk", ""])
def test_too_little_memory_or_disk_is_told_before_the_build(
    kit: Path, monkeypatch: pytest.MonkeyPatch, command: str, short: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads((kit / "kit.json").read_text(encoding="utf-8"))
    record["estimate"] = {"build_memory_bytes": 900 << 20, "disk_bytes": 700 << 20}
    (kit / "kit.json").write_text(json.dumps(record), encoding="utf-8")
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(1, 1, (600 if short == "disk" else 700) << 20))
    monkeypatch.setattr(run_engine, "free_memory", lambda: (500 if short == "memory" else 900) << 20)
    said = []
    building = run_engine.build

    def build(*given: Any, **more: Any) -> Any:
        said.append(capsys.readouterr().err)
        return building(*given, **more)

    monkeypatch.setattr(run_engine, "build", build)
    options = ("--allow-unstable",) if command == "all" else ()
    with simulated(monkeypatch, *PASCAL):
        assert run_engine.main([command, "--kit", str(kit), *options]) == 0
    (before,) = said
    assert ("may need 900 MiB, 500 MiB of memory and swap are free" in before) == (short == "memory")
    assert ("600 MiB of disk are free" in before) == (short == "disk")


def test_a_results_engine_is_named_by_its_own_hash_and_said_to_be_trusted(
    kit: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with simulated(monkeypatch, *PASCAL):
        assert run_engine.main(["build", "--kit", str(kit)]) == 0
        manifest = kit / "model.engine.json"
        record = json.loads(manifest.read_text(encoding="utf-8"))
        manifest.write_text(json.dumps({**record, "sha256": "0" * 64}), encoding="utf-8")
        document = {}
        for command in ("parity", "bench"):
            options = QUICK if command == "bench" else ()
            capsys.readouterr()
            assert run_engine.main([command, "--kit", str(kit), "--trust", "--json", *options]) == 0
            document = json.loads(capsys.readouterr().out)
            assert document["trusted"] == "taken although it is not the file that its manifest describes"
            assert run_engine.main([command, "--kit", str(kit), "--trust", *options]) == 0
            assert "note: the engine was taken although" in capsys.readouterr().out
    assert document["sha256"] == sha256_file(kit / "model.engine")


def test_a_graph_taken_on_trust_is_told_in_the_plans_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_detector(tmp_path / "a.onnx")
    (tmp_path / "a.onnx.json").unlink()
    with simulated(monkeypatch, *PASCAL):
        assert run_engine.main(["build", str(tmp_path / "a.onnx"), "--trust"]) == 0
    record = json.loads((tmp_path / "a.engine.json").read_text(encoding="utf-8"))
    assert record["checks"]["notes"] == ["a.onnx was taken although it has no manifest"]


def test_ranges_that_are_none_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for content, said in (({}, "no 'dynamic_ranges'"), ({"dynamic_ranges": {"a": [1]}}, "range of 'a'")):
        (tmp_path / "r.json").write_text(json.dumps(content), encoding="utf-8")
        options = ("--precision", "int8", "--ranges", str(tmp_path / "r.json"))
        assert run_engine.main(["build", "a.onnx", *options]) == 4
        assert said in capsys.readouterr().err


def test_an_engine_whose_outputs_are_no_numbers_fails_parity_and_is_reported(
    kit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inferring = run_engine.Engine.infer

    def infer(engine: run_engine.Engine, feeds: Any) -> Any:
        outputs = inferring(engine, feeds)
        outputs["detection_scores"] = np.full_like(outputs["detection_scores"], np.nan)
        return outputs

    monkeypatch.setattr(run_engine.Engine, "infer", infer)
    with simulated(monkeypatch, *PASCAL):
        assert run_engine.main(["all", "--kit", str(kit), "--allow-unstable"]) == 5
    parity = json.loads((kit / "report.json").read_text(encoding="utf-8"))["parity"]
    assert parity["failures"][0] == "sample 0: the engine's output 'detection_scores' has values that are no numbers"
    assert parity["detections"]["matched"] == 0
    assert parity["detections"]["missing"] > 0
