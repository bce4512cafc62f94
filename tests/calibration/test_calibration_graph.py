"""What INT8 is told of a graph: units, measured tensors, concat families, and a fingerprint of all that ranges need."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from calibration_graphs import BLOCK, IMAGE, SIZE, Net, chain, detector, detector_net, named, producer
from onnx import TensorProto, helper, numpy_helper

from calibration.errors import CalibrationError
from calibration.graph import GraphMap


def unit_outputs(model: onnx.ModelProto) -> dict[str, str]:
    return {unit.name: unit.output for unit in GraphMap(model).units}


class TestUnits:
    def test_of_a_chain(self) -> None:
        first, second, last = GraphMap(chain().model(["last.out"])).units
        assert (first.name, first.source, first.inner, first.output) == ("first", IMAGE, "first.conv", "first.out")
        assert (first.weight, first.bias) == ("first.weight", "first.bias")
        assert second.bias is None
        assert (last.inner, last.output) == ("last.out", "last.out")
        assert [unit.macs for unit in (first, second, last)] == [
            8 * 3 * 9 * SIZE**2,
            8 * 8 * 9 * SIZE**2,
            4 * 8 * 9 * (SIZE // 2) ** 2,
        ]

    def test_groups_and_strides_count_in_macs(self) -> None:
        net = Net(channels=4)
        weight = np.ones((4, 1, 3, 3), np.float32)
        net.conv("depthwise", IMAGE, 4, weight=weight, group=4, strides=[2, 2])
        assert GraphMap(net.model(["depthwise.out"])).units[0].macs == 4 * 9 * (SIZE // 2) ** 2

    def test_relu6_is_fused(self) -> None:
        net = Net()
        net.conv("conv", IMAGE, 4, activation="Clip")
        graph = GraphMap(net.model(["conv.out"]))
        assert graph.units[0].output == "conv.out"
        assert graph.bounds("conv.out") == (0.0, 6.0)

    @pytest.mark.parametrize("low", ["negative", IMAGE])
    def test_a_clip_that_is_no_relu6_is_not_fused(self, low: str) -> None:
        net = Net()
        net.conv("conv", IMAGE, 4, activation=None)
        net.constants["negative"] = np.array(-1, np.float32)
        if low == IMAGE:
            low = net.node("ReduceMin", [IMAGE], "smallest", keepdims=0)
        net.node("Clip", ["conv.out", low], "clipped")
        assert unit_outputs(net.model(["clipped"])) == {"conv": "conv.out"}

    def test_a_relu_is_not_fused_where_another_node_reads_the_convolution(self) -> None:
        net = chain()
        net.node("Neg", ["second.conv"], "other")
        assert unit_outputs(net.model(["last.out", "other"]))["second"] == "second.conv"

    def test_a_relu_is_not_fused_where_the_convolution_is_an_output(self) -> None:
        assert unit_outputs(chain().model(["last.out", "first.conv"]))["first"] == "first.conv"

    def test_convolutions_without_a_name_are_called_after_their_output(self) -> None:
        model = chain().model(["last.out"])
        for node in model.graph.node:
            node.ClearField("name")
        assert list(unit_outputs(model)) == ["first.conv", "second.conv", "last.out"]

    def test_weights_in_constant_nodes_count(self) -> None:
        model = chain().model(["last.out"])
        expected = GraphMap(model)
        for tensor in reversed(model.graph.initializer):
            node = helper.make_node("Constant", [], [tensor.name], value=tensor)
            model.graph.node.insert(0, node)
        del model.graph.initializer[:]
        assert GraphMap(model).units == expected.units
        assert GraphMap(model).measured == expected.measured


class TestRefusals:
    def test_a_quantised_graph(self) -> None:
        model = chain().model(["last.out"])
        model.graph.node.append(helper.make_node("DequantizeLinear", ["a", "b"], ["c"]))
        with pytest.raises(CalibrationError, match="quantised already"):
            GraphMap(model)

    def test_a_graph_without_convolutions(self) -> None:
        net = Net()
        net.node("Relu", [IMAGE], "out")
        with pytest.raises(CalibrationError, match="no convolution"):
            GraphMap(net.model(["out"]))

    def test_half_precision(self) -> None:
        model = chain().model(["last.out"])
        for tensor in model.graph.initializer:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
        with pytest.raises(CalibrationError, match="float32"):
            GraphMap(model)

    def test_two_convolutions_of_one_name(self) -> None:
        model = chain().model(["last.out"])
        for node in named(model, "Conv"):
            node.name = "conv"
        with pytest.raises(CalibrationError, match="two convolutions are called conv"):
            GraphMap(model)


class TestMeasured:
    def test_tensors_are_measured_where_they_are_made(self) -> None:
        graph = GraphMap(chain().model(["last.out"]))
        assert graph.measured == (IMAGE, "first.out", "second.out", "last.out")
        assert graph.origins("pooled") == ("second.out",)

    def test_detector(self) -> None:
        graph = GraphMap(detector())
        heads = ("loc.0.out", "conf.0.out", "loc.1.out", "conf.1.out")
        assert set(graph.measured) == {
            IMAGE, *BLOCK, "transition.out", "extra.out", "top.out", "normed", *heads
        }  # fmt: skip
        order = [name for name in graph.tensors if name in graph.measured]
        assert list(graph.measured) == order

    def test_origins_go_through_nested_concatenations_and_heads(self) -> None:
        graph = GraphMap(detector())
        assert graph.origins("block.all") == ("block.0.out", "block.2.out", "block.3.out")
        assert graph.origins("skip") == ("transition.out", "extra.out")
        assert graph.origins("loc") == ("loc.0.out", "loc.1.out")
        assert graph.origins("normed") == ("normed",)
        assert graph.origins("normed.unit") == ("normed.unit",)

    def test_a_concatenation_with_a_constant_is_measured_itself(self) -> None:
        net = Net()
        net.conv("first", IMAGE, 4)
        net.constants["grid"] = np.full((1, 1, SIZE, SIZE), 9, np.float32)
        net._width["grid"] = 1
        net.conv("last", net.concat(["first.out", "grid"], "both"), 4)
        assert GraphMap(net.model(["last.out"])).measured == (IMAGE, "first.out", "both", "last.out")

    def test_many_paths_between_two_tensors(self) -> None:
        net = Net(size=1)
        name = net.conv("first", IMAGE, 1)
        for level in range(60):  # 2^60 paths
            name = net.node("Concat", [name, name], f"{level}", axis=1)
            net.node("Identity", [name], f"{level}.same")
        model = net.model(["first.out"])
        assert GraphMap(model).origins(name) == ("first.out",)


class TestFamilies:
    @pytest.mark.parametrize("declared", [True, False])
    def test_what_meets_in_feature_maps(self, declared: bool) -> None:
        families = GraphMap(detector_net().model(["loc", "conf"], declared=declared)).families()
        assert all(families[name] == BLOCK for name in BLOCK)
        assert families["transition.out"] == families["extra.out"] == ("transition.out", "extra.out")

    def test_everything_else_is_alone_heads_included(self) -> None:
        graph = GraphMap(detector())
        families = graph.families()
        assert set(families) == set(graph.measured)
        alone = (IMAGE, "top.out", "normed", "loc.0.out", "loc.1.out", "conf.0.out", "conf.1.out")
        assert all(families[name] == (name,) for name in alone)

    def test_a_dynamic_batch_changes_nothing(self) -> None:
        assert GraphMap(detector(batch="batch")).families() == GraphMap(detector()).families()


def documented(model: onnx.ModelProto) -> None:
    model.doc_string = model.graph.doc_string = model.graph.name = "words"
    model.producer_name = "another exporter"
    model.graph.node[0].doc_string = "words"
    model.graph.node[0].attribute[0].doc_string = "words"
    model.metadata_props.add(key="a", value="b")


def with_nms(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("EfficientNMS_TRT", ["loc", "conf"], ["count"], domain="TRT"))
    model.opset_import.append(helper.make_opsetid("TRT", 1))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("count", TensorProto.INT32, [1, 1]))


def without_shapes(model: onnx.ModelProto) -> None:
    del model.graph.value_info[:]


def raw_and_typed_data(model: onnx.ModelProto) -> None:
    tensor = next(one for one in model.graph.initializer if one.name == "top.weight")
    values = numpy_helper.to_array(tensor)
    tensor.CopyFrom(helper.make_tensor(tensor.name, TensorProto.FLOAT, values.shape, values.ravel().tolist()))


def changed(name: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        tensor = next(one for one in model.graph.initializer if one.name == name)
        values = numpy_helper.to_array(tensor).copy()
        values.flat[-1] = np.nextafter(values.flat[-1], np.float32(np.inf))
        tensor.CopyFrom(numpy_helper.from_array(values, name))

    return change


def reshaped(model: onnx.ModelProto) -> None:
    tensor = next(one for one in model.graph.initializer if one.name == "transition.weight")
    tensor.dims[:] = [tensor.dims[1], tensor.dims[0], 1, 1]


def restrided(model: onnx.ModelProto) -> None:
    node = producer(model, "top.conv")
    node.attribute.append(helper.make_attribute("strides", [2, 2]))


def reconnected(model: onnx.ModelProto) -> None:
    node = producer(model, "block.3.in")
    node.input[0], node.input[1] = node.input[1], node.input[0]


def resized(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 32


class TestFingerprint:
    @pytest.mark.parametrize("change", [documented, with_nms, without_shapes, raw_and_typed_data])
    def test_is_the_same(self, change: Callable[[onnx.ModelProto], None]) -> None:
        model = detector()
        change(model)
        assert GraphMap(model).fingerprint() == GraphMap(detector()).fingerprint()

    @pytest.mark.parametrize("batch", [4, "batch"])
    def test_is_the_same_for_any_batch(self, batch: int | str) -> None:
        assert GraphMap(detector(batch=batch)).fingerprint() == GraphMap(detector()).fingerprint()

    @pytest.mark.parametrize("change", [restrided, reconnected, resized])
    def test_of_the_structure_differs(self, change: Callable[[onnx.ModelProto], None]) -> None:
        model = detector()
        change(model)
        (structure, weights), (was, were) = GraphMap(model).fingerprint(), GraphMap(detector()).fingerprint()
        assert structure != was
        assert weights == were

    @pytest.mark.parametrize(
        "change", [changed("stem.weight"), changed("conf.1.bias"), changed("gamma"), reshaped], ids=str
    )
    def test_of_the_weights_differs(self, change: Callable[[onnx.ModelProto], None]) -> None:
        model = detector()
        change(model)
        (structure, weights), (was, were) = GraphMap(model).fingerprint(), GraphMap(detector()).fingerprint()
        assert structure == was
        assert weights != were

    def test_two_digests(self) -> None:
        structure, weights = GraphMap(detector()).fingerprint()
        assert len(structure) == len(weights) == 64
        assert structure != weights
