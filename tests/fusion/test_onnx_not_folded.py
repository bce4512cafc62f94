"""What must stay in an ONNX graph, each case with its reason; the graph is then the input's, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_graphs import Array, arrays, batchnorm, batchnorm_arrays, conv, model, operators, run

from fusion import FusionModelError, Reason
from fusion.onnx_fold import fold_onnx

WEIGHT = arrays(w=(8, 6, 1, 1))
VALUES = WEIGHT | batchnorm_arrays(8)
PAIR = (conv(["x", "w"]), batchnorm("y"))


def node(op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op, list(inputs), list(outputs), **attributes)


def shared(name: str, *, op: str = "Conv") -> onnx.ModelProto:
    values = arrays(w=(8, 6, 1, 1), b=(8,)) | batchnorm_arrays(8)
    nodes = [conv(["x", "w", "b"], op=op), batchnorm("y", "z"), node("ReduceSum", [name], ["sum"], keepdims=0)]
    return model([*nodes, node("Add", ["z", "sum"], ["out"])], values)


def training(opset: int) -> onnx.ModelProto:
    if opset >= 14:
        made = batchnorm("y", training_mode=1)
        made.output.extend(["mean", "var"])
        return model([conv(["x", "w"]), made], VALUES, opset=opset)
    made = batchnorm("y")
    made.output.extend(["mean", "var", "saved_mean", "saved_var"])
    return model([conv(["x", "w"]), made], VALUES, opset=opset, checked=False)


def weight_computed() -> onnx.ModelProto:
    nodes = [node("Mul", ["w", "w"], ["w2"]), conv(["x", "w2"]), batchnorm("y")]
    return model(nodes, VALUES)


def body_reads(name: str) -> onnx.ModelProto:
    """An If whose branches read a tensor of the main graph."""
    branches = {}
    for branch in ("then_branch", "else_branch"):
        out = helper.make_tensor_value_info(f"{branch} out", TensorProto.FLOAT, None)
        branches[branch] = helper.make_graph(
            [node("ReduceMean", [name], [f"{branch} out"], keepdims=0)], branch, [], [out]
        )
    condition = helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True)))
    nodes = [condition, conv(["x", "w"]), batchnorm("y", "z"), node("If", ["yes"], ["extra"], name="if", **branches)]
    return model([*nodes, node("Add", ["z", "extra"], ["out"])], VALUES)


def bfloat16() -> onnx.ModelProto:
    made = model(PAIR, VALUES, opset=15)
    for tensor in made.graph.initializer:
        wide = numpy_helper.to_array(tensor)
        tensor.CopyFrom(helper.make_tensor(tensor.name, TensorProto.BFLOAT16, wide.shape, wide.ravel()))
    for value in (*made.graph.input, *made.graph.output):
        value.type.tensor_type.elem_type = TensorProto.BFLOAT16
    return made


def external() -> onnx.ModelProto:
    made = model(PAIR, VALUES)
    made.graph.initializer[0].data_location = TensorProto.EXTERNAL
    made.graph.initializer[0].ClearField("raw_data")
    return made


def numbers(**changes: float) -> onnx.ModelProto:
    values = dict(VALUES)
    for name, value in changes.items():
        values[f"bn.{name}"] = np.full(8, value, dtype=np.float32)
    return model(PAIR, values)


def gemm_with_a_bias_for_each_row() -> onnx.ModelProto:
    values = arrays(w=(6, 8), b=(3, 1)) | batchnorm_arrays(8)
    return model([conv(["x", "w", "b"], op="Gemm"), batchnorm("y")], values, rank=2)


STAYS: dict[str, tuple[Callable[[], onnx.ModelProto], Reason]] = {
    "training mode": (lambda: training(15), Reason.TRAIN_MODE),
    "five outputs": (lambda: training(9), Reason.EXTRA_OUTPUTS),
    "opset 8": (lambda: model(PAIR, VALUES, opset=8, checked=False), Reason.OPSET),
    "opset of the future": (lambda: model(PAIR, VALUES, opset=999, checked=False), Reason.OPSET),
    "first": (lambda: model([batchnorm("x")], batchnorm_arrays(8)), Reason.BATCHNORM_FIRST),
    "after a constant": (
        lambda: model(
            [batchnorm("c", "z"), node("Add", ["x", "z"], ["out"])], arrays(c=(1, 8, 1, 1)) | batchnorm_arrays(8)
        ),
        Reason.AFTER_OTHER,
    ),
    "after Relu": (
        lambda: model([conv(["x", "w"]), node("Relu", ["y"], ["r"]), batchnorm("r")], VALUES),
        Reason.AFTER_OTHER,
    ),
    "after a Conv of another domain": (
        lambda: model(
            [helper.make_node("Conv", ["x", "w"], ["y"], domain="custom"), batchnorm("y")], VALUES, checked=False
        ),
        Reason.AFTER_OTHER,
    ),
    "after MatMul": (
        lambda: model(
            [node("MatMul", ["x", "w"], ["y"]), batchnorm("y")], arrays(w=(6, 8)) | batchnorm_arrays(8), rank=2
        ),
        Reason.AFTER_OTHER,
    ),
    "conv is an output": (lambda: model(PAIR, VALUES, outputs=("out", "y")), Reason.CONV_OUTPUT_USED),
    "conv read twice": (
        lambda: model([conv(["x", "w"]), batchnorm("y", "z"), node("Add", ["y", "z"], ["out"])], VALUES),
        Reason.CONV_OUTPUT_USED,
    ),
    "conv read in a body": (lambda: body_reads("y"), Reason.CONV_OUTPUT_USED),
    "weight read in a body": (lambda: body_reads("w"), Reason.WEIGHT_SHARED),
    "weight read by another node": (lambda: shared("w"), Reason.WEIGHT_SHARED),
    "bias read by another node": (lambda: shared("b"), Reason.WEIGHT_SHARED),
    "weight of two convolutions": (
        lambda: model(
            [
                conv(["x", "w"]),
                batchnorm("y", "z"),
                conv(["x", "w"], "y2", name="twin"),
                node("Add", ["z", "y2"], ["out"]),
            ],
            VALUES,
        ),
        Reason.WEIGHT_SHARED,
    ),
    "weight is an output": (lambda: model(PAIR, VALUES, outputs=("out", "w")), Reason.WEIGHT_SHARED),
    "weight is computed": (weight_computed, Reason.WEIGHT_NOT_CONSTANT),
    "weight is an input": (lambda: model(PAIR, VALUES, more_inputs=["w"]), Reason.WEIGHT_NOT_CONSTANT),
    "statistic is an input": (lambda: model(PAIR, VALUES, more_inputs=["bn.mean"]), Reason.WEIGHT_NOT_CONSTANT),
    "bias is computed": (
        lambda: model([node("Neg", ["bn.shift"], ["b"]), conv(["x", "w", "b"]), batchnorm("y")], VALUES),
        Reason.WEIGHT_NOT_CONSTANT,
    ),
    "bfloat16": (bfloat16, Reason.DTYPE),
    "weights in another file": (external, Reason.DTYPE),
    "a Gemm whose weight is no matrix": (
        lambda: model(
            [conv(["x", "w"], op="Gemm"), batchnorm("y")], arrays(w=(8,)) | batchnorm_arrays(8), rank=2, checked=False
        ),
        Reason.CHANNEL_MISMATCH,
    ),
    "a bias for each row": (gemm_with_a_bias_for_each_row, Reason.CHANNEL_MISMATCH),
    "other channels": (
        lambda: model(PAIR, WEIGHT | batchnorm_arrays(5), checked=False),
        Reason.CHANNEL_MISMATCH,
    ),
    "one statistic for all channels": (
        lambda: model(PAIR, WEIGHT | batchnorm_arrays(1), checked=False),
        Reason.CHANNEL_MISMATCH,
    ),
    "negative variance": (lambda: numbers(var=-1.0), Reason.NUMBERS),
    "NaN": (lambda: numbers(mean=float("nan")), Reason.NUMBERS),
}


@pytest.mark.parametrize(("build", "reason"), STAYS.values(), ids=STAYS)
def test_the_batch_norm_stays_with_its_reason(build: Callable[[], onnx.ModelProto], reason: Reason) -> None:
    made = build()
    before = made.SerializeToString(deterministic=True)
    result = fold_onnx(made)
    assert [(left.path, left.reason) for left in result.not_folded] == [("bn", reason)]
    assert result.folded == ()
    assert made.SerializeToString(deterministic=True) == before
    assert result.model.SerializeToString(deterministic=True) == before


def test_one_that_stays_does_not_keep_the_next() -> None:
    values = VALUES | arrays(w2=(8, 8, 1, 1)) | batchnorm_arrays(8, "bn2")
    nodes = [
        conv(["x", "w"]),
        node("Relu", ["y"], ["r"]),
        batchnorm("r", "z"),
        conv(["z", "w2"], "y2", name="conv2"),
        batchnorm("y2", "out", "bn2"),
    ]
    made = model(nodes, values)
    result = fold_onnx(made)
    assert dict(result.conv_to_batchnorm) == {"conv2": "bn2"}
    assert [(left.path, left.detail) for left in result.not_folded] == [("bn", "it follows Relu r")]
    onnx.checker.check_model(result.model, full_check=True)
    x = np.random.default_rng(0).standard_normal((1, 6, 4, 4)).astype(np.float32)
    wanted, got = run(made, x)[0], run(result.model, x)[0]
    assert np.abs(wanted - got).max() <= 1e-5 * np.abs(wanted).max()


def test_the_second_of_two_batch_norms_in_a_row_stays() -> None:
    values = VALUES | batchnorm_arrays(8, "bn2")
    result = fold_onnx(model([conv(["x", "w"]), batchnorm("y", "z"), batchnorm("z", "out", "bn2")], values))
    assert dict(result.conv_to_batchnorm) == {"conv": "bn"}
    assert [(left.path, left.reason) for left in result.not_folded] == [("bn2", Reason.AFTER_OTHER)]
    assert operators(result.model) == ["Conv", "BatchNormalization"]


def nested(depth: int) -> onnx.ModelProto:
    """A batch norm after a Conv, inside ``depth`` If nodes."""

    def value(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4)

    inner: list[onnx.NodeProto] = [conv(["x", "w"], "y inside"), batchnorm("y inside", "level 0")]
    for level in range(depth):
        name = f"level {level}"
        there = helper.make_graph(inner, "there", [], [value(name)])
        here = helper.make_graph([node("Identity", ["other"], [f"{name} else"])], "here", [], [value(f"{name} else")])
        outer = f"level {level + 1}"
        inner = [node("If", ["yes"], [outer], name=f"if{level}", then_branch=there, else_branch=here)]
    nodes = [
        helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True))),
        conv(["x", "w2"], "other", name="outer"),
        *inner,
        node("Identity", [f"level {depth}"], ["out"]),
    ]
    return model(nodes, VALUES | arrays(w2=(8, 6, 1, 1)))


@pytest.mark.parametrize(("depth", "path"), [(1, "if0/there/bn"), (2, "if1/there/if0/there/bn")])
def test_batch_norms_in_bodies_are_reported_and_left_alone(depth: int, path: str) -> None:
    made = nested(depth)
    result = fold_onnx(made)
    assert [(left.path, left.reason) for left in result.not_folded] == [(path, Reason.IN_SUBGRAPH)]
    assert result.model.SerializeToString(deterministic=True) == made.SerializeToString(deterministic=True)


def test_batch_norms_in_local_functions_are_reported() -> None:
    made = model([node("Relu", ["x"], ["out"])], {})
    inputs = ["a", "scale", "shift", "mean", "var"]
    function = helper.make_function(
        "custom", "Norm", inputs, ["b"], [node("BatchNormalization", inputs, ["b"])], [helper.make_opsetid("", 13)]
    )
    made.functions.append(function)
    result = fold_onnx(made)
    assert [(left.path, left.reason) for left in result.not_folded] == [("Norm/b", Reason.IN_SUBGRAPH)]


def without(op: str, kept: int) -> onnx.ModelProto:
    made = model(PAIR, VALUES)
    changed = next(one for one in made.graph.node if one.op_type == op)
    del changed.input[kept:]
    return made


def unfilled() -> onnx.ModelProto:
    made = model(PAIR, VALUES)
    made.graph.initializer[0].raw_data = made.graph.initializer[0].raw_data[:-4]
    return made


def no_output() -> onnx.ModelProto:
    made = model(PAIR, VALUES)
    del made.graph.node[1].output[:]
    return made


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: without("Conv", 1), "Conv conv has 1 of its 2 inputs"),
        (lambda: without("Conv", 0), "Conv conv has 0 of its 2 inputs"),
        (lambda: without("BatchNormalization", 3), "BatchNormalization bn has 3 of its 5 inputs"),
        (lambda: without("BatchNormalization", 0), "BatchNormalization bn has 0 of its 5 inputs"),
        (lambda: model([conv(["x", "", "b"]), batchnorm("y")], VALUES, checked=False), "Conv conv has 1 of its 2"),
        (no_output, "BatchNormalization bn has no output"),
        (unfilled, "w does not fill"),
    ],
)
def test_a_graph_that_is_not_valid_is_an_error_that_says_so(
    build: Callable[[], onnx.ModelProto], sentence: str
) -> None:
    with pytest.raises(FusionModelError, match=sentence):
        fold_onnx(build())


def test_a_node_without_name_and_output_elsewhere_is_left_alone() -> None:
    made = model(PAIR, VALUES)
    made.graph.node.append(helper.make_node("Anything", ["x"], [], domain="custom"))
    assert len(fold_onnx(made).folded) == 1


def test_an_overflow_of_float16_is_a_reason() -> None:
    values: dict[str, Array] = {name: array.astype(np.float16) for name, array in VALUES.items()}
    values["bn.scale"][:] = 6e4
    values["bn.var"][:] = 0.01
    result = fold_onnx(model(PAIR, values))
    assert [left.reason for left in result.not_folded] == [Reason.NUMBERS]
    assert "float16" in result.not_folded[0].detail
