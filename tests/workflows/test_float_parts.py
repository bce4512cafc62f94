"""What stays FP32 in weakly typed builds is decided once: a kit says what a build here would do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from made_kits import demo_kit
from quantised_graphs import detector as normed_detector
from simulated_device import NANO, PASCAL
from simulated_host import simulated_host
from small_int8 import FIRST, HEADS, LAYERS, backbone_graph, build, detector_graph

from calibration.graph import GraphMap
from hardnet_deploy.device import run_engine
from hardnet_deploy.errors import ExportError
from hardnet_deploy.export.islands import float32_islands
from hardnet_deploy.workflows import build_tensorrt
from hardnet_deploy.workflows.float_parts import FloatParts, float_parts

OF_THE_HOST = {"timing_cache", "timing_cache_locked"}
OF_THE_DEVICE = {"requested", "may_stay_float"}  # the host holds these against the engine itself


def node_of(tensor: str, model: onnx.ModelProto) -> str:
    (name,) = (node.name for node in model.graph.node if tensor in node.output)
    return str(name)


@pytest.mark.parametrize("device", [NANO, PASCAL], ids=["nano", "1080 ti"])
def test_a_kit_has_the_settings_of_a_build_here(
    device: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kit = demo_kit(device[1])
    found: dict[str, Any] = {}

    def keep(content: bytes, settings: dict[str, Any], **_: Any) -> None:
        found.update(settings)
        assert content
        raise ExportError("enough was seen")

    monkeypatch.setenv("HARDNET_DEPLOY_CACHE", str(tmp_path))
    monkeypatch.setattr(build_tensorrt, "build_plan", keep)
    asked = {"calib": kit.table} if device == PASCAL else {"int8": False, "fp16": True}
    with simulated_host(monkeypatch, device), pytest.raises(ExportError, match="enough"):
        build(source=str(kit.folder / "model.onnx"), target=device[1], output=tmp_path / "x.engine", **asked)
    said = run_engine.Kit(str(kit.folder)).settings()
    assert set(found) - set(said) == OF_THE_HOST
    assert set(said) - set(found) == OF_THE_DEVICE
    assert {name: found[name] for name in said if name in found} == {name: said[name] for name in said if name in found}
    assert said["precision"] in said["requested"].values()
    assert set(said["may_stay_float"]) <= set(said["requested"])
    assert bool(said["fp32_outputs"]) == (device == PASCAL)


def test_the_heads_write_fp32_and_what_moves_them_computes_it() -> None:
    model = detector_graph()
    parts = float_parts(model, "int8", graph=GraphMap(model), left=frozenset({FIRST}))
    assert parts.fp32_outputs == HEADS
    assert parts.fp32_layers[0] == FIRST
    assert not set(LAYERS[1:]).intersection(parts.fp32_layers)
    operators = {node.name: node.op_type for node in model.graph.node}
    assert {"Transpose", "Reshape", "Softmax", "EfficientNMS_TRT"} <= {operators[name] for name in parts.fp32_layers}


def test_a_head_that_stays_float_is_named_once() -> None:
    model = detector_graph()
    parts = float_parts(model, "int8", graph=GraphMap(model), left=frozenset({HEADS[0]}))
    assert parts.fp32_outputs == (node_of("base.2.relu", model), *HEADS[1:])  # it reads what base.2 writes
    assert HEADS[0] in parts.fp32_layers


def test_what_the_l2_norm_reads_is_written_in_fp32_through_a_pooling() -> None:
    model = normed_detector()
    parts = float_parts(model, "int8", graph=GraphMap(model))
    assert parts.fp32_outputs == (node_of("exit.relu", model), "loc.head", "conf.head")
    pooling = [node.name for node in model.graph.node if node.op_type == "MaxPool"]
    assert pooling
    assert set(pooling) <= set(parts.fp32_layers)  # it has a scale of its own, too


def test_what_a_held_layer_reads_through_a_concatenation_is_written_in_fp32() -> None:
    model = detector_graph()
    parts = float_parts(model, "int8", graph=GraphMap(model), left=frozenset({"base.1.b"}))  # reads [base.1.a, base.0]
    joins = node_of("base.1.in", model)
    assert {"base.1.b", joins} <= set(parts.fp32_layers)
    assert node_of("base.1.out", model) not in parts.fp32_layers  # which nothing that is held reads
    assert set(parts.fp32_outputs) == {node_of("base.0.relu", model), node_of("base.1.a.relu", model), *HEADS}


def test_nothing_else_in_front_of_a_layer_that_stays_int8_is_held() -> None:
    model = detector_graph()
    parts = float_parts(model, "int8", graph=GraphMap(model), left=frozenset({FIRST}))
    operators = {node.name: node.op_type for node in model.graph.node}
    assert [name for name in parts.fp32_layers if operators[name] == "Conv"] == [FIRST]
    assert not {node_of(name, model) for name in ("base.1.in", "base.1.out")}.intersection(parts.fp32_layers)


def test_the_last_feature_map_of_a_backbone_leaves_through_its_relu() -> None:
    model = backbone_graph()
    parts = float_parts(model, "int8", graph=GraphMap(model))
    assert parts.fp32_outputs == (node_of("base.2.relu", model),)


@pytest.mark.parametrize("model", [detector_graph(), detector_graph(outputs="raw")], ids=["detections", "raw"])
def test_without_scales_only_the_islands_are_held(model: onnx.ModelProto) -> None:
    assert float_parts(model, "fp16") == float_parts(model, "int8") == FloatParts(fp32_layers=float32_islands(model))
    assert float_parts(model, "fp32") == FloatParts()
