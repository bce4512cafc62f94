from __future__ import annotations

import json
from typing import Any

import pytest

from hardnet_deploy.engines.inspector import UNKNOWN, achieved_precisions, fallbacks, lower_than_asked

NODES = ("base.0", "base.1", "head_2")


def layer(
    name: str, weights: str | None = "Half", *, first: str = "FP16", metadata: str | None = None
) -> dict[str, Any]:
    made: dict[str, Any] = {"Name": name, "Inputs": [{"Name": "x", "Format/Datatype": f"Row major linear {first}"}]}
    if weights:
        made["Weights"] = {"Type": weights, "Count": 1}
    return made if metadata is None else {**made, "Metadata": metadata}


def achieved(*layers: Any, nodes: tuple[str, ...] = NODES, ends: str = "Bindings") -> dict[str, str]:
    return achieved_precisions(json.dumps({"Layers": list(layers), ends: []}), nodes)


@pytest.mark.parametrize(
    "name",
    [
        "base.0",
        "base.0 + relu.0",
        "base.0.weight + base.0.weight_QuantizeLinear + base.0 + PWN(relu.0)",
        "base.0 + PWN(PWN(sigmoid.0), mul.0)",
        "PWN(base.0)",
        "base.0_7",
        "other || base.0",
    ],
)
def test_a_fused_layer_is_traced_back_to_its_node(name: str) -> None:
    assert achieved(layer(name)) == {"base.0": "fp16", "base.1": UNKNOWN, "head_2": UNKNOWN}


@pytest.mark.parametrize(
    "name",
    [
        "base.00",
        "xbase.0",
        "relu.0",
        "{ForeignNode[base.0...base.1]}",
        "Reformatting CopyNode for Input Tensor 0 to base.0",
        "base.0.weight",
        "(Unnamed Layer* 3) [Shuffle]",
    ],
)
def test_what_is_not_told_is_unknown(name: str) -> None:
    assert set(achieved(layer(name)).values()) == {UNKNOWN}


def test_a_name_that_ends_in_a_number_is_itself_first() -> None:
    assert achieved(layer("head_2", "Int8"))["head_2"] == "int8"
    assert achieved(layer("head_2"), nodes=("head", "other")) == {"head": "fp16", "other": UNKNOWN}
    assert achieved(layer("head_2"), nodes=("head", "head_2")) == {"head": UNKNOWN, "head_2": "fp16"}


def test_convolutions_side_by_side_share_their_precision_and_others_do_not() -> None:
    assert achieved(layer("base.0 || base.1", "Int8"))["base.1"] == "int8"
    assert achieved(layer("base.0 + base.1", "Int8")) == dict.fromkeys(NODES, UNKNOWN)


def test_listed_nodes_go_before_the_name() -> None:
    listed = "[ONNX Layer: base.1]\x1e[ONNX Layer: relu.1]"
    assert achieved(layer("__myl_fused_3", metadata=listed))["base.1"] == "fp16"
    assert achieved(layer("base.0", metadata=listed)) == {"base.0": UNKNOWN, "base.1": "fp16", "head_2": UNKNOWN}
    both = "[ONNX Layer: base.0]\x1e[ONNX Layer: base.1]"
    assert achieved(layer("__myl_whole", metadata=both))["base.0"] == UNKNOWN


def test_layers_that_disagree_leave_a_node_unknown() -> None:
    assert achieved(layer("base.0", "Half"), layer("base.0 + relu.0", "Float"))["base.0"] == UNKNOWN
    assert achieved(layer("base.0", "Half"), layer("base.0 + relu.0", "Half"))["base.0"] == "fp16"


def test_both_forms_of_the_inspectors_json() -> None:
    new = {"Name": "base.0", "Inputs": [{"Name": "x", "Format": "Row major linear", "Datatype": "Int8"}]}
    assert achieved(new, ends="I/O Tensors")["base.0"] == "int8"
    assert achieved(layer("base.0", None, first="FP32"))["base.0"] == "fp32"


def test_without_details_nothing_is_known() -> None:
    assert set(achieved("base.0", "base.1").values()) == {UNKNOWN}
    assert set(achieved_precisions(None, NODES).values()) == {UNKNOWN}
    assert achieved_precisions(None, ()) == {}


def test_only_a_known_fp32_is_a_fallback() -> None:
    requested = {"a": "int8", "b": "fp16", "c": "fp32", "d": "int8", "e": "int8"}
    found = {"a": "fp32", "b": "fp32", "c": "fp32", "d": UNKNOWN, "e": "fp16"}
    assert fallbacks(requested, found) == ("a", "b")
    assert lower_than_asked(requested, found) == ("e",)
