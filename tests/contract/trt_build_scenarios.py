"""Builds: every precision, way of calibration, kind of batch and timing cache, and every way a build fails."""

from __future__ import annotations

import inspect
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from trt_scenarios import Scenario
from trt_world import TENSORS, World

from hardnet_deploy.engines import trt_api

ALL: Final = ("8.2", "8.6", "10", "11")
WEAK: Final = ("8.2", "8.6", "10")
NO_TYPES: Final = ("8.2", "8.6")
VERSIONED: Final = ("8.2", "8.6", "10")
RANGES: Final = {"images": [-1.0, 1.0], "features": [0.0, 2.0], "weights": [0.0, 0.0]}


def graph() -> bytes:
    """An ONNX file whose nodes are called as the layers of ``trt_world``."""
    convolution = helper.make_node("Conv", ["images", "weights"], ["features"], name="features.0")
    softmax = helper.make_node("Softmax", ["features"], ["scores"], name="softmax")
    plugin = helper.make_node(
        "EfficientNMS_TRT",
        ["scores"],
        [tensor.name for tensor in TENSORS if not tensor.is_input],
        name="nms",
        domain="TRT",
    )
    kernel = numpy_helper.from_array(np.ones((1, 3, 1, 1), np.float32), "weights")
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 4, 4])
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in plugin.output]
    made = helper.make_graph([convolution, softmax, plugin], "contract", [images], outputs, [kernel])
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("TRT", 1)]
    content: bytes = helper.make_model(made, opset_imports=opsets).SerializeToString()
    assert onnx.load_from_string(content).graph.node[0].name == "features.0"
    return content


ONNX: Final = graph()


def _build(**settings: Any) -> Any:
    def run(run_engine: Any, trt: Any) -> None:
        said: list[str] = []
        given = dict(settings)
        if given.get("calibration_cache") == "of this version":
            given["calibration_cache"] = (run_engine.cache_header(trt) + "\nimages: 3c010204\n").encode()
        built = run_engine.build(
            trt,
            ONNX,
            given,
            lambda severity, message: said.append(severity + message),
            lambda *_step: said.append("step"),
        )
        assert built["plan"], "the plan is empty"
        assert said, "the log reached nobody"

    return run


def world_with(*faults: str, dynamic: bool = False, resizable: bool = False) -> Any:
    """Makes a fresh world for a scenario, in which these calls fail."""
    return lambda: World(frozenset(faults), dynamic=dynamic, resizable=resizable)


BUILDS: Final = (
    Scenario("fp32", _build(precision="fp32", workspace_bytes=1 << 20)),
    Scenario("fp16", _build(precision="fp16", fp32_layers=["softmax", "of nobody"]), refused=("11",)),
    Scenario("fp16, outputs in fp32", _build(precision="fp16", fp32_outputs=["features.0"]), refused=("11",)),
    Scenario("fp16, slow", _build(precision="fp16"), refused=("11",), world=world_with("platform_has_fast_fp16")),
    Scenario("int8 from a cache", _build(precision="int8", calibration_cache="of this version"), refused=("11",)),
    Scenario(
        "int8 from a cache and ranges",
        _build(precision="int8", calibration_cache="of this version", dynamic_ranges=RANGES, batch=[1, 1, 2]),
        refused=("11",),
        world=world_with(dynamic=True),
    ),
    Scenario(
        "int8 from ranges", _build(precision="int8", dynamic_ranges=RANGES, fp32_layers=["softmax"]), refused=("11",)
    ),
    Scenario(
        "int8 with ranges missing", _build(precision="int8", dynamic_ranges={"features": [0.0, 2.0]}), refused=("11",)
    ),
    Scenario(
        "int8 without hardware", _build(precision="int8"), refused=ALL, world=world_with("platform_has_fast_int8")
    ),
    Scenario("typed", _build(typed=True, precision="fp16"), refused=NO_TYPES),
    Scenario("dynamic batch", _build(batch=[1, 1, 2]), world=world_with(dynamic=True)),
    Scenario("dynamic batch without a profile", _build(), refused=ALL, world=world_with(dynamic=True)),
    Scenario("dynamic size", _build(batch=[1, 1, 2]), refused=ALL, world=world_with(dynamic=True, resizable=True)),
    Scenario("timing cache", _build(timing_cache=b"of an earlier build")),
    Scenario(
        "locked timing cache", _build(timing_cache=b"of an earlier build", timing_cache_locked=True), refused=NO_TYPES
    ),
    Scenario("foreign timing cache", _build(timing_cache=b"of another GPU"), world=world_with("combine")),
    Scenario("no timing cache", _build(), world=world_with("create_timing_cache")),
    Scenario("no driver", _build(), refused=ALL, world=world_with("Builder")),
    Scenario("no runtime for the plan", _build(), refused=ALL, world=world_with("Runtime")),
    Scenario("a graph that the parser refuses", _build(), refused=ALL, world=world_with("parse")),
    Scenario("a build that fails", _build(), refused=ALL, world=world_with("build_serialized_network")),
    Scenario("a plan that does not load", _build(), world=world_with("deserialize_cuda_engine")),
)


def _plugins(run_engine: Any, trt: Any) -> None:
    assert "EfficientNMS_TRT" in run_engine.plugin_names(trt)


def _data_types(run_engine: Any, trt: Any) -> None:
    assert run_engine.numpy_dtype(trt, trt.DataType.HALF) == "float16"


def _host_questions(_run_engine: Any, trt: Any) -> None:
    """Every function of the host's module that takes TensorRT's and nothing else."""
    for name, function in inspect.getmembers(trt_api, inspect.isfunction):
        if not name.startswith("_") and len(inspect.signature(function).parameters) == 1:
            assert function(trt)


QUESTIONS: Final = (
    Scenario("plugins", _plugins),
    Scenario("data types", _data_types),
    Scenario("the host's questions", _host_questions),
)
