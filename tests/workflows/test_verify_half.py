"""An fp16-typed graph is held against its float32 graph before anyone gets it."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from half_graphs import at_opset, quantised, without_islands
from onnx import numpy_helper
from quantised_graphs import detector
from small_int8 import DETECTOR, backbone_graph, changed, detector_graph

from hardnet_deploy.evaluate.tolerances import DECODED_IN_FP32, FP16_AGAINST_FP32
from hardnet_deploy.export.half import to_half
from hardnet_deploy.workflows.verify_half import DECODING, END_TO_END, HalfVerification, verify_half

LEAST_SQNR = 40.0
"""In decibels: of a few layers rounded to 11 bits, each some 70 dB."""


def verify(full: onnx.ModelProto, half: onnx.ModelProto | None = None, batch: int | None = 1) -> HalfVerification:
    return verify_half(full, to_half(full).model if half is None else half, DETECTOR.preprocess, batch=batch)


@pytest.mark.parametrize("nms", ["efficient", "onnx"])
def test_a_detector_passes_and_says_how_far_it_is_off(nms: str) -> None:
    found = verify(detector_graph(nms=nms))  # type: ignore[arg-type]
    assert found.ok
    assert found.failures() == ()
    judged = {one.name: one for one in found.tensors if one.tolerance is FP16_AGAINST_FP32}
    assert set(judged) == {"loc", "conf"}
    assert all(one.sqnr_db is not None and one.sqnr_db > LEAST_SQNR and one.max_abs > 0 for one in judged.values())
    decoded = [one for one in found.tensors if one.tolerance is DECODED_IN_FP32]
    assert {one.name for one in decoded} == {"boxes", "scores"}
    assert all(one.case.endswith(DECODING) for one in decoded)
    assert {one.name for one in found.tensors if one.tolerance is None} == {"boxes", "scores"}
    assert found.noisiest.sqnr_db == min(
        one.sqnr_db or 0 for one in found.tensors if one.tolerance is FP16_AGAINST_FP32
    )
    assert "rounded to float16" in found.runner


@pytest.mark.parametrize(
    ("model", "names"),
    [(detector_graph(outputs="raw"), {"loc", "conf"}), (backbone_graph(), {"logits"})],
    ids=["raw", "backbone"],
)
def test_graphs_without_decoding(model: onnx.ModelProto, names: set[str]) -> None:
    found = verify(model)
    assert found.ok
    assert {one.name for one in found.tensors} == names


def test_a_dynamic_batch_is_run_at_one_and_two() -> None:
    found = verify(detector_graph(nms="onnx", batch=None), batch=None)
    assert found.ok
    assert found.batches == (1, 2)
    assert len({one.case for one in found.tensors if one.tolerance is FP16_AGAINST_FP32}) == 4


def test_int8_and_fp16_together_are_reported_against_int8_alone() -> None:
    """A value near the middle of two steps of int8 may go the other way, which is no fault of float16."""
    found = verify(quantised(opset=19))
    assert found.ok
    assert {one.tolerance for one in found.tensors} == {None, DECODED_IN_FP32}
    assert found.noisiest.name in {"loc", "conf"}
    assert found.noisiest.sqnr_db is not None


def test_int8_and_fp16_together_that_overflow_fail() -> None:
    full = changed(quantised(opset=19), "loc.head.bias", lambda value: np.full_like(value, 65504))
    full = changed(full, "loc.head.weight", lambda value: np.full_like(value, 2e4))
    found = verify(full)
    assert not found.ok
    assert any("'loc'" in sentence for sentence in found.failures())


def test_another_opset_gives_the_same_numbers() -> None:
    first, second = (verify(at_opset(detector(), opset)) for opset in (13, 20))
    assert [one.max_abs for one in first.tensors] == [one.max_abs for one in second.tensors]


def test_a_wrong_weight_fails_and_the_layer_is_named() -> None:
    full = detector_graph()
    half = to_half(full).model
    for tensor in half.graph.initializer:
        if tensor.name == "base.1.b.weight":
            tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))
    found = verify(full, half)
    assert not found.ok
    said = " ".join(found.failures())
    assert "'loc' (noise, batch 1) is off by" in said
    assert "first tensor that diverges is 'base.1.b.conv'" in said
    assert not any(one.case.endswith(DECODING) and not one.ok for one in found.tensors)


def test_a_tail_left_in_float16_fails_though_its_error_is_small() -> None:
    full = detector_graph(outputs="boxes")
    with without_islands():
        half = to_half(full).model
    found = verify(full, half)
    assert {one.name for one in found.tensors if not one.ok} & {"boxes", "scores"}
    assert all(one.ok for one in found.tensors if one.tolerance is FP16_AGAINST_FP32)


def test_an_overflow_between_layers_fails() -> None:
    full = changed(detector_graph(), "base.1.a.weight", lambda value: value * 1e4)
    found = verify(full)
    assert not found.ok
    assert found.divergence is not None
    assert found.divergence.error == np.inf
    assert not found.divergence.within
    record = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert record["ok"] is False


def test_what_is_not_finite_in_float32_either_is_skipped_and_said() -> None:
    """exp overflows in decoding, whatever the network computes in."""
    full = changed(detector_graph(outputs="boxes"), "loc.0.bias", lambda value: np.full_like(value, 6e3))
    found = verify(full)
    assert found.ok
    assert any("'boxes'" in text and END_TO_END in text for text in found.skipped)


def test_nothing_compared_is_a_failure() -> None:
    found = HalfVerification(runner="none", batches=(1,), tensors=())
    assert not found.ok
    assert found.failures() == ("nothing was compared",)


def test_an_l2norm_of_large_values_passes_and_a_naive_one_does_not() -> None:
    full = changed(detector(), "exit.weight", lambda value: value * 200)
    with without_islands():
        naive = to_half(full).model
    assert verify(full).ok
    found = verify(full, naive)
    assert not found.ok
    assert found.divergence is not None
    assert found.divergence.name == "norm.square"
