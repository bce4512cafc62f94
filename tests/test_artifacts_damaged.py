"""Manifests that were damaged or come from elsewhere: one sentence and exit 8, whatever stands in them."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_up_artifact import manifest, saved

from hardnet_deploy.artifacts import Manifest, load_artifact, manifest_path
from hardnet_deploy.errors import ArtifactMismatchError


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest of an artifact as a text editor would."""
    record = json.loads(manifest_path(path).read_text())
    change(record)
    manifest_path(path).write_text(json.dumps(record))


NOT_MANIFESTS = {
    "empty": "",
    "not JSON": "opset 13",
    "HTML": "<!doctype html><html></html>",
    "cut short": '{"schema": 1, "kind": "on',
    "null": "null",
    "a number": "3",
    "a list": "[1, 2]",
    "a text": '"schema"',
    "an empty object": "{}",
    "too deep": "[" * 100_000,
    "not UTF-8": b"\xff\xfe{\x00}\x00",
    "a number too long": "1" * 5000,
}


@pytest.mark.parametrize("text", NOT_MANIFESTS.values(), ids=NOT_MANIFESTS)
def test_what_is_no_manifest_is_refused_unless_trusted(tmp_path: Path, text: str | bytes) -> None:
    path = saved(tmp_path)
    manifest_path(path).write_bytes(text if isinstance(text, bytes) else text.encode())
    refused_unless_trusted(path)


def test_a_folder_or_a_broken_link_in_its_place_is_refused_unless_trusted(tmp_path: Path) -> None:
    path = saved(tmp_path)
    beside = manifest_path(path)
    beside.unlink()
    beside.mkdir()
    refused_unless_trusted(path)
    beside.rmdir()
    beside.symlink_to(tmp_path / "nowhere")
    refused_unless_trusted(path)


def refused_unless_trusted(path: Path) -> None:
    with pytest.raises(ArtifactMismatchError) as caught:
        load_artifact(path)
    assert caught.value.exit_code == 8
    assert str(manifest_path(path)) in caught.value.what
    trusted = load_artifact(path, trust=True)
    assert trusted.manifest is None
    assert trusted.warning is not None
    assert str(manifest_path(path)) in trusted.warning


@pytest.mark.parametrize("schema", [0, 2, "1", None, True, 1.5, [1]])
def test_another_schema_is_refused_unless_trusted(tmp_path: Path, schema: Any) -> None:
    path = saved(tmp_path)
    rewrite(path, lambda record: record.update(schema=schema))
    refused_unless_trusted(path)


FIELDS = [field.name for field in dataclasses.fields(Manifest)]


@pytest.mark.parametrize("name", FIELDS)
def test_a_missing_field_is_refused_by_name(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path)
    rewrite(path, lambda record: record.pop(name))
    with pytest.raises(ArtifactMismatchError, match=name):
        load_artifact(path)
    refused_unless_trusted(path)


def test_a_field_too_many_is_refused_by_name(tmp_path: Path) -> None:
    path = saved(tmp_path)
    rewrite(path, lambda record: record.update(shoe_size=43))
    with pytest.raises(ArtifactMismatchError, match="shoe_size"):
        load_artifact(path)
    refused_unless_trusted(path)


NO_TEXT: tuple[Any, ...] = (3, True, None, ["a"], {"a": 1})
NO_OBJECT: tuple[Any, ...] = (3, False, None, "a", [1], [["a", 1]])
NO_NAMES: tuple[Any, ...] = (3, True, None, "a", {"a": 1}, [1], [["a"]], [None])
WRONG = {
    "kind": NO_TEXT,
    "model": NO_OBJECT,
    "weights": NO_OBJECT,
    "preprocess": NO_OBJECT,
    "class_names": NO_NAMES,
    "head": (3, "a", [1]),
    "target": (3, ["cpu"], {"a": 1}),
    "precision": NO_OBJECT,
    "graph": NO_OBJECT,
    "checks": NO_OBJECT,
    "sha256": NO_TEXT,
    "versions": NO_OBJECT,
    "command": NO_NAMES,
}


def test_every_field_has_its_wrong_values() -> None:
    assert [*WRONG, "schema"] == FIELDS


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_field_of_another_type_is_refused_by_name(tmp_path: Path, name: str, value: Any) -> None:
    path = saved(tmp_path)
    rewrite(path, lambda record: record.update({name: value}))
    with pytest.raises(ArtifactMismatchError, match=name):
        load_artifact(path)
    refused_unless_trusted(path)


def damaged(record: dict[str, Any], place: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    record = copy.deepcopy(record)
    part: Any = record
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    return record


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("size",), "300"),
        (("size",), 32.5),
        (("size",), None),
        (("size",), True),
        (("channel_order",), "hsv"),
        (("channel_order",), ["bgr"]),
        (("resize",), 3),
        (("divisor",), 0),
        (("divisor",), math.nan),
        (("divisor",), "1"),
        (("mean",), 104),
        (("mean",), [104.0, 117.0]),
        (("mean",), [104.0, 117.0, None]),
        (("mean",), [104.0, 117.0, math.inf]),
        (("std",), [1.0, 0.0, 1.0]),
        (("surplus",), 1),
    ],
)
def test_damaged_pre_processing_is_refused(place: tuple[str], value: Any) -> None:
    record = damaged(json.loads(manifest().as_json())["preprocess"], place, value)
    with pytest.raises(ArtifactMismatchError, match="preprocess") as caught:
        manifest(preprocess=record).preprocess_spec()
    assert caught.value.exit_code == 8


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("input_size",), "32"),
        (("num_classes",), 3.0),
        (("layers",), None),
        (("layers",), {"grid": 2}),
        (("layers", 0), 7),
        (("layers", 0, "grid"), "2"),
        (("layers", 0, "grid"), [2]),
        (("layers", 0, "min_size"), math.inf),
        (("layers", 0, "aspect_ratios"), 2.0),
        (("layers", 0, "aspect_ratios"), ["2"]),
        (("layers", 0, "surplus"), 1),
        (("variances",), [0.1]),
        (("clip",), 1),
        (("clip",), "true"),
    ],
)
def test_damaged_default_boxes_are_refused(place: tuple[str | int, ...], value: Any) -> None:
    record = damaged(json.loads(manifest().as_json())["head"], place, value)
    with pytest.raises(ArtifactMismatchError, match="head") as caught:
        manifest(head=record).head_spec()
    assert caught.value.exit_code == 8


@pytest.mark.parametrize(
    "thresholds", [5, [], {}, {"score": 0.1}, {"score": "0.1", "iou": 0.45, "max_detections": 3}, "eval"]
)
def test_damaged_thresholds_are_refused(thresholds: Any) -> None:
    with pytest.raises(ArtifactMismatchError, match="thresholds"):
        manifest(graph={"thresholds": thresholds}).thresholds()
