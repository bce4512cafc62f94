"""Calibration tables that were damaged, cut short or never were one: one sentence that says where."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from made_up_table import SOURCE, read, statistics, table

from calibration.errors import CalibrationError
from calibration.table_json import is_table


def at(*path: str | int, value: object) -> Callable[[Any], None]:
    """A change of one place in the JSON; ``...`` takes it away."""

    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        if value is ...:
            del document[path[-1]]
        else:
            document[path[-1]] = value

    return change


TENSOR = ("tensors", "images")
DAMAGES = {
    "another kind": (at("kind", value="onnx"), "not a calibration table"),
    "no kind": (at("kind", value=...), "not a calibration table"),
    "another schema": (at("schema", value=2), "another schema"),
    "schema as text": (at("schema", value="1"), "another schema"),
    "schema true": (at("schema", value=True), "another schema"),
    "no method": (at("method", value=...), 'has no "method"'),
    "method not known": (at("method", value="median"), 'method "median" is not known'),
    "method is a list": (at("method", value=["mse"]), "method is"),
    "no fingerprint": (at("fingerprint", value=...), 'has no "fingerprint"'),
    "fingerprint empty": (at("fingerprint", value={}), 'fingerprint has no "graph"'),
    "graph is null": (at("fingerprint", "graph", value=None), "fingerprint.graph is null"),
    "preprocess is a list": (at("fingerprint", "preprocess", value=[]), "fingerprint.preprocess is"),
    "no images": (at("fingerprint", "count", value=0), "fingerprint.count is 0"),
    "count is true": (at("fingerprint", "count", value=True), "fingerprint.count is true"),
    "seed is a text": (at("fingerprint", "seed", value="7"), "fingerprint.seed is"),
    "no tensors": (at("tensors", value={}), "tensors are empty"),
    "tensors are a list": (at("tensors", value=[]), "tensors is"),
    "tensor is null": (at(*TENSOR, value=None), r'tensors\["images"\] is null'),
    "no minimum": (at(*TENSOR, "minimum", value=...), r'tensors\["images"\] has no "minimum"'),
    "minimum is a text": (at(*TENSOR, "minimum", value="0"), r'tensors\["images"\].minimum is'),
    "minimum is null": (at(*TENSOR, "minimum", value=None), "minimum is null"),
    "minimum NaN": (at(*TENSOR, "minimum", value=math.nan), "not finite"),
    "maximum infinite": (at(*TENSOR, "maximum", value=math.inf), "not finite"),
    "maximum below minimum": (at(*TENSOR, "maximum", value=-9.0), "maximum is -9.0"),
    "maximum too long": (at(*TENSOR, "maximum", value=10**400), "maximum is too large"),
    "no values counted": (at(*TENSOR, "elements", value=0), "elements is 0"),
    "elements a fraction": (at(*TENSOR, "elements", value=1.5), "elements is 1.5"),
    "threshold missing": (at(*TENSOR, "thresholds", "mse", value=...), r'\["images"\].thresholds has no "mse"'),
    "thresholds missing": (at(*TENSOR, "thresholds", value=...), 'has no "thresholds"'),
    "threshold negative": (at(*TENSOR, "thresholds", "mse", value=-0.5), "thresholds.mse is -0.5"),
    "threshold of no method": (at(*TENSOR, "thresholds", "median", value=1.0), 'thresholds has "median"'),
    "saturated missing": (at(*TENSOR, "saturated", "entropy", value=...), 'saturated has no "entropy"'),
    "more than all saturated": (at(*TENSOR, "saturated", "entropy", value=1.01), "saturated.entropy is 1.01"),
    "a key too many": (at(*TENSOR, "mean", value=0.0), 'has "mean", which is not known'),
    "snapshot method": (at("snapshots", "median", value=[]), 'snapshots "median" is not known'),
    "snapshots no list": (at("snapshots", "mse", value={}), "snapshots.mse is"),
    "snapshot without images": (at("snapshots", "mse", 0, "images", value=...), r'mse\[0\] has no "images"'),
    "snapshot of no images": (at("snapshots", "mse", 1, "images", value=0), r"mse\[1\].images is 0"),
    "snapshot of another tensor": (at("snapshots", "mse", 0, "thresholds", "y", value=1.0), 'not measured, "y"'),
    "snapshot negative": (at("snapshots", "mse", 0, "thresholds", "images", value=-1), r'thresholds\["images"\] is -1'),
    "version is a number": (at("versions", "numpy", value=2), r'versions\["numpy"\] is 2'),
    "command is a text": (at("command", value="calibrate"), "command is"),
    "command holds a number": (at("command", 1, value=3), r"command\[1\] is 3"),
    "marks are a list": (at("image_marks", value=["b5c3-0123456789ab"]), "image_marks is"),
    "a mark cut short": (at("image_marks", value="b5c3-0123456789ab b5c3-01"), 'image_marks hold "b5c3-01"'),
}


@pytest.mark.parametrize(("change", "message"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_table_says_where(change: Callable[[Any], None], message: str) -> None:
    document = json.loads(table().to_json())
    change(document)
    with pytest.raises(CalibrationError, match=message) as caught:
        read(json.dumps(document))
    assert caught.value.what.startswith(f"{SOURCE}: ")
    assert caught.value.next_step


@pytest.mark.parametrize("text", ["", "  \n", "opset 13", "[1, 2]", "3", "null", "{}", "[" * 100_000, "1" * 5000])
def test_what_is_no_table_is_refused(text: str) -> None:
    assert not is_table(text)
    with pytest.raises(CalibrationError, match="not a calibration table"):
        read(text)


def test_a_table_cut_anywhere_is_refused_as_cut_short() -> None:
    text = table(tensors={"images": statistics(-1.0, 2.5)}, snapshots={}).to_json().rstrip()
    for length in range(1, len(text)):
        with pytest.raises(CalibrationError, match="cut short"):
            read(text[:length])


def test_a_table_with_a_character_lost_is_not_called_cut_short() -> None:
    with pytest.raises(CalibrationError, match="it is not JSON") as caught:
        read(table().to_json().replace('"method":', '"method"', 1))
    assert "line 4" in str(caught.value)


@pytest.mark.parametrize("part", ['"method": "mse"', '"graph": "x"', '"entropy": 1.0', '"images": {}'])
def test_a_key_that_comes_twice_is_refused(part: str) -> None:
    key = part.partition(":")[0]
    text = table().to_json()
    start = text.index(f"{key}:")
    with pytest.raises(CalibrationError, match=f"key {key} twice"):
        read(f"{text[:start]}{part}, {text[start:]}")


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity", "-Infinity"])
def test_numbers_that_are_not_finite_are_refused_however_they_are_spelt(number: str) -> None:
    text = table(tensors={"x": statistics(-1.0, 2.5)}, snapshots={}).to_json()
    with pytest.raises(CalibrationError, match=r"inf|not finite"):
        read(text.replace('"maximum": 2.5', f'"maximum": {number}'))
