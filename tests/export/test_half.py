"""fp16 typing: which tensor has which type and name, how many casts there are, and what is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from half_graphs import FULL, HALF, at_opset, casts, l2norm_graph, node_types, quantised
from onnx import helper, numpy_helper
from quantised_graphs import detector
from small_int8 import backbone_graph, changed, detector_graph

from hardnet_deploy.errors import ExportError
from hardnet_deploy.export.graph_checks import check_clean
from hardnet_deploy.export.graph_view import GraphView
from hardnet_deploy.export.half import to_half
from hardnet_deploy.export.islands import float32_islands
from hardnet_deploy.runners.graph import cut

L2NORM = {"norm.square", "norm.sum", "norm.root", "norm.norm", "norm.unit", "norm"}
DECODING = {
    *("decode.offset", "decode.log_size", "decode.shift", "decode.centre", "decode.scaled_log_size", "decode.growth"),
    *("decode.half", "decode.low", "decode.high", "boxes", "scores"),
}
GRAPHS = {
    "plugin": detector(),
    "onnx-nms": detector(nms="onnx"),
    "boxes": detector_graph(outputs="boxes"),
    "raw": detector_graph(outputs="raw"),
    "dynamic": detector_graph(nms="onnx", batch=None),
    "backbone": backbone_graph(),
    "l2norm": l2norm_graph(),
    "opset-21": at_opset(detector(), 21),
    "int8": quantised(opset=19),
    "int8-onnx-nms": quantised(opset=20, nms="onnx"),
}
EVERY = pytest.mark.parametrize("model", GRAPHS.values(), ids=list(GRAPHS))


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


@EVERY
def test_every_node_computes_in_one_type_and_the_islands_in_float32(model: onnx.ModelProto) -> None:
    found = to_half(model)
    types = node_types(found.model)
    assert all(types[name] == {HALF} for name in found.fp16_nodes)
    assert all(types[name] == {FULL} for name in found.fp32_nodes)
    assert {name for name, kinds in types.items() if kinds} == {*found.fp16_nodes, *found.fp32_nodes}
    assert set(float32_islands(model)) <= set(found.fp32_nodes)


@EVERY
def test_interface_and_opset_stay(model: onnx.ModelProto) -> None:
    found = to_half(model).model
    assert list(found.graph.input) == list(model.graph.input)
    assert list(found.graph.output) == list(model.graph.output)
    assert list(found.opset_import) == list(model.opset_import)
    assert found.ir_version == model.ir_version
    assert {name for node in model.graph.node for name in node.output} <= {
        name for node in found.graph.node for name in node.output
    }


@EVERY
def test_the_graph_is_clean_and_its_bytes_are_always_the_same(model: onnx.ModelProto) -> None:
    before = model.SerializeToString(deterministic=True)
    first, second = (to_half(model).model for _ in range(2))
    assert model.SerializeToString(deterministic=True) == before
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)
    assert check_clean(first, fused=True) == []
    onnx.shape_inference.infer_shapes(first, check_type=True, strict_mode=True, data_prop=True)


@EVERY
def test_no_cast_is_made_twice_and_none_undoes_another(model: onnx.ModelProto) -> None:
    found = to_half(model)
    pairs = casts(found.model)
    assert len(pairs) == found.casts
    assert len({source for source, _ in pairs}) == len(pairs)
    assert not {source for source, _ in pairs} & {made for _, made in pairs}
    names = [node.name for node in found.model.graph.node]
    assert len(names) == len(set(names))


def test_a_detector_takes_five_casts() -> None:
    found = to_half(detector())
    assert set(found.fp32_nodes) == {*L2NORM, *DECODING, "nms"}
    assert casts(found.model) == [
        ("images", "images.fp16"),
        ("pooled.fp16", "pooled"),
        ("norm", "norm.fp16"),
        ("loc.fp16", "loc"),
        ("conf.fp16", "conf"),
    ]


@pytest.mark.parametrize("name", ["loc", "conf", "boxes", "scores"])
def test_the_tensors_that_tools_cut_at_stay_float32(name: str) -> None:
    found = to_half(detector()).model
    assert GraphView(found).dtype(name) == FULL
    assert cut(found, [name]).graph.output[0].type.tensor_type.elem_type == FULL


def test_a_backbone_is_cast_at_its_ends_alone() -> None:
    found = to_half(backbone_graph())
    assert found.fp32_nodes == ()
    assert casts(found.model) == [("images", "images.fp16"), ("logits.fp16", "logits")]


def test_a_tensor_that_both_kinds_read_is_cast_once_and_keeps_its_name_in_float16() -> None:
    """As the feature map that SSD-HarDNet normalises for its first heads and hands on to its next layer."""
    model = detector()
    for node in model.graph.node:
        if node.name == "conf.head":
            node.input[0] = "pooled"
    found = to_half(model).model
    assert ("pooled", "pooled.fp32") in casts(found)
    assert GraphView(found).dtype("pooled") == HALF
    readers = {node.name for node in found.graph.node if "pooled.fp32" in node.input}
    assert readers == {"norm.square", "norm.unit"}


def test_a_constant_that_both_kinds_read_has_a_copy_for_each() -> None:
    model = l2norm_graph()
    for node in model.graph.node:
        node.input[:] = ["shifted" if name == "source" else name for name in node.input]
    model.graph.node.insert(1, helper.make_node("Add", ["source", "gain"], ["shifted"], "shifted"))
    found = to_half(model).model
    stored = constants(found)
    assert stored["gain"].dtype == np.float32
    assert stored["gain.fp16"].dtype == np.float16
    reads = {node.name: list(node.input) for node in found.graph.node}
    assert "gain.fp16" in reads["shifted"]
    assert "gain" in reads["norm"]


def test_weights_are_stored_in_float16_once() -> None:
    model = detector()
    found = to_half(model).model
    stored = constants(found)
    for name, value in constants(model).items():
        if name.endswith((".head.weight", ".head.bias", "stem.weight")):
            np.testing.assert_array_equal(stored[name], value.astype(np.float16))
            assert stored[name].dtype == np.float16
    assert stored["norm.weight"].dtype == stored["norm.epsilon"].dtype == np.float32
    assert stored["norm.epsilon"] == np.float32(1e-10)
    assert stored["norm.axes"].dtype == np.int64


@pytest.mark.parametrize("bad", [65505.0, -7e4, np.inf, np.nan])
def test_a_weight_that_overflows_is_refused_by_name(bad: float) -> None:
    model = changed(
        detector(), "layer.weight", lambda value: np.where(np.arange(value.size).reshape(value.shape) == 5, bad, value)
    )
    with pytest.raises(ExportError, match=r"'layer\.weight' does not fit float16") as caught:
        to_half(model)
    assert caught.value.exit_code == 4


def test_the_largest_float16_is_taken() -> None:
    model = changed(detector(), "layer.bias", lambda value: np.full_like(value, 65504))
    assert constants(to_half(model).model)["layer.bias"].max() == 65504


def test_weights_that_underflow_are_counted() -> None:
    smallest_normal = 2.0**-14
    lost = np.array([1e-9, -1e-6, smallest_normal / 2, 0], np.float32)
    model = changed(detector(), "layer.bias", lambda _value: lost)
    assert to_half(model).underflowed["layer.bias"] == 3
    model = changed(detector(), "layer.bias", lambda _value: np.array([smallest_normal, 1, -1, 0]))
    assert "layer.bias" not in to_half(model).underflowed


def test_a_constant_of_an_island_may_be_of_any_size() -> None:
    model = changed(detector(), "norm.weight", lambda value: np.full_like(value, 1e6))
    found = to_half(model)
    assert constants(found.model)["norm.weight"].max() == 1e6
    assert "norm.epsilon" not in found.underflowed


@pytest.mark.parametrize("opset", [13, 18])
def test_quantisers_take_float16_from_opset_19_on(opset: int) -> None:
    with pytest.raises(ExportError, match="cannot be typed as fp16 at its opset") as caught:
        to_half(quantised(opset=opset))
    assert "--opset 19" in (caught.value.next_step or "")


def test_the_cpus_writing_is_refused() -> None:
    with pytest.raises(ExportError, match="only symmetric int8"):
        to_half(quantised("uint8", opset=19, nms="onnx"))


def test_scales_are_rounded_up_and_never_become_zero() -> None:
    model = quantised(opset=19)
    name = "layer.weight.scale"
    model = changed(model, name, lambda value: np.array([*value[:-1], np.finfo(np.float32).tiny]))
    found = to_half(model)
    before, after = constants(model)[name], constants(found.model)[name]
    assert after.dtype == np.float16
    assert np.all(after.astype(np.float32) >= before)
    assert np.all(after[:-1].astype(np.float32) <= before[:-1] * (1 + 2**-10))
    assert after[-1] == np.finfo(np.float16).smallest_subnormal
    assert name not in found.underflowed


def test_what_is_typed_already_is_refused() -> None:
    with pytest.raises(ExportError, match="fp16-typed already"):
        to_half(to_half(detector()).model)


def test_a_graph_without_convolutions_is_refused() -> None:
    with pytest.raises(ExportError, match="no convolution"):
        to_half(cut(detector(), ["boxes"], inputs=["loc"]))


def test_a_graph_with_inner_graphs_is_refused() -> None:
    model = detector()
    inner = helper.make_graph(
        [helper.make_node("Relu", ["loc"], ["z"])], "inner", [], [helper.make_tensor_value_info("z", FULL, None)]
    )
    model.graph.node.append(helper.make_node("If", ["c"], ["w"], "if", then_branch=inner, else_branch=inner))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "c"))
    with pytest.raises(ExportError, match="inner graphs"):
        to_half(model)


def test_a_name_that_is_taken_is_refused() -> None:
    model = backbone_graph()
    model.graph.node.insert(0, helper.make_node("Relu", ["images"], ["images.fp16"], "taken"))
    with pytest.raises(ExportError, match=r"called images\.fp16 already"):
        to_half(model)
