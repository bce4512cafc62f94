"""Building through the device file on simulated TensorRT: what comes back, and as which error faults arrive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from simulated_device import ADA, EVERY_FAMILY, NEWEST, PASCAL
from simulated_host import LABELS, simulated_host
from small_int8 import detector_graph

from hardnet_deploy.engines.tensorrt import BuiltPlan, build_plan
from hardnet_deploy.engines.timing_cache import keep_timing_cache, read_timing_cache
from hardnet_deploy.errors import (
    ArtifactMismatchError,
    ExportError,
    HardnetDeployError,
    InputFileError,
    TargetError,
    UsageError,
)
from hardnet_deploy.runners.trt import TrtRunner


def built(**settings: Any) -> BuiltPlan:
    return build_plan(detector_graph().SerializeToString(), settings, progress=lambda *_: None)


def refused(kind: type[HardnetDeployError], **settings: Any) -> HardnetDeployError:
    with pytest.raises(kind) as caught:
        built(**settings)
    assert "run_engine.py" not in str(caught.value)
    return caught.value


@EVERY_FAMILY
def test_a_plan_comes_with_what_built_it(device: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    told: list[str] = []
    with simulated_host(monkeypatch, device):
        content = detector_graph().SerializeToString()
        plan = build_plan(content, {}, progress=lambda title, *_: told.append(title), listener=lines.append)
        with TrtRunner(plan.content) as runner:
            assert runner.name == LABELS[device]
    assert f"TensorRT {plan.tensorrt} ({plan.gpu})" == LABELS[device]
    assert plan.compute_capability == {"jetson-nano": "5.3", "gtx-1080ti": "6.1", "gpu": "8.9"}[device[1]]
    assert plan.cuda_layer == "ctypes libcudart"
    assert plan.layers is not None
    assert list(plan.log) == lines
    assert bool(told) is (device in {ADA, NEWEST})  # IProgressMonitor arrived in 10
    assert plan.timing_cache
    assert plan.seconds > 0


def test_faults_arrive_as_this_projects_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, PASCAL, workspace_needed=1 << 30):
        assert "--workspace" in str(refused(ExportError, workspace_bytes=1 << 20))
        refused(UsageError, surprise=True)
        refused(ArtifactMismatchError, precision="int8", calibration_cache=b"TRT-8201-EntropyCalibration2\nimages: 1\n")
        refused(TargetError, typed=True)
    with simulated_host(monkeypatch, NEWEST):
        refused(TargetError, precision="fp16")


def test_without_tensorrt_there_is_nothing_to_build_with() -> None:
    assert "tensorrt" in refused(TargetError).what


def test_a_graph_that_the_parser_refuses_names_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, ADA, nms_plugin=False), pytest.raises(ExportError) as caught:
        build_plan(detector_graph().SerializeToString(), {}, progress=lambda *_: None)
    assert "EfficientNMS_TRT" in caught.value.what
    assert "--nms onnx" in str(caught.value.next_step)


def test_a_listener_hears_of_a_build_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    content, settings = detector_graph().SerializeToString(), {"workspace_bytes": 1 << 20}
    with simulated_host(monkeypatch, PASCAL, workspace_needed=1 << 30), pytest.raises(ExportError):
        build_plan(content, settings, progress=lambda *_: None, listener=lines.append)
    assert any(line.startswith("[ERROR]") and "implementation" in line for line in lines)


def test_a_locked_timing_cache_knows_every_layer_or_the_build_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, ADA):
        first = built()
        again = built(timing_cache=first.timing_cache, timing_cache_locked=True)
        assert again.content == first.content
        error = refused(TargetError, timing_cache_locked=True)
        assert "without --locked" in str(error.next_step)
        assert error.exit_code == 3


def test_a_timing_cache_of_another_gpu_is_not_handed_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, ADA):
        other = built().timing_cache
    with simulated_host(monkeypatch, PASCAL):
        plan = built(timing_cache=other)
        assert plan.timing_cache is None
        assert any("another TensorRT or GPU" in note for note in plan.notes)


def test_what_the_progress_raises_stops_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with simulated_host(monkeypatch, NEWEST), pytest.raises(KeyboardInterrupt):
        build_plan(detector_graph().SerializeToString(), {}, progress=stop)


def test_timing_caches_are_files(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "one.timing"
    assert read_timing_cache(path) is None
    keep_timing_cache(path, b"first")
    keep_timing_cache(path, b"second")
    assert read_timing_cache(path) == b"second"
    assert [one.name for one in path.parent.iterdir()] == ["one.timing"]
    path.write_bytes(b"")
    assert read_timing_cache(path) is None
    with pytest.raises(InputFileError):
        read_timing_cache(tmp_path)
