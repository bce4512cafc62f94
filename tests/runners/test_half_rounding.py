"""fp16-typed graphs run in ONNX Runtime as a device that stores float16 runs them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from half_graphs import CHANNELS, FULL, HALF, l2norm_graph, without_islands
from onnx import helper, numpy_helper
from quantised_graphs import detector

from hardnet_deploy.export.half import to_half
from hardnet_deploy.runners.graph import cut
from hardnet_deploy.runners.half_rounding import is_half_typed, rounded_to_half
from hardnet_deploy.runners.ort import OrtRunner

RMS_OF_OVERFLOW = float(np.sqrt(np.finfo(np.float16).max / CHANNELS))
"""14.3: a channel RMS from which the sum of squares over 320 channels leaves float16."""
SAME_ROUNDING = 2.0**-10
"""Of a value: two roundings to 11 bits that began a float32 rounding apart may differ in the last bit."""


def naive_norm() -> onnx.ModelProto:
    with without_islands():
        return to_half(l2norm_graph()).model


def images(rms: float) -> np.ndarray:
    return np.full((1, CHANNELS, 2, 2), rms, np.float32)


def run(model: onnx.ModelProto, value: np.ndarray, *extra: str) -> dict[str, np.ndarray]:
    with np.errstate(invalid="ignore", over="ignore"):
        return OrtRunner(model, extra_outputs=extra).infer({"images": value})


@pytest.mark.parametrize("factor", [1.05, 1.5, 100.0])
def test_a_naive_l2norm_overflows_and_ours_does_not(factor: float) -> None:
    value = images(RMS_OF_OVERFLOW * factor)
    wanted = run(l2norm_graph(), value)["logits"]
    naive = run(naive_norm(), value, "norm.sum")
    assert np.isinf(naive["norm.sum"]).all()
    assert np.abs(naive["logits"] - wanted).min() > 0.9 * np.abs(wanted).min()
    ours = run(to_half(l2norm_graph()).model, value)["logits"]
    np.testing.assert_allclose(ours, wanted, rtol=2 * SAME_ROUNDING)


def test_below_the_overflow_both_hold() -> None:
    value = images(RMS_OF_OVERFLOW * 0.9)
    wanted = run(l2norm_graph(), value)["logits"]
    for model in (naive_norm(), to_half(l2norm_graph()).model):
        np.testing.assert_allclose(run(model, value)["logits"], wanted, rtol=4 * SAME_ROUNDING)


def test_an_all_zero_pixel_is_nan_where_epsilon_is_float16_and_zero_in_ours() -> None:
    assert np.isnan(run(naive_norm(), images(0))["logits"]).all()
    np.testing.assert_array_equal(run(to_half(l2norm_graph()).model, images(0))["logits"], 0)


def test_every_float16_tensor_holds_numbers_of_float16() -> None:
    model = to_half(detector()).model
    value = np.random.default_rng(0).normal(0, 1, (1, 3, 32, 32)).astype(np.float32)
    names = ["images.fp16", "stem", "stem.relu", "joined", "exit", "norm.fp16", "loc.head", "loc.fp16"]
    found = run(model, value, *names, "norm", "boxes")
    for name in names:
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], found[name].astype(np.float16))
    for name in ("norm", "boxes"):  # float32 inside
        assert not np.array_equal(found[name], found[name].astype(np.float16))


def test_it_computes_what_numpy_computes_with_rounding() -> None:
    draw = np.random.default_rng(1)
    weight, bias = draw.normal(0, 0.3, (4, 3)).astype(np.float16), draw.normal(0, 1, 4).astype(np.float16)
    nodes = [
        helper.make_node("Cast", ["images"], ["h"], "in", to=HALF),
        helper.make_node("MatMul", ["h", "w"], ["m"], "m"),
        helper.make_node("Add", ["m", "b"], ["a"], "a"),
        helper.make_node("Cast", ["a"], ["y"], "out", to=FULL),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("images", FULL, [2, 3])],
        [helper.make_tensor_value_info("y", FULL, [2, 4])],
        [numpy_helper.from_array(weight.T.copy(), "w"), numpy_helper.from_array(bias, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    value = draw.normal(0, 1, (2, 3)).astype(np.float32)
    product = (value.astype(np.float16).astype(np.float32) @ weight.T.astype(np.float32)).astype(np.float16)
    np.testing.assert_allclose(run(model, value)["y"], product + bias, rtol=SAME_ROUNDING)


def test_the_runner_says_so_and_the_model_stays() -> None:
    model = to_half(detector()).model
    before = model.SerializeToString(deterministic=True)
    assert "rounded to float16" in OrtRunner(model).name
    assert "rounded" not in OrtRunner(detector()).name
    assert model.SerializeToString(deterministic=True) == before


def test_outputs_that_were_float16_come_as_float32() -> None:
    part = cut(to_half(detector()).model, ["stem"])
    assert is_half_typed(part)
    made = rounded_to_half(part)
    assert not is_half_typed(made)
    onnx.checker.check_model(made)
    assert made.graph.output[0].type.tensor_type.elem_type == FULL


def test_a_float32_graph_is_not_half_typed() -> None:
    assert not is_half_typed(detector())
    assert is_half_typed(to_half(detector()).model)
