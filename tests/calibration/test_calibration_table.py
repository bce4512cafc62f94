"""The calibration table: what its file keeps, which ranges it gives, and which model it refuses."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from made_up_table import AWKWARD_NAMES, PREPROCESS, read, statistics, table

from calibration.errors import CalibrationError, StaleTableError
from calibration.table import METHODS, Method, Snapshot, TensorStatistics
from calibration.table_json import is_table


def test_the_file_gives_back_the_table_and_the_same_text() -> None:
    text = table().to_json()
    assert read(text) == table()
    assert read(text).to_json() == text
    assert list(read(text).tensors) == list(AWKWARD_NAMES)  # the graph's order is the reader's order


def test_the_order_in_which_parts_were_collected_does_not_show_in_the_file() -> None:
    turned = table(
        versions=dict(reversed(list(table().versions.items()))),
        snapshots=dict(reversed(list(table().snapshots.items()))),
        fingerprint=replace(table().fingerprint, preprocess=dict(reversed(PREPROCESS.items()))),
    )
    assert turned.to_json() == table().to_json()


def test_every_number_is_read_back_to_the_bit() -> None:
    random = np.random.default_rng(0)
    bits = random.integers(0, 0x7FF0_0000_0000_0000, 200, dtype=np.uint64)  # every positive finite float64
    numbers = [*bits.view(np.float64).tolist(), 5e-324, 1.7976931348623157e308, 0.1, 1 / 3]
    tensors = {f"t{index}": statistics(-number / 3, number / 3) for index, number in enumerate(numbers)}
    back = read(table(tensors=tensors, snapshots={}).to_json())
    assert back.tensors == tensors
    minus_zero = read(table(tensors={"x": statistics(-0.0, 1.0)}, snapshots={}).to_json()).tensors["x"].minimum
    assert math.copysign(1.0, minus_zero) == -1.0


def test_numbers_of_numpy_can_be_written() -> None:
    measured: dict[str, Any] = {"minimum": np.float32(-0.1), "maximum": np.float32(0.3), "elements": np.int64(5)}
    thresholds: Any = dict.fromkeys(METHODS, np.float32(0.3))
    single = TensorStatistics(**measured, thresholds=thresholds, saturated=dict.fromkeys(METHODS, np.float64(0.0)))
    back = read(table(tensors={"x": single}, snapshots={}).to_json()).tensors["x"]
    assert (back.minimum, back.maximum, back.elements) == (float(np.float32(-0.1)), float(np.float32(0.3)), 5)


def test_a_tensor_that_was_always_zero_stands_in_the_table() -> None:
    dead = table(tensors={"dead": statistics(0.0, 0.0)}, snapshots={})
    assert read(dead.to_json()).threshold("dead") == 0.0
    assert dead.low_high("dead") == (0.0, 0.0)


@pytest.mark.parametrize(
    ("low", "high", "threshold", "expected"),
    [
        (-2.0, 8.0, 5.0, (-2.0, 5.0)),
        (-8.0, 2.0, 5.0, (-5.0, 2.0)),
        (0.5, 3.0, 9.0, (0.0, 3.0)),
        (-3.0, -0.5, 2.0, (-2.0, 0.0)),
        (4.0, 6.0, 1.0, (0.0, 1.0)),
    ],
)
def test_the_kept_range_is_cut_at_the_threshold_and_holds_zero(
    low: float, high: float, threshold: float, expected: tuple[float, float]
) -> None:
    tensor = replace(statistics(low, high), thresholds=dict.fromkeys(METHODS, threshold))
    assert tensor.low_high("mse") == expected


def test_another_method_reads_the_same_measurement() -> None:
    for method in METHODS:
        other = table().with_method(method)
        assert (other.tensors, other.method) == (table().tensors, method)
        assert other.threshold("images") == table().tensors["images"].thresholds[method]
        assert read(other.to_json()).method == method
    with pytest.raises(CalibrationError, match='method "mean" is not known') as caught:
        table().with_method(cast("Method", "mean"))
    assert caught.value.wanted == "entropy, percentile, minmax, mse"


def test_a_tensor_that_was_not_measured_is_named() -> None:
    for ask in (table().threshold, table().low_high):
        with pytest.raises(CalibrationError, match='no tensor "conv9"'):
            ask("conv9")


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_table_with_a_number_that_is_not_finite_cannot_be_made(wrong: float) -> None:
    good = statistics(-1.0, 2.0)
    for bad in (
        replace(good, minimum=wrong),
        replace(good, maximum=wrong),
        replace(good, thresholds={**good.thresholds, "mse": wrong}),
        replace(good, saturated={**good.saturated, "mse": wrong}),
    ):
        with pytest.raises(CalibrationError, match=r'tensors\["x"\]'):
            table(tensors={"x": bad}, snapshots={})
    with pytest.raises(CalibrationError, match=r"snapshots\.mse"):
        table(snapshots={"mse": (Snapshot(32, {"images": wrong}),)})
    with pytest.raises(CalibrationError, match="pre-processing"):
        replace(table().fingerprint, preprocess={"divisor": wrong})


def test_a_preprocessing_that_json_cannot_carry_is_refused() -> None:
    with pytest.raises(CalibrationError, match="cannot stand in JSON"):
        replace(table().fingerprint, preprocess={"resize": object()})


def test_the_same_model_is_not_refused() -> None:
    for fields in (PREPROCESS, {**PREPROCESS, "mean": [104, 117, 123], "size": 300.0}):
        table().refuse_other(graph="a" * 64, weights="b" * 64, preprocess=fields)
        read(table().to_json()).refuse_other(graph="a" * 64, weights="b" * 64, preprocess=fields)


def refused(**changes: Any) -> StaleTableError:
    model: dict[str, Any] = {"graph": "a" * 64, "weights": "b" * 64, "preprocess": PREPROCESS}
    with pytest.raises(StaleTableError) as caught:
        table().refuse_other(**{**model, **changes})
    return caught.value


def test_each_thing_that_differs_is_named_with_both_values() -> None:
    graph = refused(graph="d" * 64)
    assert "another graph." in graph.what
    assert len(graph.differences) == 1
    assert all(digest in graph.differences[0] for digest in ("a" * 64, "d" * 64))
    assert refused(weights="e" * 64).what.endswith("another weights.")

    fields = refused(preprocess={**PREPROCESS, "mean": (0.0, 0.0, 0.0), "channel_order": "rgb"})
    assert len(fields.differences) == 2
    assert 'channel_order: the table has "bgr", this model "rgb"' in fields.differences[0]
    assert "mean: the table has [104.0, 117.0, 123.0], this model [0.0, 0.0, 0.0]" in fields.differences[1]

    everything = refused(graph="d" * 64, weights="e" * 64, preprocess={**PREPROCESS, "size": 512})
    assert [one.partition(":")[0] for one in everything.differences] == ["graph", "weights", "pre-processing, size"]
    assert all(one in str(everything) for one in everything.differences)


def test_a_field_that_only_one_side_has_differs() -> None:
    more = refused(preprocess={**PREPROCESS, "std": None})
    assert more.differences == ("pre-processing, std: the table has nothing, this model null",)
    less = {name: value for name, value in PREPROCESS.items() if name != "size"}
    assert refused(preprocess=less).differences == ("pre-processing, size: the table has 300, this model nothing",)


def test_a_table_is_known_by_its_content() -> None:
    text = table().to_json()
    assert is_table(text)
    assert is_table(json.dumps(json.loads(text), sort_keys=True))
    assert is_table(text[: len(text) // 2])  # cut short: from_json then says so
    assert not is_table("TRT-8601-EntropyCalibration2\nimages: 3c010204\n")
    assert not is_table(json.dumps({"kind": "onnx", "calibration": json.loads(text)}))


def test_marks_of_images_are_kept_and_older_tables_have_none() -> None:
    marks = ("1f-0123456789ab", "b5c3-ffffffffffff")
    assert read(table(image_marks=marks).to_json()).image_marks == marks
    assert "image_marks" not in json.loads(table().to_json())
    assert read(table().to_json()).image_marks == ()
    with pytest.raises(CalibrationError, match="image_marks hold"):
        table(image_marks=("b5c3",))


def test_a_table_is_not_changed_by_being_written() -> None:
    one = table()
    before = copy.deepcopy(one)
    one.to_json()
    assert one == before
