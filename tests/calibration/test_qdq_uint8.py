"""The writing for ONNX Runtime's CPU kernels: what it becomes there, and values like the float ones."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from calibration_graphs import (
    BLOCK,
    IMAGE,
    Net,
    array,
    chain,
    detector,
    images,
    named,
    optimised,
    producer,
    ranges_of,
    run,
    steps_away,
    table_of,
    with_ranges,
    written_uint8,
)

from calibration.graph import GraphMap, Unit
from calibration.qdq import Choice, quantise_weight, write_uint8
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


class TestInOnnxRuntime:
    @pytest.mark.parametrize("activation", ["Relu", "Clip"])
    @pytest.mark.parametrize("concat_scales", ["unified", "separate"])
    def test_every_convolution_is_an_integer_one_and_no_relu_is_left(self, activation: str, concat_scales: str) -> None:
        graph = GraphMap(detector(activation=activation))
        quantised = write_uint8(graph, ranges_of(graph, concat_scales=concat_scales), Choice())  # type: ignore[arg-type]  # parametrised
        onnx.checker.check_model(quantised, full_check=True)
        assert {f"{unit.weight}.quantized" for unit in graph.units} <= integer_weights(quantised)
        assert float_operators(quantised) == []

    def test_excluded_convolutions_stay_float_and_all_others_do_not(self) -> None:
        excluded = {"block.1", "extra", "loc.0"}
        quantised = write_uint8(GRAPH, RANGES, Choice(float_units=frozenset(excluded)))
        found = integer_weights(quantised)
        for unit in GRAPH.units:
            assert (f"{unit.weight}.quantized" in found) == (unit.name not in excluded)
        assert len([name for name in float_operators(quantised) if name in FLOAT_CONVOLUTIONS]) == len(excluded)
        for unit in GRAPH.units:
            if unit.name in excluded:
                assert producer(quantised, unit.inner).input[1:] == producer(MODEL, unit.inner).input[1:]

    @pytest.mark.parametrize("unit", GRAPH.units, ids=lambda unit: unit.name)
    def test_each_convolution_can_stay_float(self, unit: Unit) -> None:
        """Also between two quantised tensors, where ONNX Runtime would quantise its weights on its own."""
        quantised = write_uint8(GRAPH, RANGES, Choice(float_units=frozenset({unit.name})))
        onnx.checker.check_model(quantised, full_check=True)
        operators = [node.op_type for node in optimised(quantised).graph.node]
        assert operators.count("QLinearConv") == len(GRAPH.units) - 1
        assert sum(map(operators.count, FLOAT_CONVOLUTIONS)) == 1
        assert steps_away(MODEL, quantised) < NEAR_STEPS

    def test_a_float_convolution_without_relu_between_two_quantised_tensors(self) -> None:
        net = Net()
        net.conv("a", IMAGE, 4)
        net.conv("b", "a.out", 4, activation=None)
        net.conv("c", "b.out", 4)
        _, quantised = written_uint8(net, "c.out", choice=Choice(float_units=frozenset({"b"})))
        assert len(named(optimised(quantised), "QLinearConv")) == 2

    def test_a_float_convolution_behind_a_pool(self) -> None:
        net = Net()
        net.conv("a", IMAGE, 4)
        net.pool("a.out", "pooled")
        net.conv("b", "pooled", 4)
        net.conv("c", "b.out", 4)
        _, quantised = written_uint8(net, "c.out", choice=Choice(float_units=frozenset({"b"})))
        assert len(named(optimised(quantised), "QLinearConv")) == 2

    def test_with_one_scale_through_a_family_concatenating_computes_nothing(self) -> None:
        quantised = write_uint8(GRAPH, RANGES, Choice())
        concats = [node for node in named(quantised, "Concat") if node.output[0].startswith(("block", "skip"))]
        assert len(concats) == 5
        for node in concats:
            pairs = [producer(quantised, name) for name in node.input]
            pairs += [other for other in named(quantised, "QuantizeLinear") if other.input[0] == node.output[0]]
            assert {pair.op_type for pair in pairs} == {"DequantizeLinear", "QuantizeLinear"}
            assert len({(array(quantised, p.input[1]).item(), array(quantised, p.input[2]).item()) for p in pairs}) == 1

    def test_concatenations_and_pools_work_on_integers(self) -> None:
        operators = [node.op_type for node in optimised(write_uint8(GRAPH, RANGES, Choice())).graph.node]
        assert operators.count("QLinearConcat") >= 5
        assert operators.count("Concat") <= 2  # loc and conf

    def test_a_family_with_and_without_relus(self) -> None:
        net = Net()
        net.conv("a", IMAGE, 4)
        net.conv("b", "a.out", 4, activation=None)
        net.conv("last", net.concat(["a.out", "b.out"], "both"), 4)
        model, quantised = written_uint8(net, "last.out")
        assert float_operators(quantised) == []
        assert steps_away(model, quantised) < NEAR_STEPS

    def test_relu6_that_saturates(self) -> None:
        net = Net()
        net.conv("a", IMAGE, 4, activation="Clip")
        net.constants["a.weight"] = net.constants["a.weight"] * 20
        net.conv("b", "a.out", 4, activation=None)
        net.conv("last", net.concat(["a.out", "b.out"], "both"), 4, activation="Clip")
        model, quantised = written_uint8(net, "last.out")
        assert RANGES.table  # the module's graph has no tensor at 6; this one has
        assert table_of(GraphMap(model), images()).tensors["a.out"].maximum == 6
        assert float_operators(quantised) == []

    def test_depthwise(self) -> None:
        net = Net(channels=4)
        net.conv("depthwise", IMAGE, 4, weight=net.rng.standard_normal((4, 1, 3, 3)).astype(np.float32), group=4)
        net.conv("pointwise", "depthwise.out", 4, kernel=1, activation=None)
        model = net.model(["pointwise.out"])
        graph = GraphMap(model)
        given = images(3, channels=4)
        quantised = write_uint8(graph, ranges_of(graph, given), Choice())
        assert float_operators(quantised) == []
        assert steps_away(model, quantised, given[0]) < NEAR_STEPS

    @pytest.mark.parametrize("outputs", [("last.out",), ("last.out", "first.out"), ("second.out",)])
    def test_outputs_that_convolutions_make_keep_their_names(self, outputs: tuple[str, ...]) -> None:
        net = chain()
        model, quantised = written_uint8(net, *outputs)
        assert [value.name for value in quantised.graph.output] == list(outputs)
        assert float_operators(quantised) == []
        assert steps_away(model, quantised) < NEAR_STEPS

    def test_a_relu_that_is_not_fused_is_taken_for_a_rounding_too(self) -> None:
        model, quantised = written_uint8(chain(), "last.out", "first.conv")
        assert float_operators(quantised) == []
        assert len(named(optimised(quantised), "QLinearConv")) == 3
        assert steps_away(model, quantised) < NEAR_STEPS


class TestStored:
    @pytest.mark.parametrize(("reduced", "levels"), [(False, 127), (True, 63)])
    def test_weights_are_int8_within_the_levels(self, reduced: bool, levels: int) -> None:
        quantised = write_uint8(GRAPH, RANGES, Choice(reduced_weights=reduced))
        for unit in GRAPH.units:
            integers = array(quantised, f"{unit.weight}.quantized")
            expected, scale = quantise_weight(GRAPH.array(unit.weight), levels=levels)
            assert integers.dtype == np.int8
            np.testing.assert_array_equal(integers, expected)
            np.testing.assert_array_equal(array(quantised, f"{unit.weight}.scale"), scale)
            assert np.abs(integers.astype(int)).max() == levels

    def test_biases_are_int32_in_steps_of_input_times_weight(self) -> None:
        quantised = write_uint8(GRAPH, RANGES, Choice())
        for unit in GRAPH.units:
            if unit.bias is None:
                assert len(producer(quantised, unit.inner).input) == 2
                continue
            integers, scale = (array(quantised, f"{unit.bias}.{kind}") for kind in ("quantized", "scale"))
            steps = [array(quantised, f"{name}.scale") for name in (unit.source, unit.weight)]
            assert integers.dtype == np.int32
            np.testing.assert_array_equal(scale, steps[0] * steps[1])
            assert (np.abs(GRAPH.array(unit.bias) - integers * scale.astype(float)) <= 0.51 * scale).all()

    def test_activations_are_uint8_and_the_image_has_a_zero_point_inside(self) -> None:
        quantised = write_uint8(GRAPH, RANGES, Choice())
        for node in named(quantised, "QuantizeLinear"):
            zero_point = array(quantised, node.input[2])
            assert zero_point.dtype == np.uint8
            assert zero_point.shape == ()
            scale, expected = RANGES.scale_and_zero_point(node.input[0])
            assert (array(quantised, node.input[1]).item(), zero_point.item()) == (scale, expected)
        assert 0 < array(quantised, f"{IMAGE}.zero_point") < 255
        assert all(array(quantised, f"{name}.zero_point") == 0 for name in BLOCK)

    def test_float_weights_and_biases_are_not_kept_beside_them(self) -> None:
        kept = {tensor.name for tensor in write_uint8(GRAPH, RANGES, Choice()).graph.initializer}
        assert not kept & {name for unit in GRAPH.units for name in (unit.weight, unit.bias)}
        assert {"gamma", "rows.4"} <= kept

    def test_the_l2norm_is_as_it_was(self) -> None:
        quantised = write_uint8(GRAPH, RANGES, Choice())
        for node in MODEL.graph.node:
            if node.output[0].startswith("normed."):
                assert producer(quantised, node.output[0]).op_type == node.op_type


class TestValues:
    @pytest.mark.parametrize("reduced", [False, True])
    @pytest.mark.parametrize("concat_scales", ["unified", "separate"])
    def test_outputs_are_near_the_float_ones(self, concat_scales: str, reduced: bool) -> None:
        ranges = Ranges(GRAPH, RANGES.table, concat_scales)  # type: ignore[arg-type]  # parametrised
        quantised = write_uint8(GRAPH, ranges, Choice(reduced_weights=reduced))
        assert 0 < steps_away(MODEL, quantised) < NEAR_STEPS * (1 + reduced)

    def test_the_scales_matter(self) -> None:
        narrow = Ranges(GRAPH, with_ranges(RANGES.table, {"top.out": (0.0, 0.1)}), "separate")
        assert steps_away(MODEL, write_uint8(GRAPH, narrow, Choice())) > NEAR_STEPS

    def test_one_convolution_is_what_the_formula_says(self) -> None:
        net = Net()
        net.conv("conv", IMAGE, 5, kernel=1)
        graph = GraphMap(net.model(["conv.out"]))
        ranges = ranges_of(graph)
        image = 2 * images(1, seed=5)[0]  # beyond the range too
        step, zero = ranges.scale_and_zero_point(IMAGE)
        read = (np.clip(np.rint(image.astype(np.float64) / step) + zero, 0, 255) - zero) * step
        integers, scale = quantise_weight(graph.array("conv.weight"))
        weight = integers[:, :, 0, 0] * scale[:, None].astype(np.float64)
        sums = np.einsum("nchw,oc->nohw", read, weight) + graph.array("conv.bias")[:, None, None]
        out_step, _ = ranges.scale_and_zero_point("conv.out")
        expected = np.clip(np.rint(sums / out_step), 0, 255) * out_step
        got = run(write_uint8(graph, ranges, Choice()), image)["conv.out"]
        assert np.abs(got - expected).max() <= ONE_STEP * out_step
