"""The writing for ONNX Runtime: biases and channels out of the ordinary, shared constants, graphs of other makers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from calibration_graphs import (
    IMAGE,
    Net,
    array,
    chain,
    detector,
    detector_net,
    images,
    named,
    optimised,
    ranges_of,
    run,
    steps_away,
    table_of,
    written_uint8,
)

from calibration.errors import CalibrationError
from calibration.graph import GraphMap
from calibration.qdq import BIAS_LIMIT, Choice, quantise_weight, write_int8, write_uint8
from calibration.ranges import Ranges

NEAR_STEPS = 14  # eight layers of rounding moved outputs by up to 9, a wrong scale by more than 40
ONE_STEP = 1.001  # of the output's scale: rounding to it, where two ways of adding up may fall on two sides of a half
FLOAT_CONVOLUTIONS = ("Conv", "FusedConv", "NhwcFusedConv")

MODEL = detector()
GRAPH = GraphMap(MODEL)
RANGES = ranges_of(GRAPH)


def integer_weights(model: onnx.ModelProto) -> set[str]:
    """Stored integers that QLinearConv reads in what ONNX Runtime makes of a model."""
    return {name for node in named(optimised(model), "QLinearConv") for name in node.input}


def float_operators(model: onnx.ModelProto) -> list[str]:
    """Convolutions and ReLUs that compute on floats there."""
    return [
        node.op_type for node in optimised(model).graph.node if node.op_type in {*FLOAT_CONVOLUTIONS, "Relu", "Clip"}
    ]


class TestAwkwardBiases:
    @pytest.mark.parametrize("factor", [0.4, 0.6, 1.05, 1e3])
    @pytest.mark.parametrize("sign", [-1, 1])
    def test_a_bias_that_would_not_fit(self, factor: float, sign: int) -> None:
        """``factor`` times 2^31 steps: the sum of products comes on top of it."""
        net = Net()
        net.conv("a", IMAGE, 4, activation=None)
        net.constants["a.weight"] = net.constants["a.weight"] * 1e-3
        graph = GraphMap(net.model(["a.out"]))
        step = ranges_of(graph).scale_and_zero_point(IMAGE)[0]
        scale = quantise_weight(graph.array("a.weight"))[1]
        net.constants["a.bias"][:] = sign * factor * 2.0**31 * step * scale
        model, quantised = written_uint8(net, "a.out")
        assert np.abs(array(quantised, "a.bias.quantized").astype(np.int64)).max() <= BIAS_LIMIT
        out_step = array(quantised, "a.out.scale").item()
        for image in images():
            difference = run(model, image)["a.out"] - run(quantised, image)["a.out"]
            assert np.abs(difference).max() <= ONE_STEP * out_step

    def test_a_channel_of_zero_weights_keeps_its_bias(self) -> None:
        net = Net()
        net.conv("a", IMAGE, 4)
        net.constants["a.weight"][1] = 0
        net.constants["a.bias"][:] = [0.1, 0.0123, -0.1, 0.2]
        net.conv("last", "a.out", 4, activation=None)
        model, quantised = written_uint8(net, "last.out", "a.out")
        image = images(1)[0]
        expected, got = (run(one, image)["a.out"][:, 1] for one in (model, quantised))
        assert np.abs(expected - got).max() <= 0.51 * array(quantised, "a.out.scale").item()
        assert steps_away(model, quantised) < NEAR_STEPS

    def test_a_channel_of_zero_weights_and_no_bias(self) -> None:
        net = Net()
        net.conv("a", IMAGE, 4)
        net.constants["a.weight"][1] = net.constants["a.bias"][1] = 0
        model, quantised = written_uint8(net, "a.out")
        assert not run(quantised, images(1)[0])["a.out"][:, 1].any()
        assert steps_away(model, quantised) < NEAR_STEPS

    def test_a_tensor_that_is_always_zero(self) -> None:
        net = Net()
        net.conv("a", IMAGE, 4)
        net.constants["a.bias"][:] = -1e3
        net.conv("last", "a.out", 4, activation=None)
        model, quantised = written_uint8(net, "last.out")
        assert table_of(GraphMap(model), images()).tensors["a.out"].maximum == 0
        image = images(1)[0]
        step = array(quantised, "last.out.scale").item()
        assert np.abs(run(model, image)["last.out"] - run(quantised, image)["last.out"]).max() <= step

    def test_a_bias_that_is_no_finite_number_is_refused(self) -> None:
        net = Net()
        net.conv("a", IMAGE, 4)
        table = table_of(GraphMap(net.model(["a.out"])), images())
        net.constants["a.bias"][2] = np.nan
        graph = GraphMap(net.model(["a.out"]))
        with pytest.raises(CalibrationError, match="bias is not finite"):
            write_uint8(graph, Ranges(graph, table), Choice())


class TestSharedConstants:
    def test_convolutions_that_read_different_scales_have_biases_of_their_own(self) -> None:
        net = Net()
        net.conv("a", IMAGE, 3)
        net.constants["a.bias"][:] = [4.0, -3.0, 2.0]
        net.conv("b", "a.out", 3, activation=None)
        net.nodes[-1].input[1:] = ["a.weight", "a.bias"]
        del net.constants["b.weight"], net.constants["b.bias"]
        model, quantised = written_uint8(net, "b.out")
        assert len(named(optimised(quantised), "QLinearConv")) == 2
        assert steps_away(model, quantised) < NEAR_STEPS
        stored = [tensor.name for tensor in quantised.graph.initializer if tensor.name.endswith(".quantized")]
        assert len(stored) == 3  # one weight, two biases

    def test_convolutions_that_read_one_tensor_share_everything(self) -> None:
        net = Net()
        net.conv("a", IMAGE, 3)
        net.conv("b", IMAGE, 3, activation=None, strides=[2, 2])
        net.nodes[-1].input[1:] = ["a.weight", "a.bias"]
        model, quantised = written_uint8(net, "a.out", "b.out")
        stored = [tensor.name for tensor in quantised.graph.initializer if tensor.name.endswith(".quantized")]
        assert sorted(stored) == ["a.bias.quantized", "a.weight.quantized"]
        assert steps_away(model, quantised) < NEAR_STEPS

    def test_a_weight_that_an_excluded_convolution_reads_too_stays_for_it(self) -> None:
        net = Net()
        net.conv("a", IMAGE, 3)
        net.conv("b", IMAGE, 3, activation=None)
        net.nodes[-1].input[1] = "a.weight"
        model, quantised = written_uint8(net, "a.out", "b.out", choice=Choice(float_units=frozenset({"b"})))
        assert {"a.weight", "a.weight.quantized"} <= {tensor.name for tensor in quantised.graph.initializer}
        assert steps_away(model, quantised) < NEAR_STEPS


class TestAnyGraph:
    def test_the_same_bytes_again_and_the_float_model_as_it_was(self) -> None:
        before = MODEL.SerializeToString(deterministic=True)
        one = write_uint8(GRAPH, RANGES, Choice()).SerializeToString()
        assert write_uint8(GraphMap(detector()), RANGES, Choice()).SerializeToString() == one
        assert MODEL.SerializeToString(deterministic=True) == before

    def test_undeclared_shapes(self) -> None:
        bare = GraphMap(detector_net().model(["loc", "conf"], declared=False))
        quantised = write_uint8(bare, Ranges(bare, RANGES.table), Choice())
        expected = write_uint8(GRAPH, RANGES, Choice())
        assert list(quantised.graph.initializer) == list(expected.graph.initializer)
        assert list(quantised.graph.node) == list(expected.graph.node)

    def test_initialisers_that_are_listed_as_inputs(self) -> None:
        model = chain().model(["last.out"])
        graph = GraphMap(chain().model(["last.out"]))
        for tensor in model.graph.initializer:
            model.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        listed = GraphMap(model)
        assert listed.fingerprint() == graph.fingerprint()
        quantised = write_uint8(listed, ranges_of(graph), Choice())
        assert [value.name for value in quantised.graph.input] == [IMAGE]
        assert len(named(optimised(quantised), "QLinearConv")) == 3

    def test_constants_made_by_nodes(self) -> None:
        model = chain().model(["last.out"])
        ranges = ranges_of(GraphMap(model))
        for tensor in reversed(model.graph.initializer):
            model.graph.node.insert(0, onnx.helper.make_node("Constant", [], [tensor.name], value=tensor))
        del model.graph.initializer[:]
        quantised = write_uint8(GraphMap(model), Ranges(GraphMap(model), ranges.table), Choice())
        onnx.checker.check_model(quantised, full_check=True)
        assert len(named(optimised(quantised), "QLinearConv")) == 3


class TestRefusals:
    def test_opset_12(self) -> None:
        graph = GraphMap(chain().model(["last.out"], opset=12))
        with pytest.raises(CalibrationError, match="opset 12"):
            write_uint8(graph, ranges_of(graph), Choice())

    def test_an_unknown_layer(self) -> None:
        with pytest.raises(CalibrationError, match=r"no convolution called block\.9"):
            write_uint8(GRAPH, RANGES, Choice(float_units=frozenset({"block.9"})))

    def test_a_quantised_graph(self) -> None:
        for write in (write_int8, write_uint8):
            with pytest.raises(CalibrationError, match="quantised already"):
                GraphMap(write(GRAPH, RANGES, Choice()))
