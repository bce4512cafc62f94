"""Builds that fail, fall back or are interrupted: what is said, and what is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulated_device import ADA, EVERY_FAMILY, NEWEST, PASCAL
from simulated_host import build_plan_file, simulated_host
from small_int8 import LAYERS, fill_folder

from hardnet_deploy.artifacts import manifest_path, read_manifest
from hardnet_deploy.cache import cache_folder
from hardnet_deploy.engines.inspector import achieved_precisions
from hardnet_deploy.errors import ExportError, OutputFileError, TargetError
from hardnet_deploy.runners.trt import TrtRunner
from hardnet_deploy.workflows import build_tensorrt

MIDDLE = LAYERS[3]


@pytest.fixture(autouse=True)
def in_a_folder_with_a_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARDNET_DEPLOY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    fill_folder(Path())


def files() -> set[str]:
    return {path.name for path in Path().iterdir()}


@EVERY_FAMILY
def test_a_silent_fallback_is_an_error_unless_it_is_allowed(
    device: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    precision = "fp16" if device[1] == "jetson-nano" else "int8"
    if device in {ADA, NEWEST}:  # typed graphs leave no choice to the builder; the inspector may say otherwise
        told = achieved_precisions
        monkeypatch.setattr(build_tensorrt, "achieved_precisions", lambda *a: {**told(*a), MIDDLE: "fp32"})
    before = files()
    with simulated_host(monkeypatch, device, float_fallback=(MIDDLE,)):
        with pytest.raises(ExportError, match="1 of 6 layers that were to be") as caught:
            build_plan_file(device, precision)
        assert caught.value.got == MIDDLE
        assert "--allow-fallback" in str(caught.value.next_step)
        assert files() - before == {f"{precision}.engine.build.log"}
        result = build_plan_file(device, precision, allow_fallback=True)
    assert any(MIDDLE in note for note in result.notes)
    manifest = read_manifest(manifest_path(Path(f"{precision}.engine")))
    assert manifest.precision["achieved"][MIDDLE] == "fp32"
    assert manifest.precision["requested_by_layer"][MIDDLE] == precision
    assert not Path(f"{precision}.engine.build.log").exists()


def test_fp16_that_the_gpu_is_not_faster_in_may_stay_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, PASCAL, float_fallback=(MIDDLE,)):
        result = build_plan_file(PASCAL, "fp16")
    assert any("1 of 6 layers that were to be FP16 run in FP32" in note for note in result.notes)


def test_the_log_of_a_failure_is_kept_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    before = files()
    with simulated_host(monkeypatch, PASCAL, workspace_needed=4 << 20):
        with pytest.raises(ExportError) as caught:
            build_plan_file(PASCAL, workspace="1M")
        assert "fp32.engine.build.log" in str(caught.value.next_step)
        assert "--workspace" in str(caught.value.next_step)
        assert files() - before == {"fp32.engine.build.log"}
        assert "Could not find any implementation" in Path("fp32.engine.build.log").read_text()
        build_plan_file(PASCAL, workspace="16M")
    assert files() - before == {"fp32.engine", "fp32.engine.json"}


def test_an_older_engine_survives_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, PASCAL):
        build_plan_file(PASCAL)
    before = Path("fp32.engine").read_bytes(), Path("fp32.engine.json").read_bytes()
    with simulated_host(monkeypatch, PASCAL, workspace_needed=1 << 30), pytest.raises(ExportError):
        build_plan_file(PASCAL, workspace="1M")
    assert (Path("fp32.engine").read_bytes(), Path("fp32.engine.json").read_bytes()) == before


@pytest.mark.parametrize("where", ["TensorRT: ", build_tensorrt.BUILDING])
def test_an_interrupt_leaves_nothing_half_written(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(title: str, done: int, _total: int) -> None:
        if title.startswith(where) and done:
            raise KeyboardInterrupt

    before = files()
    with simulated_host(monkeypatch, NEWEST), pytest.raises(KeyboardInterrupt):
        build_plan_file(NEWEST, "fp16", progress=stop)
    assert files() == before


def test_the_builders_own_phases_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, int, int]] = []
    with simulated_host(monkeypatch, NEWEST):
        build_plan_file(NEWEST, progress=lambda *step: told.append(step))
    assert any(title.startswith("TensorRT: ") for title, _, _ in told)
    assert all(0 <= done <= total and total >= 1 for _, done, total in told)


def test_values_that_are_no_numbers_are_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    original = TrtRunner.infer
    monkeypatch.setattr(
        TrtRunner, "infer", lambda *a: {name: value * float("nan") for name, value in original(*a).items()}
    )
    with simulated_host(monkeypatch, PASCAL), pytest.raises(ExportError, match="no finite numbers"):
        build_plan_file(PASCAL)
    assert not Path("fp32.engine").exists()


def test_timing_caches_are_kept_by_version_gpu_and_sm(monkeypatch: pytest.MonkeyPatch) -> None:
    for device in (PASCAL, ADA):
        with simulated_host(monkeypatch, device):
            build_plan_file(device)
    kept = sorted(path.name for path in (cache_folder() / "timing").iterdir())
    assert len(kept) == 2
    assert all("+simulated" in name and "_" in name for name in kept)


def test_a_locked_timing_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Path("my.timing")
    with simulated_host(monkeypatch, ADA):
        build_plan_file(ADA, timing_cache=cache)
        before = cache.read_bytes()
        build_plan_file(ADA, timing_cache=cache, locked=True)
        with pytest.raises(TargetError, match="lacks a layer") as caught:
            build_plan_file(ADA, "fp16", timing_cache=cache, locked=True)
        assert caught.value.exit_code == 3
        assert cache.read_bytes() == before
        build_plan_file(ADA, "fp16", timing_cache=cache)
        assert cache.read_bytes() != before
        build_plan_file(ADA, timing_cache=cache, locked=True, output=Path("again.engine"))


def test_a_timing_cache_of_another_gpu_is_not_overwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Path("my.timing")
    with simulated_host(monkeypatch, ADA):
        build_plan_file(ADA, timing_cache=cache)
    before = cache.read_bytes()
    with simulated_host(monkeypatch, PASCAL):
        result = build_plan_file(PASCAL, timing_cache=cache)
    assert any("another TensorRT or GPU" in note for note in result.notes)
    assert cache.read_bytes() == before


def test_caches_that_cannot_be_written_cost_a_note_and_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OutputFileError("no space left")

    monkeypatch.setattr(build_tensorrt, "keep_timing_cache", full)
    monkeypatch.setattr(build_tensorrt, "record_plan", full)
    with simulated_host(monkeypatch, PASCAL):
        notes = build_plan_file(PASCAL).notes
    assert any("timing cache was not kept" in note for note in notes)
    assert any("needs --trust" in note for note in notes)
    assert Path("fp32.engine").is_file()
