"""Parity of engines whose outputs are no detections: judged by a rule, and never passed without one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from small_int8 import DETECTOR

from hardnet_deploy.device import run_engine
from hardnet_deploy.kit.tolerances import INT8_LOGITS, tolerances_for

CLASSES = 1000
SAMPLES = 3


def logits() -> Any:
    return np.random.default_rng(0).normal(0, 3, (SAMPLES, CLASSES)).astype(np.float32)


def compared(change: Callable[[Any], Any], tolerances: dict[str, Any]) -> dict[str, Any]:
    """The comparison of an engine whose values are the changed references."""
    answers = iter(change(logits()))
    engine: Any = SimpleNamespace(
        inputs=[{"name": "images", "dtype": "float32", "shape": (1, 3, 32, 32)}],
        infer=lambda _feeds: {"logits": next(answers)[None]},
    )
    kit: Any = SimpleNamespace(
        pixels=lambda: np.zeros((SAMPLES, 3, 32, 32), np.uint8),
        arrays=lambda _which: {"logits": logits()},
        record={"tolerances": tolerances, "preprocess": dataclasses.asdict(DETECTOR.preprocess)},
    )
    return run_engine.compare(engine, kit)


def noisy(values: Any) -> Any:
    """An error of 16 dB below the values: more than any INT8 backbone here has."""
    noise = np.random.default_rng(1).normal(0, 1, values.shape) * values.std() * 10 ** (-16 / 20)
    return (values + noise).astype(np.float32)


def test_an_int8_backbone_has_a_rule_and_8_bits_of_noise_pass_it() -> None:
    tolerances, _ = tolerances_for("int8", None)
    found = compared(noisy, tolerances)
    assert found["passed"] is True
    shares = [sample["outputs"]["logits"]["noise_share"] for sample in found["samples"]]
    assert 0 < max(shares) < INT8_LOGITS.noise_share / 3


@pytest.mark.parametrize(
    "change",
    [
        np.zeros_like,
        lambda values: values[:, ::-1],
        lambda values: values / 2,
        lambda values: -values,
        lambda values: values + 3,
        lambda values: np.concatenate([values[:-1], values[:1]]),
        lambda values: np.where(np.arange(CLASSES) == 7, np.nan, values),
        lambda values: np.where(values == values.max(axis=1, keepdims=True), 0, values),
    ],
    ids=["zeros", "reversed", "halved", "negated", "shifted", "another sample's", "nan", "best class lost"],
)
def test_a_broken_int8_backbone_fails(change: Callable[[Any], Any]) -> None:
    tolerances, _ = tolerances_for("int8", None)
    found = compared(change, tolerances)
    assert found["passed"] is False
    assert "output 'logits' is off by" in found["failures"][0]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_precision_of_a_backbone_is_judged(precision: Any) -> None:
    tolerances, _ = tolerances_for(precision, None)
    assert compared(lambda values: values, tolerances)["passed"] is True
    assert compared(np.zeros_like, tolerances)["passed"] is False


@pytest.mark.parametrize("change", [lambda values: values, np.zeros_like], ids=["the same", "wrong"])
def test_what_no_rule_judges_never_passes(change: Callable[[Any], Any]) -> None:
    found = compared(change, {"outputs": None, "detections": None, "shown": None})
    assert found["passed"] is False
    assert found["failures"] == [
        "not judged: values were compared, but no rule of the kit says how far they may be off"
    ]
    assert {sample["outputs"]["logits"]["passed"] for sample in found["samples"]} == {None}
    fault = run_engine.verdict(found, allow_unstable=False)
    assert fault is not None
    assert fault.code == 5
    assert fault.next_step is not None
    assert "write the kit again" in fault.next_step
