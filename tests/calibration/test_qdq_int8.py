"""The symmetric writing: what TensorRT's parser demands, where Q/DQ stand and where not, values like the float ones."""

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
    images,
    named,
    producer,
    ranges_of,
    run,
    steps_away,
    table_of,
    with_ranges,
)

from calibration.errors import CalibrationError
from calibration.graph import GraphMap
from calibration.qdq import Choice, quantise_weight, write_int8
from calibration.ranges import Ranges

NEAR_STEPS = 14  # eight layers of rounding moved outputs by up to 9, a wrong scale by more than 40
FLOAT_NOISE = 1e-5  # relative: the same sums in float32 and float64
HALF = 0.5 + 1e-4  # of a scale, and what float32 adds to a division of numbers up to 127

MODEL = detector()
GRAPH = GraphMap(MODEL)
RANGES = ranges_of(GRAPH)
FLOAT_UNITS = frozenset({"stem", "loc.0"})
WRITTEN = write_int8(GRAPH, RANGES, Choice(float_units=FLOAT_UNITS))


class TestRulesOfTheParser:
    def test_the_graph_is_valid(self) -> None:
        onnx.checker.check_model(WRITTEN, full_check=True)

    def test_three_inputs_with_int8_zero_points_of_0_and_positive_scales(self) -> None:
        pairs = [*named(WRITTEN, "QuantizeLinear"), *named(WRITTEN, "DequantizeLinear")]
        assert pairs
        for node in pairs:
            _, scale, zero_point = (None, *(array(WRITTEN, name) for name in node.input[1:]))
            assert zero_point.dtype == np.int8
            assert scale.dtype == np.float32
            assert not zero_point.any()
            assert (scale > 0).all()
            assert zero_point.shape == scale.shape

    def test_weights_are_per_channel_on_axis_0_and_activations_per_tensor(self) -> None:
        weights = {unit.weight for unit in GRAPH.units}
        for node in named(WRITTEN, "QuantizeLinear"):
            scale = array(WRITTEN, node.input[1])
            axes = [attribute.i for attribute in node.attribute if attribute.name == "axis"]
            if node.input[0] in weights:
                assert axes == [0]
                assert scale.shape == (len(GRAPH.array(node.input[0])),)
            else:
                assert axes == []
                assert scale.shape == ()
                assert float(scale) == RANGES.scale(node.input[0])

    def test_biases_are_the_same_float_initialisers(self) -> None:
        for unit in GRAPH.units:
            node = producer(WRITTEN, unit.inner)
            assert list(node.input[2:]) == ([unit.bias] if unit.bias else [])
            if unit.bias:
                np.testing.assert_array_equal(array(WRITTEN, unit.bias), GRAPH.array(unit.bias))
                assert array(WRITTEN, unit.bias).dtype == np.float32


class TestPlaces:
    def test_chosen_convolutions_read_quantised_inputs_and_weights(self) -> None:
        for unit in GRAPH.units:
            source, weight = producer(WRITTEN, unit.inner).input[:2]
            if unit.name in FLOAT_UNITS:
                assert (source, weight) == (unit.source, unit.weight)
            else:
                for name, origin in ((source, unit.source), (weight, unit.weight)):
                    pair = producer(WRITTEN, name)
                    assert pair.op_type == "DequantizeLinear"
                    assert producer(WRITTEN, pair.input[0]).input[0] == origin

    def test_quantised_is_only_what_chosen_convolutions_read(self) -> None:
        chosen = [unit for unit in GRAPH.units if unit.name not in FLOAT_UNITS]
        wanted = {name for unit in chosen for name in (unit.source, unit.weight)}
        assert {node.input[0] for node in named(WRITTEN, "QuantizeLinear")} == wanted

    def test_a_tensor_read_by_two_convolutions_is_quantised_once(self) -> None:
        sources = [node.input[0] for node in named(WRITTEN, "QuantizeLinear")]
        assert len(sources) == len(set(sources))

    def test_everything_else_reads_floats(self) -> None:
        """No Q/DQ between Conv and Relu, none before concatenations, pools, the L2Norm and the heads' ends."""
        for node in WRITTEN.graph.node:
            if node.op_type not in {"Conv", "QuantizeLinear", "DequantizeLinear"}:
                original = producer(MODEL, node.output[0])
                assert list(node.input) == list(original.input)

    def test_float_tensors_and_outputs_keep_their_names(self) -> None:
        made = {name for node in WRITTEN.graph.node for name in node.output}
        assert set(GRAPH.tensors) - {IMAGE} <= made
        assert list(WRITTEN.graph.output) == list(MODEL.graph.output)
        assert list(WRITTEN.graph.input) == list(MODEL.graph.input)

    def test_an_output_that_a_convolution_makes_is_left_alone(self) -> None:
        graph = GraphMap(chain().model(["last.out"]))
        written = write_int8(graph, ranges_of(graph), Choice())
        assert producer(written, "last.out").op_type == "Conv"


class TestValues:
    @pytest.mark.parametrize("concat_scales", ["unified", "separate"])
    def test_outputs_are_near_the_float_ones(self, concat_scales: str) -> None:
        ranges = Ranges(GRAPH, RANGES.table, concat_scales)  # type: ignore[arg-type]  # parametrised
        assert 0 < steps_away(MODEL, write_int8(GRAPH, ranges, Choice())) < NEAR_STEPS

    def test_the_scales_matter(self) -> None:
        narrow = Ranges(GRAPH, with_ranges(RANGES.table, {"top.out": (0.0, 0.1)}), "separate")
        assert steps_away(MODEL, write_int8(GRAPH, narrow, Choice())) > NEAR_STEPS

    def test_one_convolution_is_what_the_formula_says(self) -> None:
        net = Net()
        net.conv("conv", IMAGE, 5, kernel=1)
        graph = GraphMap(net.model(["conv.out"]))
        ranges = ranges_of(graph)
        image = 2 * images(1, seed=5)[0]  # beyond the range too
        step = ranges.scale(IMAGE)
        read = np.clip(np.rint(image.astype(np.float64) / step), -128, 127) * step
        integers, scale = quantise_weight(graph.array("conv.weight"))
        weight = integers[:, :, 0, 0] * scale[:, None].astype(np.float64)
        sums = np.einsum("nchw,oc->nohw", read, weight) + graph.array("conv.bias")[:, None, None]
        got = run(write_int8(graph, ranges, Choice()), image)["conv.out"]
        np.testing.assert_allclose(got, np.maximum(sums, 0), rtol=FLOAT_NOISE, atol=FLOAT_NOISE)

    @pytest.mark.parametrize("bias", [0.0123, 1e9])
    @pytest.mark.parametrize("weight", [0.0, 1e-12])
    def test_a_channel_with_hardly_any_weights_keeps_its_bias(self, weight: float, bias: float) -> None:
        """ONNX Runtime stores the bias as int32, in steps of the input's scale times the weight's."""
        net = Net()
        net.conv("a", IMAGE, 4, activation=None)
        net.constants["a.weight"][1] *= weight
        net.constants["a.bias"][1] = bias
        net.conv("b", "a.out", 4, kernel=1, activation=None)
        net.constants["b.weight"][:, 1] = 1 / bias
        model = net.model(["b.out"])
        graph = GraphMap(model)
        table = with_ranges(table_of(graph, images()), {"a.out": (-6.0, 6.0)} if bias < 1 else {})
        written = write_int8(graph, Ranges(graph, table), Choice(float_units=frozenset({"b"})))
        assert steps_away(model, written) < NEAR_STEPS

    def test_any_batch(self) -> None:
        graph = GraphMap(detector(batch="batch"))
        written = write_int8(graph, Ranges(graph, RANGES.table), Choice())
        batch = np.concatenate(images(2, seed=9))
        got = run(written, batch)["loc"]
        np.testing.assert_allclose(got[:1], run(written, batch[:1])["loc"], rtol=FLOAT_NOISE, atol=FLOAT_NOISE)


class TestWeights:
    @pytest.mark.parametrize("levels", [63, 127])
    def test_within_half_a_scale_of_the_original(self, levels: int) -> None:
        weight = GRAPH.array("transition.weight")
        integers, scale = quantise_weight(weight, levels=levels)
        by_channel = scale[:, None, None, None].astype(np.float64)
        assert np.abs(weight - integers * by_channel).max(axis=(1, 2, 3)).max() <= HALF * scale.max()
        assert (np.abs(weight / by_channel - integers) <= HALF).all()
        assert (np.abs(integers).max(axis=(1, 2, 3)) == levels).all()
        assert integers.dtype == np.int8

    def test_a_channel_of_zeros(self) -> None:
        weight = np.array([[0.0, 0.0], [1.0, -0.5]], np.float32)
        integers, scale = quantise_weight(weight)
        assert integers.tolist() == [[0, 0], [127, -64]]
        assert (scale > 0).all()

    def test_the_smallest_weights_there_are(self) -> None:
        integers, scale = quantise_weight(np.array([[1e-45]], np.float32))
        assert np.isfinite(scale).all()
        assert (scale > 0).all()
        assert integers.tolist() == [[0]]

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_a_weight_that_is_no_finite_number_is_refused(self, value: float) -> None:
        with pytest.raises(CalibrationError, match="not finite"):
            quantise_weight(np.array([[value]], np.float32))


class TestAnyGraph:
    def test_the_float_model_is_left_as_it_is(self) -> None:
        before = MODEL.SerializeToString(deterministic=True)
        write_int8(GRAPH, RANGES, Choice())
        assert MODEL.SerializeToString(deterministic=True) == before

    def test_the_same_bytes_again(self) -> None:
        again = write_int8(GraphMap(detector()), ranges_of(GraphMap(detector())), Choice(float_units=FLOAT_UNITS))
        assert again.SerializeToString() == WRITTEN.SerializeToString()

    def test_a_node_called_like_a_convolution_is_not_taken_for_it(self) -> None:
        model = chain().model(["last.out"])
        table = table_of(GraphMap(model), images())
        producer(model, "pooled").name = "first"
        graph = GraphMap(model)
        written = write_int8(graph, Ranges(graph, table), Choice())
        assert list(producer(written, "pooled").input) == ["second.out"]

    def test_initialisers_that_are_listed_as_inputs(self) -> None:
        model = chain().model(["last.out"])
        for tensor in model.graph.initializer:
            model.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        graph = GraphMap(model)
        written = write_int8(graph, ranges_of(graph), Choice())
        onnx.checker.check_model(written, full_check=True)
        assert len(named(written, "Conv")) == 3

    def test_shared_weights(self) -> None:
        net = Net()
        net.conv("a", IMAGE, 3)
        net.conv("b", "a.out", 3, activation=None)
        net.nodes[-1].input[1:] = ["a.weight", "a.bias"]
        model = net.model(["b.out"])
        graph = GraphMap(model)
        assert steps_away(model, write_int8(graph, ranges_of(graph), Choice())) < NEAR_STEPS


class TestRefusals:
    def test_opset_12(self) -> None:
        graph = GraphMap(chain().model(["last.out"], opset=12))
        with pytest.raises(CalibrationError, match="opset 12"):
            write_int8(graph, ranges_of(graph), Choice())

    def test_an_unknown_layer(self) -> None:
        with pytest.raises(CalibrationError, match=r"no convolution called block\.9"):
            write_int8(GRAPH, RANGES, Choice(float_units=frozenset({"block.9"})))

    def test_every_layer_in_float(self) -> None:
        everything = frozenset(unit.name for unit in GRAPH.units)
        with pytest.raises(CalibrationError, match="nothing to quantise"):
            write_int8(GRAPH, RANGES, Choice(float_units=everything))

    def test_a_tensor_that_is_called_like_one_of_ours(self) -> None:
        net = chain()
        net.node("Neg", [IMAGE], "first.out.quantized")
        graph = GraphMap(net.model(["last.out", "first.out.quantized"]))
        with pytest.raises(CalibrationError, match=r"first\.out\.quantized already"):
            write_int8(graph, Ranges(graph, table_of(graph, images())), Choice())
