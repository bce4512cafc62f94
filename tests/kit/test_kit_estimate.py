"""The estimate counts what it says, and says what it counts."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from hardnet_deploy.kit.estimate import COPIES, LIBRARIES, estimate, live_bytes

FLOAT = TensorProto.FLOAT


def graph() -> onnx.ModelProto:
    """x -> a -> b, and c = a + b: a, b and c live at once."""
    values = [helper.make_tensor_value_info(name, FLOAT, [1, 10]) for name in ("x", "a", "b", "c")]
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
    ]
    return helper.make_model(helper.make_graph(nodes, "g", [values[0]], [values[3]], value_info=values[1:3]))


def test_the_most_tensors_that_live_at_once() -> None:
    assert live_bytes(graph()) == 3 * 10 * 4


def test_memory_is_the_formula() -> None:
    found = estimate(graph(), model_bytes=1000, kit_bytes=5000, workspace=1 << 20)
    assert found.build_memory_bytes == LIBRARIES + (1 << 20) + COPIES * 1000 + 120
    assert "not measured" in found.memory_formula
    assert found.disk_bytes > 6250
    without = estimate(graph(), model_bytes=1000, kit_bytes=5000, workspace=None)
    assert found.build_memory_bytes - without.build_memory_bytes == 1 << 20
    assert "without a limit" in without.memory_formula
