"""Figures of one tensor over several batches: cosine and SQNR, and what they are worth where they have no meaning."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from hardnet_deploy.evaluate.tensors import TensorComparison, TensorParity, compare_tensor
from hardnet_deploy.evaluate.tolerances import BY_PRECISION, Tolerance, least_precision

STRICT = Tolerance(atol=0.1, rtol=0.0, why="round numbers for the tests")


def compare(reference: list[float], candidate: list[float], tolerance: Tolerance | None = STRICT) -> TensorParity:
    return compare_tensor("x", np.array(reference), np.array(candidate), tolerance, case="test")


def test_sqnr_is_the_ratio_of_energies_in_decibels() -> None:
    result = compare([3.0, 4.0], [3.0, 4.5])
    assert result.sqnr_db == pytest.approx(10 * math.log10(25 / 0.25))
    assert result.sqnr_text == "20.0 dB"


def test_cosine_does_not_see_scale_and_sees_sign() -> None:
    assert compare([1.0, 2.0], [2.0, 4.0]).cosine == pytest.approx(1.0)
    assert compare([1.0, 2.0], [-1.0, -2.0]).cosine == pytest.approx(-1.0)
    assert compare([1.0, 0.0], [0.0, 1.0]).cosine == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("reference", "candidate", "word"),
    [
        ([1.0, 2.0], [1.0, 2.0], "exact"),
        ([0.0, 0.0], [0.0, 0.0], "exact"),
        ([0.0, 0.0], [0.0, 1.0], "no signal"),
        ([0.0, 1.0], [0.0, math.nan], "not finite"),
        ([0.0, 1.0], [0.0, math.inf], "not finite"),
    ],
)
def test_where_there_is_no_number_there_is_a_word(reference: list[float], candidate: list[float], word: str) -> None:
    result = compare(reference, candidate)
    assert result.sqnr_db is None
    assert result.sqnr_text == word
    assert json.loads(json.dumps(result.as_dict(), allow_nan=False))["sqnr"] == word


def test_batches_add_up_to_what_they_are_together() -> None:
    draw = np.random.default_rng(0)
    reference = draw.normal(size=(6, 5)).astype(np.float32)
    candidate = reference + draw.normal(0, 0.05, reference.shape).astype(np.float32)
    comparison = TensorComparison("x", STRICT, case="test")
    for start in (0, 2, 4):
        comparison.add(reference[start : start + 2], candidate[start : start + 2])
    apart, together = comparison.result(), compare_tensor("x", reference, candidate, STRICT, case="test")
    assert apart.compared == together.compared == 30
    assert apart.violations == together.violations
    for name in ("max_abs", "max_rel", "cosine", "sqnr_db"):
        assert getattr(apart, name) == pytest.approx(getattr(together, name))


def test_one_bad_batch_spoils_the_tensor() -> None:
    comparison = TensorComparison("x", STRICT, case="test")
    comparison.add(np.ones(3), np.ones(3))
    comparison.add(np.ones(3), np.ones(4))
    comparison.add(np.ones(3), np.ones(3))
    result = comparison.result()
    assert not result.ok
    assert result.max_abs == math.inf


def test_no_batch_is_no_comparison() -> None:
    assert not TensorComparison("x", STRICT, case="test").result().ok


def test_without_a_tolerance_only_what_is_no_number_fails() -> None:
    assert compare([1.0], [1e9], tolerance=None).ok
    assert not compare([1.0], [math.nan], tolerance=None).ok
    json.dumps(compare([1.0], [2.0], tolerance=None).as_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("names", "precision"),
    [
        (["fp32", "fp32"], "fp32"),
        (["fp16", "fp32"], "fp16"),
        (["float16"], "fp16"),
        (["fp16", "INT8", "fp32"], "int8"),
        (["uint8"], "int8"),
        ([], "fp32"),
        (["something"], "fp32"),
    ],
)
def test_an_engine_is_judged_by_its_lowest_precision(names: list[str], precision: str) -> None:
    assert least_precision(names) == precision


def test_less_precision_is_allowed_more_and_int8_has_no_gate_on_values() -> None:
    fp32, fp16, int8 = (BY_PRECISION[name] for name in ("fp32", "fp16", "int8"))
    assert fp32.inner.rtol < fp16.inner.rtol < int8.inner.rtol
    assert fp32.shown.share > fp16.shown.share > int8.shown.share
    assert fp32.outputs is not None
    assert fp16.outputs is not None
    assert int8.outputs is None
