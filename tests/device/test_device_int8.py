from __future__ import annotations

import dataclasses
import struct
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from device_builds import graph, module, nodes, plugin_node, precision_of, refused
from quantised_graphs import written
from simulated_device import ADA, NANO, NEWEST, PASCAL, pixels, simulated
from small_int8 import DETECTOR, HEADS, LAYERS, detector_graph

from calibration.trt_cache import header_for, write_cache
from hardnet_deploy.device import run_engine
from hardnet_deploy.device.run_engine import Engine, EngineError, build, to_input

HEADER = b"TRT-8601-EntropyCalibration2\n"


def scales() -> dict[str, float]:
    """A scale for every tensor but those of the constants."""
    return {name: 0.01 for node in nodes().values() for name in (*node.outputs, "images")}


def cache_of(version: tuple[int, int, int], **left_out: Any) -> bytes:
    kept = {name: scale for name, scale in scales().items() if name not in left_out}
    return write_cache(kept, header_for(*version)).encode()


def test_int8_takes_a_cache_of_this_version() -> None:
    built = build(module(PASCAL), graph(), {"precision": "int8", "calibration_cache": cache_of((8, 6, 1))})
    assert precision_of(built, LAYERS[1]) == "int8"
    assert precision_of(built, plugin_node()) == "fp32"
    assert built["missing_ranges"] == []


@pytest.mark.parametrize("version", [(8, 2, 1), (8, 6, 0), (10, 9, 0)])
def test_a_cache_of_another_version_is_refused_before_tensorrt_ignores_it(version: tuple[int, int, int]) -> None:
    error = refused(PASCAL, {"precision": "int8", "calibration_cache": cache_of(version)})
    assert error.code == 8
    assert str(header_for(*version)) in error.what
    assert "TRT-8601-EntropyCalibration2" in error.what


def test_the_header_is_the_one_that_the_host_writes() -> None:
    for version in ((8, 2, 1), (8, 6, 1), (10, 0, 1), (10, 16, 1)):
        text = ".".join(str(part) for part in version)
        for told in (text, f"{text}.8", f"{text}+simulated"):
            assert run_engine.cache_header(SimpleNamespace(__version__=told)) == str(header_for(*version))


DAMAGED = (b"", b"no cache", *(HEADER + rest for rest in (b"", b"a: xyz\n", b"a: ffffffff\n", b"a: bf800000\n")))


@pytest.mark.parametrize("cache", DAMAGED)
def test_a_damaged_cache_is_refused(cache: bytes) -> None:
    with pytest.raises(EngineError) as caught:
        run_engine.read_calibration_cache(cache, "TRT-8601-EntropyCalibration2")
    assert caught.value.code == 4


def test_a_cache_gives_127_scales() -> None:
    content = b"TRT-8601-EntropyCalibration2\na: b: 3c010204\nzero: 0\n"
    assert run_engine.read_calibration_cache(content, "TRT-8601-EntropyCalibration2") == {
        "a: b": 127 * struct.unpack(">f", bytes.fromhex("3c010204"))[0],
        "zero": 0.0,
    }


def test_dynamic_ranges_fill_what_the_cache_leaves_out() -> None:
    left = "base.1.in"
    settings: dict[str, Any] = {"precision": "int8", "calibration_cache": cache_of((8, 6, 1), **{left: None})}
    without = build(module(PASCAL), graph(), settings)
    assert without["missing_ranges"] == [left]
    assert left in without["notes"][-1]
    filled = build(module(PASCAL), graph(), {**settings, "dynamic_ranges": {left: [-1.0, 1.27]}})
    assert filled["missing_ranges"] == []
    assert without["plan"] != filled["plan"]


@pytest.mark.parametrize("device", [PASCAL, ADA])
def test_dynamic_ranges_alone_are_enough(device: tuple[str, str]) -> None:
    ranges = {name: [-127 * scale, 127 * scale] for name, scale in scales().items()}
    built = build(module(device), graph(), {"precision": "int8", "dynamic_ranges": ranges})
    assert precision_of(built, LAYERS[1]) == "int8"


def test_a_renamed_tensor_finds_its_range() -> None:
    origins = run_engine._Origins([run_engine.Node("fc", "Gemm", ("logits",))])
    made = run_engine._Build(module(PASCAL), b"", run_engine._checked({}), run_engine._logger(module(PASCAL)))
    types = made.trt.LayerType
    renamed = SimpleNamespace(name="fc", num_outputs=1, type=types.CONVOLUTION, num_inputs=0)
    assert made._bound_of_renamed(renamed, {"logits": 3.0}, origins) == 3.0
    source = SimpleNamespace(name="before")
    shuffle = SimpleNamespace(
        name="(Unnamed Layer* 1) [Shuffle]", num_outputs=1, type=types.SHUFFLE, num_inputs=1, get_input=lambda _: source
    )
    assert made._bound_of_renamed(shuffle, {"before": 2.0}, origins) == 2.0
    shuffle.type = types.CONVOLUTION
    assert made._bound_of_renamed(shuffle, {"before": 2.0}, origins) is None


COARSE = 0.25


def head_outputs(monkeypatch: pytest.MonkeyPatch, *, ranges: bool = True, **settings: Any) -> dict[str, Any]:
    """``loc`` and ``conf`` of an INT8 engine; with ranges, those of the heads' outputs are coarse."""
    content = bytes(detector_graph(outputs="raw").SerializeToString())
    tensors = [name for node in run_engine.onnx_nodes(content) for name in node.outputs]
    heads = {f"{name}.conv" for name in HEADS}
    bounds = {name: 127 * (COARSE if name in heads else 0.05) for name in [*tensors, "images"]}
    bounds["images"] = 130.0
    given = {name: [-bound, bound] for name, bound in bounds.items() if ranges or name not in heads}
    with simulated(monkeypatch, *PASCAL) as here:
        built = build(here.trt, content, {"precision": "int8", "dynamic_ranges": given, **settings})
        assert built["unmatched_layers"] == []
        with Engine(here.trt, here.cuda, built["plan"]) as engine:
            images = to_input(pixels(1), dataclasses.asdict(DETECTOR.preprocess))
            return dict(engine.infer({"images": images}))


def test_the_outputs_of_the_heads_are_not_rounded_to_8_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    rounded = head_outputs(monkeypatch)
    kept = head_outputs(monkeypatch, fp32_outputs=HEADS)
    without = head_outputs(monkeypatch, ranges=False)
    for name in ("loc", "conf"):
        on_grid = rounded[name] / COARSE
        np.testing.assert_array_equal(on_grid, np.round(on_grid))
        assert (kept[name] != rounded[name]).any()
        np.testing.assert_array_equal(kept[name], without[name])


@cache
def with_qdq() -> bytes:
    return bytes(written("int8").SerializeToString())


@pytest.mark.parametrize(
    ("device", "typed"), [(PASCAL, False), (ADA, False), (ADA, True), (NEWEST, True), (NEWEST, False)]
)
def test_a_graph_with_qdq_brings_its_own_scales(device: tuple[str, str], typed: bool) -> None:
    precision = "fp32" if device == NEWEST and not typed else "int8"  # 11 is typed without being asked
    built = build(module(device), with_qdq(), {"precision": precision, "typed": typed})
    assert "int8" in run_engine.layer_precisions(built["layers"]).values()
    assert built["missing_ranges"] == []


def test_a_calibration_beside_qdq_would_be_ignored_and_is_refused() -> None:
    error = refused(PASCAL, {"precision": "int8", "calibration_cache": cache_of((8, 6, 1))}, content=with_qdq())
    assert error.code == 2
    assert "Q/DQ" in error.what


def test_a_graph_with_qdq_is_int8_and_must_be_called_so() -> None:
    error = refused(PASCAL, {}, content=with_qdq())
    assert (error.code, error.next_step) == (2, "build it with precision int8")


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_qdq_on_a_gpu_without_int8_is_refused(precision: str) -> None:
    error = refused(NANO, {"precision": precision}, content=with_qdq())
    assert error.code == 3
    assert "fp16" in error.next_step
