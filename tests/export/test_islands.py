"""What must be float32 is found from the graph alone: by operators and places, not by names."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from half_graphs import CHANNELS, l2norm_graph
from quantised_graphs import detector
from small_int8 import backbone_graph, detector_graph

from hardnet_deploy.export.graph_builder import GraphBuilder
from hardnet_deploy.export.graph_view import GraphView
from hardnet_deploy.export.islands import float32_islands, islands

SHAPE = (1, CHANNELS, 2, 2)
ROW = (1, 1, 2, 2)


def renamed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with names that say nothing, the outputs' excepted."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    kept = {info.name for info in made.graph.output}
    names: dict[str, str] = {"": ""}
    for index, node in enumerate(made.graph.node):
        node.name = f"n{index}"
        for field in (node.input, node.output):
            field[:] = [name if name in kept else names.setdefault(name, f"t{len(names)}") for name in field]
    for info in (*made.graph.value_info, *made.graph.input, *made.graph.initializer):
        info.name = names.get(info.name, info.name)
    return made


@pytest.mark.parametrize("nms", ["efficient", "onnx"])
def test_names_play_no_part(nms: str) -> None:
    model = detector(nms=nms)
    assert islands(GraphView(renamed(model))) == islands(GraphView(model))


def test_kinds_of_a_detector() -> None:
    model = detector()
    kinds = dict(zip((node.name for node in model.graph.node), islands(GraphView(model)), strict=True))
    assert kinds["norm.square"] == kinds["norm.unit"] == kinds["norm"] == "l2norm"
    assert kinds["decode.growth"] == kinds["boxes"] == "decode"
    assert (kinds["scores"], kinds["nms"]) == ("softmax", "nms")
    for name in ("stem", "stem.relu", "joined", "pooled", "loc.head", "loc.nhwc", "loc"):
        assert kinds[name] is None


def test_a_detector_without_nms_and_a_backbone() -> None:
    assert float32_islands(detector_graph(outputs="raw")) == ()
    assert float32_islands(backbone_graph()) == ()
    assert "scores" in float32_islands(detector_graph(outputs="boxes"))


def test_nodes_of_integers_are_not_named() -> None:
    """TensorRT refuses a float precision for a layer of integers."""
    named = set(float32_islands(detector_graph(nms="onnx", batch=None)))
    assert {"nms.selected", "nms.score", "nms.own_scores", "nms.top", "nms.total"} <= named
    assert not named & {"nms.shape", "nms.batch", "nms.numbers", "nms.images", "nms.image", "nms.class", "nms.mine"}


def test_types_that_are_not_declared_are_inferred() -> None:
    model = detector(nms="onnx")
    wanted = float32_islands(model)
    del model.graph.value_info[:]
    assert float32_islands(model) == wanted
    assert len(model.graph.value_info) == 0


def norm_of(kind: str) -> onnx.ModelProto:
    """An L2 norm as other exporters spell it, between two convolutions."""
    builder = GraphBuilder(opset=13, name=kind)
    builder.input("images", SHAPE)
    same = builder.constant("same", np.eye(CHANNELS, dtype=np.float32)[:, :, None, None])
    add, constant = builder.node, builder.constant
    source = add("Conv", ["images", same], "source", SHAPE)
    if kind == "LpNormalization":
        out = add("LpNormalization", [source], "out", SHAPE, axis=1, p=2)
    elif kind == "ReduceL2":
        size = add("ReduceL2", [source], "size", ROW, axes=[1], keepdims=1)
        least = add("Clip", [size, constant("least", np.array(1e-12, np.float32))], "least.size", ROW)
        wide = add("Expand", [least, constant("shape", np.array(SHAPE, np.int64))], "wide", SHAPE)
        out = add("Div", [source, wide], "out", SHAPE)
    else:
        square = add("Pow", [source, constant("two", np.array(2, np.float32))], "square", SHAPE)
        total = add("ReduceSum", [square, constant("axes", np.array([1], np.int64))], "sum", ROW, keepdims=1)
        out = add("Div", [source, add("Sqrt", [total], "root", ROW)], "out", SHAPE)
    add("Conv", [out, same], "logits", SHAPE)
    return builder.model(["logits"], doc="")


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("LpNormalization", ("out",)),
        ("ReduceL2", ("size", "least.size", "wide", "out")),
        ("Pow", ("square", "sum", "root", "out")),
    ],
)
def test_other_spellings_of_an_l2_norm(kind: str, wanted: tuple[str, ...]) -> None:
    assert float32_islands(norm_of(kind)) == wanted


def test_an_unknown_operator_and_a_square_between_convolutions_stay_float32() -> None:
    builder = GraphBuilder(opset=13, name="odd")
    builder.input("images", SHAPE)
    same = builder.constant("same", np.eye(CHANNELS, dtype=np.float32)[:, :, None, None])
    source = builder.node("Conv", ["images", same], "source", SHAPE)
    curved = builder.node("Tanh", [source], "curved", SHAPE)
    square = builder.node("Mul", [source, source], "square", SHAPE)
    joined = builder.node("Add", [curved, square], "joined", SHAPE)
    moved = builder.node("Relu", [joined], "moved", SHAPE)
    twice = builder.node("Add", [moved, source], "twice", SHAPE)
    builder.node("Conv", [twice, same], "logits", SHAPE)
    model = builder.model(["logits"], doc="")
    assert float32_islands(model) == ("curved", "square", "joined")
    assert set(islands(GraphView(model))) == {None, "other"}


def test_the_exporters_l2norm() -> None:
    names = ("norm.square", "norm.sum", "norm.root", "norm.norm", "norm.unit", "norm")
    assert float32_islands(l2norm_graph()) == names
