"""From a kit's folder to report.json, through the file's own command line, on simulated devices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulated_device import ADA, EVERY_FAMILY, NANO, PASCAL, SHOWN, rehash, simulated, write_kit

from hardnet_deploy.artifacts import load_artifact, read_manifest
from hardnet_deploy.device import run_engine
from hardnet_deploy.files import sha256_bytes, sha256_file

FP16 = {"precision": "fp16", "workspace_bytes": 256 << 20}
EXACT = {"precision": "fp32"}


def call(*arguments: str) -> int:
    return run_engine.main(list(arguments))


def documents(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@EVERY_FAMILY
def test_one_command_builds_checks_times_and_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    kit = write_kit(tmp_path / "kit", settings=FP16 if device == NANO else EXACT, device=device)
    monkeypatch.chdir(kit)
    with simulated(monkeypatch, *device) as here:
        assert call("all", "--allow-unstable", "--json") == 0
    printed = documents(capsys)
    report = json.loads((kit / "report.json").read_text(encoding="utf-8"))
    assert report == {key: value for key, value in printed.items() if key != "report"}
    assert set(report) == {
        "schema", "kind", "kit_sha256", "onnx_sha256", "engine_sha256", "model", "trained", "target", "device",
        "tensorrt", "cuda_layer", "date", "build", "parity", "timing",
    }  # fmt: skip
    assert (report["schema"], report["kind"]) == (2, "device-report")
    assert (report["model"], report["trained"], report["target"]) == ({"name": "toy"}, False, device[1])
    assert report["kit_sha256"] == sha256_file(kit / "kit.json")
    assert report["onnx_sha256"] == sha256_file(kit / "model.onnx")
    assert report["engine_sha256"] == sha256_file(kit / "model.engine")
    assert report["tensorrt"].endswith("+simulated")
    assert report["tensorrt"] == here.trt.__version__
    assert report["device"]["name"].startswith("Simulated")
    assert set(report["build"]) == {
        "seconds", "precision", "layers", "notes", "missing_ranges", "unmatched_layers",
        "requested", "achieved", "may_stay_float", "fell_back", "allow_fallback",
    }  # fmt: skip
    assert report["parity"]["passed"] is True
    assert report["parity"]["detections"]["matched"] > 0
    assert len(report["timing"]["gpu_compute_ms"]) == 3
    assert report["timing"]["boundary"] == "GPU compute, inputs resident, NMS in"
    assert report["timing"]["protocol"]["from"] == "a test"
    assert sorted(path.name for path in kit.iterdir() if path.name.startswith(".")) == []


def test_the_plan_gets_a_manifest_that_the_host_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kit = write_kit(tmp_path / "kit", settings=FP16, device=NANO)
    with simulated(monkeypatch, *NANO) as here:
        assert call("build", "--kit", str(kit)) == 0
    manifest = load_artifact(kit / "model.engine").manifest
    assert manifest is not None
    assert (manifest.kind, manifest.target) == ("tensorrt", "jetson-nano")
    assert manifest.versions["tensorrt"] == here.trt.__version__
    assert manifest.versions["compute_capability"] == "5.3"
    assert manifest.checks["source"] == {"sha256": sha256_file(kit / "model.onnx")}
    source = read_manifest(kit / "model.onnx.json")
    assert manifest.preprocess_spec() == source.preprocess_spec()
    assert manifest.thresholds() == source.thresholds()
    assert (manifest.class_names, manifest.model) == (source.class_names, source.model)
    assert manifest.precision["requested"] == "fp16"
    assert "fp16" in manifest.precision["achieved"].values()


def test_an_engine_of_another_model_of_gpu_is_told_on_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kit = write_kit(tmp_path / "kit", settings=EXACT)
    with simulated(monkeypatch, *PASCAL):
        assert call("build", "--kit", str(kit)) == 0
        assert call("parity", "--kit", str(kit)) == 0
        assert "warning" not in capsys.readouterr().err
        path = kit / "model.engine.json"
        path.write_text(path.read_text(encoding="utf-8").replace("Simulated GTX 1080 Ti", "Another"), encoding="utf-8")
        assert call("parity", "--kit", str(kit)) == 0
    assert "model.engine: the plan was built on Another, this is Simulated GTX 1080 Ti" in capsys.readouterr().err


def test_outputs_in_fp32_are_named_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kit = write_kit(tmp_path / "kit", settings=EXACT)
    names = ("--fp32-layers", "base.0,one", "--fp32-outputs", "loc.0,two")
    with simulated(monkeypatch, *NANO):
        assert call("build", str(kit / "model.onnx"), "--precision", "fp16", *names, "--json") == 0
    assert documents(capsys)["unmatched_layers"] == ["one", "two"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 1}, "another schema"),
        ({"files": None}, "lacks files"),
        ({"family": None}, "lacks family"),
        ({"kind": "report"}, "another schema"),
        ({"samples": None}, "lacks samples"),
    ],
)
def test_a_kit_json_of_another_kind_is_refused(
    tmp_path: Path, change: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_kit(tmp_path / "kit", settings=EXACT) / "kit.json"
    record = {**json.loads(path.read_text(encoding="utf-8")), **change}
    path.write_text(json.dumps({key: value for key, value in record.items() if value is not None}), encoding="utf-8")
    assert call("parity", "--kit", str(path.parent)) == 8
    assert said in capsys.readouterr().err


def replace_references(kit: Path, change: Any) -> None:
    path = kit / "samples" / "reference.npz"
    with np.load(path) as stored:
        rows = {name: change(stored[name].copy()) for name in stored.files}
    np.savez(path, **{name: value for name, value in rows.items() if value is not None})
    rehash(kit)


def moved(rows: Any) -> Any:
    rows[:, 1:5] += 2
    return rows


def reordered(rows: Any) -> Any:
    return rows[::-1]


def paled(rows: Any) -> Any:
    rows[:, 5] *= 0.5
    return rows


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (moved, 5, "have a partner"),
        (paled, 5, "have a partner"),
        (lambda rows: rows[:0], 5, "have a partner"),
        (lambda _rows: None, 5, "nothing was compared"),
        (reordered, 0, ""),
    ],
    ids=["moved", "paled", "extra", "nothing", "reordered"],
)
def test_parity_is_decided_by_matching_and_fails_where_nothing_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any, code: int, said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    kit = write_kit(tmp_path / "kit", settings=EXACT)
    replace_references(kit, change)
    with simulated(monkeypatch, *PASCAL):
        assert call("build", "--kit", str(kit)) == 0
        capsys.readouterr()
        assert call("parity", "--kit", str(kit), "--json") == code
    streams = capsys.readouterr()
    found = json.loads(streams.out)
    assert found["passed"] is (code == 0)
    assert said in streams.err
    if change is moved:
        assert found["detections"]["matched"] == 0
        assert found["detections"]["missing"] > 0
        assert found["detections"]["extra"] > 0
    if change is paled:
        assert found["detections"]["worst_score_difference"] > SHOWN["score"]


def test_a_failed_parity_still_leaves_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kit = write_kit(tmp_path / "kit", settings=EXACT)
    replace_references(kit, moved)
    with simulated(monkeypatch, *PASCAL):
        assert call("all", "--kit", str(kit), "--allow-unstable") == 5
    report = json.loads((kit / "report.json").read_text(encoding="utf-8"))
    assert report["parity"]["passed"] is False
    assert report["parity"]["failures"]


def test_outputs_that_are_no_detections_are_compared_by_their_tolerance() -> None:
    value = np.linspace(-1, 1, 12, dtype=np.float32).reshape(1, 3, 4)
    whole = {"boxes": value}
    sampled = {"boxes.index": np.array([0, 5]), "boxes.values": value.reshape(1, -1)[:, [0, 5]]}
    rule = {"atol": 1e-3, "rtol": 0.0, "of_scale": 0.0}
    for reference in (whole, sampled):
        for shift, passed in ((0.0, True), (5e-4, True), (2e-3, False), (np.nan, False)):
            outputs = {"boxes": value + np.float32(shift)}
            (found,) = run_engine._compare_outputs(outputs, reference, 0, {"outputs": rule}).values()
            assert found["passed"] is passed
    assert run_engine._compare_outputs({"scores": value}, whole, 0, {"outputs": rule}) == {}
    assert run_engine._compare_outputs({"boxes": value + 1}, whole, 0, {})["boxes"]["passed"] is None


@pytest.mark.parametrize("damage", ["another plan", "no manifest"])
def test_a_plan_without_its_manifest_runs_only_when_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kit = write_kit(tmp_path / "kit", settings=EXACT)
    with simulated(monkeypatch, *PASCAL):
        assert call("build", "--kit", str(kit)) == 0
        manifest = kit / "model.engine.json"
        if damage == "no manifest":
            manifest.unlink()
        else:
            record = json.loads(manifest.read_text(encoding="utf-8"))
            manifest.write_text(json.dumps({**record, "sha256": "0" * 64}), encoding="utf-8")
        capsys.readouterr()
        assert call("parity", "--kit", str(kit)) == 8
        assert "--trust" in capsys.readouterr().err
        assert call("parity", "--kit", str(kit), "--trust") == 0
        assert "taken although" in capsys.readouterr().err


def test_timing_that_does_not_settle_is_a_failure_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kit = write_kit(tmp_path / "kit", settings=EXACT, device=ADA)
    for times, code in (([1.0, 2.0, 3.0], 7), ([2.0, 2.0, 2.01], 0)):
        fixed = {"gpu_compute_ms": times, "enqueue_ms": times}
        monkeypatch.setattr(run_engine.Engine, "bench", lambda *_given, fixed=fixed, **_options: fixed)
        with simulated(monkeypatch, *ADA):
            assert call("build", "--kit", str(kit)) == 0
            capsys.readouterr()
            assert call("bench", "--kit", str(kit), "--json") == code
            found = documents(capsys)
            assert found["timing"]["stable"] is (code == 0)
            assert found["sha256"] == sha256_bytes((kit / "model.engine").read_bytes())
            assert call("bench", "--kit", str(kit), "--allow-unstable") == 0
        assert "UNSTABLE" in capsys.readouterr().out or code == 0


def test_the_summary_of_times() -> None:
    found = run_engine.summarise([4.0, 1.0, 2.0, 3.0])
    assert (found["median"], found["mean"], found["min"], found["max"]) == (2.5, 2.5, 1.0, 4.0)
    assert found["p99"] == pytest.approx(np.quantile([1.0, 2.0, 3.0, 4.0], 0.99))
    assert found["cov_percent"] == pytest.approx(100 * np.std([1, 2, 3, 4]) / 2.5)
    assert run_engine.summarise([5.0])["stable"] is True


def test_int8_from_the_kits_cache_and_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "kit"
    kit = write_kit(folder, settings=EXACT)
    names = {output for node in run_engine.onnx_nodes((kit / "model.onnx").read_bytes()) for output in node.outputs}
    ranges = {name: [-40.0, 40.0] for name in names - {"base.1.in"}}
    cache = b"TRT-8601-EntropyCalibration2\nimages: 3f99999a\nbase.1.in: 3e99999a\n"
    (kit / "model.cache").write_bytes(cache)
    (kit / "model.ranges.json").write_text(json.dumps({"dynamic_ranges": ranges}), encoding="utf-8")
    record = json.loads((kit / "kit.json").read_text(encoding="utf-8"))
    files = {"calibration_cache": "model.cache", "dynamic_ranges": "model.ranges.json"}
    record["settings"] = {"precision": "int8", **{key: {"file": name, "sha256": ""} for key, name in files.items()}}
    (kit / "kit.json").write_text(json.dumps(record), encoding="utf-8")
    rehash(kit)
    with simulated(monkeypatch, *PASCAL):
        assert call("build", "--kit", str(kit)) == 0
    manifest = load_artifact(kit / "model.engine").manifest
    assert manifest is not None
    assert "int8" in manifest.precision["achieved"].values()
    assert manifest.checks["notes"] == []
