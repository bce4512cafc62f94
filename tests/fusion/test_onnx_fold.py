"""What must be folded in an ONNX graph, and what the graph looks like afterwards."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx_graphs import (
    Array,
    arrays,
    batchnorm,
    batchnorm_arrays,
    conv,
    initializers,
    model,
    operators,
    run,
    run_reference,
)

from fusion.onnx_fold import fold_onnx

FLOAT32_ROUNDING = 1e-5  # of the largest output; the folded weights are rounded to float32 once


def image(*shape: int) -> Array:
    return np.random.default_rng(2).standard_normal(shape).astype(np.float32)


def assert_folded(made: onnx.ModelProto, x: Array, *, pairs: dict[str, str]) -> onnx.ModelProto:
    before = made.SerializeToString(deterministic=True)
    result = fold_onnx(made)
    assert result.not_folded == ()
    assert dict(result.conv_to_batchnorm) == pairs
    assert made.SerializeToString(deterministic=True) == before
    assert "BatchNormalization" not in operators(result.model)
    onnx.checker.check_model(result.model, full_check=True)
    for wanted, got in zip(run(made, x), run(result.model, x), strict=True):
        assert wanted.shape == got.shape
        assert np.abs(wanted - got).max() <= FLOAT32_ROUNDING * np.abs(wanted).max()
    read = {name for node in result.model.graph.node for name in node.input}
    assert initializers(result.model) <= read
    return result.model


@pytest.mark.parametrize("opset", [9, 11, 13, 14, 15, 17, 20, 22])
def test_every_operator_set(opset: int) -> None:
    made = model(
        [conv(["x", "w", "b"]), batchnorm("y")],
        arrays(w=(8, 6, 3, 3), b=(8,)) | batchnorm_arrays(8),
        opset=opset,
    )
    folded = assert_folded(made, image(2, 6, 9, 8), pairs={"conv": "bn"})
    assert initializers(folded) == {"w", "b"}
    assert operators(folded) == ["Conv"]
    assert folded.graph.node[0].output == ["out"]


@pytest.mark.parametrize(
    ("shape", "attributes"),
    [
        ((8, 6, 3, 3), {"pads": [1, 1, 1, 1]}),
        ((8, 3, 3, 3), {"group": 2}),
        ((6, 1, 3, 3), {"group": 6}),
        ((8, 6, 3, 3), {"dilations": [2, 2]}),
        ((8, 6, 2, 3), {"strides": [2, 1], "auto_pad": "SAME_UPPER"}),
    ],
    ids=["padding", "groups", "depthwise", "dilation", "stride"],
)
def test_convolutions_with_and_without_bias(shape: tuple[int, ...], attributes: dict[str, object]) -> None:
    channels = shape[0]
    for bias in ({}, {"b": (channels,)}):
        constants = arrays(w=shape, **bias) | batchnorm_arrays(channels)
        made = model([conv(["x", "w", *bias], **attributes), batchnorm("y", epsilon=1e-3)], constants)
        folded = assert_folded(made, image(2, 6, 9, 8), pairs={"conv": "bn"})
        assert initializers(folded) == {"w", "b" if bias else "w_bias"}
        assert list(folded.graph.node[0].attribute) == list(made.graph.node[0].attribute)


@pytest.mark.parametrize("rank", [1, 3])
def test_one_and_three_dimensions(rank: int) -> None:
    constants = arrays(w=(8, 6, *[3] * rank)) | batchnorm_arrays(8)
    made = model([conv(["x", "w"]), batchnorm("y")], constants, rank=rank + 2)
    assert_folded(made, image(2, 6, *[5] * rank), pairs={"conv": "bn"})


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_transposed_convolution_in_groups(groups: int) -> None:
    constants = arrays(w=(6, 12 // groups, 3, 3), b=(12,)) | batchnorm_arrays(12)
    nodes = [conv(["x", "w", "b"], op="ConvTranspose", group=groups, strides=[2, 2]), batchnorm("y")]
    assert_folded(model(nodes, constants), image(2, 6, 5, 4), pairs={"conv": "bn"})


@pytest.mark.parametrize("bias", [None, (8,), (1, 8), (1,), ()], ids=str)
@pytest.mark.parametrize("transposed", [0, 1])
def test_gemm(transposed: int, bias: tuple[int, ...] | None) -> None:
    shapes = {"w": (8, 6) if transposed else (6, 8)} | ({} if bias is None else {"b": bias})
    nodes = [
        conv(["x", *shapes], op="Gemm", name="fc", transB=transposed, alpha=0.5, beta=-3.0),
        batchnorm("y"),
    ]
    made = model(nodes, arrays(**shapes) | batchnorm_arrays(8), rank=2)
    folded = assert_folded(made, image(5, 6), pairs={"fc": "bn"})
    attributes = {one.name: helper.get_attribute_value(one) for one in folded.graph.node[0].attribute}
    assert attributes == {"transB": transposed, "alpha": 0.5}


def test_gemm_with_a_transposed_input_and_an_omitted_bias() -> None:
    nodes = [conv(["x", "w", ""], op="Gemm", name="fc", transA=1), batchnorm("y")]
    made = model(nodes, arrays(w=(6, 8)) | batchnorm_arrays(8), rank=2)
    assert_folded(made, image(6, 5), pairs={"fc": "bn"})


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floating_types(dtype: type[np.generic]) -> None:
    constants = {name: array.astype(dtype) for name, array in (arrays(w=(8, 6, 3, 3)) | batchnorm_arrays(8)).items()}
    made = model([conv(["x", "w"]), batchnorm("y")], constants, opset=15)  # the evaluator trains before opset 14
    result = fold_onnx(made)
    onnx.checker.check_model(result.model, full_check=True)
    assert {tensor.data_type for tensor in result.model.graph.initializer} == {
        helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    }
    x = image(1, 6, 5, 5).astype(dtype)
    wanted, got = run_reference(made, x)[0], run_reference(result.model, x)[0]
    bound = 1e-12 if dtype is np.float64 else 2e-2  # float16: 54 products summed in 11 bits, in both graphs
    assert np.abs(wanted - got).max() <= bound * np.abs(wanted).max()


def test_statistics_in_float32_beside_weights_in_float16() -> None:
    constants = {"w": arrays(w=(8, 6, 1, 1))["w"].astype(np.float16)} | batchnorm_arrays(8)
    made = model([conv(["x", "w"]), batchnorm("y")], constants, opset=15)
    result = fold_onnx(made)
    assert len(result.folded) == 1
    assert {numpy_helper.to_array(one).dtype for one in result.model.graph.initializer} == {np.dtype(np.float16)}


def constant(name: str, values: Array) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(values))


def test_constants_in_nodes_are_found_and_removed() -> None:
    values = arrays(w=(8, 6, 3, 3), b=(8,)) | batchnorm_arrays(8)
    nodes = [*(constant(name, array) for name, array in values.items()), conv(["x", "w", "b"]), batchnorm("y")]
    folded = assert_folded(model(nodes, {}), image(2, 6, 9, 8), pairs={"conv": "bn"})
    assert operators(folded) == ["Conv"]
    assert initializers(folded) == {"w", "b"}


def test_a_list_of_floats_in_a_constant_node_is_a_statistic() -> None:
    values = arrays(w=(2, 6, 1, 1)) | batchnorm_arrays(2)
    mean = values.pop("bn.mean")
    node = helper.make_node("Constant", [], ["bn.mean"], value_floats=[float(one) for one in mean])
    assert_folded(model([node, conv(["x", "w"]), batchnorm("y")], values), image(1, 6, 4, 4), pairs={"conv": "bn"})


def test_identities_in_front_of_constants_are_seen_through_and_removed() -> None:
    """Exporters write these where two parameters hold the same values."""
    values = arrays(w=(8, 6, 1, 1), w2=(8, 8, 1, 1)) | batchnorm_arrays(8)
    second = [f"bn2.{name}" for name in ("scale", "shift", "mean", "var")]
    nodes = [
        *(helper.make_node("Identity", [name.replace("bn2", "bn")], [name]) for name in second),
        helper.make_node("Identity", ["w2"], ["w2 again"]),
        conv(["x", "w"], "y1", name="conv1"),
        batchnorm("y1", "z1"),
        conv(["z1", "w2 again"], "y2", name="conv2"),
        batchnorm("y2", "out", "bn2"),
    ]
    folded = assert_folded(model(nodes, values), image(1, 6, 4, 4), pairs={"conv1": "bn", "conv2": "bn2"})
    assert operators(folded) == ["Conv", "Conv"]
    assert initializers(folded) == {"w", "w_bias", "w2 again", "w2 again_bias"}


def test_statistics_that_others_read_are_kept() -> None:
    values = arrays(w=(8, 6, 1, 1)) | batchnorm_arrays(8)
    nodes = [conv(["x", "w"]), batchnorm("y", "z"), helper.make_node("Add", ["z", "bn.mean"], ["out"])]
    folded = assert_folded(model(nodes, values), image(1, 6, 4, 8), pairs={"conv": "bn"})
    assert initializers(folded) == {"w", "w_bias", "bn.mean"}
    assert operators(folded) == ["Conv", "Add"]


def test_two_batch_norms_may_share_their_statistics() -> None:
    values = arrays(w=(8, 6, 1, 1), w2=(8, 6, 1, 1)) | batchnorm_arrays(8)
    second = batchnorm("y2", "z2")
    second.name = "second"
    nodes = [
        conv(["x", "w"], "y1", name="conv1"),
        batchnorm("y1", "z1"),
        conv(["x", "w2"], "y2", name="conv2"),
        second,
        helper.make_node("Concat", ["z1", "z2"], ["out"], axis=1),
    ]
    folded = assert_folded(model(nodes, values), image(1, 6, 4, 4), pairs={"conv1": "bn", "conv2": "second"})
    assert initializers(folded) == {"w", "w_bias", "w2", "w2_bias"}


def test_names_follow_the_weights_and_avoid_those_taken() -> None:
    values = {"net.conv.weight": arrays(w=(8, 6, 1, 1))["w"]} | batchnorm_arrays(8)
    nodes = [conv(["x", "net.conv.weight"]), batchnorm("y")]
    folded = assert_folded(model(nodes, values), image(1, 6, 4, 4), pairs={"conv": "bn"})
    assert initializers(folded) == {"net.conv.weight", "net.conv.bias"}

    nodes = [
        conv(["x", "net.conv.weight"]),
        batchnorm("y", "net.conv.bias"),
        helper.make_node("Relu", ["net.conv.bias"], ["out"]),
    ]
    folded = assert_folded(model(nodes, values), image(1, 6, 4, 4), pairs={"conv": "bn"})
    assert initializers(folded) == {"net.conv.weight", "net.conv.bias_"}


def test_nodes_without_a_name_of_their_own_are_called_by_their_outputs() -> None:
    values = arrays(w=(8, 6, 1, 1), w2=(8, 8, 1, 1)) | batchnorm_arrays(8)
    first, second = batchnorm("y1", "z1"), batchnorm("y2", "out")
    first.name = second.name = ""
    nodes = [conv(["x", "w"], "y1", name=""), first, conv(["z1", "w2"], "y2", name=""), second]
    assert_folded(model(nodes, values), image(1, 6, 4, 4), pairs={"y1": "z1", "y2": "out"})


def test_shapes_of_vanished_tensors_vanish_and_the_others_stay() -> None:
    values = arrays(w=(8, 6, 1, 1)) | batchnorm_arrays(8)
    nodes = [conv(["x", "w"]), batchnorm("y", "z"), helper.make_node("Relu", ["z"], ["out"])]
    folded = assert_folded(model(nodes, values, value_info=["y", "z"]), image(1, 6, 4, 4), pairs={"conv": "bn"})
    assert [value.name for value in folded.graph.value_info] == ["z"]


def test_a_bias_of_another_shape_does_not_leave_its_old_shape_behind() -> None:
    values = arrays(w=(6, 8), b=(1, 8)) | batchnorm_arrays(8)
    made = model([conv(["x", "w", "b"], op="Gemm", name="fc"), batchnorm("y")], values, rank=2, value_info=["b"])
    assert_folded(made, image(3, 6), pairs={"fc": "bn"})


def test_old_files_that_list_their_initializers_among_the_inputs() -> None:
    """IR version 3 demands it; only later does such a listing make an initializer a default that can be replaced."""
    values = arrays(w=(8, 6, 1, 1)) | batchnorm_arrays(8)
    made = model([conv(["x", "w"]), batchnorm("y")], values, opset=9, ir_version=3)
    folded = assert_folded(made, image(1, 6, 4, 4), pairs={"conv": "bn"})
    assert {value.name for value in folded.graph.input} == {"x", "w", "w_bias"}


def test_a_hardnet_like_block_with_concatenations() -> None:
    links = {1: (0,), 2: (1, 0), 3: (2,), 4: (3, 2, 0)}
    widths = {0: 6, 1: 4, 2: 7, 3: 4, 4: 10}
    tensors = {0: "x"}
    nodes: list[onnx.NodeProto] = []
    values: dict[str, Array] = {}
    for layer, sources in links.items():
        source = tensors[sources[0]]
        if len(sources) > 1:
            source = f"cat{layer}"
            nodes.append(helper.make_node("Concat", [tensors[one] for one in sources], [source], axis=1))
        values |= arrays(**{f"w{layer}": (widths[layer], sum(widths[one] for one in sources), 3, 3)})
        values |= batchnorm_arrays(widths[layer], f"bn{layer}")
        nodes += [
            conv([source, f"w{layer}"], f"y{layer}", name=f"conv{layer}", pads=[1, 1, 1, 1]),
            batchnorm(f"y{layer}", f"z{layer}", f"bn{layer}"),
            helper.make_node("Relu", [f"z{layer}"], [f"r{layer}"]),
        ]
        tensors[layer] = f"r{layer}"
    nodes.append(helper.make_node("Concat", ["r1", "r3", "r4"], ["out"], axis=1))
    folded = assert_folded(
        model(nodes, values), image(1, 6, 8, 8), pairs={f"conv{layer}": f"bn{layer}" for layer in links}
    )
    assert operators(folded).count("Concat") == 3
    assert operators(folded).count("Conv") == 4


def test_a_graph_without_batch_norm_is_copied() -> None:
    made = model([conv(["x", "w"], "out")], arrays(w=(8, 6, 1, 1)))
    result = fold_onnx(made)
    assert result.model is not made
    assert result.model.SerializeToString() == made.SerializeToString()
    assert result.report.total == 0


def test_a_folded_graph_has_nothing_left_to_fold() -> None:
    made = model([conv(["x", "w"]), batchnorm("y")], arrays(w=(8, 6, 1, 1)) | batchnorm_arrays(8))
    once = fold_onnx(made).model
    assert fold_onnx(once).model.SerializeToString() == once.SerializeToString()


def test_other_parts_of_the_file_stay() -> None:
    made = model([conv(["x", "w"]), batchnorm("y")], arrays(w=(8, 6, 1, 1)) | batchnorm_arrays(8))
    made.doc_string = "kept"
    helper.set_model_props(made, {"origin": "elsewhere"})
    made.opset_import.append(helper.make_opsetid("custom", 1))
    result = fold_onnx(made).model
    assert (result.doc_string, result.metadata_props[0].value) == ("kept", "elsewhere")
    assert [one.domain for one in result.opset_import] == ["", "custom"]
