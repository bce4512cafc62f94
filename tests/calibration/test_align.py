"""Channels are filled up where only convolutions read them, and nothing else changes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from calibration_graphs import IMAGE, Net, array, detector, images, producer, ranges_of, run

from calibration.align import MULTIPLE, align_channels, real_channels
from calibration.graph import GraphMap
from calibration.qdq import Choice, write_uint8

ANOTHER_ORDER = 1e-5  # relative to the largest value: float32 sums of the same terms, zeros between them


def aligned(model: onnx.ModelProto) -> onnx.ModelProto:
    found = align_channels(GraphMap(model))
    onnx.checker.check_model(found, full_check=True)
    return found


def widths(model: onnx.ModelProto) -> dict[str, tuple[int, int]]:
    """Output and input channels of every convolution."""
    return {
        node.name: (int(shape[0]), int(shape[1]))
        for node in model.graph.node
        if node.op_type == "Conv"
        for shape in [array(model, node.input[1]).shape]
    }


def odd(**options: int) -> onnx.ModelProto:
    """Widths that are no multiples of four, met in concatenations, pooled, and read by two heads."""
    net = Net(**options)
    one = net.conv("one", IMAGE, 6)
    two = net.conv("two", one, 5)
    both = net.concat([two, one], "both")
    three = net.conv("three", both, 7, bias=False)
    skip = net.concat([three, net.concat([one, two], "inner")], "skip")
    pooled = net.pool(skip, "pooled")
    net.conv("loc", pooled, 6, activation=None)
    net.conv("conf", pooled, 9, activation=None, kernel=1)
    return net.model(["loc.out", "conf.out"])


def test_what_convolutions_alone_read_is_a_multiple_of_four() -> None:
    model = odd()
    assert widths(aligned(model)) == {
        "one": (8, 3),
        "two": (8, 8),
        "three": (8, 16),
        "loc": (6, 24),
        "conf": (9, 24),
    }
    assert {name: outputs % MULTIPLE for name, (outputs, _) in widths(model).items()}["three"] == 3  # it was not


def test_the_graph_computes_the_same_and_keeps_its_names() -> None:
    model = odd()
    found = aligned(model)
    assert [node.name for node in found.graph.node] == [node.name for node in model.graph.node]
    assert [value.name for value in found.graph.output] == [value.name for value in model.graph.output]
    for image in images(2):
        before, after = run(model, image), run(found, image)
        for name, value in before.items():
            assert after[name].shape == value.shape
            assert np.abs(after[name] - value).max() <= ANOTHER_ORDER * np.abs(value).max()


@pytest.mark.parametrize("make", [odd, detector])
def test_in_integers_it_is_equal_to_the_bit(make: object) -> None:
    model = odd() if make is odd else detector()
    plain = GraphMap(model)
    filled = GraphMap(aligned(model))
    table = ranges_of(plain).table
    first = write_uint8(plain, ranges_of(plain), Choice())
    second = write_uint8(filled, type(ranges_of(plain))(filled, table, "unified"), Choice())
    for image in images(2, seed=5):
        expected, got = run(first, image), run(second, image)
        assert all(np.array_equal(expected[name], got[name]) for name in expected)


def test_real_channels_stand_where_they_stood_and_the_rest_is_zero() -> None:
    model = odd()
    found = aligned(model)
    before, after = array(model, "three.weight"), array(found, "three.weight")
    assert np.array_equal(after[:7, :5], before[:, :5])  # two
    assert np.array_equal(after[:7, 8:14], before[:, 5:])  # one
    assert not after[7:].any()
    assert not after[:, 5:8].any()
    assert not after[:, 14:].any()
    assert not array(found, "two.bias")[5:].any()


def test_the_real_channels_of_every_tensor_can_be_told() -> None:
    model = odd()
    found = aligned(model)
    image = images(1)[0]
    told = real_channels(found)
    assert real_channels(model) == {}
    assert {"one.out", "both", "skip", "pooled"} <= set(told)
    names = [name for name in told if name in {value.name for value in model.graph.value_info}]
    before, after = run(model, image, names), run(found, image, names)
    for name in names:
        assert np.abs(after[name][:, told[name]] - before[name]).max() <= ANOTHER_ORDER * np.abs(before[name]).max()
        assert after[name].shape[1] > before[name].shape[1]


def test_an_aligned_graph_stays_as_it_is() -> None:
    once = aligned(odd())
    assert aligned(once) == once


def test_what_other_operators_read_is_left_alone() -> None:
    net = Net()
    squared = net.conv("squared", IMAGE, 6)
    net.conv("behind", net.node("Mul", [squared, squared], "squares"), 6)
    net.conv("end", "behind.out", 4, activation=None)
    found = widths(aligned(net.model(["end.out"])))
    assert found == {"squared": (6, 3), "behind": (8, 6), "end": (4, 8)}


def test_outputs_grouped_and_shared_convolutions_are_left_alone() -> None:
    net = Net()
    shown = net.conv("shown", IMAGE, 6)
    net.conv("deep", shown, 6, group=6, weight=np.ones((6, 1, 3, 3), np.float32))
    net.conv("first", "deep.out", 6)
    net.conv("again", "first.out", 6)
    net.nodes[-2].input[1] = "first.weight"  # two convolutions, one weight
    net.constants["first.weight"] = net.constants["again.weight"]
    net.conv("end", "again.out", 4, activation=None)
    model = net.model(["shown.out", "end.out"])
    assert producer(model, "again.conv").input[1] == "first.weight"
    assert widths(aligned(model)) == widths(model)


def test_a_concatenation_along_another_axis_is_left_alone() -> None:
    net = Net()
    one = net.conv("one", IMAGE, 6)
    net.node("Concat", [one, one], "taller", axis=2)
    net.conv("end", "taller", 4, activation=None)
    model = net.model(["end.out"])
    assert widths(aligned(model)) == widths(model)


def heads_of_odd_width() -> onnx.ModelProto:
    """As a detector's: each head's output is only transposed and reshaped; one is read by something else too."""
    net = Net()
    features = net.conv("features", IMAGE, 6)
    net.conv("conf", features, 9, activation=None)
    net.conv("loc", features, 8, activation=None)
    net.conv("seen", features, 5, activation=None)
    ends = [net.node("Transpose", [f"{name}.out"], f"{name}.last", perm=[0, 2, 3, 1]) for name in ("conf", "loc")]
    net.node("Mul", [net.node("Transpose", ["seen.out"], "seen.last", perm=[0, 2, 3, 1])] * 2, "squares")
    net.node("Sigmoid", ["seen.out"], "sigmoid")
    return net.model([*ends, "squares", "sigmoid"])


def test_a_head_is_filled_up_and_cut_right_behind_its_convolution() -> None:
    model = heads_of_odd_width()
    found = aligned(model)
    assert widths(found) == {"features": (8, 3), "conf": (12, 8), "loc": (8, 8), "seen": (5, 8)}
    assert [node.input[0] for node in found.graph.node if node.op_type == "Slice"] == ["conf.out"]
    assert list(real_channels(found)["conf.out"]) == list(range(9))
    for image in images(2):
        before, after = run(model, image), run(found, image)
        assert {name: value.shape for name, value in after.items()} == {n: v.shape for n, v in before.items()}
        for name, value in before.items():
            assert np.abs(after[name] - value).max() <= ANOTHER_ORDER * np.abs(value).max()


def test_a_filled_up_head_is_equal_to_the_bit_in_integers() -> None:
    plain = GraphMap(heads_of_odd_width())
    filled = GraphMap(aligned(plain.model))
    ranges = ranges_of(plain)
    first = write_uint8(plain, ranges, Choice())
    second = write_uint8(filled, type(ranges)(filled, ranges.table, "unified"), Choice())
    for image in images(2, seed=5):
        expected, got = run(first, image), run(second, image)
        assert all(np.array_equal(expected[name], got[name]) for name in expected)


def test_the_same_graph_is_filled_up_to_the_same_bytes() -> None:
    once, again = (aligned(heads_of_odd_width()).SerializeToString(deterministic=True) for _ in range(2))
    assert once == again
