"""The TensorRT columns of a bench on simulated devices: which target a machine is, and what is built for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_bench import LAPTOP
from simulated_device import ADA, NANO, PASCAL
from simulated_host import simulated_host

from hardnet_deploy.artifacts import manifest_path, read_manifest
from hardnet_deploy.errors import TargetError
from hardnet_deploy.workflows import bench_machine
from hardnet_deploy.workflows.bench_data import read_bench_data
from hardnet_deploy.workflows.bench_machine import read_machine
from hardnet_deploy.workflows.bench_options import BenchRequest
from hardnet_deploy.workflows.bench_plan import plan_bench
from hardnet_deploy.workflows.bench_prepare import prepare


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARDNET_DEPLOY_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("device", [NANO, PASCAL, ADA])
def test_a_machine_is_the_target_that_serves_its_gpu(device: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, device):
        found = read_machine()
    assert (found.tensorrt_target, found.no_tensorrt) == (device[1], None)


def test_without_tensorrt_there_is_a_reason_and_no_target(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise TargetError("the Python package tensorrt cannot be imported")

    monkeypatch.setattr(bench_machine, "tensorrt_here", missing)
    found = read_machine()
    assert found.tensorrt_target is None
    assert found.no_tensorrt == "the Python package tensorrt cannot be imported"


@pytest.mark.slow
@pytest.mark.parametrize("device", [PASCAL, ADA])
def test_plans_are_built_for_the_machine_in_every_precision(
    device: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with simulated_host(monkeypatch, device):
        machine = read_machine()
        request = BenchRequest(subjects=("hardnet39ds", "mobilenet_v2"), size=64, engines="trt-fp32,trt-fp16,trt-int8")
        plan = plan_bench(request, machine)
        data = read_bench_data("random", Path("made"), batch=1, progress=lambda *_: None)
        made = prepare(plan, machine, data, Path("made"), lambda *_: None, code_line="pingolh", trust=False)
    assert made.why_not == {}
    for key, side in made.sides.items():
        assert (side.kind, side.device) == ("tensorrt", "cuda")
        manifest = read_manifest(manifest_path(Path(side.artifact or "")))
        assert manifest.kind == "tensorrt"
        assert key == f"{manifest.model['name']}/trt-{manifest.precision['requested']}"


def test_a_laptop_builds_nothing_for_tensorrt() -> None:
    plan = plan_bench(BenchRequest(subjects=("hardnet39ds",), engines="eager,trt-fp16"), LAPTOP)
    assert [row.column for row in plan.to_time] == ["eager"]
