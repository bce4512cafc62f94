from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from graph_models import detector_model, make_model, make_node
from onnx import TensorProto, helper, numpy_helper

from hardnet_deploy.export.graph_checks import check_clean


@pytest.mark.parametrize("kind", ["efficient", "onnx"])
@pytest.mark.parametrize("batch", [1, 2, None])
def test_exported_graphs_are_clean(kind: str, batch: int | None) -> None:
    assert check_clean(detector_model(kind, batch), fused=True) == []


def _relu() -> onnx.ModelProto:
    return make_model([make_node("Relu", "x")])


def _with_unused(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), "unused"))


def _with_identity(model: onnx.ModelProto) -> None:
    model.graph.node.insert(0, make_node("Identity", "x", output="i"))
    model.graph.value_info.append(helper.make_tensor_value_info("i", TensorProto.FLOAT, [1]))


def _with_shape(model: onnx.ModelProto) -> None:
    model.graph.node.insert(0, make_node("Shape", "x", output="s"))
    model.graph.value_info.append(helper.make_tensor_value_info("s", TensorProto.INT64, [4]))


def _with_unknown_output(model: onnx.ModelProto) -> None:
    model.graph.node.insert(0, make_node("Abs", "x", output="a"))


def _with_two_opsets(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("", 13))


def _with_float64(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def _with_initialiser_as_input(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), "x"))


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (_with_unused, "initialiser unused is not used"),
        (_with_identity, "Identity is left: the_Identity"),
        (_with_shape, "Shape is left: the_Shape"),
        (_with_unknown_output, "the_Abs: output a has no value_info"),
        (_with_two_opsets, "opset of domain '' is declared 2 times"),
        (_with_float64, "y is float64"),
        (_with_initialiser_as_input, "1 graph inputs are initialisers too"),
    ],
)
def test_each_kind_of_dirt_is_named(spoil: Callable[[onnx.ModelProto], None], fault: str) -> None:
    model = _relu()
    assert check_clean(model, fused=True) == []
    spoil(model)
    assert check_clean(model, fused=True) == [fault]


def test_batch_norms_are_dirt_only_where_they_are_said_to_be_folded() -> None:
    vector = {"v": np.ones(3, np.float32)}
    model = make_model([make_node("BatchNormalization", "x", "v", "v", "v", "v")], constants=vector)
    assert check_clean(model, fused=False) == []
    assert check_clean(model, fused=True) == ["BatchNormalization is left: the_BatchNormalization"]
