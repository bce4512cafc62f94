"""One formula for plans built here and for kits, and it says what it counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from live_values import live_values
from made_kits import demo_kit
from made_machines import planned

from hardnet_deploy.engines.build_room import LIBRARIES, MAPS, PLAN_SIZES, WEIGHT_COPIES, BuildRoom
from hardnet_deploy.kit.estimate import build_room, estimate
from hardnet_deploy.target_spec import MIB
from hardnet_deploy.targets import TARGETS
from hardnet_deploy.workflows.export import run_export
from hardnet_deploy.workflows.export_options import ExportRequest

KITS = ("jetson-nano", "gtx-1080ti")
KIT_BYTES = 5000


def test_the_formula() -> None:
    room = BuildRoom(family="8.6", weights=1000, pixels=32 * 32, workspace=1 << 20)
    host, device = (part * MIB for part in LIBRARIES["8.6"])
    assert room.host_bytes == host + WEIGHT_COPIES * 1000
    assert room.device_bytes == device + 1000 + MAPS * 4 * 32 * 32 + (1 << 20)
    assert room.disk_bytes == PLAN_SIZES * 1000 + 64 * MIB
    free = BuildRoom(family="8.6", weights=1000, pixels=32 * 32, workspace=None)
    assert room.device_bytes - free.device_bytes == 1 << 20


@pytest.mark.parametrize("target", KITS)
def test_a_kit_and_the_preflight_of_its_graph_say_the_same(
    target: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kit = demo_kit(target)
    monkeypatch.setenv("HARDNET_DEPLOY_CACHE", str(tmp_path))
    precision: dict[str, Any] = {"fp16": True} if target == "jetson-nano" else {"int8": True}
    plan = planned(source=str(kit.folder / "model.onnx"), target=target, **precision).estimate
    said = kit.document["estimate"]
    assert (said["build_memory_bytes"], said["gpu_memory_bytes"]) == (plan.host_bytes, plan.device_bytes)
    assert (plan.device_bytes is None) == (target == "jetson-nano")  # one memory
    beside = {"README.md", "kit.json"}
    files = sum(size for name, size in kit.bytes_by_file.items() if name not in beside)
    assert said["disk_bytes"] == plan.disk_bytes + files


@pytest.mark.parametrize("target", KITS)
def test_the_words_have_the_figures(target: str) -> None:
    model = onnx.load(demo_kit(target).folder / "model.onnx")
    found = estimate(model, TARGETS[target], kit_bytes=KIT_BYTES, workspace=1 << 20)
    without = estimate(model, TARGETS[target], kit_bytes=KIT_BYTES, workspace=None)
    weights = build_room(model, TARGETS[target], workspace=None).weights
    assert f"{WEIGHT_COPIES} x {weights / MIB:.1f} MiB" in found.memory_formula
    assert "workspace 1.0 MiB" in found.memory_formula
    assert "without a limit" in without.memory_formula
    for text in (found.memory_formula, found.disk_formula):
        assert "an allowance, not measured" in text
    assert ("on the GPU" in found.memory_formula) == (target == "gtx-1080ti")


def test_no_graph_keeps_more_values_alive_than_the_formula_counts() -> None:
    model = onnx.load(demo_kit("jetson-nano").folder / "model.onnx")
    assert 0 < live_values(model) <= MAPS * 300 * 300


@pytest.mark.slow
def test_the_formula_s_maps_are_those_of_hardnet85(tmp_path: Path) -> None:
    output = tmp_path / "hardnet85.onnx"
    run_export(ExportRequest(model="hardnet85", output=output), lambda *_: None)
    assert live_values(onnx.load(output)) == MAPS * 224 * 224
