"""From float to INT8: what the result says of each layer is what ONNX Runtime really does."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import Any

import numpy as np
import onnx
import pytest
from calibration_graphs import IMAGE, Net, chain, detector, images, table_of

from calibration import qdq
from calibration.graph import GraphMap
from calibration.qdq import Choice
from hardnet_deploy.engines.ort_build import optimise
from hardnet_deploy.errors import ExportError
from hardnet_deploy.workflows import quantise
from hardnet_deploy.workflows.quantise import FloatGraph, Quantised, Quantiser

TRIPLETS = ("b", "c", "d")


def quantiser(model: onnx.ModelProto) -> Quantiser:
    table = table_of(GraphMap(model), images(1))
    return Quantiser(
        FloatGraph(model=model, nms=None, head=None, whole=model), table, concat_scales="unified", preprocess={}
    )


def built(made: Quantiser, *left: str) -> Quantised:
    return made.for_cpu(Choice(float_units=frozenset(left)))


def in_float(found: Quantised) -> set[str]:
    return {name for name, kind in found.optimised.achieved.items() if kind == "fp32"}


def sharing_weights() -> onnx.ModelProto:
    """``b``, ``c`` and ``d`` share a weight; a bias makes the integers of ``c`` others than those of the two."""
    net = Net()
    net.conv("a", IMAGE, 4)
    for name, source in zip(TRIPLETS, "abc", strict=True):
        net.conv(name, f"{source}.out", 4)
        net.nodes[-2].input[1] = "b.weight"
    net.constants["c.bias"] = net.constants["c.bias"] * np.float32(1e8)
    del net.constants["c.weight"], net.constants["d.weight"]
    return net.model(["d.out"])


def some(names: Iterable[str]) -> list[tuple[str, ...]]:
    names = tuple(names)
    return [chosen for count in range(len(names) + 1) for chosen in combinations(names, count)]


def test_every_layer_of_a_detector_is_int8() -> None:
    made = quantiser(detector())
    found = built(made)
    assert tuple(found.optimised.achieved) == made.layers
    assert in_float(found) == set()
    assert found.fell_back == ()
    assert found.macs_int8 == 1.0


def test_the_share_of_int8_is_that_of_the_arithmetic() -> None:
    made = quantiser(detector())
    macs = {unit.name: unit.macs for unit in made.graph.units}
    found = built(made, "stem", "conf.1")
    assert in_float(found) == {"stem", "conf.1"}
    assert found.macs_int8 == pytest.approx(1 - (macs["stem"] + macs["conf.1"]) / sum(macs.values()))


@pytest.mark.parametrize("left", some(TRIPLETS), ids="-".join)
def test_layers_that_share_a_weight_are_told_apart(left: tuple[str, ...]) -> None:
    found = built(quantiser(sharing_weights()), *left)
    assert in_float(found) == set(left)
    assert found.fell_back == ()
    assert found.optimised.unasked == ()


@pytest.mark.parametrize("left", some(("a.conv", "b.out")), ids="-".join)
def test_layers_without_a_name_and_outputs_that_are_quantised(left: tuple[str, ...]) -> None:
    net = Net()
    net.conv("a", IMAGE, 4)
    net.conv("b", "a.out", 4, activation=None)
    net.conv("c", "b.out", 4)
    for node in net.nodes:
        node.ClearField("name")
    found = built(quantiser(net.model(["b.out", "c.out"])), *left)
    assert in_float(found) == set(left)
    assert found.fell_back == ()


def test_a_layer_that_onnx_runtime_quantises_by_itself_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    made = quantiser(chain().model(["last.out"]))
    assert in_float(built(made, "second")) == {"second"}
    monkeypatch.setattr(qdq, "TAKEN_BY_ORT", frozenset())  # so that nothing keeps it from that
    with pytest.raises(ExportError, match="made other convolutions INT8 than it was asked to") as caught:
        built(made, "second")
    assert caught.value.exit_code == 4
    assert caught.value.got == "3 integer convolutions, not asked for: second"
    assert caught.value.wanted == "the 2 that were asked for, and no other"


def test_fewer_integer_convolutions_than_layers_are_an_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_last(model: onnx.ModelProto) -> onnx.ModelProto:
        found = optimise(model)
        integer = [node for node in found.graph.node if node.op_type == "QLinearConv"]
        found.graph.node.remove(integer[-1])  # of d, which shares its integers with b
        return found

    made = quantiser(sharing_weights())
    monkeypatch.setattr(quantise, "optimise", without_last)
    with pytest.raises(ExportError, match="made other convolutions INT8") as caught:
        built(made)
    assert caught.value.got == "3 integer convolutions"


def test_what_stayed_float_unasked_is_told_and_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    made = quantiser(detector())
    macs = {unit.name: unit.macs for unit in made.graph.units}
    other = made.write(Choice(float_units=frozenset({"top", "extra"})))

    def less(_model: Any) -> onnx.ModelProto:
        return optimise(other)

    monkeypatch.setattr(quantise, "optimise", less)
    found = built(made, "top")
    assert found.fell_back == ("extra",)
    assert in_float(found) == {"top", "extra"}
    assert found.macs_int8 == pytest.approx(1 - (macs["top"] + macs["extra"]) / sum(macs.values()))
