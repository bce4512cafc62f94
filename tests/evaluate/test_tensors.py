from __future__ import annotations

import json
import math

import numpy as np
import pytest

from hardnet_deploy.evaluate import tolerances
from hardnet_deploy.evaluate.tensors import compare_tensor, compare_tensors, first_divergence, relative_error
from hardnet_deploy.evaluate.tolerances import MatchTolerance, Tolerance

STRICT = Tolerance(atol=0.1, rtol=0.0, why="round numbers for the tests")
RELATIVE = Tolerance(atol=0.0, rtol=0.01, why="round numbers for the tests")
SCALED = Tolerance(atol=0.0, rtol=0.0, of_scale=0.1, why="round numbers for the tests")


@pytest.mark.parametrize(
    ("tolerance", "reference", "candidate", "violations"),
    [
        (STRICT, [0.0, 1.0], [0.09, 1.09], 0),
        (STRICT, [0.0, 1.0], [0.11, 1.0], 1),
        (RELATIVE, [0.0, 100.0], [0.0, 100.9], 0),
        (RELATIVE, [0.0, 100.0], [0.001, 100.0], 1),
        (SCALED, [0.0, 10.0], [0.9, 10.0], 0),
        (SCALED, [0.0, 10.0], [1.1, 10.0], 1),
        (STRICT, [0.0, 1.0], [math.nan, 1.0], 1),
        (STRICT, [math.nan, 1.0], [math.nan, 1.0], 1),
        (STRICT, [math.inf, 1.0], [math.inf, 1.0], 1),
    ],
)
def test_violations(tolerance: Tolerance, reference: list[float], candidate: list[float], violations: int) -> None:
    result = compare_tensor("x", np.array(reference), np.array(candidate), tolerance, case="test")
    assert result.violations == violations
    assert result.ok is (violations == 0)
    json.dumps(result.as_dict(), allow_nan=False)


@pytest.mark.parametrize("candidate", [np.zeros(3), np.zeros((2, 1)), np.zeros(0)])
def test_another_shape_is_all_violations_and_nothing_compared(candidate: np.ndarray) -> None:
    result = compare_tensor("x", np.zeros(2), candidate, STRICT, case="test")
    assert not result.ok
    assert result.compared == 0


def test_two_empty_tensors_are_not_equal_but_uncompared() -> None:
    assert not compare_tensor("x", np.zeros(0), np.zeros(0), STRICT, case="test").ok


def test_a_tensor_that_the_candidate_lacks_fails() -> None:
    found = compare_tensors({"a": np.ones(1), "b": np.ones(1)}, {"a": np.ones(1)}, STRICT, case="test")
    assert [(one.name, one.ok) for one in found] == [("a", True), ("b", False)]


def test_the_first_divergence_is_the_first_not_the_largest() -> None:
    one = np.ones(1)
    pairs = [("a", one, one), ("b", one, one * 1.02), ("c", one, one * 9)]
    found = first_divergence(pairs, RELATIVE)
    assert found is not None
    assert (found.name, found.within) == ("b", False)


def test_without_a_divergence_the_largest_error_is_named_as_within() -> None:
    one = np.ones(1)
    found = first_divergence([("a", one, one * 1.001), ("b", one, one * 1.005), ("c", one, one)], RELATIVE)
    assert found is not None
    assert (found.name, found.within) == ("b", True)
    assert first_divergence([], RELATIVE) is None


def test_relative_error_of_zeros_and_of_nan() -> None:
    assert relative_error(np.zeros(2), np.zeros(2)) == 0
    assert relative_error(np.zeros(2), np.full(2, 1e-9)) == math.inf
    assert relative_error(np.array([np.nan]), np.array([np.nan])) == math.inf


def test_every_tolerance_gives_its_reason() -> None:
    named = [value for value in vars(tolerances).values() if isinstance(value, Tolerance | MatchTolerance)]
    assert len(named) >= 5
    assert all(len(value.why) > 20 for value in named)
