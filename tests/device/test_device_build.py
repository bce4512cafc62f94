from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from device_builds import NMS, graph, module, plugin_node, precision_of, refused
from simulated_device import ADA, EVERY_FAMILY, NANO, NEWEST, PASCAL
from simulated_tensorrt import make
from small_int8 import LAYERS

from hardnet_deploy.device import run_engine
from hardnet_deploy.device.run_engine import EngineError, build, layer_precisions

WITH_FLAGS = pytest.mark.parametrize("device", [NANO, ADA], ids=["8.2", "10"])


@EVERY_FAMILY
def test_every_family_builds_a_plan_and_says_all_that_is_promised(device: tuple[str, str]) -> None:
    lines: list[tuple[str, str]] = []
    built = build(module(device), graph(), {}, log=lambda *line: lines.append(line))
    assert set(built) == {
        "plan", "layers", "timing_cache", "log", "notes", "tensorrt", "missing_ranges", "unmatched_layers",
        "requested", "achieved", "may_stay_float",
    }  # fmt: skip
    assert isinstance(built["plan"], bytes)
    assert built["tensorrt"] == f"{make(*device).__version__}"
    assert set(layer_precisions(built["layers"]).values()) <= {"fp32", "int32", "int64"}
    assert isinstance(built["timing_cache"], bytes)
    assert built["notes"] == built["missing_ranges"] == built["unmatched_layers"] == []
    assert [f"[{severity}] {text}" for severity, text in lines] == built["log"]


@WITH_FLAGS
def test_the_nms_stays_in_fp32_beside_fp16_without_being_asked(device: tuple[str, str]) -> None:
    built = build(module(device), graph(), {"precision": "fp16"})
    assert precision_of(built, LAYERS[1]) == "fp16"
    assert precision_of(built, plugin_node()) == "fp32"


@WITH_FLAGS
def test_asked_layers_stay_in_fp32_and_unknown_names_are_told(device: tuple[str, str]) -> None:
    built = build(module(device), graph(), {"precision": "fp16", "fp32_layers": [LAYERS[1], "nobody", "base"]})
    assert (precision_of(built, LAYERS[1]), precision_of(built, LAYERS[2])) == ("fp32", "fp16")
    assert built["unmatched_layers"] == ["base", "nobody"]
    assert "base, nobody" in built["notes"][0]


@WITH_FLAGS
def test_asked_outputs_are_written_in_fp32_by_layers_that_compute_in_less(device: tuple[str, str]) -> None:
    settings = {"precision": "fp16", "fp32_layers": [LAYERS[2]], "fp32_outputs": [LAYERS[1], LAYERS[2], "nobody"]}
    built = build(module(device), graph(), settings)
    assert (precision_of(built, LAYERS[1]), precision_of(built, LAYERS[2])) == ("fp16", "fp32")
    assert built["unmatched_layers"] == ["nobody"]
    assert built["plan"] != build(module(device), graph(), {**settings, "fp32_outputs": []})["plan"]


def test_fp16_on_a_gpu_that_is_slow_at_it_is_built_and_said() -> None:
    assert any("no fast FP16" in note for note in build(module(PASCAL), graph(), {"precision": "fp16"})["notes"])


@pytest.mark.parametrize(
    ("name", "node"),
    [
        ("conv", "conv"),
        ("conv_1", "conv_1"),
        ("conv_7", "conv"),
        ("(Unnamed Layer* 3) [Shuffle]", "softmax"),
        ("helper", None),
    ],
)
def test_a_layer_is_traced_to_its_node(name: str, node: str | None) -> None:
    origins = run_engine._Origins(
        [run_engine.Node(name, "Op", (f"{name}.out",)) for name in ("conv", "conv_1", "softmax")]
    )
    tensor = SimpleNamespace(name="softmax.out" if "Unnamed" in name else "of a helper")
    layer = SimpleNamespace(name=name, num_outputs=1, get_output=lambda _index: tensor)
    assert origins.of(layer, set()) == node


REFUSALS = [
    (NANO, {"precision": "int8", "dynamic_ranges": {"images": [-1, 1]}}, 3, "no hardware for INT8"),
    (PASCAL, {"precision": "int8"}, 2, "INT8 needs a calibration"),
    (NANO, {"typed": True}, 3, "no strongly typed networks"),
    (NEWEST, {"precision": "fp16"}, 3, "takes fp16 from the graph only"),
    (ADA, {"typed": True, "dynamic_ranges": {"images": [-1, 1]}}, 2, "carries its INT8 scales itself"),
    (NANO, {"batch": [1, 2, 4]}, 2, "fixed batch 1"),
    (NANO, {"batch": [2, 1, 4]}, 2, "no range"),
    (NANO, {"precision": "fp8"}, 2, "'fp8' is none"),
    (NANO, {"presicion": "fp16"}, 2, "no build setting is called presicion"),
    (NANO, {"timing_cache_locked": True}, 3, "cannot refuse a timing cache miss"),
    (("10.9", "gtx-1080ti"), {}, 3, "Unsupported SM: 0x601"),
]


@pytest.mark.parametrize(("device", "settings", "code", "said"), REFUSALS, ids=lambda value: str(value)[:40])
def test_the_impossible_is_refused_with_its_reason(
    device: tuple[str, str], settings: dict[str, Any], code: int, said: str
) -> None:
    error = refused(device, settings)
    assert (error.code, said in error.what) == (code, True), error.what
    assert error.next_step


def test_a_dynamic_batch_needs_its_range() -> None:
    assert "dynamic batch" in refused(NANO, {}, content=graph(None)).what


@EVERY_FAMILY
def test_a_node_that_the_parser_refuses_is_named_with_its_operator_and_the_fix(device: tuple[str, str]) -> None:
    error = refused(device, {}, nms_plugin=False)
    assert error.code == 4
    assert f"node '{plugin_node()}' ({NMS})" in error.what
    assert "JetPack 4.6.1" in error.next_step
    assert error.log


def test_what_is_no_onnx_file_is_one_sentence() -> None:
    assert refused(NANO, {}, content=b"no onnx").code == 4


@pytest.mark.parametrize("device", [NANO, PASCAL], ids=["max_workspace_size", "memory pool"])
def test_the_workspace_reaches_the_builder_and_its_log_is_kept(device: tuple[str, str]) -> None:
    needed = 64 << 20
    build(module(device, workspace_needed=needed), graph(), {"workspace_bytes": needed})
    error = refused(device, {"workspace_bytes": 1 << 20}, workspace_needed=needed)
    assert "Could not find any implementation for node" in error.what
    assert "--workspace" in error.next_step
    assert any("insufficient" in line for line in error.log)


def test_a_timing_cache_is_given_back_and_holds_a_locked_build() -> None:
    locked = {"timing_cache_locked": True}
    assert "timing cache" in refused(ADA, locked).what
    first = build(module(ADA), graph(), {})["timing_cache"]
    assert build(module(ADA), graph(), {**locked, "timing_cache": first})["timing_cache"] == first
    other = build(module(PASCAL), graph(), {"timing_cache": first})
    assert "another TensorRT or GPU" in other["notes"][0]
    assert build(module(PASCAL), graph(), {"timing_cache": b"rubbish"})["notes"] == other["notes"]


def test_progress_is_told_where_the_api_has_it() -> None:
    told: list[tuple[str, int, int]] = []
    build(module(ADA), graph(), {}, progress=lambda *step: told.append(step))
    assert told
    assert all(0 <= done <= total for _, done, total in told)
    before = len(told)
    build(module(PASCAL), graph(), {}, progress=lambda *step: told.append(step))
    assert len(told) == before


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), ValueError("of a test")])
def test_a_fault_in_the_progress_cancels_the_build_and_comes_out_after_it(fault: BaseException) -> None:
    def progress(_title: str, done: int, _total: int) -> None:
        if done:
            raise fault

    with pytest.raises(type(fault)) as caught:
        build(module(ADA), graph(), {}, progress=progress)
    assert caught.value is fault


def test_a_listener_that_fails_does_not_stop_the_build() -> None:
    def log(_severity: str, _text: str) -> None:
        raise ValueError("of a test")

    assert build(module(NANO), graph(), {}, log=log)["plan"]


def test_the_nodes_of_a_graph_are_read_without_the_onnx_package() -> None:
    model = onnx.load_model_from_string(graph())
    assert run_engine.onnx_nodes(graph()) == [
        run_engine.Node(node.name, node.op_type, tuple(node.output), tuple(node.input)) for node in model.graph.node
    ]


@pytest.mark.parametrize("content", [b"", b"no onnx", bytes(range(256)), graph()[:-7]])
def test_what_is_no_graph_has_no_nodes(content: bytes) -> None:
    assert run_engine.onnx_nodes(content) == []


@pytest.mark.parametrize(
    ("tensor", "precision"),
    [
        ({"Format/Datatype": "Row major linear FP32"}, "fp32"),
        ({"Format/Datatype": "Two wide channel vectorized row major FP16 format"}, "fp16"),
        ({"Format/Datatype": "Four wide channel vectorized row major Int8 format"}, "int8"),
        ({"Format": "Row major linear", "Datatype": "Half"}, "fp16"),
        ({"Format": "Row major linear", "Datatype": "Float"}, "fp32"),
        ({"Format": "Row major linear", "Datatype": "BFloat16"}, "bf16"),
    ],
)
def test_both_forms_of_the_inspector_are_read(tensor: dict[str, str], precision: str) -> None:
    layers = [{"Name": "a", "Inputs": [tensor], "Outputs": []}, "only a name"]
    assert layer_precisions(json.dumps({"Layers": layers})) == {"a": precision}
    weighted = {"Name": "a", "Inputs": [tensor], "Outputs": [], "Weights": {"Type": "Int8", "Count": 1}}
    assert layer_precisions(json.dumps({"Layers": [weighted]})) == {"a": "int8"}
    assert layer_precisions(None) == {}


def test_types_need_no_nptype() -> None:
    trt = module(NEWEST)
    assert run_engine.numpy_dtype(trt, trt.DataType.BOOL) == "bool"
    assert {np.dtype(name).name for name in run_engine.DATA_TYPES.values()} == set(run_engine.DATA_TYPES.values())
    with pytest.raises(EngineError, match="NumPy does not know"):
        run_engine.numpy_dtype(trt, trt.DataType.BF16)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"Layers": [{"Name": "a", "Inputs": [1]}]}'], ids=["cut", "list", "number"]
)
def test_a_plan_is_not_lost_where_the_inspector_says_something_else(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    trt = module(NANO)
    monkeypatch.setattr(trt.EngineInspector, "get_engine_information", lambda *_given: text)
    built = run_engine.build(trt, graph(), {})
    assert built["plan"]
    assert built["layers"] is None
    assert "the engine inspector says of the layers cannot be read" in built["notes"][0]
